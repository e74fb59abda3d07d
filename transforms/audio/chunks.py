"""Containers that are runs of chunks: each a name, a size, and its content."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from earmark.transforms.audio.file_parts import FilePart


class Chunk(NamedTuple):
    """A part of a container: its name, and where its content lies."""

    name: bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        """Where its content ends."""
        return self.offset + self.size


class ChunkStyle(NamedTuple):
    """How a family of containers writes the head of a chunk: a name, then a size."""

    name_bytes: int
    size_format: str
    size_counts_head: bool = False
    alignment: int = 1

    @property
    def head_bytes(self) -> int:
        """The size of a name and a size."""
        return self.name_bytes + struct.calcsize(self.size_format)

    def walk(self, content: FilePart, offset: int) -> Iterator[Chunk]:
        """Yields the chunks from `offset` on, up to the end of the file.

        The size proper of `data` lies in a chunk ds64 before it where it takes more than 32 bits
        (EBU Tech 3306); 0 where it was never filled in.
        """
        head_bytes = self.head_bytes
        long_size = 0xFFFFFFFF
        for _ in range(MAX_CHUNKS):
            head = content.read_at(offset, head_bytes)
            if len(head) < head_bytes:
                return
            name, offset = head[: self.name_bytes], offset + head_bytes
            (size,) = struct.unpack(self.size_format, head[self.name_bytes :])
            if name == b"ds64":
                long_size = int.from_bytes(content.read_at(offset + 8, 8), "little")
            elif name == b"data" and size == 0xFFFFFFFF:
                size = long_size
            size = max(0, size - head_bytes if self.size_counts_head else size)
            yield Chunk(name, offset, size)
            offset += size
            offset += -offset % self.alignment

    def find(self, content: FilePart, offset: int, *names: bytes) -> Iterator[Chunk]:
        """Yields the chunks of these names."""
        return (chunk for chunk in self.walk(content, offset) if chunk.name in names)


MAX_CHUNKS = 10_000
"""So many parts of a container are looked at; no recorder writes so many before the sound."""

RIFF = ChunkStyle(4, "<I", alignment=2)
BIG_ENDIAN_RIFF = ChunkStyle(4, ">I", alignment=2)
W64 = ChunkStyle(16, "<Q", size_counts_head=True, alignment=8)
CAF = ChunkStyle(4, ">q")
ASF = ChunkStyle(16, "<Q", size_counts_head=True)


def riff_style(content: FilePart) -> ChunkStyle:
    """The style of a RIFF file: RIFX is big-endian."""
    return BIG_ENDIAN_RIFF if content.read_at(0, 4) == b"RIFX" else RIFF


def ebml_element(content: FilePart, offset: int) -> Chunk | None:
    """The element that begins at an offset; its size is -1 where it is unknown (RFC 8794, 4)."""
    head = content.read_at(offset, 12)
    name_bytes = 9 - head[0].bit_length() if head else 9
    size_bytes = 9 - head[name_bytes].bit_length() if len(head) > name_bytes else 9
    if name_bytes > 4 or size_bytes > 8 or len(head) < name_bytes + size_bytes:
        return Chunk(b"", offset, -1) if name_bytes > 4 and len(head) == 12 else None
    begin, largest = name_bytes + size_bytes, (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[name_bytes:begin], "big") & largest
    return Chunk(head[:name_bytes], offset + begin, -1 if size == largest else size)
