"""The errors that recordings are expected to cause.

One family of errors, each kind with the reason code that goes into the rows. Anything that is not
an AudioError is a bug, and stops the run.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from earmark.transforms.elements import Trouble
from earmark.transforms.text import printable


class ExpectedError(Exception):
    """What may end a run and is no bug; the message is one line that says what, and where."""


class AudioError(Exception):
    """A recording cannot be processed, or not to its end. The message is for the archivist."""

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
    """The content is of no known audio or video format."""

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
    """Fewer samples were decoded than the header declares."""

    reason = "truncated"


class CrashedError(AudioError):
    """The decoder itself failed on the content: it crashed, or ran out of memory."""

    reason = "crashed"


class KilledError(AudioError):
    """The decoder was killed from outside, repeatedly: usually because memory was short."""

    reason = "killed"


class TooSlowError(AudioError):
    """The decoder took too long, and was stopped."""

    reason = "timeout"


class ReadError(AudioError):
    """The object could not be read: no permission, gone, or the connection failed."""

    reason = "io"


PASSING_REASONS = (ReadError.reason, KilledError.reason)
"""Reasons that say nothing about the recording itself: the next run tries it again."""


def trouble_of(error: AudioError, reached_s: float = 0.0) -> Trouble:
    """What is told of an error, met after so many seconds of a recording."""
    stage = "read" if isinstance(error, ReadError) else "decode"
    message = printable(error, 1000)  # what Parquet can hold, too: a name may be no UTF-8
    if reached_s and not isinstance(error, TruncatedError):
        message = f"{message}, after {reached_s:.3f} s"
    return Trouble(stage, error.reason, message)


def error_of(trouble: Trouble) -> AudioError:
    """The error that a trouble of decoding tells of."""
    kinds = {kind.reason: kind for kind in AudioError.__subclasses__()}
    return kinds[trouble.reason](trouble.message)


_OF_LIBRARIES = (
    ("apache_beam.io.aws.clients.s3.messages", "S3ClientError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("google.cloud.storage.exceptions", "InvalidResponse"),
    ("google.api_core.exceptions", "GoogleAPIError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("http.client", "HTTPException"),
)


def store_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What reading and writing objects raises, and others.

    Of the stores' libraries, which take long to import, only those count that are imported by now:
    no other can have raised an error.
    """
    modules = ((sys.modules.get(module), name) for module, name in _OF_LIBRARIES)
    kinds = (getattr(module, name, None) for module, name in modules)
    return (OSError, *filter(None, kinds), *others)
