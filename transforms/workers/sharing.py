"""Keeping all workers of this process busy to the end."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from earmark.shared import lending, lent
from earmark.transforms.elements import Span

_TICKETS = 64
"""More than there are workers, so that each of them gets one."""


class Shared(NamedTuple):
    """What ShareAmongThreads gives.

    Attributes:
      spans: all spans, except those of clips not yet begun when the run was told to stop.
      clips: how many clips were begun, in several numbers that add up to that; one at least.
    """

    spans: beam.PCollection[Span]
    clips: beam.PCollection[int]


@dataclass
class ShareAmongThreads(beam.PTransform):  # type: ignore[misc]
    """Give each span to whichever thread of this process is free, the longest first.

    If there are several kinds of files, one of each goes before these: how long a run takes can
    only be told once all kinds have been timed.

    Beam's local engine assigns elements to workers in advance, regardless of their cost. So spans
    wait in a queue of the process, and the engine assigns tickets, with which a worker takes spans
    until the queue is empty. Only for an engine whose workers are threads of one process, and which
    does not retry what has failed.

    Attributes:
      run_id: names the queue, which `queue` makes for as long as the pipeline runs.
    """

    run_id: str

    def expand(self, spans: beam.PCollection[Span]) -> Shared:
        """Apply the transform."""
        shared = (
            spans
            | "Enqueue" >> beam.ParDo(_EnqueueFn(self.run_id))
            | "DealOut" >> beam.GroupByKey()
            | "Dequeue" >> beam.FlatMap(_dequeue, self.run_id).with_outputs("clips", main="spans")
        )
        return Shared(shared.spans, shared.clips)


@contextmanager
def queue(run_id: str, seconds: float = math.inf) -> Iterator[set[str]]:
    """The queue of a run for one pipeline.

    Args:
      run_id: names it.
      seconds: how long after the first clip is begun the queue is stopped: see `stop`.

    Yields:
      A set which, once the context is left, contains the URIs of the clips that were not begun.
    """
    left: set[str] = set()
    with lending(_Queue(seconds), run_id) as mine:
        yield left
        left |= mine.left


def stop(run_id: str) -> None:
    """Have a pipeline end early: clips that are not yet begun are left out.

    It takes no lock, so signal handlers may call it.
    """
    if (mine := lent(_Queue, run_id)) is not None:
        mine.stop()


class _EnqueueFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def process(self, span: Span) -> Iterator[tuple[int, None]]:
        _queue(self._run_id).put(span)
        yield from ()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for ticket in range(_TICKETS):
            yield GlobalWindows.windowed_value((ticket, None))


def _dequeue(_: tuple[int, object], run_id: str) -> Iterator[Span | beam.pvalue.TaggedOutput]:
    begun = 0
    while (taken := _queue(run_id).take()) is not None:
        span, is_first = taken
        begun += is_first
        yield span
    yield beam.pvalue.TaggedOutput("clips", begun)


class _Queue:
    """One span of each kind, then all by size and order of arrival; for any number of threads.

    Attributes:
      left: the URIs of clips that were not begun when the queue was stopped.
    """

    def __init__(self, seconds: float) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        self._stops_at: float | None = None
        self._is_stopped = False
        self._numbers = count()
        self._spans: list[tuple[float, int, Span]] = []
        self._begun: dict[str, int] = {}
        self._is_taken = False
        self.left: set[str] = set()

    def put(self, span: Span) -> None:
        size = (span.clip.size_bytes or 0) / span.count
        with self._lock:
            heapq.heappush(self._spans, (-size, next(self._numbers), span))

    def take(self) -> tuple[Span, bool] | None:
        """The next span, and whether it is the first that is taken of its clip."""
        with self._lock:
            now = time.monotonic()
            if not self._is_taken:
                self._begin_with_each_kind()
            while self._spans:
                _, _, span = heapq.heappop(self._spans)
                uri = span.clip.uri
                left = self._begun.pop(uri, None)
                is_over = self._stops_at is not None and now >= self._stops_at
                if left is None and (is_over or self._is_stopped):
                    self.left.add(uri)
                    continue
                self._stops_at = self._stops_at or now + self._seconds
                is_first, left = left is None, (span.count if left is None else left) - 1
                if left:
                    self._begun[uri] = left
                return span, is_first
            return None

    def _begin_with_each_kind(self) -> None:
        """Put the middle one of each kind, by size, to the front."""
        self._is_taken = True
        by_kind: dict[str, list[tuple[float, int, Span]]] = defaultdict(list)
        for each in sorted(self._spans):
            by_kind[each[2].clip.extension].append(each)
        if len(by_kind) == 1:
            return
        first = {each[len(each) // 2][1] for each in by_kind.values()}
        self._spans = [
            (-math.inf if number in first else size, number, span)
            for size, number, span in self._spans
        ]
        heapq.heapify(self._spans)

    def stop(self) -> None:
        self._is_stopped = True


def _queue(run_id: str) -> _Queue:
    mine = lent(_Queue, run_id)
    if mine is None:
        raise LookupError(f"there is no queue of {run_id}")
    return mine
