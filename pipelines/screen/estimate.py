"""How long a run will still take, by what it has measured so far.

Formats differ: a second of WAV has ten times the bytes of a second of MP3, and takes less time. So
each kind of file goes by its own time for a byte. Of kinds of which nothing is finished yet, the
length of the sound is guessed from the size, and the time for a second taken from the others.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from earmark.transforms.workers import KindProgress, Snapshot, UnderWay

_LEAST_WORK_S = 0.5
"""How long threads must have worked before anything is estimated."""

_MOST_OVERHEAD = 2.0
"""A watch has nothing to do most of the time."""

_PARTS = 10
"""For each thread; more would not change the estimate."""

_USUAL_BYTES_PER_S = {".flac": 60_000, ".mp3": 16_000, ".ogg": 14_000, ".opus": 8_000}
_UNCOMPRESSED_BYTES_PER_S = 96_000
_COMPRESSED = {".aac", ".m4a", ".mp4", ".webm", ".wma", ".mp2", ".mka", ".oga", ".amr"}


class Estimate(NamedTuple):
    """How far a run is.

    Attributes:
      left_s: how long it will still take.
      share: of the work that is done, 0 to 1.
    """

    left_s: float
    share: float


def estimate(now: Snapshot, elapsed_s: float) -> Estimate | None:
    """How far a run is; None while too little is known.

    Args:
      now: the counts of its board.
      elapsed_s: since it began.
    """
    spent_s = _spent_s(now)
    if not now.threads:
        return _by_bytes(now, elapsed_s)
    if spent_s < _LEAST_WORK_S or not now.audio_s:
        return None
    begun_s, waiting_s = list(_left_of_spans(now)), sum(_left_of_kinds(now))
    left_s = _dealt_out(begun_s, waiting_s, _spans_left(now), now.threads)
    overhead = now.busy_s * now.threads / spent_s  # of committing, and between spans
    share = spent_s / (spent_s + sum(begun_s) + waiting_s)
    return Estimate(left_s * min(max(1.0, overhead), _MOST_OVERHEAD), share)


def _by_bytes(now: Snapshot, elapsed_s: float) -> Estimate | None:
    """The estimate where workers are elsewhere and only what is committed is known."""
    if not now.finished_bytes or elapsed_s < 1:
        return None
    left_s = elapsed_s * (now.listed_bytes - now.finished_bytes) / now.finished_bytes
    return Estimate(left_s, now.finished_bytes / max(1, now.listed_bytes))


def _left_of_spans(now: Snapshot) -> Iterator[float]:
    """How long each span that is under way will still take."""
    for each in now.under_way:
        yield max(0.0, each.size_bytes * _time_per_byte(each.kind, now) - each.took_s)


def _left_of_kinds(now: Snapshot) -> Iterator[float]:
    """How long what is not begun will take one thread, by kind."""
    for name, kind in now.kinds.items():
        begun = sum(each.size_bytes for each in now.under_way if each.kind == name)
        left_bytes = max(0, kind.listed_bytes - kind.finished_bytes - begun)
        yield left_bytes * _time_per_byte(name, now)


def _spans_left(now: Snapshot) -> float:
    """About how many spans are not begun: one of each object, or as many as usual for the size."""
    by_size = (
        (each.listed_bytes - each.finished_bytes) * each.spans / each.finished_bytes
        for each in now.kinds.values()
        if each.finished_bytes
    )
    return max(now.listed - now.finished, sum(by_size)) - len(now.under_way)


def _dealt_out(begun_s: list[float], waiting_s: float, spans: float, threads: int) -> float:
    """How long threads take until all is done; the last of them work while others have nothing."""
    loads = [*begun_s, *[0.0] * (threads - len(begun_s))]
    parts = max(1, min(round(spans), _PARTS * threads))
    heapq.heapify(loads)
    for _ in range(parts):
        heapq.heapreplace(loads, loads[0] + waiting_s / parts)
    return max(loads)


def _time_per_byte(name: str, now: Snapshot) -> float:
    kind = now.kinds.get(name, KindProgress())
    if kind.finished_bytes:
        return kind.took_s / kind.finished_bytes
    begun = [each for each in now.under_way if each.kind == name]
    return _time_per_second(begun, now) / min([_bytes_per_s(name), *map(_most_bytes_per_s, begun)])


def _time_per_second(begun: list[UnderWay], now: Snapshot) -> float:
    """The time for a second of sound: of what is begun of a kind, or else of all kinds."""
    heard_s = sum(each.heard_s for each in begun)
    if heard_s:
        return sum(each.took_s for each in begun) / heard_s
    return _spent_s(now) / now.audio_s


def _spent_s(now: Snapshot) -> float:
    """How long all threads have worked."""
    finished_s = sum(each.took_s for each in now.kinds.values())
    return finished_s + sum(each.took_s for each in now.under_way)


def _bytes_per_s(kind: str) -> float:
    compressed = _USUAL_BYTES_PER_S[".mp3"] if kind in _COMPRESSED else _UNCOMPRESSED_BYTES_PER_S
    return _USUAL_BYTES_PER_S.get(kind, compressed)


def _most_bytes_per_s(begun: UnderWay) -> float:
    """A bound: what is heard of a span already is at most all of it."""
    is_known = begun.heard_s and begun.size_bytes
    return begun.size_bytes / begun.heard_s if is_known else float("inf")
