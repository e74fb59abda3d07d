"""Keeping all workers of this process busy to the end."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from transforms.elements import Span

_TICKETS = 64
"""More than there are workers, so that each of them gets one."""


@dataclass
class ShareAmongThreads(beam.PTransform):  # type: ignore[misc]
    """Give each span to whichever thread of this process is free: Span to Span, the longest first.

    Beam's local engine deals elements out beforehand, so many to each worker, whatever they cost.
    So they wait in a queue of the process, and what is dealt out are tickets, with which a worker
    takes spans from the queue until it is empty. Only for an engine whose workers are threads of
    one process, and which does not try again what has failed.

    Attributes:
      run_id: names the queue: a run has its own.
    """

    run_id: str

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[Span]:
        """Apply the transform."""
        return (
            spans
            | "Enqueue" >> beam.ParDo(_EnqueueFn(self.run_id))
            | "DealOut" >> beam.GroupByKey()
            | "Dequeue" >> beam.FlatMap(_dequeue, self.run_id).with_output_types(Span)
        )


class _EnqueueFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def process(self, span: Span) -> Iterator[tuple[int, None]]:
        _queue(self._run_id).put(span)
        yield from ()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for ticket in range(_TICKETS):
            yield GlobalWindows.windowed_value((ticket, None))


def _dequeue(_: tuple[int, object], run_id: str) -> Iterator[Span]:
    return iter(_queue(run_id).take, None)


class _Queue:
    """Spans by their size, then in the order in which they came; for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._spans: list[tuple[float, int, Span]] = []

    def put(self, span: Span) -> None:
        size = (span.clip.size_bytes or 0) / span.count
        with self._lock:
            heapq.heappush(self._spans, (-size, next(self._numbers), span))

    def take(self) -> Span | None:
        with self._lock:
            return heapq.heappop(self._spans)[-1] if self._spans else None


_queues: dict[str, _Queue] = {}
_lock = threading.Lock()


def _queue(run_id: str) -> _Queue:
    with _lock:
        return _queues.setdefault(run_id, _Queue())


def forget(run_id: str) -> None:
    """Drop the queue of a run that is over."""
    with _lock:
        _queues.pop(run_id, None)
