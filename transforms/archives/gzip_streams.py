"""Gzip streams that can be entered at many places, not only at their beginning."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from earmark.transforms.errors import DamagedError, UnsupportedError

MAX_POINTS = 512
"""How many places are kept of a stream, however long it is."""

POINT_BYTES = 48 << 10
"""About how much memory an entry point takes: zlib's window of 32 kB and its tables."""

BOMB_BYTES = 1 << 30
BOMB_RATIO = 1000
"""Content larger than BOMB_BYTES that expands more than this is taken for a zip bomb."""

_FIRST_SPACING_BYTES = 1 << 20
_INPUT_BYTES = 1 << 16
_OUTPUT_BYTES = 1 << 15  # what zlib unpacks in the call in which it meets damage is lost
_GZIP = 31  # zlib's sign for a gzip header and trailer
_MAGIC = b"\x1f\x8b"


class EntryPoint(NamedTuple):
    """A place from which a stream can be unpacked.

    Attributes:
      position: in the unpacked content, in bytes.
      source: in the file, in bytes.
      state: of zlib at that place.
    """

    position: int
    source: int
    state: Any


class GzipReader:
    """The content of a gzip file, of one stream or several; for one thread at a time.

    Seeking back, or far ahead, decompresses from the last entry point before the target. A reader
    without entry points records some, further and further apart. One that is given some records
    more that it passes between them, since the next read is likely to be near.

    Attributes:
      points: the entry points given or, if there were none, recorded; by their positions.
      fresh: entry points recorded in addition to those given, MAX_POINTS at most.
    """

    def __init__(self, file: BinaryIO, points: Sequence[EntryPoint] | None = None) -> None:
        """Begin at the start of a file, with the points that another reader recorded, or none."""
        self._file = file
        self._is_first = points is None
        self._spacing = _FIRST_SPACING_BYTES
        self.fresh: list[EntryPoint] = []
        self.points = [EntryPoint(0, 0, zlib.decompressobj(_GZIP)), *(points or ())[1:]]
        self._enter(self.points[0])

    def tell(self) -> int:
        """The position, in bytes of what is unpacked."""
        return self._position

    def seek(self, position: int) -> int:
        """Go to a position, or to the end if that is before it.

        Raises:
          DamagedError, zlib.error: the content before it is damaged.
          UnsupportedError: the content expands like a zip bomb.
        """
        last = bisect_right(self.points, position, key=lambda point: point.position) - 1
        if not self.points[last].position <= self._position <= position:
            self._enter(self.points[last])
        while self._position < position and self._next(position - self._position):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """The next bytes: fewer at the end, or before damage, which the next call reports.

        Raises:
          DamagedError, zlib.error: the content there is damaged.
          UnsupportedError: the content expands like a zip bomb.
        """
        parts: list[bytes] = []
        try:
            while size and (part := self._next(size)):
                parts.append(part)
                size -= len(part)
        except (DamagedError, zlib.error):
            if not parts:
                raise
        return b"".join(parts)

    def _enter(self, point: EntryPoint) -> None:
        self._position, self._source = point.position, point.source
        self._due = (self.points[-1] if self._is_first else point).position + self._spacing
        self._state = point.state.copy()
        self._pending = b""
        self._file.seek(point.source)

    def _next(self, wanted: int) -> bytes:
        """Some bytes, at most as many as requested; none at the end."""
        while not self._state.eof or self._begin_stream():
            packed = self._pending or self._read_packed()
            part: bytes = self._state.decompress(packed, min(wanted, _OUTPUT_BYTES))
            ended = self._state.eof
            self._pending = self._state.unused_data if ended else self._state.unconsumed_tail
            if part:
                self._advance(len(part))
                return part
            if not packed:
                raise DamagedError("the compressed data breaks off")
        return b""

    def _begin_stream(self) -> bool:
        """Begin the stream that follows one that has ended; anything else is padding."""
        if len(self._pending) < len(_MAGIC):
            self._pending += self._read_packed()
        if not self._pending.startswith(_MAGIC):
            return False
        self._state = zlib.decompressobj(_GZIP)
        return True

    def _read_packed(self) -> bytes:
        packed = self._file.read(_INPUT_BYTES)
        self._source += len(packed)
        return packed

    def _advance(self, size: int) -> None:
        self._position += size
        if self._position > BOMB_BYTES and self._position > BOMB_RATIO * self._source:
            raise UnsupportedError(f"refused: it unpacks to more than {BOMB_RATIO} times its size")
        if self._position >= self._due and not self._pending and not self._state.eof:
            self._note_point()

    def _note_point(self) -> None:
        noted = self.points if self._is_first else self.fresh
        noted.append(EntryPoint(self._position, self._source, self._state.copy()))
        if self._is_first and len(noted) > MAX_POINTS:
            del noted[1::2]
            self._spacing *= 2
        del noted[:-MAX_POINTS]
        self._due = noted[-1].position + self._spacing
