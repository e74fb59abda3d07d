"""What the boxes of MP4 and QuickTime say of a recording (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import chain, islice

from earmark.transforms.audio.chunks import MAX_CHUNKS, Chunk
from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart


def mp4_length(content: FilePart) -> DeclaredLength:
    """Tell of boxes beyond the end, encrypted sound, and pauses."""
    boxes = list(islice(_walk_boxes(content, 0, content.size), MAX_CHUNKS))
    end = max((box.end for box in boxes if box.name in (b"mdat", b"moov", b"moof")), default=0)
    missing_bytes, moov = max(0, end - content.size), [box for box in boxes if box.name == b"moov"]
    is_fragmented = any(box.name == b"moof" for box in boxes)
    is_run = all(box.name in _BOXES for box in boxes)  # none of them found in damage
    return DeclaredLength(
        missing_bytes=missing_bytes,
        # of fragments, nothing but a whole file tells that there are no others
        ended=not is_fragmented or (is_run and not missing_bytes),
        locked=_is_locked(content, moov),
        pauses=tuple(_pauses(content, moov)),
    )


_BOXES = frozenset(
    b"ftyp pdin moov moof mfra mdat free skip wide meta meco styp sidx ssix prft uuid emsg".split()
)


def _is_locked(content: FilePart, moov: list[Chunk]) -> bool:
    """Whether a track is described as one of an encrypted kind of sound."""
    boxes = _at(content, moov, b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    tables = [box._replace(offset=box.offset + 8, size=box.size - 8) for box in boxes]
    return any(kind.name in (b"enca", b"drms", b"aavd") for kind in _children(content, tables))


def _pauses(content: FilePart, moov: list[Chunk]) -> Iterator[tuple[float, float]]:
    """Yields where a recording of one track pauses by its edit list, and for how long.

    So it does where an edit without media lies between others that follow each other in the media
    (8.6.6). Without media at the start it begins late, which timestamps tell.
    """
    tracks = _at(content, moov, b"trak")
    movie_hz, *_ = [*_timescales(content, _at(content, moov, b"mvhd")), 0]
    media_hz, *others = [*_timescales(content, _at(content, tracks, b"mdia", b"mdhd")), 0]
    if not movie_hz or not media_hz or len(others) > 1:
        return
    pauses, at_s, pause_s, media_end_s = [], 0.0, 0.0, None
    for duration, media_time in _edits(content, _at(content, tracks, b"edts", b"elst")):
        seconds, media_s = duration / movie_hz, media_time / media_hz
        if media_time < 0:
            pause_s += seconds
            continue
        if media_end_s is not None:
            if abs(media_s - media_end_s) > _ROUNDED_S:
                return
            pauses.append((at_s, pause_s))
        pause_s, at_s, media_end_s = 0.0, at_s + pause_s + seconds, media_s + seconds
    yield from ((at_s, seconds) for at_s, seconds in pauses if seconds)


def _timescales(content: FilePart, headers: list[Chunk]) -> Iterator[int]:
    """Yields how many ticks a second has by headers of movies and media."""
    for box in headers:
        is_long = content.read_at(box.offset, 1) == b"\1"
        yield int.from_bytes(content.read_at(box.offset + (20 if is_long else 12), 4), "big")


def _edits(content: FilePart, lists: list[Chunk]) -> Iterator[tuple[int, int]]:
    """Yields durations and where in the media they begin, -1 for an edit without media."""
    for box in lists:
        is_long = content.read_at(box.offset, 1) == b"\1"
        entry = struct.Struct(">Qq4x" if is_long else ">Ii4x")
        size = min(box.size - 8, entry.size * MAX_CHUNKS)
        table = content.read_at(box.offset + 8, max(0, size - size % entry.size))
        yield from entry.iter_unpack(table[: len(table) - len(table) % entry.size])


_ROUNDED_S = 0.01


def _at(content: FilePart, boxes: list[Chunk], *path: bytes) -> list[Chunk]:
    """The boxes in others by the names of these, from the outermost to the innermost."""
    for name in path:
        boxes = [child for child in _children(content, boxes) if child.name == name]
    return boxes


def _children(content: FilePart, boxes: list[Chunk]) -> Iterator[Chunk]:
    """Yields the boxes in others, so many in all that boxes which claim each other do no harm."""
    every = (_walk_boxes(content, box.offset, min(box.end, content.size)) for box in boxes)
    return islice(chain.from_iterable(every), MAX_CHUNKS)


def _walk_boxes(content: FilePart, offset: int, end: int) -> Iterator[Chunk]:
    """Yields the boxes between two positions; a size of 0 means up to the end, 1 a longer size."""
    while offset + 8 <= end and len(head := content.read_at(offset, 16)) >= 8:
        size, name = struct.unpack(">I4s", head[:8])
        head_bytes = 8
        if size == 1 and len(head) == 16:
            size, head_bytes = int.from_bytes(head[8:], "big"), 16
        size = size or end - offset
        yield Chunk(name, offset + head_bytes, max(0, size - head_bytes))
        offset += max(size, head_bytes)
