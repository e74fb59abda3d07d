"""Reading whole objects from any filesystem."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from earmark.transforms.errors import ReadError
from earmark.transforms.storage.paths import local_path, shown
from earmark.transforms.storage.stores import (
    READ_BYTES,
    STORE_ERRORS,
    check_reachable,
    open_object,
    reason,
    retrying,
    stat_object,
    version_of,
)
from earmark.transforms.storage.temporary_copies import TemporaryCopy, temporary_copy


def read_uri(uri: str) -> bytes:
    """The whole content at a URI of any filesystem that Beam knows; for small files.

    Raises:
      OSError: it cannot be read, or there is no room for a copy of it.
      ValueError: no filesystem is known for it.
    """
    path = local_path(uri)
    if path is not None:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
            return bytes(source.read())
    try:
        with fetched(uri, "") as copy:
            return Path(copy.name).read_bytes()
    except ReadError as error:
        raise OSError(str(error)) from error
    except STORE_ERRORS as error:
        raise OSError(reason(error)) from error


def read_small(uri: str, at_most: int) -> bytes:
    """The content of a file or URI of any filesystem that Beam knows.

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
    _check_size(stat_object(uri).size_in_bytes, at_most)
    return read_uri(uri)


@contextmanager
def fetched(uri: str, version: str) -> Iterator[TemporaryCopy]:
    """A copy of an object, all of one version."""
    version = version or _version_now(uri)
    with temporary_copy(_size_bytes(version)) as copy:
        for attempt in retrying():
            with attempt:
                _read_on(uri, copy)
        now = _version_now(uri)
        if now != version:
            raise ReadError(f"{shown(uri)}: has changed since it was listed")
        if copy.written_bytes != _size_bytes(now):
            raise OSError(f"{copy.written_bytes} bytes were received, not {_size_bytes(now)}")
        yield copy


def _read_on(uri: str, copy: TemporaryCopy) -> None:
    """Append the rest of an object."""
    with open_object(uri) as remote:
        remote.seek(copy.written_bytes)
        while chunk := remote.read(READ_BYTES):
            copy.write(chunk)


def _size_bytes(version: str) -> int | None:
    """An object's size by its version: see `version_of`."""
    size = version.partition("-")[0]
    return int(size) if size.isdecimal() else None


def _version_now(uri: str) -> str:
    for attempt in retrying():
        with attempt:
            file = stat_object(uri)
    return version_of(file)


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
