"""The trouble that recordings are expected to give.

One family of errors, each kind with the reason code that goes into the rows. Anything that is not
an AudioError is a bug, and stops the run.
"""

from __future__ import annotations

from typing import ClassVar

from earmark.transforms.elements import Trouble
from earmark.transforms.text import printable


class AudioError(Exception):
    """A recording that cannot be heard, or not to its end. The message is for the archivist."""

    reason: ClassVar[str]


HOSTILE_CONTENT_ERRORS = (
    ArithmeticError,
    AssertionError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What else the Python side of a decoder raises, besides its own errors, when content lies to it.

Only for calls into such a library: anywhere else these are bugs.
"""


class EmptyFileError(AudioError):
    """The object holds no bytes."""

    reason = "empty_file"


class NoSamplesError(AudioError):
    """The object is audio, but not one sample is in it."""

    reason = "no_samples"


class NotAudioError(AudioError):
    """The content is of no audio or video format that is known here."""

    reason = "not_audio"


class NoAudioStreamError(AudioError):
    """A video or a container with no sound in it."""

    reason = "no_audio_stream"


class UnsupportedError(AudioError):
    """A known container with a codec, rate or layout that cannot be decoded here."""

    reason = "unsupported"


class DamagedError(AudioError):
    """The decoder gave up on the content."""

    reason = "damaged"


class TruncatedError(AudioError):
    """Fewer samples came out than the header promises."""

    reason = "truncated"


class CrashedError(AudioError):
    """The decoder itself came to an end over the content: it crashed, or ran out of memory."""

    reason = "crashed"


class KilledError(AudioError):
    """The decoder was killed from outside, again and again: as a rule since memory was short."""

    reason = "killed"


class TooSlowError(AudioError):
    """The decoder took too long, and was ended."""

    reason = "timeout"


class ReadError(AudioError):
    """The object could not be read: no permission, gone, or the connection failed."""

    reason = "io"


PASSING_REASONS = (ReadError.reason, KilledError.reason)
"""Why a recording could not be heard where that says nothing of it: the next run tries again."""


def trouble_of(error: AudioError, reached_s: float = 0.0) -> Trouble:
    """What is told of an error, met after so many seconds of a recording."""
    stage = "read" if isinstance(error, ReadError) else "decode"
    message = printable(error, 1000)  # what Parquet can hold, too: a name may be no UTF-8
    if reached_s and not isinstance(error, TruncatedError):
        message = f"{message}, after {reached_s:.3f} s"
    return Trouble(stage, error.reason, message)
