"""What the bookkeeping of a container says about the sound that is to follow.

Decoders shorten a recording in silence where its file was cut. Here the sizes and lengths that the
headers promise are read from the containers themselves, to be held against what was decoded.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import BinaryIO, NamedTuple

from earmark.transforms.audio.sniffing import Sniffed, mpeg_frame_bytes, mpeg_frame_samples
from earmark.transforms.errors import AudioError, DamagedError, NoSamplesError, TruncatedError

_MAX_CHUNKS = 10_000
"""So many parts of a container are looked at; no recorder writes so many before the sound."""


class Promise(NamedTuple):
    """How much sound a header promises, as far as it says.

    Attributes:
      samples: per channel; None where unsaid.
      seconds: the same as a time; None where unsaid.
      sound_start: where in the file the sound begins, where it is in one piece; None where unsaid.
      sound_bytes: the size of the encoded sound; None where unsaid.
      missing_bytes: how much of what was promised lies beyond the end of the file.
      ended: False where the mark that ends every whole file of this format is missing.
      locked: the sound is encrypted.
      is_mpeg: MPEG audio lies in a container that usually holds plain sound.
      lead_in: samples that the container counts and a decoder drops.
      tolerance: samples by which a whole file may fall short.
    """

    samples: int | None = None
    seconds: float | None = None
    sound_start: int | None = None
    sound_bytes: int | None = None
    missing_bytes: int = 0
    ended: bool = True
    locked: bool = False
    is_mpeg: bool = False
    lead_in: int = 0
    tolerance: int = 0

    @property
    def is_kept(self) -> bool:
        """Whether, by the container's own bookkeeping, nothing of the file is missing."""
        return self.ended and not self.missing_bytes


def read_promise(file: BinaryIO, sniffed: Sniffed) -> Promise:
    """Reads what the header of a recognised file promises."""
    read = _READERS.get(sniffed.format)
    return read(file, sniffed.start) if read else Promise()


def check_end(promise: Promise, heard: int, reached: int, sample_rate_hz: int) -> None:
    """Holds what was decoded against what was promised.

    Args:
      promise: what the header says.
      heard: samples per channel that were decoded.
      reached: the sample position, on the container's clock, where the last of them ended.
      sample_rate_hz: of both.

    Raises:
      TruncatedError: the file ends before its time.
    """
    decoded = f"{heard / sample_rate_hz:.3f} s could be decoded"
    if promise.samples is not None:
        short_by = promise.samples - reached
        if short_by > (promise.tolerance if promise.is_kept else 0):
            promised_s = promise.samples / sample_rate_hz
            raise TruncatedError(f"the header promises {promised_s:.3f} s, {decoded}")
    elif not promise.is_kept:
        raise TruncatedError(f"{_describe_shortfall(promise)}, {decoded}")


def nothing_decoded(promise: Promise) -> AudioError:
    """Tells a recording of no length from one whose header promises sound that isn't there."""
    if not promise.is_kept:
        return DamagedError(f"{_describe_shortfall(promise)}, no sound could be decoded")
    if promise.samples or promise.seconds or promise.sound_bytes:
        return DamagedError("the header promises sound, none could be decoded")
    return NoSamplesError("there is not one sample in it")


def pcm_sample_bytes(codec: str) -> int | None:
    """Returns the size of a sample of uncompressed sound, None for other codecs."""
    if codec in ("pcm_alaw", "pcm_mulaw"):
        return 1
    match = re.fullmatch(r"pcm_[suf](\d+)", codec)
    return int(match[1]) // 8 if match else None


def plain_bytes(file: BinaryIO, promise: Promise) -> int:
    """Returns how much of the sound that begins at promise.sound_start is in the file.

    Without moving in it: a library may be reading.
    """
    there = max(0, os.fstat(file.fileno()).st_size - (promise.sound_start or 0))
    return there if promise.sound_bytes is None else min(there, promise.sound_bytes)


def _describe_shortfall(promise: Promise) -> str:
    if promise.missing_bytes:
        return f"the file is {promise.missing_bytes} bytes shorter than its header says"
    return "the page that ends the stream is missing"


class _Chunk(NamedTuple):
    """A part of a container: its name, and where its content lies."""

    name: bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class _ChunkStyle(NamedTuple):
    """How a family of containers writes the head of a chunk: a name, then a size."""

    name_bytes: int
    size_format: str
    size_counts_head: bool = False
    alignment: int = 1

    def walk(self, file: BinaryIO, offset: int) -> Iterator[_Chunk]:
        """Yields the chunks from `offset` on, up to the end of the file."""
        head_bytes = self.name_bytes + struct.calcsize(self.size_format)
        while len(head := _read_at(file, offset, head_bytes)) == head_bytes:
            (size,) = struct.unpack(self.size_format, head[self.name_bytes :])
            size = max(0, size - head_bytes) if self.size_counts_head else size
            yield _Chunk(head[: self.name_bytes], offset + head_bytes, size)
            offset += head_bytes + max(0, size)
            offset += -offset % self.alignment

    def find(self, file: BinaryIO, offset: int, *names: bytes) -> Iterator[_Chunk]:
        """Yields the chunks of these names, of the first _MAX_CHUNKS."""
        chunks = islice(self.walk(file, offset), _MAX_CHUNKS)
        return (chunk for chunk in chunks if chunk.name in names)


_RIFF = _ChunkStyle(4, "<I", alignment=2)
_BIG_ENDIAN_RIFF = _ChunkStyle(4, ">I", alignment=2)
_W64 = _ChunkStyle(16, "<Q", size_counts_head=True, alignment=8)
_CAF = _ChunkStyle(4, ">q")
_ASF = _ChunkStyle(16, "<Q", size_counts_head=True)


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset > _file_bytes(file):  # beyond what seek() takes, where a header lies
        return b""
    file.seek(offset)
    return file.read(size)


def _file_bytes(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _sound(file: BinaryIO, offset: int, size: int) -> Promise:
    """The promise of a chunk of sound.

    Sizes that recorders write before they know better say nothing: 0, and the largest of 31 to 64
    bits, some of them less what the headers take.
    """
    if size <= 0 or any(0 <= limit - size <= 1 << 16 for limit in (1 << 31, 1 << 32, 1 << 64)):
        return Promise(sound_start=offset)
    missing_bytes = max(0, offset + size - _file_bytes(file))
    return Promise(sound_start=offset, sound_bytes=size, missing_bytes=missing_bytes)


def _read_riff(file: BinaryIO, start: int) -> Promise:
    """WAV and RF64 (EBU Tech 3306, where the size proper lies in a chunk ds64)."""
    style = _BIG_ENDIAN_RIFF if _read_at(file, start, 4) == b"RIFX" else _RIFF
    is_mpeg, long_size = False, 0
    for chunk in style.find(file, start + 12, b"fmt ", b"ds64", b"data"):
        content = _read_at(file, chunk.offset, 16)
        if chunk.name == b"data":
            size = long_size if long_size and chunk.size == 0xFFFFFFFF else chunk.size
            return _sound(file, chunk.offset, size)._replace(is_mpeg=is_mpeg)
        if chunk.name == b"fmt ":
            is_mpeg = content[:2] in (b"\x50\0", b"\x55\0", b"\0\x50", b"\0\x55")
        else:
            long_size = int.from_bytes(content[8:16], "little")
    return Promise(is_mpeg=is_mpeg)


def _read_w64(file: BinaryIO, start: int) -> Promise:
    """Sony Wave64."""
    data = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
    for chunk in _W64.find(file, start + 40, data):
        return _sound(file, chunk.offset, chunk.size)
    return Promise()


def _read_aiff(file: BinaryIO, start: int) -> Promise:
    """AIFF and AIFF-C: the chunk SSND begins with an offset and a block size of four bytes each."""
    for chunk in _BIG_ENDIAN_RIFF.find(file, start + 12, b"SSND"):
        return _sound(file, chunk.offset + 8, chunk.size - 8)
    return Promise()


def _read_caf(file: BinaryIO, start: int) -> Promise:
    """Core Audio Format: the chunk data begins with a count of edits of four bytes."""
    for chunk in _CAF.find(file, start + 8, b"data"):
        return _sound(file, chunk.offset + 4, chunk.size - 4)
    return Promise()


def _read_au(file: BinaryIO, start: int) -> Promise:
    """Sun and NeXT audio: magic, offset of the sound, its size."""
    head = _read_at(file, start, 12)
    if len(head) < 12:
        return Promise()
    offset, size = struct.unpack(">4xII" if head[:4] == b".snd" else "<4xII", head)
    return _sound(file, start + offset, size)


def _read_ogg(file: BinaryIO, start: int) -> Promise:
    """Ogg (RFC 3533): the last page must be whole, and marked as the end of its stream.

    Opus counts the samples that its decoder drops at the start (RFC 7845, 4.2).
    """
    first = _read_at(file, start, 40)
    lead_in = int.from_bytes(first[38:40], "little") if first[28:36] == b"OpusHead" else 0
    size = _file_bytes(file)
    tail = _read_at(file, max(start, size - (1 << 17)), 1 << 17)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    is_whole = len(page) >= 27 + segments + sum(page[27 : 27 + segments])
    return Promise(ended=is_whole and bool(page[5] & 4), lead_in=lead_in)


def _read_mp3(file: BinaryIO, start: int) -> Promise:
    """MPEG audio: the count of frames in the first one, as Xing, LAME or VBRI write it.

    Formats: http://gabriel.mp3-tech.org/mp3infotag.html and
    https://www.codeproject.com/Articles/8295/MPEG-Audio-Frame-Header.
    """
    frame = _read_at(file, start, 4)
    frame = _read_at(file, start, mpeg_frame_bytes(frame) or 4)
    frame_samples = mpeg_frame_samples(frame)
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        frames = int.from_bytes(frame[50:54], "big")
        return Promise(samples=frames * frame_samples, tolerance=frame_samples)
    is_mpeg1, is_mono = frame[1] >> 3 & 3 == 3, frame[3] >> 6 == 3
    xing = frame[4 + (17 if is_mono else 32) if is_mpeg1 else 4 + (9 if is_mono else 17) :]
    if xing[:4] not in (b"Xing", b"Info") or len(xing) < 12 or not xing[7] & 1:
        return Promise()
    samples = int.from_bytes(xing[8:12], "big") * frame_samples
    return Promise(samples=max(0, samples - _lame_padding(xing)), tolerance=frame_samples)


def _lame_padding(xing: bytes) -> int:
    """Returns the samples that the encoder added at both ends, as LAME's extension tells."""
    flags = xing[
        7
    ]  # of what follows: 4 bytes of frames, 4 of bytes, 100 of seek table, 4 of quality
    lame = xing[8 + 4 * (flags & 1) + 2 * (flags & 2) + 25 * (flags & 4) + (flags & 8) // 2 :]
    if len(lame) < 24 or not lame[:4].isalnum():
        return 0
    both = int.from_bytes(lame[21:24], "big")
    return (both >> 12) + (both & 0xFFF)


def _read_avi(file: BinaryIO, start: int) -> Promise:
    """AVI: a chunk RIFF, followed by more of them where the file is longer than one can hold."""
    end = 0
    for chunk in _RIFF.find(file, start, b"RIFF"):
        end = max(end, chunk.end if _sound(file, chunk.offset, chunk.size).sound_bytes else 0)
    return Promise(missing_bytes=max(0, end - _file_bytes(file)))


def _read_asf(file: BinaryIO, start: int) -> Promise:
    """ASF: File Properties and the objects of encryption in the header (specification 1.2, 3)."""
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
    encryption = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
    extended_encryption = bytes.fromhex("14e68a292226174cb935dae07ee9289c")
    promise = Promise()
    for chunk in _ASF.find(file, start + 30, properties, encryption, extended_encryption):
        if chunk.name != properties:
            return Promise(locked=True)
        promise = _asf_properties(file, _read_at(file, chunk.offset, 68))
    return promise


def _asf_properties(file: BinaryIO, content: bytes) -> Promise:
    if len(content) < 68:
        return Promise()
    size, duration_100ns, preroll_ms, flags = struct.unpack("<16xQ16xQ8xQI", content)
    if flags & 1:  # a broadcast: sizes and times are not yet known
        return Promise()
    seconds = duration_100ns / 1e7 - preroll_ms / 1e3
    missing = max(0, size - _file_bytes(file))
    return Promise(seconds=seconds if seconds > 0 else None, missing_bytes=missing)


def _read_mp4(file: BinaryIO, start: int) -> Promise:
    """MP4 and QuickTime (ISO/IEC 14496-12): boxes beyond the end, and encrypted sound."""
    file_bytes = _file_bytes(file)
    boxes = list(islice(_walk_boxes(file, start, file_bytes), _MAX_CHUNKS))
    end = max((box.end for box in boxes if box.name in (b"mdat", b"moov", b"moof")), default=0)
    locked = _is_locked(file, [box for box in boxes if box.name == b"moov"])
    return Promise(missing_bytes=max(0, end - file_bytes), locked=locked)


def _walk_boxes(file: BinaryIO, offset: int, end: int) -> Iterator[_Chunk]:
    """Yields the boxes between two positions; a size of 0 means up to the end, 1 a longer size."""
    while offset + 8 <= end and len(head := _read_at(file, offset, 16)) >= 8:
        size, name = struct.unpack(">I4s", head[:8])
        head_bytes = 8
        if size == 1 and len(head) == 16:
            size, head_bytes = int.from_bytes(head[8:], "big"), 16
        size = size or end - offset
        yield _Chunk(name, offset + head_bytes, max(0, size - head_bytes))
        offset += max(size, head_bytes)


def _is_locked(file: BinaryIO, boxes: list[_Chunk]) -> bool:
    """Whether a track in moov boxes is described as one of an encrypted kind of sound."""
    for name in (b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        boxes = [child for child in _children(file, boxes) if child.name == name]
    tables = [box._replace(offset=box.offset + 8, size=box.size - 8) for box in boxes]
    return any(kind.name in (b"enca", b"drms", b"aavd") for kind in _children(file, tables))


def _children(file: BinaryIO, boxes: list[_Chunk]) -> Iterator[_Chunk]:
    """Yields the boxes in others, so many in all that boxes which claim each other do no harm."""
    end = _file_bytes(file)
    every = (_walk_boxes(file, box.offset, min(box.end, end)) for box in boxes)
    return islice(chain.from_iterable(every), _MAX_CHUNKS)


def _read_matroska(file: BinaryIO, start: int) -> Promise:
    """Matroska and WebM (RFC 8794 and 9559): a header, then a segment of all the rest."""
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        head = _read_at(file, start, 12)
        size_bytes = 9 - head[4].bit_length() if head[:4] == name and len(head) == 12 else 9
        largest = (1 << 7 * size_bytes) - 1
        size = int.from_bytes(head[4 : 4 + size_bytes], "big") & largest
        if size_bytes == 9 or size == largest:  # which stands for an unknown size
            return Promise()
        start += 4 + size_bytes + size
    return Promise(missing_bytes=max(0, start - _file_bytes(file)))


def _read_nist(file: BinaryIO, start: int) -> Promise:
    """NIST SPHERE: lines of text, one of which counts the samples per channel."""
    head = _read_at(file, start, 1 << 14).split(b"end_head")[0]
    count = re.search(rb"^sample_count -i (\d{1,15})\s", head, re.MULTILINE)
    return Promise(samples=int(count[1]) or None) if count else Promise()


def _read_voc(file: BinaryIO, start: int) -> Promise:
    """Creative Voice: blocks, each with a type and a size of three bytes; type 0 ends the file."""
    offset = start + int.from_bytes(_read_at(file, start + 20, 2), "little")
    for _ in range(_MAX_CHUNKS):
        head = _read_at(file, offset, 4)
        if len(head) < 4 or not 0 < head[0] < 10:
            break
        offset += 4 + int.from_bytes(head[1:], "little")
    return Promise(missing_bytes=max(0, offset - _file_bytes(file)))


_READERS: dict[str, Callable[[BinaryIO, int], Promise]] = {
    "wav": _read_riff,
    "rf64": _read_riff,
    "w64": _read_w64,
    "aiff": _read_aiff,
    "caf": _read_caf,
    "au": _read_au,
    "ogg": _read_ogg,
    "mp3": _read_mp3,
    "avi": _read_avi,
    "asf": _read_asf,
    "mp4": _read_mp4,
    "matroska": _read_matroska,
    "nistsphere": _read_nist,
    "voc": _read_voc,
}
