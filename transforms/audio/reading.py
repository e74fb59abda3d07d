"""Reads audio files of any format, block by block."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.sniffing import sniff
from earmark.transforms.elements import AudioHeader, PlainSound
from earmark.transforms.errors import AudioError, EmptyFileError, ReadError, UnsupportedError

if TYPE_CHECKING:
    from earmark.transforms.audio.decoders import OpenDecoder


@contextmanager
def open_audio(path: str | os.PathLike[str]) -> Iterator[AudioReader]:
    """Opens a local audio or video file; its format is told by its content, not by its name.

    Raises:
      ReadError: there is no such file, or it cannot be read.
      EmptyFileError: it holds no bytes.
      NotAudioError: its format is not known.
      NoAudioStreamError: it holds no sound.
      UnsupportedError: its codec or sample rate is not known here, or it is encrypted.
      DamagedError: nothing of it can be decoded.
      NoSamplesError: it is whole, and there is no sample in it.
    """
    # Imported here: most processes that import this room decode nothing, and libav is large.
    from earmark.transforms.audio.decoders import open_decoder

    with ExitStack() as stack:
        try:
            file = stack.enter_context(_open_file(path))
            decoder = open_decoder(stack, file, sniff(FilePart(file)))
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error
        _check_rate(decoder.header)
        yield AudioReader(decoder)


class AudioReader:
    """A recording, open to be read once.

    Attributes:
      header: what the recording is.
      library: what decodes it: libsndfile, libav, or numpy for what needs no decoding.
      can_seek: whether any sample can be reached without decoding what lies before it.
      sound: where the samples are, if they are read straight from the file; None otherwise.
    """

    def __init__(self, decoder: OpenDecoder) -> None:
        self._decoder = decoder
        self.header = decoder.header
        self.library = decoder.library
        self.can_seek = decoder.can_seek
        self.sound: PlainSound | None = getattr(decoder, "place", None)

    def blocks(
        self, block_samples: int, start: int = 0, stop: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1]: n is block_samples but for the last block.

        NaN and infinities of files with float samples pass through. The memory this takes follows
        from the size of the blocks, not of the file. Where the parts of a recording are read one by
        one up to the first trouble, they hold the same samples, and the trouble is the same, as
        where it is read as a whole.

        Args:
          block_samples: per channel.
          start: the sample to begin with; not 0 only where can_seek.
          stop: the sample to stop before; None for the end. Who stops earlier is not told what is
            wrong from there on.

        Raises:
          ValueError: start is not 0, and can_seek is False.
          TruncatedError: after the last good block; the file ends before its time.
          DamagedError: after the last good block; the decoder gave up.
          ReadError: after the last good block; the file could not be read on.
        """
        if start and not self.can_seek:
            raise ValueError(f"a recording of {self.header.codec} can only be read from its start")
        chunks = self._decoder.chunks(block_samples, start)
        if stop is not None:
            declared = self.header.declared_samples
            is_end = declared is not None and stop >= declared
            chunks = _up_to(chunks, stop - start, is_end)
        return _regroup(chunks, block_samples)


def _up_to(
    chunks: Iterator[NDArray[np.float32]], samples: int, is_end: bool
) -> Iterator[NDArray[np.float32]]:
    """Yields so many samples of [n, channels] chunks, and only at the end what is wrong behind."""
    while samples > 0 and (chunk := next(chunks, None)) is not None:
        yield chunk[:samples]
        samples -= len(chunk)
    if is_end:
        deque(chunks, maxlen=0)


def _regroup(
    chunks: Iterator[NDArray[np.float32]], block_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Cuts [n, channels] chunks into blocks; what was read before an AudioError comes before it."""
    parts: list[NDArray[np.float32]] = []
    missing = block_samples
    trouble: AudioError | None = None
    try:
        for chunk in chunks:
            at = 0
            while len(chunk) - at >= missing:
                parts.append(chunk[at : at + missing])
                yield _joined(parts)
                parts, at, missing = [], at + missing, block_samples
            if at < len(chunk):
                parts.append(chunk[at:])
                missing -= len(chunk) - at
    except AudioError as error:
        trouble = error
    if parts:
        yield _joined(parts)
    if trouble:
        raise trouble


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


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


_RATES_HZ = range(4000, 384_001)


def _check_rate(header: AudioHeader) -> None:
    if header.sample_rate_hz not in _RATES_HZ:
        lowest, highest = _RATES_HZ[0], _RATES_HZ[-1]
        raise UnsupportedError(
            f"a sample rate of {header.sample_rate_hz} Hz, not from {lowest} to {highest}"
        )
