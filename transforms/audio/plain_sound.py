"""Reads uncompressed sound straight from the file, several times as fast as the libraries do.

A library opens the file, tells what lies in it and decodes the first of it. It is left aside only
where the same comes out here, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio.containers import Promise, check_end, pcm_sample_bytes, plain_bytes
from earmark.transforms.elements import AudioHeader
from earmark.transforms.errors import ReadError


class PlainSound(NamedTuple):
    """How uncompressed samples lie in a file: one after another, channel beside channel.

    Attributes:
      start: where in the file they begin, in bytes.
      samples: how many there are, per channel.
      codec: as AudioHeader names it.
      byte_order: "<" or ">", as numpy names it.
      channels: how many values a sample has.
    """

    start: int
    samples: int
    codec: str
    byte_order: str
    channels: int

    @property
    def sample_bytes(self) -> int:
        """The size of a sample of all channels."""
        return (pcm_sample_bytes(self.codec) or 0) * self.channels


def find_plain(
    file: BinaryIO, header: AudioHeader, promise: Promise, byte_order: str
) -> PlainSound | None:
    """Returns where the samples lie; None where they are compressed, or in a place unknown here."""
    sample_bytes = (pcm_sample_bytes(header.codec) or 0) * header.channels
    if header.codec not in _DECODE or promise.sound_start is None:
        return None
    samples = plain_bytes(file, promise) // sample_bytes
    return PlainSound(promise.sound_start, samples, header.codec, byte_order, header.channels)


class PlainDecoder:
    """Uncompressed sound in an open file.

    Attributes:
      header: what the recording is.
      can_seek: whether chunks() can start anywhere.
    """

    library = "numpy"

    def __init__(
        self, file: BinaryIO, sound: PlainSound, header: AudioHeader, promise: Promise
    ) -> None:
        self._file = file
        self._sound = sound
        self._promise = promise
        self.header = header
        self.can_seek = promise.is_kept and header.declared_samples == sound.samples

    def agrees(self, first: NDArray[np.float32]) -> bool:
        """Whether the recording begins with these float32 [n, channels], to the bit."""
        return self._read(0, len(first)).tobytes() == first.tobytes()

    def chunks(self, wanted: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1]: n is `wanted` but for the last chunk.

        Raises:
          TruncatedError: fewer samples are there than the header promises.
          ReadError: the file could not be read on.
        """
        heard = start
        while len(chunk := self._read(heard, min(wanted, self._sound.samples - heard))):
            heard += len(chunk)
            yield chunk
        check_end(self._promise, heard, heard, self.header.sample_rate_hz)

    def _read(self, start: int, samples: int) -> NDArray[np.float32]:
        sample_bytes = self._sound.sample_bytes
        # a byte more at the end: numbers of three bytes are read as ones of four
        content = np.empty(max(0, samples) * sample_bytes + 1, np.uint8)
        try:
            self._file.seek(self._sound.start + start * sample_bytes)
            there = _read_into(self._file, content[:-1].data)
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error
        content = content[: there - there % sample_bytes + 1]
        values = _DECODE[self._sound.codec](content, self._sound.byte_order)
        return values.reshape(-1, self._sound.channels)


def _read_into(file: BinaryIO, wanted: memoryview) -> int:
    """Reads until there is no more, or no more is wanted; returns how many bytes were read."""
    there = 0
    while there < len(wanted) and (
        count := file.readinto(wanted[there:])  # type: ignore[attr-defined]  # unbuffered files do
    ):
        there += count
    return there


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
