"""The frames of a span as received from decoder processes, checked against the question."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from earmark.transforms.decoding.answers import nonsense
from earmark.transforms.decoding.messages import Frames
from earmark.transforms.elements import AudioHeader, Ending, FrameBlock, SignalLevel, Span
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
        self._hop_s = grid.hop_s
        self._most_s = math.inf if most_s is None else most_s
        self._use = use
        self._values = grid.frame_samples * use.in_frame
        self._first = grid.first_from(span.start_s)
        self._next = self._first  # the frame that is to come next in this attempt
        self._end = self._first  # of what has come in any
        self._ending = Ending(None, 0, 0, SignalLevel())

    def check_reached(self, seconds: int) -> None:
        """Check that a decoder has not read more than the recording can hold.

        Raises:
          CrashedError: the decoder claims that it has.
        """
        if seconds > self._most_s:
            raise nonsense()

    def begin(self) -> None:
        """Begin an attempt."""
        self._next = self._first

    def check(self, answer: Frames) -> None:
        """Check that frames are those that come next, and no more than there can be.

        Raises:
          CrashedError: they are not.
        """
        rows, values = answer.shape
        frames, rest = divmod(rows, answer.channels)
        fits = (
            answer.first_frame == self._next
            and values == self._values
            and rest == 0
            and self._has_channels(answer.so_far.header, answer.channels)
            and frames <= frames_in_block(max(self._use.in_frame, answer.channels))
            and answer.so_far.frames == self._next + frames - self._first
            and decoded_s(answer.so_far) <= self._most_s
            and (self._next - self._first) * self._hop_s <= self._most_s
        )
        if not fits:
            raise nonsense()

    def is_new(self, answer: Frames) -> bool:
        """Count frames in; False for those that have come in an earlier attempt.

        Raises:
          ReadError: the recording is not what it was in the earlier attempt.
        """
        begin = self._next
        self._next += answer.shape[0] // answer.channels
        if begin < self._end < self._next:
            raise _changed()
        if begin < self._end:
            return False
        self._end, self._ending = self._next, answer.so_far
        return True

    def finish(self, ending: Ending) -> None:
        """Note how decoding ended.

        Raises:
          CrashedError: it gave other frames than it says.
          ReadError: the recording is not what it was in an earlier attempt.
        """
        if ending.frames != self._next - self._first:
            raise nonsense()
        if self._next < self._end:
            raise _changed()
        self._ending = ending

    def break_off(self, error: AudioError) -> None:
        """Note what decoding ended with; the frames that had come stay good."""
        reached_s = self._span.start_s + decoded_s(self._ending) if self._ending.header else 0
        self._ending = replace(self._ending, trouble=trouble_of(error, reached_s))

    def last_block(self) -> FrameBlock:
        """The block without frames that says how decoding ended."""
        none = np.empty((0, self._values), np.float32)
        return FrameBlock(self._span, self._end, none, self._ending)

    def _has_channels(self, header: AudioHeader | None, channels: int) -> bool:
        return header is not None and channels == channels_heard(self._use, header.channels)


def decoded_s(ending: Ending) -> float:
    """How many seconds had been decoded at an ending."""
    return ending.samples / ending.header.sample_rate_hz if ending.header else 0.0


def _changed() -> ReadError:
    return ReadError("has changed while it was being decoded")
