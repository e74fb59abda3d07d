"""Tells audio formats apart by content: the name of a file plays no part.

Only what is recognised here is ever handed to a decoder, with the name of its demuxer: a library
that guesses for itself also guesses playlists, lists of files and network streams.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from earmark.transforms.errors import NotAudioError


class Sniffed(NamedTuple):
    """What a file was recognised as.

    Attributes:
      format: the container, as in AudioHeader.format.
      demuxer: what FFmpeg calls its reader.
      start: the byte where it begins, behind tags and junk.
    """

    format: str
    demuxer: str
    start: int


def sniff(file: BinaryIO) -> Sniffed:
    """Recognises the format of a file's content.

    Raises:
      NotAudioError: the content is of no format that is known here.
    """
    start = _skip_id3(file)
    head = _read_at(file, start, _HEAD_BYTES)
    found = _by_signature(head, start) or _by_frames(head, start)
    if found is None and start:  # a tag whose size is wrong
        found = _by_frames(_read_at(file, 0, _HEAD_BYTES), 0)
    if found is None:
        raise NotAudioError("the content is of no audio or video format that is known here")
    return found


_HEAD_BYTES = 1 << 17
_MAX_TAGS = 100
_JUNK_BYTES = 1 << 16  # how far into a head the first MPEG frame may lie

_SIGNATURES = [
    (format_, demuxer, re.compile(pattern, re.DOTALL))
    for format_, demuxer, pattern in (
        ("wav", "wav", rb"(RIFF|RIFX)....WAVE"),
        ("rf64", "wav", rb"(RF64|BW64)....WAVE"),
        ("w64", "w64", rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"),
        ("flac", "flac", rb"fLaC"),
        ("ogg", "ogg", rb"OggS"),
        ("aiff", "aiff", rb"FORM....AIF[FC]"),
        ("caf", "caf", rb"caff"),
        ("au", "au", rb"\.snd|dns\."),
        ("mp4", "mov", rb"....(ftyp|moov|mdat|free|skip|wide|pnot)"),
        ("matroska", "matroska", rb"\x1a\x45\xdf\xa3"),
        ("asf", "asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c"),
        ("avi", "avi", rb"RIFF....AVI "),
        ("flv", "flv", rb"FLV\x01"),
        ("mpegts", "mpegts", rb"(G.{187}){5}|(.{4}G.{187}){5}"),
        ("mpeg", "mpeg", rb"\x00\x00\x01\xba"),
        ("mxf", "mxf", rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),
        ("wtv", "wtv", rb"\xb7\xd8\x00\x20\x37\x49\xda\x11\xa6\x4e\x00\x07\xe9\x5e\xad\x8d"),
        ("rm", "rm", rb"\.RMF"),
        ("amr", "amr", rb"#!AMR"),
        ("wavpack", "wv", rb"wvpk"),
        ("ape", "ape", rb"MAC "),
        ("tta", "tta", rb"TTA1"),
        ("tak", "tak", rb"tBaK"),
        ("mpc", "mpc", rb"MP\+"),
        ("mpc", "mpc8", rb"MPCK"),
        ("shorten", "shn", rb"ajkg"),
        ("dsf", "dsf", rb"DSD "),
        ("dff", "iff", rb"FRM8"),
        ("svx", "iff", rb"FORM....8SVX"),
        ("xwma", "xwma", rb"RIFF....XWMA"),
        ("qcp", "qcp", rb"RIFF....QLCM"),
        ("oma", "oma", rb"EA3[\x01\x02]"),
        ("voc", "voc", rb"Creative Voice File\x1a"),
        ("nistsphere", "nistsphere", rb"NIST_1A\n"),
        ("ircam", "ircam", rb"\x64\xa3[\x01-\x04]\x00|\x00[\x01-\x04]\xa3\x64"),
        ("dts", "dts", rb"\x7f\xfe\x80\x01"),
        ("ac3", "ac3", rb"\x0b\x77...[\x00-\x57]"),
        ("eac3", "eac3", rb"\x0b\x77...[\x58-\x87]"),
    )
]


def _skip_id3(file: BinaryIO) -> int:
    """Returns where the content behind any ID3v2 tags begins (https://id3.org/id3v2.4.0-structure)."""
    start = 0
    for _ in range(_MAX_TAGS):
        tag = _read_at(file, start, 10)
        if tag[:3] != b"ID3" or len(tag) < 10:
            break
        size = (tag[6] & 127) << 21 | (tag[7] & 127) << 14 | (tag[8] & 127) << 7 | tag[9] & 127
        footer = 10 if tag[5] & 0x10 else 0
        start += 10 + size + footer
    return start


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _by_signature(head: bytes, start: int) -> Sniffed | None:
    for format_, demuxer, pattern in _SIGNATURES:
        if pattern.match(head):
            return Sniffed(format_, demuxer, start)
    return None


def _by_frames(head: bytes, start: int) -> Sniffed | None:
    """Recognises streams without a header, by frames that follow each other without a gap."""
    if _is_run(head, 0, adts_frame_bytes):
        return Sniffed("adts", "aac", start)
    for candidate in re.finditer(rb"\xff[\xe2-\xff]", head[:_JUNK_BYTES]):
        if _is_run(head, candidate.start(), mpeg_frame_bytes):
            return Sniffed("mp3", "mp3", start + candidate.start())
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


def mpeg_frame_bytes(header: bytes) -> int | None:
    """Returns the size of an MPEG audio frame (ISO/IEC 11172-3, 13818-3), None where there is none.

    Frames of free bit rate, whose size no header tells, count as none.
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bit_rate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bit_rate_index in (0, 15) or rate_index == 3:
        return None
    bit_rate = _MPEG_KBIT_S[min(layer, 2 if version != 3 else 3), version == 3][bit_rate_index - 1]
    rate_hz = (44100, 48000, 32000)[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return 4 * (12000 * bit_rate // rate_hz + padding)
    return mpeg_frame_samples(header) * 125 * bit_rate // rate_hz + padding


def mpeg_frame_samples(header: bytes) -> int:
    """Returns the samples per channel in an MPEG audio frame (ISO/IEC 11172-3, 13818-3)."""
    layer = 4 - (header[1] >> 1 & 3)
    if layer == 1:
        return 384
    return 576 if layer == 3 and header[1] >> 3 & 3 != 3 else 1152


# Bit rates by layer and whether the version is MPEG 1; layers 2 and 3 of MPEG 2 share theirs.
_MPEG_KBIT_S = {
    (1, True): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (2, True): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, True): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (1, False): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, False): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def adts_frame_bytes(header: bytes) -> int | None:
    """Returns the size of an ADTS frame (ISO/IEC 13818-7, 6.2), None where there is none."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    rate_index = header[2] >> 2 & 15
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if rate_index < 13 and size > 7 else None
