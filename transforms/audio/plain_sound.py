"""Reads uncompressed sound straight from the file, several times as fast as the libraries do.

A library opens the file, tells what lies in it and decodes the first of it. It is left aside only
where the same comes out here, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio.declared_length import pcm_sample_bytes
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.sniffing import HEAD_BYTES
from earmark.transforms.audio.soundfile_decoder import SoundfileDecoder
from earmark.transforms.elements import PlainSound
from earmark.transforms.errors import ReadError
from earmark.transforms.samples import Samples, as_float32

if TYPE_CHECKING:
    from earmark.transforms.audio.libav_decoder import LibavDecoder

Opened: TypeAlias = "SoundfileDecoder | LibavDecoder"


def plain_decoder(content: FilePart, opened: Opened) -> PlainDecoder | None:
    """Returns what reads on from here, None where that must be left to the library.

    That is where samples are compressed, or lie in a place unknown here, or are not those that the
    library found.
    """
    if opened.header.codec not in _TYPES or opened.declared.sound_start is None:
        return None
    decoder = PlainDecoder(content, opened)
    is_alike = opened.samples in (None, decoder.samples) and decoder.agrees(opened.first)
    return decoder if is_alike else None


class PlainDecoder:
    """Uncompressed sound in an open file: samples one after another, channel beside channel.

    Attributes:
      header: what the recording is.
      declared: how long its header says that it is.
      samples: how many there are, per channel.
      place: where in the file they are; None where that may depend on more than its first bytes.
      can_seek: whether chunks() can start anywhere.
    """

    library = "numpy"

    def __init__(self, content: FilePart, opened: Opened) -> None:
        self.header, self.declared = opened.header, opened.declared
        self._byte_order = opened.byte_order
        self._sample_bytes = (pcm_sample_bytes(self.header.codec) or 0) * self.header.channels
        start, size = self.declared.sound_start or 0, self.declared.sound_bytes
        self._sound = content.part(start, None if size is None else start + size)
        self.samples = self._sound.size // self._sample_bytes
        self.place = self._place(content, len(opened.first))
        is_all_there = self.header.declared_samples == self.samples
        self.can_seek = self.declared.is_whole and is_all_there

    def _place(self, content: FilePart, samples_read: int) -> PlainSound | None:
        is_silent_first = not self._sound.read_at(0, HEAD_BYTES // 2).strip(b"\0")
        if type(content) is not FilePart or is_silent_first or self.declared.has_trigger:
            return None
        start, size = self._sound.start, self._sample_bytes
        return PlainSound(
            max(content.start, start) + max(HEAD_BYTES, samples_read * size),
            start,
            start + self.samples * size,
            self.header.sample_rate_hz * size,
        )

    def agrees(self, first: NDArray[np.float32]) -> bool:
        """Whether the recording begins with these float32 [n, channels], to the bit."""
        return as_float32(self.read(0, len(first))).tobytes() == first.tobytes()

    def chunks(self, wanted: int, start: int = 0) -> Iterator[Samples]:
        """Yields samples [n, channels]: n is `wanted` but for the last chunk.

        Raises:
          TruncatedError: fewer samples are there than the header declares.
          ReadError: the file could not be read on.
        """
        heard = start
        while len(chunk := self.read(heard, min(wanted, self.samples - heard))):
            heard += len(chunk)
            yield chunk
        self.check_end(heard)

    def check_end(self, reached: int) -> None:
        """Raises a TruncatedError if more than so many samples were declared."""
        self.declared.check_end(reached, reached, self.header.sample_rate_hz)

    def sample_at(self, offset: int) -> int:
        """The number of the sample that begins at an offset of the file."""
        return (offset - (self.declared.sound_start or 0)) // self._sample_bytes

    def read(self, start: int, samples: int) -> Samples:
        """The samples from one on, [n, channels]: as many as are wanted, or as there are.

        Raises:
          ReadError: the file could not be read.
        """
        # a byte more at the end: numbers of three bytes are read as ones of four
        content = np.empty(max(0, samples) * self._sample_bytes + 1, np.uint8)
        try:
            there = self._sound.read_into(content[:-1].data, start * self._sample_bytes)
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error
        content = content[: there - there % self._sample_bytes + 1]
        values = _values(content, self.header.codec, self._byte_order)
        return values.reshape(-1, self.header.channels)


def _values(content: NDArray[np.uint8], codec: str, byte_order: str) -> Samples:
    """The values of samples of a codec, which a byte more follows."""
    if codec == "pcm_s16":
        return content[:-1].view(byte_order + "i2").astype(np.int16, copy=False)
    if codec == "pcm_s24":
        numbers = _three_bytes(content, byte_order)
    else:
        numbers = content[:-1].view(byte_order + _TYPES[codec])
    with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become infinite
        values: NDArray[np.float32] = numbers.astype(np.float32, copy=False)
    if numbers.dtype.kind == "f":
        return values
    if codec == "pcm_u8":
        values -= np.float32(128)
    values *= np.float32(0.5 ** (8 * numbers.itemsize - 1))  # the least integer is full scale
    return values


def _three_bytes(content: NDArray[np.uint8], byte_order: str) -> NDArray[Any]:
    """Integers of 24 bits, each read as one of 32 that ends within the next."""
    samples = (len(content) - 1) // 3
    overlapping: NDArray[Any] = np.ndarray((samples,), byte_order + "i4", content, 0, (3,))
    return overlapping << 8 if byte_order == "<" else overlapping & -256


_TYPES = {
    "pcm_u8": "u1",
    "pcm_s8": "i1",
    "pcm_s16": "i2",
    "pcm_s24": "i4",
    "pcm_s32": "i4",
    "pcm_f32": "f4",
    "pcm_f64": "f8",
}
