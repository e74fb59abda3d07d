"""Reads audio files of any format, block by block."""

from __future__ import annotations

import operator
import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.formats import HEADERLESS
from earmark.transforms.audio.sniffing import Sniffed, sniff
from earmark.transforms.elements import AudioHeader, Gap, PlainSound, Silence, gaps_with
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    EmptyFileError,
    NotAudioError,
    ReadError,
    UnsupportedError,
)
from earmark.transforms.samples import Samples, as_float32, joined

if TYPE_CHECKING:
    from earmark.transforms.audio.decoders import OpenDecoder


@contextmanager
def open_audio(path: str | os.PathLike[str], uri: str | None = None) -> Iterator[AudioReader]:
    """Opens a local audio or video file; its format is told by its content, not by its name.

    Args:
      path: the local file.
      uri: what it is called, None where as the path: told where the content is in no known format.

    Raises:
      ReadError: there is no such file, or it cannot be read.
      EmptyFileError: it holds no bytes.
      NotAudioError: its format is not known.
      NoAudioStreamError: it holds no sound.
      UnsupportedError: its codec or sample rate is not known here, or it is encrypted, or by its
        name in a format without a header.
      DamagedError: nothing of it can be decoded.
      NoSamplesError: it is whole, and there is no sample in it.
    """
    # Imported here: most processes that import this room decode nothing, and libav is large.
    from earmark.transforms.audio.decoders import open_decoder

    with ExitStack() as stack:
        try:
            file = stack.enter_context(_open_file(path))
            decoder = open_decoder(stack, file, _sniff(FilePart(file), uri or os.fspath(path)))
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error
        _check_rate(decoder.header)
        reader = AudioReader(decoder)
        stack.callback(reader.close)
        yield reader


def load_decoders() -> None:
    """Import the libraries that decode: otherwise the first call of open_audio does."""
    import_module("earmark.transforms.audio.decoders")


class AudioReader:
    """A recording, open to be read once.

    Attributes:
      header: what the recording is.
      library: what decodes it: libsndfile, libav, or numpy for what needs no decoding.
      gaps: where there is no sound, as far as blocks have been read.
      sound: where the samples are, if they are read straight from the file; None otherwise.
    """

    def __init__(self, decoder: OpenDecoder) -> None:
        self._decoder = decoder
        self.header = decoder.header
        self.library = decoder.library
        self.gaps: list[Gap] = []
        self.sound: PlainSound | None = getattr(decoder, "place", None)
        self._is_read = self._is_closed = False

    @property
    def can_seek(self) -> bool:
        """Whether any sample can be reached without decoding what lies before it."""
        return self._decoder.can_seek

    def close(self) -> None:
        """Have nothing read any more: a decoder whose file is closed may crash the process."""
        self._is_closed = True

    def blocks(
        self, block_samples: int, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1]: n is block_samples but for the last block.

        NaN and infinities of files with float samples pass through; in gaps samples are zero. The
        memory this takes follows from the size of the blocks, not of the file. Where the parts of a
        recording are read one by one up to the first trouble, they hold the same samples, and the
        trouble is the same, as where it is read as a whole.

        Args:
          block_samples: per channel, 1 or more.
          start: the sample to begin with; not 0 only where can_seek.
          stop: the sample to stop before; None for the end. Who stops earlier is not told what is
            wrong from there on.

        Raises:
          ValueError: there are no such blocks, start is not 0 and can_seek is False, or the
            recording has been read before, or closed.
          TruncatedError: after the last good block; the file ends before its time.
          DamagedError: after the last good block; nothing behind it could be decoded.
          ReadError: after the last good block; the file could not be read on.
        """
        return self._with_zeros(self.blocks_and_silences(block_samples, start, stop), block_samples)

    def blocks_and_silences(
        self, block_samples: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Samples | Silence]:
        """Yields what `blocks` does, but as the decoder has it, and a Silence for blocks in a gap.

        A Silence stands for blocks that lie wholly in a gap, so its length is a multiple of
        block_samples. Samples of 16 bits are int16.
        """
        block_samples, start = operator.index(block_samples), operator.index(start)
        if block_samples < 1 or start < 0:
            raise ValueError(f"no blocks of {block_samples} samples from sample {start} on")
        if start and not self.can_seek:
            raise ValueError(f"a recording of {self.header.codec} can only be read from its start")
        if self._is_read:
            raise ValueError("a recording that is open is read once: open it again")
        self._is_read = True
        chunks = self._while_open(self._decoder.chunks(block_samples, start))
        if stop is not None:
            declared = self.header.declared_samples
            is_end = declared is not None and stop >= declared
            chunks = _up_to(chunks, stop - start, is_end)
        return _regroup(self._noting_gaps(chunks, start), block_samples, self.header.channels)

    def _with_zeros(
        self, parts: Iterator[_Chunk], block_samples: int
    ) -> Iterator[NDArray[np.float32]]:
        for part in parts:
            if isinstance(part, Silence):
                for _ in range(part.samples // block_samples):
                    yield np.zeros((block_samples, self.header.channels), np.float32)
            else:
                yield as_float32(part)

    def _noting_gaps(self, chunks: Iterator[_Chunk], start: int) -> Iterator[_Chunk]:
        for chunk in chunks:
            stop = start + _length(chunk)
            if isinstance(chunk, Silence):
                self._note(Gap(start, stop, chunk.why))
            yield chunk
            start = stop

    def _note(self, gap: Gap) -> None:
        self.gaps[-1:] = gaps_with(self.gaps[-1:], gap)
        if len(self.gaps) > _MOST_GAPS:
            raise DamagedError(f"there are more than {_MOST_GAPS} gaps in it")

    def _while_open(self, chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
        while not self._is_closed:
            if (chunk := next(chunks, None)) is None:
                return
            yield chunk
        raise ValueError("the recording is closed")


_Chunk: TypeAlias = Samples | Silence

_MOST_GAPS = 100_000
"""So many gaps a recording may have; no recorder is known to make as many."""


def _length(chunk: _Chunk) -> int:
    return chunk.samples if isinstance(chunk, Silence) else len(chunk)


def _up_to(chunks: Iterator[_Chunk], samples: int, is_end: bool) -> Iterator[_Chunk]:
    """Yields so many samples of [n, channels] chunks, and only at the end what is wrong behind."""
    while samples > 0 and (chunk := next(chunks, None)) is not None:
        if isinstance(chunk, Silence):
            yield chunk._replace(samples=min(chunk.samples, samples))
        else:
            yield chunk[:samples]
        samples -= _length(chunk)
    if is_end:
        deque(chunks, maxlen=0)


def _regroup(chunks: Iterator[_Chunk], block_samples: int, channels: int) -> Iterator[_Chunk]:
    """Cuts [n, channels] chunks into blocks; what was read before an AudioError comes before it."""
    parts: list[Samples] = []
    missing = block_samples
    trouble: AudioError | None = None
    try:
        for chunk in chunks:
            for piece in _pieces(chunk, missing, block_samples, channels):
                if isinstance(piece, Silence):
                    yield piece
                    continue
                at = 0
                while len(piece) - at >= missing:
                    parts.append(piece[at : at + missing])
                    yield joined(parts)
                    parts, at, missing = [], at + missing, block_samples
                if at < len(piece):
                    parts.append(piece[at:])
                    missing -= len(piece) - at
    except AudioError as error:
        trouble = error
    if parts:
        yield joined(parts)
    if trouble:
        raise trouble


def _pieces(chunk: _Chunk, missing: int, block_samples: int, channels: int) -> Iterator[_Chunk]:
    """Yields a chunk, or of a silence the rest of a block, whole blocks, and the rest."""
    if not isinstance(chunk, Silence):
        yield chunk
        return
    first = min(chunk.samples, missing % block_samples)
    last = (chunk.samples - first) % block_samples
    yield np.zeros((first, channels), np.float32)
    if whole := chunk.samples - first - last:
        yield chunk._replace(samples=whole)
    yield np.zeros((last, channels), np.float32)


def _open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file for the two libraries, which share its descriptor: hence without a buffer."""
    try:
        status = Path(path).stat()
    except ValueError as error:  # a manifest may hold what no filesystem takes
        raise ReadError(f"no name of a file: {error}") from error
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise EmptyFileError("the file is empty")
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ReadError("not a regular file")
    return Path(path).open("rb", buffering=0)


def _sniff(content: FilePart, name: str) -> Sniffed:
    """Recognises a format; what has no header, and so is in none, is unsupported by its name."""
    try:
        return sniff(content)
    except NotAudioError:
        if headerless := HEADERLESS.get(PurePath(name).suffix[1:].lower()):
            raise UnsupportedError(
                f"by its name it is {headerless} without a header, which nothing in it confirms; "
                "convert it to wav"
            ) from None
        raise


_RATES_HZ = range(4000, 384_001)


def _check_rate(header: AudioHeader) -> None:
    if header.sample_rate_hz not in _RATES_HZ:
        lowest, highest = _RATES_HZ[0], _RATES_HZ[-1]
        raise UnsupportedError(
            f"a sample rate of {header.sample_rate_hz} Hz, not from {lowest} to {highest}"
        )
