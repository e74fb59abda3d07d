"""Reads uncompressed sound straight from the file, several times as fast as the libraries do.

A library opens the file, tells what lies in it and decodes the first of it. It is left aside only
where the same comes out here, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from transforms.declared_length import DeclaredLength, pcm_sample_bytes
from transforms.elements import AudioHeader
from transforms.errors import ReadError
from transforms.file_parts import FilePart


class Opened(Protocol):
    """A recording that a library has opened."""

    @property
    def header(self) -> AudioHeader:
        """What the recording is."""

    @property
    def declared(self) -> DeclaredLength:
        """How long its header says that it is, and where the sound begins."""

    @property
    def samples(self) -> int | None:
        """How many there are, per channel, by the library's count; None where it has none."""

    @property
    def byte_order(self) -> str:
        """Of uncompressed sound, "<" or ">", as numpy names it."""

    @property
    def first(self) -> NDArray[np.float32]:
        """The first of the recording, float32 [n, channels]."""


def plain_decoder(content: FilePart, opened: Opened) -> PlainDecoder | None:
    """Returns what reads on from here, None where that must be left to the library.

    That is where samples are compressed, or lie in a place unknown here, or are not those that the
    library found.
    """
    if opened.header.codec not in _DECODE or opened.declared.sound_start is None:
        return None
    decoder = PlainDecoder(content, opened)
    is_alike = opened.samples in (None, decoder.samples) and decoder.agrees(opened.first)
    return decoder if is_alike else None


class PlainDecoder:
    """Uncompressed sound in an open file: samples one after another, channel beside channel.

    Attributes:
      header: what the recording is.
      samples: how many there are, per channel.
      can_seek: whether chunks() can start anywhere.
    """

    library = "numpy"

    def __init__(self, content: FilePart, opened: Opened) -> None:
        self.header, self._declared = opened.header, opened.declared
        codec, self._byte_order = self.header.codec, opened.byte_order
        self._decode = _DECODE[codec]
        self._sample_bytes = (pcm_sample_bytes(codec) or 0) * self.header.channels
        start, size = self._declared.sound_start or 0, self._declared.sound_bytes
        self._sound = content.part(start, None if size is None else start + size)
        self.samples = self._sound.size // self._sample_bytes
        is_all_there = self.header.declared_samples == self.samples
        self.can_seek = self._declared.is_whole and is_all_there

    def agrees(self, first: NDArray[np.float32]) -> bool:
        """Whether the recording begins with these float32 [n, channels], to the bit."""
        return self._read(0, len(first)).tobytes() == first.tobytes()

    def chunks(self, wanted: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1]: n is `wanted` but for the last chunk.

        Raises:
          TruncatedError: fewer samples are there than the header declares.
          ReadError: the file could not be read on.
        """
        heard = start
        while len(chunk := self._read(heard, min(wanted, self.samples - heard))):
            heard += len(chunk)
            yield chunk
        self._declared.check_end(heard, heard, self.header.sample_rate_hz)

    def _read(self, start: int, samples: int) -> NDArray[np.float32]:
        # a byte more at the end: numbers of three bytes are read as ones of four
        content = np.empty(max(0, samples) * self._sample_bytes + 1, np.uint8)
        try:
            there = self._sound.read_into(content[:-1].data, start * self._sample_bytes)
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error
        content = content[: there - there % self._sample_bytes + 1]
        return self._decode(content, self._byte_order).reshape(-1, self.header.channels)


def _integers(type_: str, zero: int = 0) -> _Decode:
    """Integers, `zero` of which is silence, and whose least value is full scale."""
    scale = np.float32(0.5 ** (8 * np.dtype(type_).itemsize - 1))

    def decode(content: NDArray[np.uint8], byte_order: str) -> NDArray[np.float32]:
        values = content[:-1].view(byte_order + type_).astype(np.float32)
        if zero:
            values -= np.float32(zero)
        values *= scale
        return values

    return decode


def _three_bytes(content: NDArray[np.uint8], byte_order: str) -> NDArray[np.float32]:
    """Integers of 24 bits, each read as one of 32 that ends within the next."""
    samples = (len(content) - 1) // 3
    overlapping = np.ndarray((samples,), byte_order + "i4", content, 0, (3,))
    numbers = overlapping << 8 if byte_order == "<" else overlapping & -256
    values: NDArray[np.float32] = numbers.astype(np.float32)
    values *= np.float32(0.5**31)
    return values


def _floats(type_: str) -> _Decode:
    def decode(content: NDArray[np.uint8], byte_order: str) -> NDArray[np.float32]:
        numbers: NDArray[np.floating] = content[:-1].view(byte_order + type_)
        with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become infinite
            values: NDArray[np.float32] = numbers.astype(np.float32, copy=False)
        return values

    return decode


_Decode = Callable[[NDArray[np.uint8], str], NDArray[np.float32]]

_DECODE: dict[str, _Decode] = {
    "pcm_u8": _integers("u1", zero=128),
    "pcm_s8": _integers("i1"),
    "pcm_s16": _integers("i2"),
    "pcm_s24": _three_bytes,
    "pcm_s32": _integers("i4"),
    "pcm_f32": _floats("f4"),
    "pcm_f64": _floats("f8"),
}
