"""The directory at the end of a zip file, read entry by entry.

The standard library keeps an object for each entry, a kilobyte of memory; here nothing is kept.
Entries are interpreted as by zipfile. Format: PKWARE's APPNOTE, section 4.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from earmark.transforms.archives.bounded_files import BoundedFile
from earmark.transforms.errors import DamagedError

_MOST_BYTES = 512 << 20
_CHUNK_BYTES = 1 << 20
_COMMENT_BYTES = 1 << 16
_UTF_8 = 0x800
_LATEST_VERSION = 63
_IN_ZIP64 = 0xFFFFFFFF
_IN_ZIP64_TOO = (_IN_ZIP64, 0xFFFFFFFFFFFFFFFF)

_END = struct.Struct("<4s8x2IH")
_ZIP64_LOCATOR = struct.Struct("<4sIQI")
_ZIP64_END = struct.Struct("<4s36x2Q")
_ENTRY = struct.Struct("<4s2xBx2H4x3I3H4x2I")
_FIELD = struct.Struct("<2H")
_LONG = struct.Struct("<Q")
_LONGEST_ENTRY_BYTES = _ENTRY.size + 3 * 0xFFFF


class ZipEntry(NamedTuple):
    """An entry of a zip's directory: a file or a folder.

    Attributes:
      name: up to the first NUL in it; a folder's ends with a slash.
      offset: where its local header begins in the file.
      stored_bytes: how long its packed content is.
      size_bytes: how long it is unpacked.
      crc: the CRC-32 of its content.
      method: how it is packed.
      flags: the general purpose bits.
      mode: the file's Unix mode; 0 if the zip was not made on Unix.
    """

    name: str
    offset: int
    stored_bytes: int
    size_bytes: int
    crc: int
    method: int
    flags: int
    mode: int

    @property
    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")


def zip_entries(file: BoundedFile) -> Iterator[ZipEntry]:
    """The entries of a zip's directory, in its order.

    Data before the zip, such as a self-extracting program, is skipped.

    Raises:
      DamagedError: there is no directory, or it is truncated or inconsistent.
      ValueError: a name is not in the encoding that its entry declares.
      Also what the file raises.
    """
    directory = _find(file)
    file.seek(directory.start)
    buffer, at, left = b"", 0, directory.size_bytes
    while left or at < len(buffer):
        if left and len(buffer) - at < _LONGEST_ENTRY_BYTES:
            more = file.read(min(left, _CHUNK_BYTES))
            left = left - len(more) if more else 0
            buffer, at = buffer[at:] + more, 0
        entry, at = _entry(buffer, at, directory.in_front)
        yield entry


def decoded_name(name: bytes, flags: int) -> str:
    """A decoded name.

    Raises:
      ValueError: it is declared as UTF-8, but is not.
    """
    return name.decode("utf-8" if flags & _UTF_8 else "cp437").partition("\0")[0]


class _Directory(NamedTuple):
    """Where the directory is, and how many bytes precede the zip itself."""

    start: int
    size_bytes: int
    in_front: int


def _find(file: BoundedFile) -> _Directory:
    end, size_bytes, offset = _end(file)
    end, size_bytes, offset = _zip64_end(file, end) or (end, size_bytes, offset)
    start = end - size_bytes
    if start < 0 or size_bytes > _MOST_BYTES:
        raise _damaged()
    return _Directory(start, size_bytes, start - offset)


def _end(file: BoundedFile) -> tuple[int, int, int]:
    """Where the record of the directory's end lies; the directory's size and offset by it.

    Behind the record there may be a comment, in which no other should be.
    """
    length = file.seek(0, 2)
    first = max(0, length - _COMMENT_BYTES - _END.size)
    file.seek(first)
    tail = file.read(length - first)
    at = len(tail) - _END.size
    if at < 0 or not (tail.startswith(b"PK\5\6", at) and tail.endswith(b"\0\0")):
        at = tail.rfind(b"PK\5\6")
    if not 0 <= at <= len(tail) - _END.size:
        raise _damaged()
    _, size_bytes, offset, _ = _END.unpack_from(tail, at)
    return first + at, size_bytes, offset


def _zip64_end(file: BoundedFile, end: int) -> tuple[int, int, int] | None:
    """The directory's end, size and offset by the zip64 record before it, if there is one."""
    at = end - _ZIP64_LOCATOR.size - _ZIP64_END.size
    if at < 0:
        return None
    file.seek(at)
    record = file.read(_ZIP64_END.size + _ZIP64_LOCATOR.size)
    if len(record) < _ZIP64_END.size + _ZIP64_LOCATOR.size:
        return None
    signature, disk, _, disks = _ZIP64_LOCATOR.unpack_from(record, _ZIP64_END.size)
    if signature != b"PK\6\7":
        return None
    if disk or disks > 1:
        raise DamagedError("it is one of several volumes")
    signature, size_bytes, offset = _ZIP64_END.unpack_from(record)
    return (at, size_bytes, offset) if signature == b"PK\6\6" else None


def _entry(buffer: bytes, at: int, in_front: int) -> tuple[ZipEntry, int]:
    """The entry at a place, and where the next one is."""
    if at + _ENTRY.size > len(buffer):
        raise _damaged()
    signature, version, flags, method, crc, stored_bytes, size_bytes, *rest = _ENTRY.unpack_from(
        buffer, at
    )
    name_bytes, extra_bytes, comment_bytes, attributes, offset = rest
    extra_at = at + _ENTRY.size + name_bytes
    end = extra_at + extra_bytes + comment_bytes
    if signature != b"PK\1\2" or version > _LATEST_VERSION or end > len(buffer):
        raise _damaged()
    name = decoded_name(buffer[at + _ENTRY.size : extra_at], flags)
    extra = buffer[extra_at : extra_at + extra_bytes]
    size_bytes, stored_bytes, offset = _long_numbers(extra, size_bytes, stored_bytes, offset)
    mode = attributes >> 16
    return ZipEntry(
        name, offset + in_front, stored_bytes, size_bytes, crc, method, flags, mode
    ), end


def _long_numbers(extra: bytes, size: int, stored: int, offset: int) -> tuple[int, int, int]:
    """An entry's numbers; those too large for their fields come from the extra fields."""
    at = 0
    while at + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, at)
        at += _FIELD.size + length
        if at > len(extra):
            raise _damaged()
        if kind == 1:
            longs = iter(_LONG.iter_unpack(extra[at - length : at - length % _LONG.size]))
            size = _next(longs) if size in _IN_ZIP64_TOO else size
            stored = _next(longs) if stored == _IN_ZIP64 else stored
            offset = _next(longs) if offset == _IN_ZIP64 else offset
    return size, stored, offset


def _next(longs: Iterator[tuple[int]]) -> int:
    try:
        return next(longs)[0]
    except StopIteration:
        raise _damaged() from None


def _damaged() -> DamagedError:
    return DamagedError("its directory, which is at the end, is missing or damaged")
