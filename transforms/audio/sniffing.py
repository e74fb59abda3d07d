"""Tells audio formats apart by content: the name of a file plays no part.

Only what is recognised here is ever handed to a decoder, with the name of its demuxer: a library
that guesses for itself also guesses playlists, lists of files and network streams.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.formats import FORMATS, Format
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
    start = _behind_id3(file)
    for each in (start, 0) if start else (0,):  # a tag may tell a wrong size
        head = file.read_at(each, HEAD_BYTES)
        for format_ in FORMATS:
            if (at := _beginning(format_, head)) is not None:
                return Sniffed(format_, file.part(each + at))
    raise NotAudioError("the content is in no known audio or video format")


HEAD_BYTES = 1 << 17
"""So much of a file is looked at to recognise it."""

_MAX_TAGS = 100


def _behind_id3(file: FilePart) -> int:
    """Returns where the content behind any ID3v2 tags begins (https://id3.org/id3v2.4.0-structure)."""
    start = 0
    for _ in range(_MAX_TAGS):
        tag = file.read_at(start, 10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            break
        size = (tag[6] & 127) << 21 | (tag[7] & 127) << 14 | (tag[8] & 127) << 7 | tag[9] & 127
        footer = 10 if tag[5] & 0x10 else 0
        start += 10 + size + footer
    return start


def _beginning(format_: Format, head: bytes) -> int | None:
    """Returns where in the first of a file a format begins, None where it is another one."""
    signature = re.compile(format_.signature, re.DOTALL)
    if format_.frame_bytes is None:
        return 0 if signature.match(head) else None
    for found in signature.finditer(head[: format_.junk_bytes + 2]):
        if _is_run(head, found.start(), format_.frame_bytes):
            return found.start()
    return None


def _is_run(head: bytes, start: int, frame_bytes: Callable[[bytes], int | None]) -> bool:
    """Whether frames follow each other at `start`: four of them, or all there are up to the end.

    Fewer count only where nothing lies before them: noise holds what looks like a frame or two.
    """
    position, run = start, 0
    while run < 4 and (size := frame_bytes(head[position : position + 6])):
        position, run = position + size, run + 1
    at_end = position >= len(head) or head.startswith((b"TAG", b"APETAGEX"), position)
    return run == 4 or (run > 0 and start == 0 and at_end)
