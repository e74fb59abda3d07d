"""Parts of an open file, each read as a file of its own."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import BinaryIO


class FilePart:
    """A part of an open file: bytes are counted from its start, and none lie beyond its end.

    It has no name, and leaves the position of the file alone, which a library may be reading.

    Attributes:
      start: where in the file it begins.
      size: in bytes.
    """

    def __init__(self, file: BinaryIO, start: int = 0, end: int | None = None) -> None:
        self._file = file
        self.start = start
        end = os.fstat(file.fileno()).st_size if end is None else end
        self.size = max(0, end - start)
        self._at = 0

    def part(self, start: int, end: int | None = None) -> FilePart:
        """A part of this part, up to its end where none is given, or a later one."""
        end = self.size if end is None else min(end, self.size)
        return FilePart(self._file, self.start + start, self.start + end)

    def read_at(self, offset: int, size: int) -> bytes:
        """Read what there is of so many bytes; nothing beyond the end, where a header lies."""
        if offset >= self.size:
            return b""
        size = min(size, self.size - offset)
        return os.pread(self._file.fileno(), size, self.start + offset)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer with what lies from an offset on; gives how many bytes there were."""
        wanted, there = min(len(buffer), max(0, self.size - offset)), 0
        while there < wanted:
            places = [buffer[there:wanted]]
            count = os.preadv(self._file.fileno(), places, self.start + offset + there)
            if not count:
                break
            there += count
        return there

    def read(self, size: int) -> bytes:
        """Read on."""
        content = self.read_at(self._at, size)
        self._at += len(content)
        return content

    def tell(self) -> int:
        """Where reading goes on."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on elsewhere: at the end at most; before the start lies nothing, which gives -1."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}
        position = origins.get(whence, self.size) + offset
        if position < 0:
            return -1
        self._at = min(position, self.size)
        return position


class SplicedPart(FilePart):
    """Parts of a file, and bytes that stand for what should be there, read as one file."""

    def __init__(self, pieces: Sequence[FilePart | bytes]) -> None:
        self._pieces = pieces
        sizes = (len(each) if isinstance(each, bytes) else each.size for each in pieces)
        self._starts = list(accumulate(sizes, initial=0))
        self.size = self._starts[-1]
        self._at = 0

    def part(self, start: int, end: int | None = None) -> FilePart:
        """A part of it, up to its end where none is given, or a later one."""
        end = self.size if end is None else min(end, self.size)
        return SplicedPart(list(self._cut(start, end)))

    def read_at(self, offset: int, size: int) -> bytes:
        """Read what there is of so many bytes."""
        pieces = self._cut(offset, min(self.size, offset + size))
        parts = (each if isinstance(each, bytes) else each.read_at(0, each.size) for each in pieces)
        return b"".join(parts)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill a buffer with what lies from an offset on; gives how many bytes there were."""
        there = 0
        for piece in self._cut(offset, min(self.size, offset + len(buffer))):
            if isinstance(piece, bytes):
                buffer[there : there + len(piece)] = piece
                there += len(piece)
            else:
                there += piece.read_into(buffer[there : there + piece.size], 0)
        return there

    def _cut(self, start: int, end: int) -> Iterator[FilePart | bytes]:
        """Yields what lies between two positions."""
        first = max(0, bisect_right(self._starts, start) - 1)
        for at, piece in zip(self._starts[first:], self._pieces[first:], strict=False):
            if at >= end:
                return
            inner = max(0, start - at), end - at
            yield piece[slice(*inner)] if isinstance(piece, bytes) else piece.part(*inner)


class SwappedPart(FilePart):
    """A part of a file in which the two bytes of each pair have changed places."""

    def __init__(self, part: FilePart) -> None:
        self._part = part
        self.size = part.size - part.size % 2
        self._at = 0

    def part(self, start: int, end: int | None = None) -> FilePart:
        """A part of it from an even position on, up to its end where none is given."""
        return SwappedPart(self._part.part(start, end))

    def read_at(self, offset: int, size: int) -> bytes:
        """Read what there is of so many bytes."""
        first = offset - offset % 2
        content = self._part.read_at(first, min(self.size, offset + size + 1) - first)
        return self.swapped(content)[offset - first : offset - first + size]

    @staticmethod
    def swapped(content: bytes) -> bytes:
        """Bytes, each pair of which has changed places."""
        swapped = bytearray(len(content) - len(content) % 2)
        swapped[::2], swapped[1::2] = content[1::2], content[: len(swapped) : 2]
        return bytes(swapped)
