"""An index of an archive's members, small enough to be kept for millions of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.archives.gzip_streams import POINT_BYTES, EntryPoint
from earmark.transforms.errors import AudioError, ReadError, UnsupportedError

_ROW = struct.Struct("<QqqqQHB")
_DTYPE = np.dtype(
    [
        ("name", "<u8"),
        ("offset", "<i8"),
        ("stored_bytes", "<i8"),
        ("size_bytes", "<i8"),
        ("mark", "<u8"),
        ("method", "<u2"),
        ("kind", "u1"),
    ]
)
_MAX_LINKS = 40  # as Linux has it
_ODD_STEPS = frozenset(("", ".", ".."))


class Kind(IntEnum):
    """The kind of a member."""

    FILE = 0
    LINK = 1
    SPECIAL = 2
    SPARSE = 3
    ENCRYPTED = 4
    OVERLAPPING = 5
    BOMB = 6
    ZIP_LINK = 7


_TROUBLE: dict[Kind, AudioError] = {
    Kind.SPECIAL: ReadError("is not a regular file"),
    Kind.SPARSE: UnsupportedError("a sparse file, which cannot be read from an archive"),
    Kind.ENCRYPTED: UnsupportedError("encrypted"),
    Kind.OVERLAPPING: UnsupportedError("refused: it shares bytes with other members"),
    Kind.BOMB: UnsupportedError("refused: it expands too much when unpacked"),
    Kind.ZIP_LINK: UnsupportedError("a link, which is not followed in a zip file"),
}


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
      name: as path_in_archive gives it.
      offset: where it begins in the archive: a tar's content, a zip's local header.
      stored_bytes: its size in the archive.
      size_bytes: its unpacked size.
      mark: changes with the content: the time of its last change in ms for a tar, the CRC for a
        zip. For a link, what name_hash gives for its target.
      method: how a zip packs it.
      kind: what it is.
    """

    name: str
    offset: int
    stored_bytes: int
    size_bytes: int
    mark: int = 0
    method: int = 0
    kind: Kind = Kind.FILE

    @property
    def has_size(self) -> bool:
        """Whether its unpacked size is known."""
        return self.kind not in (Kind.LINK, Kind.ZIP_LINK, Kind.SPECIAL)

    def check(self) -> None:
        """Check that it can be read.

        Raises:
          UnsupportedError, ReadError: it cannot be read, or is refused.
        """
        trouble = _TROUBLE.get(self.kind)
        if trouble is not None:
            raise type(trouble)(*trouble.args)


class IndexBuilder:
    """Gathers the members of an archive, 43 bytes for each."""

    def __init__(self) -> None:
        self._rows = bytearray()

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def add(self, member: Member) -> None:
        """Add a member; of several with the same name the last is kept, as when unpacking."""
        self._rows += _ROW.pack(name_hash(member.name), *member[1:])

    def build(
        self,
        points: Sequence[EntryPoint] | None = None,
        is_zip: bool = False,
        trouble: AudioError | None = None,
    ) -> ArchiveIndex:
        """The index of all members added; the builder is empty then. See ArchiveIndex."""
        rows, self._rows = self._rows, bytearray()
        members = np.frombuffer(rows, _DTYPE)
        order = np.argsort(members["name"], kind="stable")
        return ArchiveIndex(members[order], points, is_zip, trouble)


class ArchiveIndex:
    """Where the members of an archive are; for any number of threads.

    Attributes:
      is_zip: whether it is a zip; else it is a tar.
      is_gzip: whether it is a tar.gz.
    """

    def __init__(
        self,
        members: NDArray[np.void],
        points: Sequence[EntryPoint] | None,
        is_zip: bool,
        trouble: AudioError | None,
    ) -> None:
        """Make an index from an archive's first reading.

        Args:
          members: [n] of _DTYPE, by name.
          points: where a gzip stream can be entered; None if the archive is not a gzip file.
          is_zip: whether it is a zip.
          trouble: the error that prevented finding the rest of the members.
        """
        self._members = members
        self._names = np.ascontiguousarray(members["name"])
        self._trouble = trouble
        self._points = tuple(points or ())
        self._fresh: tuple[EntryPoint, ...] = ()
        self.is_gzip = points is not None
        self.is_zip = is_zip

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        rows = self._members.nbytes + self._names.nbytes
        return rows + POINT_BYTES * (1 + 2 * len(self._points))

    def points(self) -> list[EntryPoint]:
        """Where a gzip stream can be entered."""
        return sorted((*self._points, *self._fresh), key=lambda point: point.position)

    def note(self, fresh: Sequence[EntryPoint]) -> None:
        """Add entry points near the member read last; at most as many as there are others."""
        self._fresh = (*self._fresh, *fresh)[-max(1, len(self._points)) :]

    def find(self, name: str) -> Member | None:
        """The member of that name, or the final target of its links; None if there is none."""
        wanted = name_hash(name)
        for _ in range(_MAX_LINKS):
            row = int(np.searchsorted(self._names, np.uint64(wanted), side="right")) - 1
            if row < 0 or int(self._names[row]) != wanted:
                return None
            _, offset, stored_bytes, size_bytes, mark, method, kind = self._members[row].item()
            if kind != Kind.LINK:
                return Member(name, offset, stored_bytes, size_bytes, mark, method, Kind(kind))
            wanted = mark
        return None

    def raise_trouble(self) -> None:
        """Raise the error that prevented reading the archive to its end, if there was one."""
        if self._trouble is not None:
            raise type(self._trouble)(*self._trouble.args)


def path_in_archive(name: str) -> str:
    """A member's name as used in URIs: valid text, without empty and "." steps.

    A leading slash and ".." are kept, for check_path to refuse.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    steps = [step for step in text.split("/") if step not in ("", ".")]
    return f"{'/' if text.startswith('/') else ''}{'/'.join(steps)}" or "."


def check_path(path: str) -> None:
    """Check a member's name.

    Raises:
      UnsupportedError: it would lead out of the folder that an archive is unpacked into.
    """
    if "\0" in path or not _ODD_STEPS.isdisjoint(path.split("/")):
        raise UnsupportedError("refused: a name that leads out of the archive, or to no file")


def name_hash(path: str) -> int:
    """A 64-bit hash of a member's name."""
    return int.from_bytes(blake2b(path.encode("utf-8"), digest_size=8).digest(), "little")
