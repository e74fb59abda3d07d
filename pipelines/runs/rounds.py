"""A run, round by round: each hears a part of the archive and commits it.

So a run that is cut off loses little, and in a local one memory does not grow with the archive.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count, islice
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from earmark.pipelines import engines
from earmark.pipelines.engines import await_end, local_runner, named
from earmark.pipelines.errors import RunError
from earmark.pipelines.interrupts import Interrupts
from earmark.pipelines.options import ClassifyOptions
from earmark.pipelines.runs.graph import ClassifyRound, ClassifyRoundHere, Hearing
from earmark.transforms import workers
from earmark.transforms.elements import Found, Listed, ToHear
from earmark.transforms.listing import list_audio
from earmark.transforms.output import (
    ConcludeRun,
    RoundRecord,
    aside_folder,
    discard_folder,
    leave_locked,
    read_round_file,
    round_file,
    staging_folder,
    without_own_files,
)
from earmark.transforms.planning import Plan, Retry, write_plan
from earmark.transforms.storage import join

ROUND_OBJECTS = 2000
"""At most so many objects are heard in a local round: the engine keeps what it knows of each."""

FIRST_OBJECTS = 10_000
FIRST_BYTES = 10 * 1000**3
"""As much as a first round elsewhere hears, when nobody knows yet how fast the engine is."""

_GROWTH = 10
_LARGEST_OBJECTS = 1_000_000

COMMIT_EVERY_S = 120.0
COMMIT_EVERY_ELSEWHERE_S = 1800.0
"""How long a round lasts, unless the options say so: elsewhere it takes a while to begin one."""


def list_inputs(options: ClassifyOptions) -> Iterator[Found]:
    """What a run's patterns mean; what runs have written to its output is left out, and counted.

    Raises:
      ListingError: a manifest broke on the way.
    """
    found = list_audio(options.input, all_files=options.all_files)
    return without_own_files(found, options.output)


def retry(options: ClassifyOptions) -> Retry:
    """What a run hears again though it has not changed."""
    return Retry.FAILED if options.retry_failed else Retry.UNREADABLE


def run_here(
    hearing: Hearing,
    beam_options: PipelineOptions,
    plan: Plan,
    interrupts: Interrupts,
    numbers: Iterator[int],
    skipped: Mapping[str, int],
) -> None:
    """Hear what is planned in threads of this process, and commit it round by round.

    A round ends when its time is over: what nobody has begun by then goes into the next.

    Args:
      hearing: how recordings are heard.
      beam_options: Beam's own.
      plan: what is to be heard.
      interrupts: whether to stop.
      numbers: of the rounds in the run.
      skipped: what the listing left out, to be said in the first round's file.

    Raises:
      RunError: the engine lost an object.
      RuntimeError: a worker failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    seconds = options.commit_every_s or COMMIT_EVERY_S
    source = plan.to_hear()
    waiting: list[ToHear] = []
    largest = ROUND_OBJECTS
    engines.share_arenas()
    while True:
        waiting += islice(source, max(0, largest - len(waiting)))
        if not waiting or interrupts.number is not None:
            return
        name = _name(next(numbers))
        this_round = ClassifyRoundHere(hearing, name, tuple(waiting), skipped)
        with workers.queue(run_id, seconds) as left:
            if interrupts.number is not None:  # it came when there was no queue to stop
                return
            pipeline = beam.Pipeline(runner=local_runner(), options=beam_options)
            _ = pipeline | this_round
            pipeline.run().wait_until_finish()
        heard = len(waiting) - len(left)
        _check_committed(options.output, run_id, name, heard)
        _discard_aside(hearing, name)
        waiting = [each for each in waiting if each.object.uri in left]
        engines.give_back()
        largest, skipped = min(ROUND_OBJECTS, 2 * heard + 64), {}


def run_elsewhere(
    hearing: Hearing, beam_options: PipelineOptions, plan: Plan, interrupts: Interrupts
) -> None:
    """Hear what is planned on another engine, a job for each round.

    A round is as large as will take the time that it is to last, going by how long those before it
    took.

    Raises:
      RunError: the engine lost an object, or a job was cancelled there.
      RuntimeError: a job failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    seconds = options.commit_every_s or COMMIT_EVERY_ELSEWHERE_S
    planned, skipped = plan.to_hear(), plan.skipped()
    objects, size_bytes = FIRST_OBJECTS, FIRST_BYTES
    board = workers.board(run_id)
    for number in count(1):
        members = list(_up_to(planned, objects, size_bytes))
        if not members or interrupts.number is not None:
            return
        name = _name(number)
        path = join(staging_folder(options.output, run_id), f"{name}.plan")
        write_plan(path, members)
        began = time.monotonic()
        job = named(beam_options, f"{run_id}-{name}")
        pipeline = beam.Pipeline(options=job)
        _ = pipeline | ClassifyRound(hearing, name, path, Listed(len(members), skipped))
        state = await_end(pipeline.run, interrupts, job)
        if interrupts.number is not None:
            return
        if state != PipelineState.DONE:
            raise RunError(f"the job has ended, and not by itself: {state}")
        took_s = time.monotonic() - began
        committed = _check_committed(options.output, run_id, name, len(members))
        _discard_aside(hearing, name)
        heard_bytes = _size(members)
        totals = committed.totals
        failed = sum(totals.failures.values())
        board.committed(len(members), heard_bytes, failed, totals.audio_s)
        fits = min(_GROWTH, seconds / took_s)
        objects = max(1, min(_LARGEST_OBJECTS, round(len(members) * fits)))
        size_bytes = max(1, round(heard_bytes * fits))
        skipped = {}


def leave_to_engine(
    hearing: Hearing, beam_options: PipelineOptions, plan: Plan, record: Mapping[str, Any]
) -> None:
    """Write down a job that hears all that is planned in one round, and ends the run by itself.

    Args:
      hearing: how recordings are heard.
      beam_options: Beam's own.
      plan: what is to be heard.
      record: what the run's file is to say beside counts and times; JSON values.
    """
    output, run_id = hearing.options.output, hearing.made_by.run_id
    path = join(staging_folder(output, run_id), f"{_name(1)}.plan")
    members = list(plan.to_hear())
    write_plan(path, members)
    listed = Listed(len(members), plan.skipped())
    pipeline = beam.Pipeline(options=named(beam_options, run_id))
    _ = (
        pipeline
        | ClassifyRound(hearing, _name(1), path, listed)
        | ConcludeRun(output, run_id, record)
    )
    pipeline.run()
    leave_locked(output, run_id)


def _up_to(planned: Iterator[ToHear], objects: int, size_bytes: int) -> Iterator[ToHear]:
    """The next objects, so many or of so many bytes, whichever is less; at least one."""
    for each in islice(planned, objects):
        yield each
        size_bytes -= each.object.size_bytes or 0
        if size_bytes <= 0:
            return


def _size(members: Iterable[ToHear]) -> int:
    return sum(each.object.size_bytes or 0 for each in members)


def _discard_aside(hearing: Hearing, name: str) -> None:
    """Delete what of a committed round's embeddings has waited."""
    if hearing.made_by.embedding_size is not None:
        discard_folder(aside_folder(hearing.options.output, hearing.made_by.run_id, name))


def _check_committed(output: str, run_id: str, name: str, heard: int) -> RoundRecord:
    committed = read_round_file(round_file(output, run_id, name))
    objects = committed.listed.objects
    if objects != heard:
        raise RunError(f"{heard} objects were to be heard, but {objects} were")
    return committed


def _name(number: int) -> str:
    return f"{number:05d}"
