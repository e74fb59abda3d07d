"""Tells whether what lies before the first sound of a file, or behind the last, is damage.

Where sound begins late by its timestamps, that is either how it was recorded, or the first of it
was lost.
"""

from __future__ import annotations

import struct
import zlib

from earmark.transforms.audio.chunks import ASF, MAX_CHUNKS, ebml_element
from earmark.transforms.audio.file_parts import FilePart


def is_ogg_start_lost(content: FilePart) -> bool:
    """Whether a page is missing or damaged up to the first on which sound ends (RFC 3533, 6)."""
    offset, numbers = 0, dict[bytes, int]()
    for _ in range(_MAX_FIRST_PAGES):
        page = content.read_at(offset, _MOST_PAGE_BYTES)
        if len(page) < 27 or page[:4] != b"OggS":
            return len(page) >= 27
        granule, serial, number, crc = struct.unpack("<q4sI4s", page[6:26])
        page = page[: 27 + page[26] + sum(page[27 : 27 + page[26]])]
        if number != numbers.get(serial, -1) + 1 or crc != _ogg_crc(page):
            return True
        if granule > 0:
            return False
        numbers[serial] = number
        offset += len(page)
    return False


def _ogg_crc(page: bytes) -> bytes:
    """The checksum of a page: that of zlib, but from 0 on, and all bits in the other order."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    crc = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_MIRRORED)


_MAX_FIRST_PAGES = 1000
_MOST_PAGE_BYTES = 27 + 255 + 255 * 255
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def is_ogg_tail_lost(content: FilePart, offset: int) -> bool:
    """Whether pages with sound lie between one and the last, which is of the same stream."""
    tail = content.read_at(max(0, content.size - _OGG_TAIL_BYTES), _OGG_TAIL_BYTES)
    ends = content.read_at(offset, 26), tail[max(0, tail.rfind(b"OggS")) :][:26]
    if any(len(page) < 26 or page[:4] != b"OggS" for page in ends):
        return False
    page, last = (struct.unpack("<q4sI", end[6:22]) for end in ends)
    # a packet may end on the next page, and another page without sound end the stream
    is_far = page[1] == last[1] and last[2] - page[2] > 2
    return bool(is_far and 0 <= page[0] < last[0])


_OGG_TAIL_BYTES = 1 << 17


def is_matroska_start_lost(content: FilePart) -> bool:
    """Whether anything lies before the first cluster of a segment that doesn't belong there."""
    header = ebml_element(content, 0)
    segment = header and ebml_element(content, header.end)
    offset = segment.offset if segment else 0
    for _ in range(MAX_CHUNKS):
        element = ebml_element(content, offset)
        if element is None or element.name == _CLUSTER:
            return False
        if element.name not in _BEFORE_CLUSTERS or element.size < 0:
            return True
        offset = element.end
    return False


_CLUSTER = b"\x1f\x43\xb6\x75"
_BEFORE_CLUSTERS = (
    *(b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x10\x43\xa7\x70"),
    *(b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x12\x54\xc3\x67", b"\xec", b"\xbf"),
)
"""SeekHead, Info, Tracks, Chapters, Cues, Attachments, Tags, Void and CRC-32 (RFC 9559, 5.1)."""


def is_flv_start_lost(content: FilePart) -> bool:
    """Whether one of the first tags isn't followed by its own size (FLV 10.1, annex E.3)."""
    offset = int.from_bytes(content.read_at(5, 4), "big") + 4
    for _ in range(_FIRST_TAGS):
        head = content.read_at(offset, 11)
        if len(head) < 11:
            return False
        size = 11 + int.from_bytes(head[1:4], "big")
        if content.read_at(offset + size, 4) != size.to_bytes(4, "big"):
            return True
        offset += size + 4
    return False


_FIRST_TAGS = 10


def is_asf_start_lost(content: FilePart) -> bool:
    """Whether the first packet doesn't begin as they do (ASF specification 1.2, 5.2.1)."""
    sound = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
    return any(
        content.read_at(chunk.offset + 26, 3) != b"\x82\0\0"
        for chunk in ASF.find(content, 30, sound)
    )


def is_mpegts_tail_lost(content: FilePart, offset: int) -> bool:
    """Whether anything but packets lies behind one, of which each begins with a G."""
    head = content.read_at(0, 192 * 5)
    size, sync = (192, 4) if all(head[at] == 71 for at in range(4, len(head), 192)) else (188, 0)
    offset -= offset % size
    tail = content.read_at(offset, min(content.size - offset, _MOST_TAIL_BYTES))
    starts = tail[sync::size]
    return len(starts) - starts.count(b"G") > _MOST_JUNK_PACKETS


_MOST_TAIL_BYTES = 1 << 24
_MOST_JUNK_PACKETS = 20
