"""The members of zip files, and their content."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from transforms.archive_files import HOSTILE_ARCHIVE_ERRORS, BoundedFile
from transforms.archive_index import Kind, Member, path_in_archive
from transforms.errors import DamagedError, UnsupportedError
from transforms.gzip_streams import BOMB_BYTES, BOMB_RATIO

_DIRECTORY_LIMIT_BYTES = 512 << 20
_ENCRYPTED = 1
_SIZES_FOLLOW = 8
_UTF_8 = 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)


def zip_members(file: BinaryIO) -> Iterator[Member]:
    """The files in a zip, in the order of its directory; folders are left out.

    Where the directory is missing or damaged, those that are found without it.

    Raises:
      DamagedError: after the last member; the directory is missing or damaged.
      Also what the file raises.
    """
    bounded = BoundedFile(file, _DIRECTORY_LIMIT_BYTES)
    try:
        with zipfile.ZipFile(bounded) as archive:
            entries = archive.infolist()
    except HOSTILE_ARCHIVE_ERRORS as error:
        yield from _members(_entries_without_directory(bounded))
        raise DamagedError("its directory, which is at the end, is missing or damaged") from error
    yield from _members(entries)


def open_zip_member(file: BinaryIO, member: Member) -> zipfile.ZipExtFile:
    """The content of a member, which checks itself while it is read.

    Raises:
      DamagedError: there is no member there.
      UnsupportedError: it is packed in a way that is not known here.
      Also any of HOSTILE_ARCHIVE_ERRORS and what the file raises, here and in reading.
    """
    if member.method not in _METHODS:
        raise UnsupportedError(f"packed by zip's method {member.method}")
    BoundedFile(file, _LOCAL_HEADER.size).seek(member.offset)
    header = _read_header(file)
    if header is None:
        raise DamagedError("the archive's directory leads to where no member is")
    file.seek(header.name_bytes + header.extra_bytes, 1)
    entry = zipfile.ZipInfo(member.name.replace("\0", "_"))
    entry.compress_type, entry.CRC = member.method, member.mark
    entry.compress_size, entry.file_size = member.stored_bytes, member.size_bytes
    return zipfile.ZipExtFile(file, "r", entry)


class _LocalHeader(NamedTuple):
    """What stands before a member's content: section 4.3.7 of PKWARE's APPNOTE."""

    signature: bytes
    needs_version: int
    flags: int
    method: int
    time: int
    date: int
    crc: int
    stored_bytes: int
    size_bytes: int
    name_bytes: int
    extra_bytes: int


_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LOCAL_SIGNATURE = b"PK\3\4"


def _read_header(file: BinaryIO | BoundedFile) -> _LocalHeader | None:
    start = file.read(_LOCAL_HEADER.size)
    if len(start) < _LOCAL_HEADER.size or not start.startswith(_LOCAL_SIGNATURE):
        return None
    return _LocalHeader(*_LOCAL_HEADER.unpack(start))


def _entries_without_directory(file: BoundedFile) -> list[zipfile.ZipInfo]:
    """The members up to the first that isn't all there or whose header doesn't tell its length."""
    entries: list[zipfile.ZipInfo] = []
    length, position = file.seek(0, 2), 0
    file.seek(0)
    while header := _read_header(file):
        name = file.read(header.name_bytes)
        end = position + _LOCAL_HEADER.size + header.name_bytes + header.extra_bytes
        end += header.stored_bytes
        if header.flags & _SIZES_FOLLOW or end > length:
            break
        entries.append(_entry(header, name, position))
        position = file.seek(end)
    return entries


def _entry(header: _LocalHeader, name: bytes, position: int) -> zipfile.ZipInfo:
    utf_8 = header.flags & _UTF_8
    decoded = name.decode("utf-8", "surrogateescape") if utf_8 else name.decode("cp437")
    entry = zipfile.ZipInfo(decoded)
    entry.flag_bits, entry.compress_type, entry.CRC = header.flags, header.method, header.crc
    entry.compress_size, entry.file_size = header.stored_bytes, header.size_bytes
    entry.header_offset = position
    return entry


def _members(entries: list[zipfile.ZipInfo]) -> Iterator[Member]:
    overlapping = _overlapping(entries)
    for index, entry in enumerate(entries):
        if not entry.is_dir():
            kind = Kind.OVERLAPPING if index in overlapping else _kind(entry)
            yield Member(
                path_in_archive(entry.filename),
                entry.header_offset,
                entry.compress_size,
                entry.file_size,
                entry.CRC,
                entry.compress_type,
                kind,
            )


def _kind(entry: zipfile.ZipInfo) -> Kind:
    if entry.flag_bits & _ENCRYPTED:
        return Kind.ENCRYPTED
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        return Kind.ZIP_LINK
    if stat.S_IFMT(mode) and not stat.S_ISREG(mode):
        return Kind.SPECIAL
    swells = entry.file_size > BOMB_RATIO * entry.compress_size
    return Kind.BOMB if swells and entry.file_size > BOMB_BYTES else Kind.FILE


def _overlapping(entries: Iterable[zipfile.ZipInfo]) -> set[int]:
    """The members that begin before an earlier one has ended, and these earlier ones."""
    spans = np.array(
        [
            (e.header_offset, e.header_offset + _LOCAL_HEADER.size + e.compress_size)
            for e in entries
        ],
        dtype=np.float64,  # a header may say anything
    ).reshape(-1, 2)
    order = np.lexsort((spans[:, 1], spans[:, 0]))
    begins, ends = spans[order].T
    furthest = np.maximum.accumulate(ends) if len(ends) else ends
    late = np.flatnonzero(begins[1:] < furthest[:-1]) + 1
    # of each of these, whichever before it reaches furthest
    holders = np.searchsorted(furthest, furthest[late - 1], side="left")
    return {int(order[each]) for each in (*late, *holders)}
