"""Reading whole objects from any filesystem."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from earmark.transforms.elements import ByteRange
from earmark.transforms.errors import ReadError, store_errors
from earmark.transforms.storage.checking import check_known, check_reachable, check_server
from earmark.transforms.storage.paths import ListingError, local_path, shown
from earmark.transforms.storage.signed_urls import without_signature
from earmark.transforms.storage.stored import Reading, is_same_version, reason
from earmark.transforms.storage.stores import store_of
from earmark.transforms.storage.temporary_copies import TemporaryCopy, temporary_copy
from earmark.transforms.text import holds_credentials


def read_uri(uri: str) -> bytes:
    """The whole content at a URI in any store; for what is small.

    Raises:
      OSError: it cannot be read, or there is no room for a copy of it.
      ValueError: no filesystem is known for it.
    """
    path = local_path(uri)
    if path is not None:
        return Path(path).read_bytes()
    try:
        with fetched(uri) as copy:
            return Path(copy.name).read_bytes()
    except ReadError as error:
        raise OSError(str(error)) from error
    except store_errors() as error:
        raise OSError(reason(error)) from error


def read_small(uri: str, at_most: int) -> bytes:
    """The content of a file, or of what lies at a URI in any store.

    Args:
      uri: a path or a URI.
      at_most: the largest size allowed, in bytes.

    Raises:
      OSError: it cannot be read, is not a regular file, or is larger.
      ValueError: no filesystem is known for it, or its store doesn't answer.
    """
    path = local_path(uri)
    if path is not None:
        return _read_local(path, at_most)
    check_reachable(uri)
    _check_size(store_of(uri).look(uri).size_bytes, at_most)
    return read_uri(uri)


@contextmanager
def fetched(
    uri: str, version: str = "", parts: Sequence[ByteRange] | None = None
) -> Iterator[TemporaryCopy]:
    """A copy of an object, all of one version.

    Args:
      uri: of the object.
      version: the one that it must still have; empty for any.
      parts: those that are wanted, from one byte to before another; the others are holes in the
        copy. None for the whole.

    Raises:
      ReadError: it has another, there is no room for a copy, or nobody to be asked for it.
      StoreError: it cannot be read.
    """
    _check_can_be_asked(uri)
    first, *others = parts or (None,)
    stored, chunks = _read(uri, version, first)
    size_bytes = sum(stop - start for start, stop in parts) if parts else stored.size_bytes
    with temporary_copy(size_bytes) as copy:
        copy.fill(first[0] if first else 0, chunks)
        for part in others:
            copy.fill(part[0], _read(uri, stored.version, part).chunks)
        copy.stretch(stored.size_bytes)
        yield copy


def _check_can_be_asked(uri: str) -> None:
    if holds_credentials(without_signature(uri)[0]):
        raise ReadError(f"credentials don't go into URIs: {shown(uri)}")
    try:
        check_known(uri)
        check_server(uri)
    except ListingError as error:
        raise ReadError(str(error)) from error


def _read(uri: str, version: str, part: ByteRange | None) -> Reading:
    reading = store_of(uri).read(uri, part)
    if version and not is_same_version(version, reading.stored.version):
        raise ReadError(f"{shown(uri)}: has changed since it was listed")
    return reading


def _read_local(path: str, at_most: int) -> bytes:
    # a pipe that nobody writes to would wait to be opened
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        _check_size(status.st_size, at_most)
        content = file.read(at_most + 1)  # what the system makes up, as in /proc, has no size
        _check_size(len(content), at_most)
        return content


def _check_size(size_bytes: int, at_most: int) -> None:
    if size_bytes > at_most:
        raise OSError(errno.EFBIG, f"is larger than {at_most / 1e6:,.0f} MB")
