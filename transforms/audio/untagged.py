"""Tags around and between the frames of formats that know nothing of them: MPEG audio, AAC, AC-3.

ID3v2 (https://id3.org/id3v2.4.0-structure), which may stand anywhere since files are joined; ID3v1
and Lyrics3 (https://id3.org/Lyrics3v2) at the end; and APE (https://wiki.hydrogenaud.io, APEv2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice

from earmark.transforms.audio.file_parts import FilePart, SplicedPart

IsFrame = Callable[[bytes], bool]
"""Whether frames begin with these bytes."""


def behind_tags(file: FilePart, start: int = 0) -> int:
    """Where the content begins behind any tags at `start`."""
    for _ in range(_MAX_TAGS_IN_FRONT):
        head = file.read_at(start, 32)
        size = _id3_bytes(head[:10]) or _ape_bytes(head)
        if not size:
            break
        start += size
    return start


def behind_padding(file: FilePart, start: int) -> int:
    """Where the zeros end that begin at `start`, if any do; they fill what tags may grow into."""
    end = start
    if file.read_at(start, 1) != b"\0":
        return start
    while end < start + _MAX_PADDING_BYTES and (block := file.read_at(end, 1 << 16)):
        zeros = len(block) - len(block.lstrip(b"\0"))
        end += zeros
        if zeros < len(block):
            return end
    return start


def untagged(content: FilePart, is_frame: IsFrame) -> FilePart | None:
    """The content without its tags; None where there are none.

    Args:
      content: begins with a frame.
      is_frame: tells frames, which follow an ID3v1 tag where it does not end the file.
    """
    pieces: list[FilePart | bytes] = []
    at = 0
    for start, end in islice(_tags(content, is_frame), _MAX_TAGS):
        pieces.append(content.part(at, start))
        at = behind_padding(content, end)
    if not at:
        return None
    return SplicedPart([*pieces, content.part(at)])


def _tags(content: FilePart, is_frame: IsFrame) -> Iterator[tuple[int, int]]:
    """Yields where tags begin and end, one after another."""
    behind = 0
    for at in islice(_beginnings(content), _MAX_NAMES):
        start, end = _tag(content, at, is_frame)
        if behind <= start < end:
            yield start, end
            behind = end


def _tag(content: FilePart, at: int, is_frame: IsFrame) -> tuple[int, int]:
    """Where the tag begins and ends whose name stands at a place; nothing between for no tag."""
    head = content.read_at(at, 32)
    if size := _id3_bytes(head[:10]) or _ape_bytes(head):
        return at, at + size
    if head.startswith(b"APETAGEX"):  # which may lack a header, and have a footer only
        return at + 32 - int.from_bytes(head[12:16], "little"), at + 32
    if head.startswith(b"LYRICSBEGIN"):
        lyrics = content.read_at(at, _MAX_LYRICS_BYTES)
        end = re.search(b"LYRICSEND|LYRICS200", lyrics)
        return at, at + end.end() if end else at
    size = 227 if head.startswith(b"TAG+") else 128
    following = content.read_at(at + size, _FRAMES_BYTES)
    is_tag = head.startswith(b"TAG") and at + size <= content.size
    return at, at + size * (
        is_tag and (following[:3] in (b"", b"TAG", b"ID3") or is_frame(following))
    )


def _beginnings(content: FilePart) -> Iterator[int]:
    """Yields where names of tags stand."""
    for offset in range(0, content.size, _BLOCK_BYTES):
        block = content.read_at(max(0, offset - _NAME_BYTES), _BLOCK_BYTES + _NAME_BYTES)
        places = (found.start() for name in _NAMES for found in name.finditer(block))
        for place in sorted(places):
            is_ape = block.startswith(b"APETAGEX", max(0, place - 3))
            yield max(0, offset - _NAME_BYTES) + place - 3 * is_ape


def _id3_bytes(head: bytes) -> int:
    """The size of the ID3v2 tag that begins with ten bytes; 0 where they begin none."""
    if len(head) < 10 or head[:3] != b"ID3" or not 2 <= head[3] <= 4 or max(head[6:]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    footer_bytes = 10 if head[5] & 0x10 else 0
    return 10 + size + footer_bytes


def _ape_bytes(head: bytes) -> int:
    """The size of the APE tag that begins with a header of 32 bytes; 0 where they are none."""
    if len(head) < 32 or not head.startswith(b"APETAGEX") or not head[23] & 0x20:
        return 0
    return 32 + int.from_bytes(head[12:16], "little")


_NAMES = [re.compile(name) for name in (b"ID3", b"TAG", b"LYRICSBEGIN")]  # one by one is faster
_NAME_BYTES = 11
_MAX_TAGS_IN_FRONT = 100
_MAX_TAGS = 10_000
_MAX_NAMES = 100_000
_MAX_PADDING_BYTES = 1 << 24
_MAX_LYRICS_BYTES = 1 << 20
_FRAMES_BYTES = 1 << 14
_BLOCK_BYTES = 1 << 20
