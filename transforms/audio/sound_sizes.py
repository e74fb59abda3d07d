"""Sizes of sound in headers, held against what lies behind it.

Many are wrong: written before the end was known and never again, too large for their 32 bits, or
followed by more sound. A wrong one is told by what lies behind: there are other chunks, or nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import islice, takewhile

from earmark.transforms.audio.chunks import Chunk, ChunkStyle
from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart, SplicedPart
from earmark.transforms.errors import DamagedError

Rewrite = Callable[[int], list[FilePart | bytes]]
"""Gives a header, up to the sound, that declares this size."""


def chunk_of_sound(
    content: FilePart,
    style: ChunkStyle,
    chunk: Chunk,
    rewrite: Rewrite | None,
    head_bytes: int = 0,
) -> DeclaredLength:
    """The length that a chunk of sound declares, and the file as it should be where that is wrong.

    Args:
      content: the file.
      style: of its chunks.
      chunk: the first chunk of sound.
      rewrite: what the header should be; None where no decoder would take it.
      head_bytes: what precedes the sound in the chunk.

    Raises:
      DamagedError: the size was never filled in, and no decoder gets at the sound.
    """
    start, size = chunk.offset + head_bytes, chunk.size - head_bytes
    if start >= content.size and not is_filled_in(size):
        return DeclaredLength(start)
    if is_filled_in(size) and chunk.end >= content.size:
        return DeclaredLength(start, size, missing_bytes=chunk.end - content.size)
    end = _end(content, style, start, size)
    later = _chunks_at(content, style, end)
    follower = next((each for each in later if each.name[:4] in _FILES), None)
    if follower:
        later = later[: later.index(follower)]
    pieces = [(start, end)]
    pieces += [(each.offset + head_bytes, each.end) for each in later if each.name == chunk.name]
    declared = DeclaredLength(
        start,
        sum(end - start for start, end in pieces),
        missing_bytes=max(0, pieces[-1][1] - content.size),
        followed_by=follower and content.part(follower.offset - style.head_bytes),
    )
    if pieces == [(start, chunk.end)]:
        return declared
    if rewrite is None:
        if size <= 0:
            raise DamagedError("its header declares no sound, but there is some")
        return DeclaredLength(start, unheard_bytes=max(0, end - chunk.end))
    return declared._replace(mended=_spliced(content, rewrite, pieces))


def chunks_behind(content: FilePart, style: ChunkStyle, chunk: Chunk) -> list[Chunk]:
    """The chunks behind a chunk of sound, wherever that ends."""
    return _chunks_at(content, style, _end(content, style, chunk.offset, chunk.size))


def sized_sound(
    content: FilePart, start: int, size: int, size_at: int, size_format: str
) -> DeclaredLength:
    """The length of sound that no other chunks follow, by its size in a header."""
    end = start + size
    if is_filled_in(size) and end >= content.size:
        return DeclaredLength(start, size, missing_bytes=end - content.size)
    is_another = content.read_at(end, 4) == content.read_at(0, 4)
    if is_filled_in(size) and (is_another or _is_end(content, _NO_CHUNKS, end, size)):
        return DeclaredLength(start, size, followed_by=content.part(end) if is_another else None)
    size = max(0, content.size - start)
    header = patched(content, start, {size_at: at_most(size, size_format)})
    mended = SplicedPart([*header, content.part(start)]) if size else None
    return DeclaredLength(start, size, mended=mended)


def is_filled_in(size: int) -> bool:
    """Whether a size is one, and not what recorders write before they know better.

    That is 0, or the largest number of 31 to 64 bits, sometimes less what the headers take.
    """
    limits = (1 << 31, 1 << 32, 1 << 63, 1 << 64)
    return size > 0 and not any(0 <= limit - size <= 1 << 16 for limit in limits)


def is_named(chunk: Chunk) -> bool:
    """Whether a chunk's name is one: letters, and no samples."""
    return _NAME.match(chunk.name) is not None


def patched(content: FilePart, start: int, numbers: dict[int, bytes]) -> list[FilePart | bytes]:
    """The header of a file up to `start`, with other numbers at some places, in their order."""
    pieces: list[FilePart | bytes] = []
    at = 0
    for place, number in numbers.items():
        pieces += [content.part(at, place), number]
        at = place + len(number)
    return [*pieces, content.part(at, start)]


def at_most(size: int, size_format: str) -> bytes:
    """A size in a header; all ones, which stand for an unknown one, where it is too large."""
    largest = (1 << 8 * struct.calcsize(size_format)) - 1
    return struct.pack(size_format, min(size, largest))


def _spliced(content: FilePart, rewrite: Rewrite, pieces: list[tuple[int, int]]) -> FilePart:
    sound = [content.part(start, end) for start, end in pieces]
    return SplicedPart([*rewrite(sum(end - start for start, end in pieces)), *sound])


def _end(content: FilePart, style: ChunkStyle, start: int, size: int) -> int:
    """Where sound ends that begins at `start`, and has this size by its header."""
    if is_filled_in(size):
        end = start + size
        if end >= content.size or _is_end(content, style, end, size):
            return end
    elif size <= 0 and _chunks_at(content, style, start):
        return start
    return _end_of_file(content, style, start)


def _is_end(content: FilePart, style: ChunkStyle, end: int, size: int) -> bool:
    """Whether sound of a size ends where its header says, judging by what lies there.

    That is a chunk or a tag, little else, or padding.
    """
    rest = content.size - end
    if style.size_format[1] == "I" and rest >> 32 and rest % (1 << 32) < _MAX_TRAILER_BYTES:
        return False  # what is too large for 32 bits was cut to what fits
    return (
        rest < min(_MAX_JUNK_BYTES, size)
        or bool(_chunks_at(content, style, end))
        or content.read_at(end, 12).startswith(_TAGS)
        or _is_padding(content, end)
    )


def _chunks_at(content: FilePart, style: ChunkStyle, end: int) -> list[Chunk]:
    """The chunks behind sound; none where what lies there is something else.

    Some writers leave out the byte that makes sizes even.
    """
    for at in (end + -end % style.alignment, end):
        chunks = list(takewhile(is_named, islice(style.walk(content, at), _MAX_TRAILERS)))
        if chunks and (_is_known(chunks[0]) or _reaches_end(content, style, chunks)):
            return chunks
    return []


def _is_known(chunk: Chunk) -> bool:
    return chunk.name[:4] in _KNOWN or chunk.name[4:] in _W64_NAMES


def _reaches_end(content: FilePart, style: ChunkStyle, chunks: list[Chunk]) -> bool:
    return 0 <= content.size - chunks[-1].end < max(2, style.alignment)


def _is_padding(content: FilePart, start: int) -> bool:
    """Whether a file goes on with nothing but the same byte, as far as 64 looks at it tell."""
    first = content.read_at(start, 1)
    step = max(1 << 16, (content.size - start) >> 6)
    places = [*range(start, content.size, step), max(start, content.size - (1 << 16))]
    return first in (b"\0", b"\xff") and all(
        not content.read_at(place, 1 << 16).strip(first) for place in places
    )


def _end_of_file(content: FilePart, style: ChunkStyle, start: int) -> int:
    """Where sound of unknown size ends: with the file, or before the chunks at its end."""
    tail_start = max(start, content.size - _MAX_TRAILER_BYTES)
    tail = content.read_at(tail_start, _MAX_TRAILER_BYTES)
    for found in islice(_KNOWN_NAME.finditer(tail), _MAX_TRAILERS):
        at = tail_start + found.start()
        chunks = list(takewhile(is_named, islice(style.walk(content, at), _MAX_TRAILERS)))
        if chunks and _is_known(chunks[0]) and _reaches_end(content, style, chunks):
            return at
    return content.size


_NO_CHUNKS = ChunkStyle(4, ">I")
_MAX_JUNK_BYTES = 4096
_MAX_TRAILERS = 200
_MAX_TRAILER_BYTES = 1 << 20
_NAME = re.compile(rb"[ -~]{4}")
_TAGS = (b"ID3\2", b"ID3\3", b"ID3\4", b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b"riff")
_KNOWN = frozenset(
    [
        *_FILES,
        # RIFF
        *b"LIST|id3 |ID3 |bext|guan|iXML|cue |smpl|fact|axml|_PMX|afsp|JUNK|junk|PAD ".split(b"|"),
        *b"FLLR|fllr|levl|strc|acid|minf|elm1|regn|ovwf|umid|dbmd|wamd|chna|LGWV".split(b"|"),
        *b"DISP|cart|MARK|note|inst|plst|PEAK|fmt |data|ds64|r64m|harp|link|Cr8r|SAUR".split(b"|"),
        # AIFF
        *b"COMM|INST|MIDI|AESD|APPL|COMT|NAME|AUTH|(c) |ANNO|CHAN|FVER|SAXL|SSND|basc".split(b"|"),
        # CAF
        *b"info|uuid|free|pakt|chan|mark|strg|kuki|midi|peak|edct|ovvw|desc".split(b"|"),
    ]
)
_KNOWN_NAME = re.compile(b"|".join(map(re.escape, sorted(_KNOWN))))
_W64_NAMES = tuple(
    bytes.fromhex(guid) for guid in ("2f91cf11a5d628db04c10000", "f3acd3118cd100c04f8edb8a")
)
"""What follows the four letters of a chunk's name in Wave64."""
