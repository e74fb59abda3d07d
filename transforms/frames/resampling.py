"""Mixing down to mono and resampling, a second at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import soxr
from numpy.typing import NDArray

from earmark.transforms.samples import INT16_STEP, Samples

QUALITY = "VHQ"
"""soxr's double-precision engine: as fast as HQ."""

SEGMENT_S = 60
"""Where a recording may be cut: at multiples of this."""

LEAD_IN_S = 1
"""How much the resampler must see before and after a segment: its filter spans half a second."""


def mix_down(block: Samples) -> NDArray[np.float32]:
    """The mean of the channels: [n, channels] to float32 [n] in [-1, 1].

    Channel by channel: an order of magnitude faster than a mean over the short axis, and, unlike a
    matrix product, the same to the last bit wherever a block begins. Integers and the same numbers
    as float32 give the same mean, to the bit.
    """
    is_integer, channels = block.dtype == np.int16, block.shape[1]
    if is_integer and channels == 2 and block.flags.c_contiguous:
        mono = _sum_of_pairs(block)
    else:
        mono = block[:, 0].astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is counted as no number
            for channel in range(1, channels):
                mono += block[:, channel]
    if is_integer or channels > 1:
        mono *= np.float32(1 / channels) * np.float32(INT16_STEP if is_integer else 1)
    return mono


def _sum_of_pairs(block: Samples) -> NDArray[np.float32]:
    """The sums of two channels that lie beside each other, int16 [n, 2] to float32 [n].

    Both samples of a pair are read as one number of 32 bits, which takes half the time.
    """
    pairs = block.view(np.int32)[:, 0]
    sums = pairs << 16
    sums >>= 16
    sums += pairs >> 16
    return sums.astype(np.float32)


def resample(
    seconds: Iterable[NDArray[np.float32]], from_hz: int, to_hz: int, start_s: int = 0
) -> Iterator[NDArray[np.float32]]:
    """Resample a mono signal that comes second by second.

    Segment by segment: the resampler begins anew at every multiple of SEGMENT_S, a second early and
    a second longer than its samples are used, which is twice what its filter sees. So the samples
    of a segment are the same to the last bit, wherever reading began.

    A NaN would spread over everything that the filter touches. So it is replaced by zero before
    resampling, and the nearest samples of the output are set back to NaN.

    Args:
      seconds: float32 [from_hz] each, only the last may be shorter; the first of them is the one
        before start_s, or, where that is 0, the signal's first.
      from_hz: their rate.
      to_hz: the rate wanted.
      start_s: the second from which on the signal is wanted; a multiple of SEGMENT_S.

    Yields:
      float32 [any]; in all, round(samples * to_hz / from_hz) samples for the samples from start_s
      on, but of a whole signal at least one.
    """
    if from_hz == to_hz:
        yield from _numbers(seconds, start_s)
        return
    segment = _Segment(from_hz, to_hz, first=start_s == 0)
    upcoming: _Segment | None = None
    boundary_s, second = start_s + SEGMENT_S, max(0, start_s - LEAD_IN_S)
    for chunk in seconds:
        if second == boundary_s + LEAD_IN_S and upcoming:
            yield from segment.finish()
            segment, upcoming, boundary_s = upcoming, None, boundary_s + SEGMENT_S
        if second == boundary_s - LEAD_IN_S:
            upcoming = _Segment(from_hz, to_hz)
        yield from segment.take(chunk)
        if upcoming:
            upcoming.prepare(chunk)
        second += 1
    yield from segment.finish()
    if upcoming:
        yield from upcoming.finish()


def _numbers(seconds: Iterable[NDArray[np.float32]], start_s: int) -> Iterator[NDArray[np.float32]]:
    """A signal that has the rate wanted: what soxr gives, and NaN for what is no number."""
    seconds = iter(seconds)
    first = next(seconds, np.zeros(1, np.float32))
    for chunk in chain([] if start_s else [first], seconds):
        finite = np.isfinite(chunk)
        yield chunk if finite.all() else np.where(finite, chunk, np.float32(np.nan))


class _Segment:
    """A stretch of a signal, resampled with some of what lies before and behind it."""

    def __init__(self, from_hz: int, to_hz: int, *, first: bool = False) -> None:
        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=QUALITY)
        self._gaps = _Gaps(to_hz / from_hz)
        self._start = 0 if first else LEAD_IN_S * to_hz
        self._stop = self._start + SEGMENT_S * to_hz
        self._made = 0
        self._least = int(first)
        self._ready: list[NDArray[np.float32]] = []

    def prepare(self, chunk: NDArray[np.float32]) -> None:
        """Resample what comes next, and keep it for the next that is taken."""
        resampled = self._stream.resample_chunk(self._gaps.close(chunk))
        self._ready.append(self._gaps.reopen(resampled))

    def take(self, chunk: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Resample what comes next, float32 [any]; yields what is ready of the segment."""
        self.prepare(chunk)
        return self._given()

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """Yields the rest of the segment."""
        rest = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        missing = self._least - self._made - sum(map(len, self._ready)) - len(rest)
        rest = np.pad(rest, (0, max(0, missing)))
        self._ready.append(self._gaps.reopen(rest, last=True))
        return self._given()

    def _given(self) -> Iterator[NDArray[np.float32]]:
        for resampled in self._ready:
            begin, end = self._start - self._made, self._stop - self._made
            self._made += len(resampled)
            if end > 0 and begin < len(resampled):
                yield resampled[max(0, begin) : end]
        self._ready = []


class _Gaps:
    """Remembers where a signal is NaN, while the resampler is some samples behind."""

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._taken = 0
        self._given = 0
        self._positions = np.empty(0, np.int64)

    def close(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        finite = np.isfinite(chunk)
        if not finite.all():
            first = (self._taken + np.flatnonzero(~finite)) * self._ratio
            nearest = np.add.outer(np.arange(math.ceil(self._ratio)), first.astype(np.int64))
            self._positions = np.union1d(self._positions, nearest)
            chunk = np.where(finite, chunk, np.float32(0))
        self._taken += len(chunk)
        return chunk

    def reopen(self, resampled: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        end = self._given + len(resampled)
        if last:  # the length is rounded, so the last gap may lie just behind it
            self._positions = np.minimum(self._positions, end - 1)
        due = self._positions < end
        if due.any():
            resampled[self._positions[due] - self._given] = np.nan
            self._positions = self._positions[~due]
        self._given += len(resampled)
        return resampled
