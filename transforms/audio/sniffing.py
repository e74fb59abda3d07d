"""Tells audio formats apart by content: the name of a file plays no part.

Only what is recognised here is ever handed to a decoder, with the name of its demuxer: a library
that guesses for itself also guesses playlists, lists of files and network streams.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from earmark.transforms.audio.file_parts import FilePart, SwappedPart
from earmark.transforms.audio.formats import FORMATS, Format
from earmark.transforms.audio.untagged import behind_padding, behind_tags
from earmark.transforms.errors import NotAudioError


class Sniffed(NamedTuple):
    """What a file was recognised as.

    Attributes:
      format: the container.
      content: the file from where it begins, behind tags and junk.
    """

    format: Format
    content: FilePart


def sniff(file: FilePart) -> Sniffed:
    """Recognises the format of a file's content.

    Raises:
      NotAudioError: the content is in no known format.
    """
    starts = []
    for start in _starts(file):
        starts.append(start)
        head = file.read_at(start, HEAD_BYTES)
        for format_ in FORMATS:
            if _begins(format_, head):
                return Sniffed(format_, file.part(start))
    for start in () if _is_of_another_kind(file) else starts:
        head = file.read_at(start, _SEARCH_BYTES)
        for format_ in FORMATS:
            if (at := _find(format_, head)) is not None:
                return Sniffed(format_, file.part(start + _beginning(format_, head, at)))
    raise NotAudioError("the content is in no known audio or video format")


def sniff_samples(samples: FilePart) -> Sniffed | None:
    """Recognises a bitstream whose bytes, in either order, stand as samples of 16 bits.

    None where the samples are sound. Marks are looked for at the start only, behind any silence.
    """
    head = samples.read_at(0, _BURST_BYTES)
    if not head.strip(b"\0"):
        samples = samples.part(behind_padding(samples, 0) & ~1)
        head = samples.read_at(0, _BURST_BYTES)
    words = np.frombuffer(head, "<u2", len(head) // 2)
    for place in 2 * np.flatnonzero(_BEGINS_MARK[words]):
        for mark, is_swapped, format_ in _MARKS:
            if head.startswith(mark, place):
                content = SwappedPart(samples) if is_swapped else samples
                at = _find(format_, content.read_at(0, _BURSTS_BYTES))
                if at is not None and at % 2 == 0:
                    return Sniffed(format_, content.part(at))
    return None


HEAD_BYTES = 1 << 17
"""So much of a file is looked at to recognise it, unless that is in vain."""


def _starts(file: FilePart) -> Iterator[int]:
    """Yields where the content may begin: behind tags and zeros, or at once: tags may be wrong."""
    start = behind_tags(file)
    yield start
    padded = behind_padding(file, start)
    if padded > start:
        yield padded
    if start > 0:
        yield 0


def _begins(format_: Format, head: bytes) -> bool:
    """Whether a format begins at once."""
    if re.match(format_.signature, head, re.DOTALL) is None:
        return False
    return _is_run(head, 0, format_, 4)


def _find(format_: Format, head: bytes) -> int | None:
    """Where in the first of a file a format begins that may begin anywhere; None for no place."""
    if not format_.search_bytes:
        return None
    signature = re.compile(format_.later_signature or format_.signature, re.DOTALL)
    within = head[: format_.search_bytes]
    for found in islice(signature.finditer(within), _MAX_PLACES):
        if _is_run(head, found.start(), format_, 8):
            return found.start()
    return None


def _beginning(format_: Format, head: bytes, at: int) -> int:
    """Where a format begins that was found at a place: before damage, if it begins there alike."""
    mask = format_.frame_mask
    return 0 if mask and _are_alike(head, 0, at, mask) else at


def _is_run(head: bytes, start: int, format_: Format, wanted: int) -> bool:
    """Whether so many frames follow each other at `start`, or fewer are all up to the end.

    The latter only where nothing lies before them: noise holds what looks like a frame or two. The
    last may be cut, unless it is the only one.
    """
    if format_.frame_bytes is None:
        return True
    position, run = start, 0
    while run < wanted and _are_alike(head, start, position, format_.frame_mask):
        size = format_.frame_bytes(head[position : position + _FRAME_HEAD_BYTES])
        if not size:
            break
        position, run = position + size, run + 1
    is_cut = run > 1 and position > len(head)
    at_end = position == len(head) or head.startswith((b"TAG", b"APETAGEX", b"ID3"), position)
    return run == wanted or (run > 0 and start == 0 and (at_end or is_cut))


def _are_alike(head: bytes, one: int, other: int, mask: bytes) -> bool:
    heads = zip(mask, head[one : one + len(mask)], head[other : other + len(mask)], strict=False)
    return not any((byte ^ other_byte) & bits for bits, byte, other_byte in heads)


def _is_of_another_kind(file: FilePart) -> bool:
    """Whether a file is an archive, image, document or program: what is in one doesn't count."""
    head = file.read_at(0, 512)
    return head.startswith(_OTHER_KINDS) or head[257:262] == b"ustar"


_MARKS = [
    (SwappedPart.swapped(mark) if is_swapped else mark, is_swapped, format_)
    for format_ in FORMATS
    for mark in format_.marks_in_samples
    for is_swapped in (False, True)
]
_BEGINS_MARK = np.isin(
    np.arange(1 << 16), [int.from_bytes(mark[:2], "little") for mark, *_ in _MARKS]
)
_BURST_BYTES = 1 << 13
_BURSTS_BYTES = 3 << 14
_SEARCH_BYTES = 1 << 20
_MAX_PLACES = 100_000
_FRAME_HEAD_BYTES = 16
_OTHER_KINDS = (
    *(b"PK\3\4", b"PK\5\6", b"PK\7\x08", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"),
    *(b"\x28\xb5\x2f\xfd", b"MSCF", b"!<arch>", b"CD001", b"SQLite format", b"PAR1", b"\x89HDF"),
    *(
        b"\xff\xd8\xff",
        b"\x89PNG",
        b"GIF8",
        b"II*\0",
        b"MM\0*",
        b"8BPS",
        b"\0\0\1\0",
        b"%PDF",
        b"%!PS",
    ),
    *(
        b"\xd0\xcf\x11\xe0",
        b"{\\rtf",
        b"<?xml",
        b"<!DOCTYPE",
        b"<html",
        b"\x7fELF",
        b"\xca\xfe\xba\xbe",
    ),
    *(b"\xcf\xfa\xed\xfe", b"wOF", b"OTTO", b"\0asm", b"TFL3", b"GGUF", b"\x93NUMPY"),
)
