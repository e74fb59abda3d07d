"""The heads of FLAC frames (RFC 9639, 9.1), which tell where in the recording they lie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from earmark.transforms.audio.file_parts import FilePart


def counts_too_few(content: FilePart, samples: int) -> bool:
    """Whether frames at the end of a FLAC file begin behind all samples that its header counts."""
    return any(frame.start >= samples for frame in _at_end(content))


def is_one_stream(content: FilePart, samples: int) -> bool:
    """Whether a FLAC file seems to be one stream, of so many samples at most.

    Where one was written behind another, frames go back in time.
    """
    places = range(0, content.size, max(1, content.size // _PROBES))
    firsts = [_followers(content, place, _PROBE_BYTES)[:1] for place in places]
    frames = [frame for found in (*firsts, _at_end(content)[-1:]) for frame in found]
    in_order = all(one.start <= other.start for one, other in pairwise(frames))
    return in_order and all(frame.end <= samples for frame in frames)


def first_sample(head: bytes, block_samples: int) -> int | None:
    """The number of the first sample of a frame, None where none begins.

    Args:
      head: its first 16 bytes.
      block_samples: how many samples all frames have but for the last, where they are alike.
    """
    frame = _frame(head, block_samples) if _SYNC.match(head) else None
    return frame and frame.start


def _at_end(content: FilePart) -> list[_Frame]:
    tails = (_followers(content, max(0, content.size - size), size) for size in _TAIL_BYTES)
    return next(filter(None, tails), [])


def _followers(content: FilePart, at: int, size: int) -> list[_Frame]:
    """The frames in a part of a file that follow another there: chance makes no two that do."""
    largest_block = int.from_bytes(content.read_at(10, 2), "big")
    frames = _frames(content.read_at(at, size), largest_block)
    return [frame for before, frame in pairwise(frames) if before.end == frame.start]


class _Frame(NamedTuple):
    start: int
    samples: int

    @property
    def end(self) -> int:
        return self.start + self.samples


def _frames(content: bytes, largest_block: int) -> Iterator[_Frame]:
    for found in _SYNC.finditer(content):
        if frame := _frame(content[found.start() : found.start() + 16], largest_block):
            yield frame


def _frame(head: bytes, largest_block: int) -> _Frame | None:
    """The frame that begins with 16 bytes, None where none does: its checksum must be right."""
    block_code, rate_code = (
        head[2] >> 4 if len(head) == 16 else 0,
        head[2] & 15 if len(head) > 2 else 0,
    )
    if not block_code or rate_code == 15 or head[3] >> 4 > 10 or head[3] & 1:
        return None
    number, size = _coded_number(head[4:11])
    at = 4 + size
    block_bytes = {6: 1, 7: 2}.get(block_code, 0)
    block = int.from_bytes(head[at : at + block_bytes], "big") + 1
    at += block_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not size or at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    samples = block if block_bytes else _block_samples(block_code)
    return _Frame(number if head[1] & 1 else number * largest_block, samples)


def _coded_number(content: bytes) -> tuple[int, int]:
    """A number coded as UTF-8 codes characters, but of up to 36 bits, and how many bytes it has."""
    first = content[0]
    size = 8 - (~first & 0xFF).bit_length() or 1
    if size == 8 or (size == 1 and first > 127):
        return 0, 0
    number = first & (0x7F >> size if size > 1 else 0x7F)
    for byte in content[1:size]:
        if byte >> 6 != 2:
            return 0, 0
        number = number << 6 | byte & 63
    return number, size


def _block_samples(code: int) -> int:
    if code == 1:
        return 192
    return 576 << code - 2 if code < 6 else 256 << code - 8


def _crc8(content: bytes) -> int:
    crc = 0
    for byte in content:
        crc = _CRC8[crc ^ byte]
    return crc


def _crc8_of_byte(crc: int) -> int:
    for _ in range(8):
        crc = crc << 1 ^ (0x107 if crc & 0x80 else 0)
    return crc


_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_CRC8 = [_crc8_of_byte(byte) for byte in range(256)]
_TAIL_BYTES = (1 << 15, 1 << 17)
_PROBE_BYTES = 1 << 16
_PROBES = 16
