"""What a store says of an object, what tells versions apart, and what goes wrong with stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from earmark.transforms.errors import store_errors
from earmark.transforms.text import printable

READ_BYTES = 8 << 20
"""How much of an object is asked for at once."""


class StoreError(OSError):
    """A store failed, or refuses; the message is one line.

    Attributes:
      uri: what it was asked for, with which the message begins; empty if that isn't known.
    """

    uri = ""

    def __str__(self) -> str:
        said = super().__str__()
        return f"{printable(self.uri)}: {said}" if self.uri else said


class Stored(NamedTuple):
    """An object as a store describes it.

    Attributes:
      uri: where it is.
      size_bytes: how long it is.
      changed_s: when it was changed, in seconds since 1970; 0 where the store doesn't say.
      etag: what the store calls this content of it; empty where it has no name for that.
    """

    uri: str
    size_bytes: int
    changed_s: float
    etag: str = ""

    @property
    def version(self) -> str:
        """What changes when the object does: SIZE-MILLISECONDS-ETAG, or SIZE-MILLISECONDS.

        With an etag the time is in whole seconds, since stores say less of it when they are asked
        for one object than when they list it.
        """
        if not self.etag:
            return f"{self.size_bytes}-{round(self.changed_s * 1000)}"
        return f"{self.size_bytes}-{int(self.changed_s) * 1000}-{quote(self.etag, safe='')}"


def is_same_version(one: str, other: str) -> bool:
    """Whether versions of an object say that its content is the same.

    Of two with an etag, that and the size decide. Where only one has an etag, as rows were written
    before versions had any, the size and the second of the last change do. A member's version
    begins with its archive's.
    """
    if one == other:
        return True
    (ours, our_member), (theirs, their_member) = _parts(one), _parts(other)
    if our_member != their_member or ours.size != theirs.size:
        return False
    if ours.etag and theirs.etag:
        return ours.etag == theirs.etag
    return bool(ours.etag or theirs.etag) and ours.changed_s == theirs.changed_s


class _Version(NamedTuple):
    size: str
    changed_s: str
    etag: str


def _parts(version: str) -> tuple[_Version, str]:
    """A version's parts, and what it says of a member behind those of the archive."""
    whole, _, member = version.partition("/")
    size, changed_ms, etag = (*whole.split("-", 2), "", "")[:3]
    return _Version(size, changed_ms[:-3], etag), member


class Reading(NamedTuple):
    """An object that is being read: what it is, and its content, all of this one version."""

    stored: Stored
    chunks: Iterator[bytes]


def unusable_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What reading and writing objects raises, what a URI that no store can take, and others."""
    return store_errors(ValueError, *others)


@contextmanager
def ignoring_store_errors() -> Iterator[None]:
    """Go on where reading or writing an object fails."""
    try:
        yield
    except store_errors():
        pass


def is_missing(error: BaseException) -> bool:
    """Whether a store says with an error that there is no such object."""
    return any(
        isinstance(each, (FileNotFoundError, NotADirectoryError))
        or getattr(each, "code", None) == HTTPStatus.NOT_FOUND
        for each in _causes(error)
    )


def reason(error: BaseException) -> str:
    """What went wrong, though not with what: the first line of the first thing, without secrets.

    Where that line only announces the next, that one, too.
    """
    cause = _causes(error)[0]
    text = cause.args[0] if isinstance(cause, StoreError) else cause
    lines = str(text).strip().split("\n")
    said = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
    return printable(" ".join(said.split()))


def _causes(error: BaseException) -> list[BaseException]:
    """What Beam has wrapped into an error, and into those; itself if nothing."""
    wrapped = (getattr(error, "exception_details", None) or {}).values()
    return [cause for each in wrapped for cause in _causes(each)] or [error]
