"""The questions that decoder processes are asked, and their answers."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from earmark.transforms.elements import Ending, PlainSound, Span
from earmark.transforms.settings import Decoding


def endless_s(size_bytes: int) -> int:
    """More seconds than a file of this size can contain: past them a decoder must be looping.

    The densest case is digital silence at 4 kHz in FLAC, with one byte for 1.2 s.
    """
    return 60 + 10 * size_bytes


class DecodeSpan(NamedTuple):
    """Decode a span: answered by Frames and Reached as they come, then by Ended.

    Attributes:
      span: the part of a recording.
      path: the local file with its content.
      decoding: how it becomes frames.
    """

    span: Span
    path: str
    decoding: Decoding


class FindLength(NamedTuple):
    """Find a recording's length, if it can be cut into spans: answered by a Length."""

    path: str


Question: TypeAlias = DecodeSpan | FindLength


class Ready(NamedTuple):
    """The process has started, and waits for its first question."""


class Frames(NamedTuple):
    """Frames of a span; without a slot, followed by their float32 values as in memory.

    Attributes:
      first_frame: the index of the first of them in the clip.
      shape: how many there are, of all channels, and how many samples each has.
      channels: how many give frames of their own: see FrameBlock.
      so_far: the Ending if decoding stopped after them, but of the gaps only the last that has come
        before, which may have grown, and new ones. The Ending of Ended is so, too.
      slot: of shared memory, where their values are; None for the pipe.
    """

    first_frame: int
    shape: tuple[int, int]
    channels: int
    so_far: Ending
    slot: int | None = None


class Reached(NamedTuple):
    """Progress without new frames: how many seconds of the span have been decoded."""

    seconds: int


class Ended(NamedTuple):
    """The end of a span."""

    ending: Ending


class Length(NamedTuple):
    """How long a recording is.

    Attributes:
      seconds: its length, the last second begun; None where it cannot be cut.
      sound: where its samples are, if they are uncompressed; None otherwise.
    """

    seconds: int | None = None
    sound: PlainSound | None = None


Answer: TypeAlias = Ready | Frames | Reached | Ended | Length

OUT_OF_MEMORY_STATUS = 81
"""The exit status of a process that ran out of memory."""

BUG_STATUS = 82
"""The exit status of a process with a bug, which stderr describes."""
