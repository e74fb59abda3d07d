"""A run, round by round: each processes a part of the archive and commits it.

So a run that is cut off loses little, and on this machine memory does not grow with the archive.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

from earmark.pipelines.console import counted
from earmark.pipelines.engines import Round, RoundSize
from earmark.pipelines.errors import RunError
from earmark.pipelines.interrupts import Interrupts
from earmark.pipelines.options import ClassifyOptions
from earmark.pipelines.runs.graph import ClassifyRound
from earmark.pipelines.runs.preparing import Run
from earmark.transforms import workers
from earmark.transforms.elements import PlannedObject
from earmark.transforms.output import (
    RoundRecord,
    aside_folder,
    discard_folder,
    read_round_file,
    round_file,
    staging_folder,
)
from earmark.transforms.planning import Planner, Retry, kinds_of, samples_first
from earmark.transforms.settings import Settings
from earmark.transforms.storage import OTHERS, join


def retry(options: ClassifyOptions) -> Retry:
    """What a run processes again though it has not changed."""
    return Retry.FAILED if options.retry_failed else Retry.UNREADABLE


def announced(
    run: Run, planner: Planner, again: Retry, *, settled: bool = False
) -> Iterator[PlannedObject]:
    """What is due of a plan, some of each kind first; how much there is of each is on the board."""
    kinds = kinds_of(planner.plan.due(again, settled=settled))
    sizes = {kind.name: kind.size_bytes for kind in kinds}
    objects = sum(kind.objects for kind in kinds)
    workers.board(run.settings.run_id).listed(objects, sizes, OTHERS)
    return samples_first(kinds, planner.plan.due(again, settled=settled))


def run_in_rounds(
    run: Run,
    due: Iterator[PlannedObject],
    skipped: Mapping[str, int],
    interrupts: Interrupts,
    numbers: Iterator[int],
    record: Mapping[str, Any] | None = None,
) -> None:
    """Process what is due, and commit it round by round.

    Args:
      run: the run.
      due: what is to be processed.
      skipped: what the listing left out, to be said in the first round's file.
      interrupts: whether to stop.
      numbers: of the rounds in the run.
      record: what the run's file is to say, if a round is to end the run: see ClassifyRound.

    Raises:
      RunError: the engine failed, or lost an object.
      RuntimeError: a worker failed; Beam tells how.
    """
    options, engine, run_id = run.options, run.engine, run.settings.run_id
    seconds, size = options.commit_every_s or engine.commit_every_s, engine.first_size
    shards = options.num_shards or engine.num_shards
    waiting: list[PlannedObject] = []
    while True:
        waiting += _up_to(due, size, len(waiting))
        if not waiting or interrupts.number is not None:
            return
        name = f"{next(numbers):05d}"
        plan = join(staging_folder(options.output, run_id), f"{name}.plan")
        this = Round(run_id, name, tuple(waiting), skipped, plan, options.span_s, seconds)
        graph = partial(ClassifyRound, run, name, num_shards=shards, record=record)
        began = time.monotonic()
        left = engine.run_round(this, graph, interrupts)
        if left is None:
            return
        took_s = time.monotonic() - began
        done = [each for each in waiting if each.object.uri not in left]
        last = RoundSize(len(done), _size_bytes(done))
        committed = _check_committed(run.settings, name, last.objects)
        if not engine.shares_process:
            _show(committed, last, run_id)
        waiting = [each for each in waiting if each.object.uri in left]
        size, skipped = engine.next_size(last, took_s, seconds), {}


def _up_to(due: Iterator[PlannedObject], size: RoundSize, there: int) -> Iterator[PlannedObject]:
    """The next objects, up to a size with those that are there; at least one where none is."""
    left_bytes = size.size_bytes
    for each in islice(due, max(0, size.objects - there)):
        yield each
        left_bytes -= each.object.size_bytes or 0
        if left_bytes <= 0:
            return


def _size_bytes(members: Iterable[PlannedObject]) -> int:
    return sum(each.object.size_bytes or 0 for each in members)


def _show(committed: RoundRecord, size: RoundSize, run_id: str) -> None:
    """Note how far a run on a remote engine is."""
    totals = committed.totals
    failed = sum(totals.failures.values())
    workers.board(run_id).committed(size.objects, int(size.size_bytes), failed, totals.audio_s)


def _check_committed(settings: Settings, name: str, planned: int) -> RoundRecord:
    """Check that a round has committed what was planned; its embeddings wait no longer then."""
    output, run_id = settings.output, settings.run_id
    committed = read_round_file(round_file(output, run_id, name))
    objects = committed.listed.objects
    if objects != planned:
        raise RunError(f"{counted(planned, 'object')} planned, but {objects:,} processed")
    if settings.embeddings is not None:
        discard_folder(aside_folder(output, run_id, name))
    return committed
