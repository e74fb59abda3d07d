"""Copies of recordings in the temporary folder, and checking that there is room for them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from earmark.shared import shared
from earmark.transforms.errors import ReadError

RESERVE_BYTES = 64 << 20
"""How much stays free for other users of the folder; on a small disk, a 64th of it."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def temporary_copy(size_bytes: int | None = None) -> Iterator[TemporaryCopy]:
    """A file for the copy of an object, empty at first, and deleted afterwards.

    Args:
      size_bytes: how large the copy will be; None if unknown.

    Raises:
      ReadError: there is not enough room, as far as is known in advance. Space that other copies of
        this process still need counts as used.
    """
    with _created(size_bytes) as file:
        copy = TemporaryCopy(file, size_bytes)
        with _growing(copy):
            yield copy


class TemporaryCopy:
    """A temporary file while it is written.

    Attributes:
      name: its path.
      written_bytes: how much has been written.
    """

    def __init__(self, file: IO[bytes], size_bytes: int | None) -> None:
        self.name = file.name
        self.written_bytes = 0
        self._file = file
        self._size_bytes = size_bytes

    @property
    def missing_bytes(self) -> int:
        """How much is still to be written, as far as is known."""
        return max(0, (self._size_bytes or 0) - self.written_bytes)

    def write(self, chunk: bytes) -> None:
        """Append some bytes, at once and without a buffer.

        Raises:
          ReadError: there is no room for them. A part may have been written.
          OSError: writing failed otherwise.
        """
        _check_room(len(chunk), self._told_size())
        left = memoryview(chunk)
        with _full_told(self._told_size()):
            while left:
                count = self._file.write(left)
                self.written_bytes += count
                left = left[count:]

    def fill(self, offset: int, chunks: Iterable[bytes]) -> None:
        """Write some bytes one after another, from an offset on; raises as write."""
        self._file.seek(offset)
        for chunk in chunks:
            self.write(chunk)

    def stretch(self, size_bytes: int) -> None:
        """Have the file end there; what was not written is a hole, and takes no room."""
        self._file.truncate(size_bytes)

    def _told_size(self) -> str:
        return _told_size(self._size_bytes, self.written_bytes)


def _created(size_bytes: int | None) -> IO[bytes]:
    with _full_told(_told_size(size_bytes, 0)):
        return tempfile.NamedTemporaryFile(prefix="earmark-", buffering=0)


class _Growing:
    """The copies that will still take room.

    Attributes:
      lock: to be held by whoever looks at them.
      copies: all of them.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.copies: set[TemporaryCopy] = set()


@contextmanager
def _growing(copy: TemporaryCopy) -> Iterator[None]:
    """Reserve room for a copy, if there is enough."""
    growing = shared(_Growing)
    with growing.lock:
        promised = sum(other.missing_bytes for other in growing.copies)
        _check_room(promised + copy.missing_bytes, _told_size(copy.missing_bytes or None, 0))
        growing.copies.add(copy)
    try:
        yield
    finally:
        with growing.lock:
            growing.copies.discard(copy)


def _check_room(wanted_bytes: int, size: str) -> None:
    disk = shutil.disk_usage(tempfile.gettempdir())
    if wanted_bytes and wanted_bytes + min(RESERVE_BYTES, disk.total // 64) > disk.free:
        raise _no_room(size)


@contextmanager
def _full_told(size: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _no_room(size, f" ({os.strerror(error.errno)})") from error


def _told_size(size_bytes: int | None, written_bytes: int) -> str:
    return f"more than {written_bytes:,}" if size_bytes is None else f"{size_bytes:,}"


def _no_room(size: str, why: str = "") -> ReadError:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    return ReadError(
        f"there is no room for a copy of it in the temporary folder {folder}{why}: it has {size} "
        f"bytes, and {free:,} are free, some of them reserved; set TMPDIR to another folder"
    )
