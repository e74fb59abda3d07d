"""Decodes with libsndfile: uncompressed sound, its simple compressions, and FLAC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.formats import Format
from earmark.transforms.elements import AudioHeader
from earmark.transforms.errors import (
    HOSTILE_CONTENT_ERRORS,
    AudioError,
    DamagedError,
    UnsupportedError,
)


@contextmanager
def open_soundfile(
    file: BinaryIO, format_: Format, declared: DeclaredLength
) -> Iterator[SoundfileDecoder]:
    """Opens a recording with libsndfile, and decodes the first of it.

    Raises:
      UnsupportedError: a codec that libsndfile does not know.
      DamagedError: the content is not valid.
      NoSamplesError: there is no sound in it.
    """
    with _open(file) as sound:
        yield SoundfileDecoder(sound, file, format_, declared)


def _open(file: BinaryIO) -> _Sequential:
    """Opens a file by its descriptor: of a name, libsndfile would read the extension."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    try:
        return _Sequential(file.fileno(), closefd=False)
    except (soundfile.LibsndfileError, *HOSTILE_CONTENT_ERRORS) as error:
        raise _as_audio_error(error) from error


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """Keeps soundfile from seeking to where it is after each read, and losing what was wrong."""

    def seekable(self) -> bool:
        return False


class SoundfileDecoder:
    """A recording that libsndfile has opened; to be read once.

    Attributes:
      header: what the recording is.
      can_seek: whether chunks() can start anywhere.
      declared: how long its header says that it is.
      samples: how many there are, per channel.
      byte_order: of uncompressed sound, as numpy names it.
      first: the first of the recording, float32 [n, channels].
    """

    library = "libsndfile"

    def __init__(
        self, sound: soundfile.SoundFile, file: BinaryIO, format_: Format, declared: DeclaredLength
    ) -> None:
        self._sound = sound
        self._file = file
        codec = _codec(sound)
        self.declared = _in_samples(declared, sound, codec)
        self.header = AudioHeader(
            format=format_.name,
            codec=codec,
            sample_rate_hz=sound.samplerate,
            channels=sound.channels,
            declared_samples=self.declared.samples,
        )
        self.can_seek = declared.is_whole and (codec == "flac" or codec.startswith("pcm_"))
        self.samples: int = min(sound.frames, self.declared.samples or 0)
        by_default = ">" if format_.big_endian else "<"
        self.byte_order = {"LITTLE": "<", "BIG": ">"}.get(sound.endian, by_default)
        self._chunk_samples = max(1, min(_CHUNK_SAMPLES, _CHUNK_VALUES // sound.channels))
        self._heard = 0
        self._trouble: AudioError | None = None
        self.first = self._read()
        if not len(self.first):
            raise self._trouble or self.declared.nothing_decoded()

    def chunks(self, wanted: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1], n as it comes.

        Whatever is `wanted`, chunks lie on a grid: where exactly libsndfile notices damage follows
        from the size of the reads, and the samples must not follow from the caller's blocks.

        Args:
          wanted: has no meaning here.
          start: the sample to begin with; not 0 only where can_seek.

        Raises:
          DamagedError: libsndfile gave up; what came before is good.
          TruncatedError: fewer samples came out than the header declares.
        """
        with ExitStack() as stack:
            chunk = self._seek(stack, start)
            while len(chunk):
                too_early = max(0, start - (self._heard - len(chunk)))
                if too_early < len(chunk):
                    yield chunk[too_early:]
                chunk = self._read()
        if self._trouble and not (self._heard < self.samples and self._is_at_end()):
            raise self._trouble
        self.declared.check_end(self._heard, self._heard, self.header.sample_rate_hz)

    def _seek(self, stack: ExitStack, start: int) -> NDArray[np.float32]:
        """Returns a chunk of the grid that begins well before `start`, or the first.

        In the frame that it seeks, libFLAC takes damage for silence. So this frame, which may be
        long, is not to reach up to `start`. What libsndfile cannot find, as in a file that was cut,
        is reached by reading all that lies before it.
        """
        target = (start - _LONGEST_FLAC_FRAME) // self._chunk_samples * self._chunk_samples
        if target <= 0:
            return self.first
        try:
            self._sound.seek(target)
            self._heard = target
        except (soundfile.LibsndfileError, *HOSTILE_CONTENT_ERRORS):
            self._sound = stack.enter_context(_open(self._file))
            self._heard = 0
        return self._read()

    def _read(self) -> NDArray[np.float32]:
        """Reads the next chunk: none at the end, and what is good of it where libsndfile gives up.

        libsndfile doesn't tell how much of a chunk it wrote before it gave up: so all of it is
        filled with NaN before.
        """
        samples = min(self._chunk_samples, self.samples - self._heard)
        chunk = np.full((max(0, samples), self._sound.channels), np.nan, dtype=np.float32)
        if self._trouble:
            return chunk[:0]
        try:
            chunk = self._sound.read(out=chunk)
        except (soundfile.LibsndfileError, *HOSTILE_CONTENT_ERRORS) as error:
            self._trouble = _as_audio_error(error)
            chunk = _written(chunk)
        self._heard += len(chunk)
        return chunk

    @property
    def position(self) -> int:
        """How much of the file libsndfile has read."""
        return os.lseek(self._file.fileno(), 0, os.SEEK_CUR)

    def _is_at_end(self) -> bool:
        """Whether libsndfile has used the file up: its error is then that nothing follows."""
        return self.position >= os.fstat(self._file.fileno()).st_size


def _written(chunk: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cuts a chunk that was filled with NaN behind what libsndfile wrote."""
    written = np.flatnonzero(~np.isnan(chunk).all(axis=1))
    return chunk[: written[-1] + 1] if len(written) else chunk[:0]


_CHUNK_SAMPLES = 1 << 15
_CHUNK_VALUES = 1 << 18
_LONGEST_FLAC_FRAME = 1 << 16
_UNKNOWN_SAMPLES = 1 << 62  # what libsndfile answers for a FLAC stream of unknown length, and above


def _in_samples(declared: DeclaredLength, sound: soundfile.SoundFile, codec: str) -> DeclaredLength:
    """Counts a declared length in samples.

    libsndfile counts no more than the file holds, but in Wave64 what lies behind the sound as well.
    """
    if sound.frames >= _UNKNOWN_SAMPLES:
        raise UnsupportedError("libsndfile cannot read a stream of unknown length")
    samples = declared.pcm_samples(codec, sound.channels)
    if not declared.missing_bytes or declared.sound_bytes is None:
        samples = sound.frames if samples is None else min(samples, sound.frames)
    elif samples is None:
        there = max(1, declared.sound_bytes - declared.missing_bytes)
        samples = round(sound.frames * declared.sound_bytes / there)
    return declared._replace(samples=samples)


def _codec(sound: soundfile.SoundFile) -> str:
    """Names the codec as FFmpeg does."""
    if sound.format == "FLAC":
        return "flac"
    subtype: str = sound.subtype
    apple = _APPLE_CODECS if sound.format == "AIFF" else {}
    return apple.get(subtype) or _CODECS.get(subtype) or subtype.lower()


_APPLE_CODECS = {"IMA_ADPCM": "adpcm_ima_qt", "GSM610": "gsm"}

_CODECS = {
    "PCM_S8": "pcm_s8",
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
    "IMA_ADPCM": "adpcm_ima_wav",
    "MS_ADPCM": "adpcm_ms",
    "GSM610": "gsm_ms",
    "G721_32": "adpcm_g726",
    "G723_24": "adpcm_g726",
    "G723_40": "adpcm_g726",
}


_UNSUPPORTED_ENCODING = 4  # SF_ERR_UNSUPPORTED_ENCODING of sndfile.h


def _as_audio_error(error: Exception) -> AudioError:
    if not isinstance(error, soundfile.LibsndfileError):
        return DamagedError(f"the content is not valid: {error or type(error).__name__}")
    message = " ".join(error.error_string.removeprefix("Error : ").split()).rstrip(".")
    if "flac decoder" in message:  # which of its errors is told follows from where reading began
        return DamagedError("the flac decoder lost synchronisation")
    kind = UnsupportedError if error.code == _UNSUPPORTED_ENCODING else DamagedError
    return kind(message)
