"""Parts of an open file, each read as a file of its own."""

from __future__ import annotations

import io
import os
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
