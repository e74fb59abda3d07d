"""The members of tar files, one by one as their headers are read."""

from __future__ import annotations

import math
import posixpath
import re
import tarfile
from collections.abc import Iterator

from earmark.transforms.archives.bounded_files import BoundedFile, SeekableFile
from earmark.transforms.archives.index import Kind, Member, name_hash, path_in_archive
from earmark.transforms.errors import DamagedError

_HEADER_LIMIT_BYTES = 1 << 20  # of a long name or of pax records
_NUMBER_LIMIT = 300  # more digits than the name of a file can have
_LENGTH_DIGITS = 20
_TYPE_AT = 156
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_BEHIND_END_BYTES = 1 << 20


def tar_members(file: SeekableFile) -> Iterator[Member]:
    """The files in a tar, in their order; folders are left out.

    A member is yielded only if all of it is there.

    Raises:
      DamagedError: after the last good member; the tar ends, or what follows is not a header.
      Also any of HOSTILE_ARCHIVE_ERRORS and what the file raises.
    """
    headers = _Headers(file, _HEADER_LIMIT_BYTES)
    tar = tarfile.TarFile(fileobj=headers, encoding="utf-8")
    met: list[tarfile.TarInfo] = tar.members  # type: ignore[attr-defined]
    entry = tar.next() if met else None
    while entry is not None:
        if tar.offset <= entry.offset or entry.size < 0:
            raise DamagedError("a header that points back")
        if not _reaches(headers, tar.offset):
            raise DamagedError("it breaks off")
        if not entry.isdir():
            yield _member(entry)
        met.clear()  # which would grow with the archive
        entry = tar.next()
    _check_end(file, tar.offset)


def _reaches(file: SeekableFile, end: int) -> bool:
    """Whether a file goes on to there; tarfile, which looks too, then doesn't need to go back."""
    if file.tell() < end:
        file.seek(end - 1)
        file.read(1)
    return file.tell() >= end


class _Headers(BoundedFile):
    _is_pax = False

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; refuses input on which tarfile takes quadratic time.

        Such input is long numbers (CVE-2024-6232, in Python up to 3.10.14, 3.11.9 and 3.12.5) and
        pax records without a keyword.
        """
        header = super().read(size)
        if len(header) > tarfile.BLOCKSIZE:
            if max(map(len, re.findall(rb"\d+", header)), default=0) > _NUMBER_LIMIT:
                raise ValueError("a header with an unreadable number")
            if self._is_pax:
                _check_records(header)
        self._is_pax = header[_TYPE_AT : _TYPE_AT + 1] in _PAX_TYPES
        return header


def _check_records(header: bytes) -> None:
    """Check that pax records have their keywords: LENGTH KEYWORD=VALUE, one after another."""
    at = 0
    while header[at : at + 1].isdigit():
        length, is_record, _ = header[at : at + _LENGTH_DIGITS].partition(b" ")
        end = at + int(length)
        if not is_record or end == at or header.find(b"=", at, end) < 0:
            raise ValueError("a header with a record without a keyword")
        at = end


def _member(entry: tarfile.TarInfo) -> Member:
    name, kind = path_in_archive(entry.name), _kind(entry)
    mark = _target(entry) if kind == Kind.LINK else _changed_ms(entry)
    return Member(name, entry.offset_data, entry.size, entry.size, mark, kind=kind)


def _kind(entry: tarfile.TarInfo) -> Kind:
    if entry.issym() or entry.islnk():
        return Kind.LINK
    if entry.issparse():
        return Kind.SPARSE
    return Kind.FILE if entry.isreg() else Kind.SPECIAL


def _target(entry: tarfile.TarInfo) -> int:
    """A link's target: relative to the archive's root for a hard link, else to its folder."""
    folder = posixpath.dirname(entry.name) if entry.issym() else ""
    return name_hash(path_in_archive(posixpath.normpath(posixpath.join(folder, entry.linkname))))


def _changed_ms(entry: tarfile.TarInfo) -> int:
    changed_ms = entry.mtime * 1000
    return int(changed_ms) % (1 << 64) if math.isfinite(changed_ms) else 0


def _check_end(file: SeekableFile, position: int) -> None:
    """Check that a tar ends as it should, and the gzip stream around it, too."""
    file.seek(position)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise DamagedError("it breaks off")
    if block.count(b"\0") < tarfile.BLOCKSIZE:
        raise DamagedError("what follows is not a header")
    while file.tell() < position + _BEHIND_END_BYTES and file.read(tarfile.RECORDSIZE):
        pass
