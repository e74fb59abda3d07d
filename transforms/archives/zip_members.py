"""The members of zip files, and their content."""

from __future__ import annotations

import stat
import struct
import zipfile
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.archives.bounded_files import HOSTILE_ARCHIVE_ERRORS, BoundedFile
from earmark.transforms.archives.gzip_streams import BOMB_BYTES, BOMB_RATIO
from earmark.transforms.archives.index import Kind, Member, path_in_archive
from earmark.transforms.archives.zip_directory import ZipEntry, zip_entries
from earmark.transforms.errors import DamagedError, UnsupportedError

_READ_BYTES = 1 << 20
_UNREADABLE: tuple[type[Exception], ...] = (DamagedError, *HOSTILE_ARCHIVE_ERRORS)
_ENCRYPTED = 1
_SIZES_FOLLOW = 8
_UTF_8 = 0x800
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)


def zip_members(file: BinaryIO) -> Iterator[Member]:
    """The files in a zip, in the order of its directory; folders are left out.

    The directory is read twice, since members that share bytes are only known after the last one.
    If it is missing or damaged, members are found without it.

    Raises:
      DamagedError: after the last member; the directory is missing or damaged.
      Also what the file raises.
    """
    bounded = BoundedFile(file, _READ_BYTES)
    try:
        overlapping = _overlapping(zip_entries(bounded))
    except _UNREADABLE as error:
        yield from map(_member, _entries_without_directory(bounded))
        raise DamagedError("its directory, which is at the end, is missing or damaged") from error
    for entry, overlaps in zip(zip_entries(bounded), overlapping, strict=True):
        if not entry.is_dir:
            member = _member(entry)
            yield member._replace(kind=Kind.OVERLAPPING) if overlaps else member


def open_zip_member(file: BinaryIO, member: Member) -> zipfile.ZipExtFile:
    """The content of a member, whose checksum is verified while it is read.

    Raises:
      DamagedError: there is no member there.
      UnsupportedError: it is compressed with an unsupported method.
      Also any of HOSTILE_ARCHIVE_ERRORS and what the file raises, here and in reading.
    """
    if member.method not in _METHODS:
        raise UnsupportedError(f"compressed with zip method {member.method}")
    BoundedFile(file, _LOCAL_HEADER.size).seek(member.offset)
    header = _read_header(file)
    if header is None:
        raise DamagedError("the archive's directory points to no member")
    file.seek(header.name_bytes + header.extra_bytes, 1)
    entry = zipfile.ZipInfo(member.name.replace("\0", "_"))
    entry.compress_type, entry.CRC = member.method, member.mark
    entry.compress_size, entry.file_size = member.stored_bytes, member.size_bytes
    return zipfile.ZipExtFile(file, "r", entry)


class _LocalHeader(NamedTuple):
    """The header before a member's content: section 4.3.7 of PKWARE's APPNOTE."""

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


def _entries_without_directory(file: BoundedFile) -> Iterator[ZipEntry]:
    """The members up to the first that is truncated or whose header doesn't give its length."""
    length, position = file.seek(0, 2), 0
    file.seek(0)
    while header := _read_header(file):
        name = file.read(header.name_bytes)
        end = position + _LOCAL_HEADER.size + header.name_bytes + header.extra_bytes
        end += header.stored_bytes
        if header.flags & _SIZES_FOLLOW or end > length:
            break
        entry = _entry(header, name, position)
        if not entry.is_dir:
            yield entry
        position = file.seek(end)


def _entry(header: _LocalHeader, name: bytes, position: int) -> ZipEntry:
    utf_8 = header.flags & _UTF_8
    decoded = name.decode("utf-8", "surrogateescape") if utf_8 else name.decode("cp437")
    return ZipEntry(
        decoded.partition("\0")[0],
        position,
        header.stored_bytes,
        header.size_bytes,
        header.crc,
        header.method,
        header.flags,
        mode=0,
    )


def _member(entry: ZipEntry) -> Member:
    return Member(
        path_in_archive(entry.name),
        entry.offset,
        entry.stored_bytes,
        entry.size_bytes,
        entry.crc,
        entry.method,
        _kind(entry),
    )


def _kind(entry: ZipEntry) -> Kind:
    if entry.flags & _ENCRYPTED:
        return Kind.ENCRYPTED
    if stat.S_ISLNK(entry.mode):
        return Kind.ZIP_LINK
    if stat.S_IFMT(entry.mode) and not stat.S_ISREG(entry.mode):
        return Kind.SPECIAL
    swells = entry.size_bytes > BOMB_RATIO * entry.stored_bytes
    return Kind.BOMB if swells and entry.size_bytes > BOMB_BYTES else Kind.FILE


def _overlapping(entries: Iterable[ZipEntry]) -> NDArray[np.bool_]:
    """The entries that overlap with another."""
    bounds = array("d")  # a header may say anything
    for entry in entries:
        bounds.append(entry.offset)
        bounds.append(entry.offset + _LOCAL_HEADER.size + entry.stored_bytes)
    begins, ends = np.asarray(bounds).reshape(-1, 2).T
    overlapping = np.zeros(len(begins), bool)
    if (begins[1:] >= ends[:-1]).all():  # as a rule entries stand in the order of the members
        return overlapping
    order = np.lexsort((ends, begins))
    begins, ends = begins[order], ends[order]
    furthest = np.maximum.accumulate(ends)
    late = np.flatnonzero(begins[1:] < furthest[:-1]) + 1
    # of each of these, whichever before it reaches furthest
    holders = np.searchsorted(furthest, furthest[late - 1], side="left")
    overlapping[order[late]] = overlapping[order[holders]] = True
    return overlapping
