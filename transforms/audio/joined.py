"""Files in which one recording was written behind another: they are heard as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.libav_frames import Shape, alike, joined
from earmark.transforms.audio.timeline import Hole
from earmark.transforms.elements import AudioHeader, Silence
from earmark.transforms.errors import AudioError, DamagedError, ReadError
from earmark.transforms.samples import Samples, as_float32


class Decoder(Protocol):
    """One library's view of a recording."""

    header: AudioHeader
    library: str
    can_seek: bool

    def chunks(self, wanted: int, start: int = 0) -> Iterator[Samples | Silence]:
        """Yields samples [n, channels], then raises an AudioError if anything is wrong."""


class JoinedDecoder:
    """A recording, and any that were written behind it in the same file; to be read once.

    What comes later is brought to the rate and channels of the first.

    Attributes:
      header: what the first is; what it declares is its own length.
    """

    def __init__(
        self,
        first: Decoder,
        is_single: Callable[[], bool],
        behind: Callable[[], FilePart | None],
        open_next: Callable[[FilePart], AbstractContextManager[tuple[Decoder, FilePart | None]]],
    ) -> None:
        """Join a recording and what follows it.

        Args:
          first: the first recording.
          is_single: tells whether it is the only one, as far as that is known before.
          behind: finds the second, once the first has been read.
          open_next: opens a later one, and says where the next is.
        """
        self._first = first
        self._is_single = is_single
        self._behind = behind
        self._open_next = open_next
        self.header = first.header
        self.library = first.library

    @property
    def can_seek(self) -> bool:
        """Whether chunks() can start anywhere: that is, where nothing seems to follow."""
        return self._first.can_seek and self._is_single()

    def chunks(self, wanted: int, start: int = 0) -> Iterator[Samples | Silence]:
        """Yields samples [n, channels]: n is `wanted` for most chunks.

        Raises:
          AudioError: that of the first recording, behind which nothing is heard.
          DamagedError: a later one could not be decoded, or not to its end.
          ReadError: the file could not be read on.
        """
        yield from self._first.chunks(wanted, start)
        following, count = self._behind(), 1
        while following is not None:
            count += 1
            try:
                with self._open_next(following) as (decoder, following):
                    yield from self._like_first(decoder, wanted)
            except ReadError:
                raise
            except AudioError as error:
                raise DamagedError(f"recording {count} of those joined in it: {error}") from error

    def _like_first(self, decoder: Decoder, wanted: int) -> Iterator[Samples | Silence]:
        shape, own = _shape(self.header), _shape(decoder.header)
        chunks = decoder.chunks(wanted)
        if own[::2] == shape[::2]:
            yield from chunks
        else:
            frames = alike(_frames(chunks, own), shape)
            yield from joined(frames, wanted, shape.sample_rate_hz)


def _shape(header: AudioHeader) -> Shape:
    layout = AudioLayout({1: "mono", 2: "stereo"}.get(header.channels, f"{header.channels}c"))
    return Shape(header.sample_rate_hz, layout, header.channels)


def _frames(chunks: Iterator[Samples | Silence], shape: Shape) -> Iterator[AudioFrame | Hole]:
    for chunk in chunks:
        if isinstance(chunk, Silence):
            yield Hole(chunk.samples / shape.sample_rate_hz, chunk.why)
            continue
        values = np.ascontiguousarray(as_float32(chunk)).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(values, format="flt", layout=shape.layout.name)
        frame.sample_rate = shape.sample_rate_hz
        yield frame
