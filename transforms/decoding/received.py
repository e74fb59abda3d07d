"""The frames of a span as received from decoder processes, checked against the question."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from earmark.transforms.decoding.answers import nonsense
from earmark.transforms.decoding.messages import Frames
from earmark.transforms.elements import AudioHeader, Ending, FrameBlock, Gap, SignalLevel, Span
from earmark.transforms.errors import AudioError, ReadError, trouble_of
from earmark.transforms.frames import channels_heard, frames_in_block
from earmark.transforms.settings import Decoding


class DecodedSpan:
    """A span while it is decoded, in one attempt or in several, each from its beginning.

    Args:
      span: the part of a recording.
      decoding: how it becomes frames.
      most_s: more seconds than there can be; None if unknown.
    """

    def __init__(self, span: Span, decoding: Decoding, most_s: float | None = None) -> None:
        grid, use = decoding.grid, decoding.use
        self._span = span
        self._grid = grid
        self._most_s = math.inf if most_s is None else most_s
        self._use = use
        self._values = grid.frame_samples * use.in_frame
        self._first = grid.first_from(span.start_s)
        self._next = self._first  # the frame from which on others may come in this attempt
        self._end = self._first  # of what has come in any
        self._frames = 0  # that have come in this attempt
        self._gaps: list[Gap] = []
        self._silent_samples = 0  # in these
        self._ending = Ending(None, 0, 0, SignalLevel())
        self._kept_gaps = _SoFar([], 0)  # its gaps

    def check_reached(self, seconds: int) -> None:
        """Check that a decoder has not read more than the recording can hold.

        Raises:
          CrashedError: the decoder claims that it has.
        """
        if seconds > self._most_s:
            raise nonsense()

    def begin(self) -> None:
        """Begin an attempt."""
        self._next, self._frames = self._first, 0
        self._gaps, self._silent_samples = [], 0

    def check(self, answer: Frames) -> float:
        """Check that frames are those that come next, and no more than there can be.

        Returns:
          How many seconds have been decoded.

        Raises:
          CrashedError: they are not.
        """
        rows, values = answer.shape
        frames, rest = divmod(rows, answer.channels)
        so_far = answer.so_far
        self._note(so_far.gaps)
        decoded_s = self._decoded_s(so_far)
        fits = (
            self._is_silent_before(answer.first_frame, so_far.header)
            and values == self._values
            and rest == 0
            and self._has_channels(so_far.header, answer.channels)
            and frames <= frames_in_block(self._grid, max(self._use.in_frame, answer.channels))
            and so_far.frames == self._frames + frames
            and 0 <= decoded_s <= self._most_s
            and self._frames * self._grid.hop_s <= self._most_s
        )
        if not fits:
            raise nonsense()
        return decoded_s

    def is_new(self, answer: Frames) -> bool:
        """Count frames in; False for those that have come in an earlier attempt.

        Raises:
          ReadError: the recording is not what it was in the earlier attempt.
        """
        begin, frames = answer.first_frame, answer.shape[0] // answer.channels
        self._next, self._frames = begin + frames, self._frames + frames
        if begin < self._end < self._next:
            raise _changed()
        if begin < self._end:
            return False
        self._end = self._next
        self._keep(answer.so_far)
        return True

    def finish(self, ending: Ending) -> None:
        """Note how decoding ended.

        Raises:
          CrashedError: it gave other frames than it says.
          ReadError: the recording is not what it was in an earlier attempt.
        """
        self._note(ending.gaps)
        if self._decoded_s(ending) < 0 or ending.frames != self._frames:
            raise nonsense()
        if self._next < self._end:
            raise _changed()
        self._keep(ending)

    def break_off(self, error: AudioError) -> None:
        """Note what decoding ended with; the frames that had come stay good."""
        header, samples = self._ending.header, self._ending.samples
        reached_s = self._span.start_s + samples / header.sample_rate_hz if header else 0
        self._ending = replace(self._ending, trouble=trouble_of(error, reached_s))

    def last_block(self) -> FrameBlock:
        """The block without frames that says how decoding ended."""
        none = np.empty((0, self._values), np.float32)
        ending = replace(self._ending, gaps=self._kept_gaps.all)
        return FrameBlock(self._span, self._end, none, ending)

    def _note(self, gaps: Sequence[Gap]) -> None:
        """Note new gaps, and the last one known, which may have grown.

        All may be very many, so this doesn't go through those that are known.

        Raises:
          CrashedError: they are not in their order.
        """
        known = self._gaps
        if known and gaps and gaps[0].start == known[-1].start:
            self._silent_samples -= _samples([known.pop()])
        if known and gaps and gaps[0].start < known[-1].stop:
            raise nonsense()
        known += gaps
        self._silent_samples += _samples(gaps)

    def _decoded_s(self, ending: Ending) -> float:
        decoded = ending.samples - self._silent_samples
        return decoded / ending.header.sample_rate_hz if ending.header else 0.0

    def _keep(self, ending: Ending) -> None:
        self._ending = ending
        self._kept_gaps = _SoFar(self._gaps, len(self._gaps), *self._gaps[-1:])

    def _is_silent_before(self, frame: int, header: AudioHeader | None) -> bool:
        """Whether frames are missing between the last one and another only where gaps are."""
        if header is None or frame <= self._next:
            return frame == self._next
        grid, rate_hz = self._grid, header.sample_rate_hz
        begin = self._next * grid.hop_samples * rate_hz // grid.sample_rate_hz
        end = (frame - 1) * grid.hop_samples + grid.heard_samples
        return _end_of_silence(self._gaps, begin) * grid.sample_rate_hz >= end * rate_hz

    def _has_channels(self, header: AudioHeader | None, channels: int) -> bool:
        return header is not None and channels == channels_heard(self._use, header.channels)


class _SoFar(NamedTuple):
    """The first gaps of a list that grows, of which the last may have grown."""

    gaps: Sequence[Gap]
    known: int
    last: Gap | None = None

    @property
    def all(self) -> tuple[Gap, ...]:
        return () if self.last is None else (*self.gaps[: self.known - 1], self.last)


def _samples(gaps: Iterable[Gap]) -> int:
    return sum(gap.stop - gap.start for gap in gaps)


def _changed() -> ReadError:
    return ReadError("has changed while it was being decoded")


def _end_of_silence(gaps: Sequence[Gap], sample: int) -> int:
    """Where gaps end that begin before a sample, or at it, and follow each other."""
    for gap in gaps[bisect_right(gaps, sample, key=lambda gap: gap.stop) :]:
        if gap.start > sample:
            break
        sample = gap.stop
    return sample
