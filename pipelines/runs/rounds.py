"""A run, round by round: each processes a part of the archive and commits it.

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
from earmark.transforms.elements import Listed, PlannedObject
from earmark.transforms.output import (
    ConcludeRun,
    RoundRecord,
    aside_folder,
    discard_folder,
    leave_locked,
    read_round_file,
    round_file,
    staging_folder,
)
from earmark.transforms.planning import Retry, write_plan
from earmark.transforms.storage import join

ROUND_OBJECTS = 2000
"""So many objects at most are processed in a local round: the engine keeps something of each."""

FIRST_OBJECTS = 10_000
FIRST_BYTES = 10 * 1000**3
"""As much as a first round elsewhere processes, when nobody knows yet how fast the engine is."""

_GROWTH = 10
_LARGEST_OBJECTS = 1_000_000

COMMIT_EVERY_S = 120.0
COMMIT_EVERY_ELSEWHERE_S = 1800.0
"""How long a round lasts, unless the options say so: elsewhere it takes a while to begin one."""


def retry(options: ClassifyOptions) -> Retry:
    """What a run processes again though it has not changed."""
    return Retry.FAILED if options.retry_failed else Retry.UNREADABLE


def run_here(
    hearing: Hearing,
    beam_options: PipelineOptions,
    due: Iterator[PlannedObject],
    skipped: Mapping[str, int],
    interrupts: Interrupts,
    numbers: Iterator[int],
) -> None:
    """Process what is due in threads of this process, and commit it round by round.

    A round ends when its time is over: what nobody has begun by then goes into the next.

    Args:
      hearing: how recordings are heard.
      beam_options: Beam's own.
      due: what is to be processed.
      skipped: what the listing left out, to be said in the first round's file.
      interrupts: whether to stop.
      numbers: of the rounds in the run.

    Raises:
      RunError: the engine lost an object.
      RuntimeError: a worker failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    seconds = options.commit_every_s or COMMIT_EVERY_S
    waiting: list[PlannedObject] = []
    largest = ROUND_OBJECTS
    engines.share_arenas()
    while True:
        waiting += islice(due, max(0, largest - len(waiting)))
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
        done = len(waiting) - len(left)
        _check_committed(hearing, name, done)
        waiting = [each for each in waiting if each.object.uri in left]
        engines.give_back()
        largest, skipped = min(ROUND_OBJECTS, 2 * done + 64), {}


def run_elsewhere(
    hearing: Hearing,
    beam_options: PipelineOptions,
    due: Iterator[PlannedObject],
    skipped: Mapping[str, int],
    interrupts: Interrupts,
) -> None:
    """Process what is due on another engine, a job for each round.

    A round is as large as will take the time that it is to last, going by how long those before it
    took.

    Raises:
      RunError: the engine lost an object, or a job was cancelled there.
      RuntimeError: a job failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    seconds = options.commit_every_s or COMMIT_EVERY_ELSEWHERE_S
    objects, size_bytes = FIRST_OBJECTS, FIRST_BYTES
    board = workers.board(run_id)
    for number in count(1):
        members = list(_up_to(due, objects, size_bytes))
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
        totals = _check_committed(hearing, name, len(members)).totals
        done_bytes, failed = _size(members), sum(totals.failures.values())
        board.committed(len(members), done_bytes, failed, totals.audio_s)
        fits = min(_GROWTH, seconds / took_s)
        objects = max(1, min(_LARGEST_OBJECTS, round(len(members) * fits)))
        size_bytes = max(1, round(done_bytes * fits))
        skipped = {}


def leave_to_engine(
    hearing: Hearing,
    beam_options: PipelineOptions,
    due: Iterable[PlannedObject],
    skipped: Mapping[str, int],
    record: Mapping[str, Any],
) -> None:
    """Write down a job that processes all that is due in one round, and ends the run by itself.

    Args:
      hearing: how recordings are heard.
      beam_options: Beam's own.
      due: what is to be processed.
      skipped: what the listing left out, to be said in the round's file.
      record: what the run's file is to say beside counts and times; JSON values.
    """
    output, run_id = hearing.options.output, hearing.made_by.run_id
    path = join(staging_folder(output, run_id), f"{_name(1)}.plan")
    members = list(due)
    write_plan(path, members)
    listed = Listed(len(members), skipped)
    pipeline = beam.Pipeline(options=named(beam_options, run_id))
    _ = (
        pipeline
        | ClassifyRound(hearing, _name(1), path, listed)
        | ConcludeRun(output, run_id, record)
    )
    pipeline.run()
    leave_locked(output, run_id)


def _up_to(due: Iterator[PlannedObject], objects: int, size_bytes: int) -> Iterator[PlannedObject]:
    """The next objects, so many or of so many bytes, whichever is less; at least one."""
    for each in islice(due, objects):
        yield each
        size_bytes -= each.object.size_bytes or 0
        if size_bytes <= 0:
            return


def _size(members: Iterable[PlannedObject]) -> int:
    return sum(each.object.size_bytes or 0 for each in members)


def _check_committed(hearing: Hearing, name: str, planned: int) -> RoundRecord:
    """Check that a round has committed what was planned; its embeddings wait no longer then."""
    output, run_id = hearing.options.output, hearing.made_by.run_id
    committed = read_round_file(round_file(output, run_id, name))
    objects = committed.listed.objects
    if objects != planned:
        raise RunError(f"{planned} objects were to be heard, but {objects} were")
    if hearing.made_by.embedding_size is not None:
        discard_folder(aside_folder(output, run_id, name))
    return committed


def _name(number: int) -> str:
    return f"{number:05d}"
