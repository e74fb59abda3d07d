"""FLAC: libFLAC or libsndfile decodes it up to the first damage, and libav goes on behind that.

Each frame of FLAC says which samples it has (RFC 9639, 9.1.5), and its checksum whether it is good.
So all libraries, wherever they begin to read, give the same samples in the same places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeAlias

from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.formats import Format
from earmark.transforms.audio.libflac_decoder import LibflacDecoder
from earmark.transforms.audio.soundfile_decoder import SoundfileDecoder
from earmark.transforms.elements import Silence
from earmark.transforms.errors import AudioError, DamagedError, TruncatedError
from earmark.transforms.samples import Samples

_Chunks: TypeAlias = Iterator[Samples | Silence]


class FlacDecoder:
    """A FLAC file that libsndfile has opened; to be read once.

    Attributes:
      header: what the recording is.
      can_seek: whether chunks() can start anywhere.
    """

    library = "libsndfile"

    def __init__(
        self, content: FilePart, format_: Format, declared: DeclaredLength, sound: SoundfileDecoder
    ) -> None:
        self._content, self._format, self._declared = content, format_, declared
        self._sound = sound
        self._fast = LibflacDecoder(content, sound.header.channels, sound.samples)
        self.header = sound.header
        self.can_seek = sound.can_seek

    @property
    def position(self) -> int:
        """How much of the file has been read."""
        return max(self._sound.position, self._content.start + self._fast.position)

    def chunks(self, wanted: int, start: int = 0) -> _Chunks:
        """Yields samples [n, channels], n as it comes, and silence for damage.

        Args:
          wanted: n of most chunks.
          start: the sample to begin with; not 0 only where can_seek.

        Raises:
          DamagedError: nothing behind some place could be decoded.
          TruncatedError: the file ends before its time.
          ReadError: the file could not be read on.
        """
        reached = start
        try:
            for chunk in self._up_to_damage(wanted, start):
                reached += len(chunk)
                yield chunk
        except (DamagedError, TruncatedError) as trouble:
            yield from self._behind(trouble, reached, wanted)

    def _up_to_damage(self, wanted: int, start: int) -> Iterator[Samples]:
        """Yields what libFLAC decodes, and from where it can't, what libsndfile does."""
        reached = start
        for chunk in self._fast.chunks(wanted, start):
            reached += len(chunk)
            yield chunk
        if start < self._sound.samples <= reached:
            self._sound.declared.check_end(reached, reached, self.header.sample_rate_hz)
        else:
            skipped = reached - start
            for chunk in self._sound.chunks(wanted, start):
                yield chunk[skipped:]
                skipped = max(0, skipped - len(chunk))

    def _behind(self, trouble: AudioError, reached: int, wanted: int) -> _Chunks:
        from earmark.transforms.audio.libav_decoder import open_libav

        with ExitStack() as stack:
            try:
                opened = open_libav(self._content, self._format, self._declared)
                decoder = stack.enter_context(opened)
            except AudioError as error:
                raise trouble from error
            yield from _between(decoder.chunks(wanted), reached, self.header.declared_samples)


def _between(chunks: _Chunks, start: int, stop: int | None) -> _Chunks:
    """Yields chunks from a sample to another, behind which another stream may have been joined."""
    at = 0
    for chunk in chunks:
        length = chunk.samples if isinstance(chunk, Silence) else len(chunk)
        begin, end = max(0, start - at), length if stop is None else min(length, stop - at)
        at += length
        if begin < end and isinstance(chunk, Silence):
            yield chunk._replace(samples=end - begin)
        elif begin < end and not isinstance(chunk, Silence):
            yield chunk[begin:end]
        if stop is not None and at > stop:
            return
