"""What the bookkeeping of a container says: how much sound there is, and what recorders noted."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial
from itertools import islice, takewhile
from typing import NamedTuple

from earmark.transforms.audio.chunks import (
    ASF,
    BIG_ENDIAN_RIFF,
    CAF,
    MAX_CHUNKS,
    RIFF,
    W64,
    Chunk,
    ChunkStyle,
    ebml_element,
    riff_style,
)
from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart, SplicedPart
from earmark.transforms.audio.flac_frames import counts_too_few, is_one_stream
from earmark.transforms.audio.sound_sizes import (
    at_most,
    chunk_of_sound,
    chunks_behind,
    is_filled_in,
    is_named,
    patched,
    sized_sound,
)
from earmark.transforms.audio.untagged import untagged


class Note(NamedTuple):
    """What a recorder noted in a file.

    Attributes:
      kind: how it is written: "guano", "bext" for Broadcast Wave, "harp", or as a mere "comment".
      content: what was noted.
    """

    kind: str
    content: bytes


def wav_length(content: FilePart) -> DeclaredLength:
    """WAV and RF64."""
    is_mpeg, has_trigger, kind, harp = False, False, None, None
    for chunk in riff_style(content).walk(content, 12):
        if chunk.name == b"fmt ":
            kind = chunk
            codec = content.read_at(chunk.offset, 2)
            is_mpeg = codec in (b"\x50\0", b"\x55\0", b"\0\x50", b"\0\x55")
        elif chunk.name == b"LIST":
            infos = content.read_at(chunk.offset, min(chunk.size, _MAX_NOTE_BYTES))
            has_trigger = _TRIGGER.search(infos) is not None
        elif chunk.name == b"harp":
            harp = (chunk.offset, min(chunk.size, _MAX_HARP_BYTES))
        elif chunk.name == b"data":
            style = riff_style(content)
            # libav takes the samples of RIFX for little-endian ones
            rewrite = partial(_wav_header, content, kind) if kind and style is RIFF else None
            declared = chunk_of_sound(content, style, chunk, rewrite)
            return declared._replace(is_mpeg=is_mpeg, has_trigger=has_trigger, harp=harp)
    return DeclaredLength(is_mpeg=is_mpeg)


_TRIGGER = re.compile(rb"by AudioMoth .{0,400}?(threshold|trigger)", re.DOTALL | re.IGNORECASE)
_MAX_HARP_BYTES = 1 << 23


def _wav_header(content: FilePart, kind: Chunk, size: int) -> list[FilePart | bytes]:
    """A header of WAV up to its sound: that of RF64, in which any size has room."""
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 72 + kind.size, size, 0, 0)
    parts = (b"RF64\xff\xff\xff\xffWAVE", sizes, b"fmt ", struct.pack("<I", kind.size))
    padding = bytes(kind.size % 2)
    return [b"".join(parts), content.part(kind.offset, kind.end), padding, b"data\xff\xff\xff\xff"]


def wav_notes(content: FilePart) -> Iterator[Note]:
    """The notes in a WAV or RF64 file, before its sound and behind it; damage ends them."""
    noted = (chunk for chunk in _around_sound(content) if chunk.name in _NOTES)
    for chunk in islice(noted, _MAX_NOTES):
        size = min(chunk.size, _MAX_NOTE_BYTES)
        if chunk.name == b"LIST":
            infos = content.part(chunk.offset, chunk.offset + size)
            yield from _comments(infos, riff_style(content))
        else:
            yield Note(_NOTES[chunk.name], content.read_at(chunk.offset, size))


def _around_sound(content: FilePart) -> Iterator[Chunk]:
    """Yields the chunks before the sound of a WAV file and behind it."""
    style = riff_style(content)
    for chunk in takewhile(is_named, style.walk(content, 12)):
        yield chunk
        if chunk.name == b"data":
            yield from chunks_behind(content, style, chunk)
            return


_NOTES = {b"guan": "guano", b"bext": "bext", b"harp": "harp", b"LIST": "comment"}
_MAX_NOTES = 16
_MAX_NOTE_BYTES = 1 << 18


def _comments(infos: FilePart, style: ChunkStyle) -> Iterator[Note]:
    """Yields the first comment, ICMT, in a LIST chunk of the kind INFO."""
    if infos.read_at(0, 4) == b"INFO":
        for info in islice(style.find(infos, 4, b"ICMT"), 1):
            yield Note("comment", infos.read_at(info.offset, info.size))


def w64_length(content: FilePart) -> DeclaredLength:
    """Sony Wave64."""
    data = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    return _chunk_length(content, W64, 40, data)


def aiff_length(content: FilePart) -> DeclaredLength:
    """AIFF and AIFF-C: the chunk SSND begins with an offset and a block size of four bytes each."""
    return _chunk_length(content, BIG_ENDIAN_RIFF, 12, b"SSND", head_bytes=8)


def caf_length(content: FilePart) -> DeclaredLength:
    """Core Audio Format: the chunk data begins with a count of edits of four bytes."""
    return _chunk_length(content, CAF, 8, b"data", head_bytes=4)


def _chunk_length(
    content: FilePart, style: ChunkStyle, first: int, name: bytes, head_bytes: int = 0
) -> DeclaredLength:
    """What the first chunk of a name declares, which holds the sound behind a head."""
    for chunk in style.find(content, first, name):
        rewrite = partial(_resized, content, style, chunk, head_bytes)
        return chunk_of_sound(content, style, chunk, rewrite, head_bytes)
    return DeclaredLength()


def _resized(
    content: FilePart, style: ChunkStyle, chunk: Chunk, head_bytes: int, size: int
) -> list[FilePart | bytes]:
    """A header up to the sound in a chunk, with another size of the sound."""
    start = chunk.offset + head_bytes
    size += head_bytes + style.head_bytes * style.size_counts_head
    numbers = {chunk.offset - style.head_bytes + style.name_bytes: size}
    if style is not CAF:  # which has no size of the whole
        numbers = {style.name_bytes: size + start, **numbers}
    sizes = {at: at_most(number, style.size_format) for at, number in numbers.items()}
    return patched(content, start, sizes)


def au_length(content: FilePart) -> DeclaredLength:
    """Sun and NeXT audio: magic, offset of the sound, its size."""
    head = content.read_at(0, 12)
    if len(head) < 12:
        return DeclaredLength()
    order = ">" if head[:4] == b".snd" else "<"
    start, size = struct.unpack(order + "4xII", head)
    return sized_sound(content, start, size, 8, order + "I")


def flac_length(content: FilePart) -> DeclaredLength:
    """FLAC (RFC 9639): the samples that STREAMINFO counts, unless later frames lie at the end.

    Then, and where it counts none, what may follow in the same file is looked for at once.
    """
    info, count = content.read_at(0, 26), _flac_samples(content)
    if len(info) < 26 or (count and not counts_too_few(content, count)):
        return DeclaredLength()
    following = next_flac(content, _FLAC_FIRST_BYTES)
    if following:
        alone = content.part(0, content.size - following.size)
        return DeclaredLength(mended=alone, followed_by=following)
    if not count:
        return DeclaredLength()
    uncounted = patched(content, content.size, {21: bytes([info[21] & 0xF0, 0, 0, 0, 0])})
    return DeclaredLength(mended=SplicedPart(uncounted))


def next_flac(content: FilePart, position: int) -> FilePart | None:
    """Another FLAC stream behind a first, of which a decoder has read up to a position, or more."""
    at = max(_FLAC_FIRST_BYTES, position - _FLAC_AHEAD_BYTES)
    while len(block := content.read_at(at, 1 << 20)) >= _FLAC_FIRST_BYTES:
        if found := _FLAC_BEGINNING.search(block):
            return content.part(at + found.start())
        at += len(block) - 7
    return None


def is_one_flac(content: FilePart) -> bool:
    """Whether a file seems to hold no other FLAC stream behind the first."""
    return is_one_stream(content, _flac_samples(content))


def _flac_samples(content: FilePart) -> int:
    return int.from_bytes(content.read_at(18, 8), "big") & _FLAC_MOST_SAMPLES


_FLAC_MOST_SAMPLES = (1 << 36) - 1
_FLAC_FIRST_BYTES = 42
_FLAC_AHEAD_BYTES = 80_000  # of which a decoder may have read more than it used
_FLAC_BEGINNING = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")


def ogg_length(content: FilePart) -> DeclaredLength:
    """Ogg (RFC 3533): the last page must be whole, and marked as the end of its stream.

    Opus counts the samples that its decoder drops at the start (RFC 7845, 4.2).
    """
    first = content.read_at(0, 40)
    lead_in = int.from_bytes(first[38:40], "little") if first[28:36] == b"OpusHead" else 0
    tail = content.read_at(max(0, content.size - (1 << 17)), 1 << 17)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    is_whole = len(page) >= 27 + segments + sum(page[27 : 27 + segments])
    return DeclaredLength(ended=is_whole and bool(page[5] & 4), lead_in=lead_in)


def mp3_length(content: FilePart) -> DeclaredLength:
    """MPEG audio: the count of frames in the first one, as Xing, LAME or VBRI write it.

    Formats: http://gabriel.mp3-tech.org/mp3infotag.html and
    https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header.
    """
    if mended := untagged(content, lambda head: mpeg_frame_bytes(head) is not None):
        return DeclaredLength(mended=mended)
    frame = content.read_at(0, mpeg_frame_bytes(content.read_at(0, 4)) or 4)
    frame_samples = _mpeg_frame_samples(frame)
    header = DeclaredLength(tolerance=frame_samples, header_bytes=len(frame))
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        frames = int.from_bytes(frame[50:54], "big")
        return header._replace(samples=frames * frame_samples)
    is_mpeg1, is_mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    xing = frame[4 + (17 if is_mono else 32) if is_mpeg1 else 4 + (9 if is_mono else 17) :]
    if xing[:4] not in (b"Xing", b"Info") or len(xing) < 12 or not xing[7] & 1:
        return DeclaredLength()
    samples = int.from_bytes(xing[8:12], "big") * frame_samples
    return header._replace(samples=max(0, samples - _lame_padding(xing)))


def _lame_padding(xing: bytes) -> int:
    """Returns the samples that the encoder added at both ends, as LAME's extension tells.

    It lies behind what flags say is there: a count of frames, one of bytes, 100 bytes of a table to
    seek by, and the quality.
    """
    flags = xing[7]
    lame = xing[8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2 :]
    if len(lame) < 24 or not lame[:4].isalnum():
        return 0
    both = int.from_bytes(lame[21:24], "big")
    return (both >> 12) + (both & 0xFFF)


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
    return _mpeg_frame_samples(header) * 125 * bit_rate // rate_hz + padding


def _mpeg_frame_samples(header: bytes) -> int:
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


def adts_length(content: FilePart) -> DeclaredLength:
    """AAC in ADTS frames: no length is told."""
    return DeclaredLength(mended=untagged(content, lambda head: bool(adts_frame_bytes(head))))


def adts_frame_bytes(header: bytes) -> int | None:
    """Returns the size of an ADTS frame (ISO/IEC 13818-7, 6.2), None where there is none."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return None
    rate_index = header[2] >> 2 & 15
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if rate_index < 13 and size > 7 else None


def loas_frame_bytes(header: bytes) -> int | None:
    """Returns the size of a LOAS frame, which holds AAC in LATM (ISO/IEC 14496-3, 1.7.2)."""
    if len(header) < 3 or header[0] != 0x56 or header[1] & 0xE0 != 0xE0:
        return None
    return 3 + ((header[1] & 0x1F) << 8 | header[2])


def ac3_length(content: FilePart) -> DeclaredLength:
    """AC-3 and E-AC-3: no length is told."""
    return DeclaredLength(mended=untagged(content, lambda head: bool(ac3_frame_bytes(head))))


def ac3_frame_bytes(header: bytes) -> int | None:
    """Returns the size of a frame of AC-3 or E-AC-3 (ETSI TS 102 366, 4.3 and E.1.2)."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or header[5] >> 3 > 16:
        return None
    if header[5] >> 3 > 10:
        return 2 * (((header[2] & 7) << 8 | header[3]) + 1)
    rate_index, size_index = header[4] >> 6, header[4] & 63
    if rate_index == 3 or size_index > 37:
        return None
    kbit_s = _AC3_KBIT_S[size_index >> 1]
    if rate_index == 1:  # 44.1 kHz: sizes take turns
        return 2 * (kbit_s * 96000 // 44100 + (size_index & 1))
    return kbit_s * (4 if rate_index == 0 else 6)


_AC3_KBIT_S = (
    *(32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
)


def avi_length(content: FilePart) -> DeclaredLength:
    """AVI: a chunk RIFF, followed by more of them where the file is longer than one can hold."""
    chunks = RIFF.find(content, 0, b"RIFF")
    end = max((each.end for each in chunks if is_filled_in(each.size)), default=0)
    return DeclaredLength(missing_bytes=max(0, end - content.size))


def asf_length(content: FilePart) -> DeclaredLength:
    """ASF: File Properties and the objects of encryption in the header (specification 1.2, 3)."""
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
    encryption = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    extended_encryption = bytes.fromhex("14e68a292226174cb935dae07ee9289c")
    declared = DeclaredLength()
    for chunk in ASF.find(content, 30, properties, encryption, extended_encryption):
        if chunk.name != properties:
            return DeclaredLength(locked=True)
        declared = _asf_properties(content, chunk.offset)
    return declared


def _asf_properties(content: FilePart, offset: int) -> DeclaredLength:
    properties = content.read_at(offset, 68)
    if len(properties) < 68:
        return DeclaredLength()
    size, duration_100ns, preroll_ms, flags = struct.unpack("<16xQ16xQ8xQI", properties)
    if flags & 1:  # a broadcast: sizes and times are not yet known
        return DeclaredLength()
    seconds = duration_100ns / 1e7 - preroll_ms / 1e3
    missing = max(0, size - content.size)
    return DeclaredLength(seconds=seconds if seconds > 0 else None, missing_bytes=missing)


def matroska_length(content: FilePart) -> DeclaredLength:
    """Matroska and WebM (RFC 8794 and 9559): a header, then a segment of all the rest."""
    header = ebml_element(content, 0)
    if header is None or header.name != b"\x1a\x45\xdf\xa3" or header.size < 0:
        return DeclaredLength()
    segment = ebml_element(content, header.end)
    if segment is None or segment.name != b"\x18\x53\x80\x67" or segment.size < 0:
        return DeclaredLength()
    return DeclaredLength(missing_bytes=max(0, segment.end - content.size))


def nist_length(content: FilePart) -> DeclaredLength:
    """NIST SPHERE: lines of text, one of which counts the samples per channel."""
    head = content.read_at(0, 1 << 14).split(b"end_head")[0]
    count = re.search(rb"^sample_count -i (\d{1,15})\s", head, re.MULTILINE)
    return DeclaredLength(samples=int(count[1]) or None) if count else DeclaredLength()


def voc_length(content: FilePart) -> DeclaredLength:
    """Creative Voice: blocks, each with a type and a size of three bytes; type 0 ends the file."""
    offset = int.from_bytes(content.read_at(20, 2), "little")
    for _ in range(MAX_CHUNKS):
        head = content.read_at(offset, 4)
        if len(head) < 4 or not 0 < head[0] < 10:
            break
        offset += 4 + int.from_bytes(head[1:], "little")
    return DeclaredLength(missing_bytes=max(0, offset - content.size))
