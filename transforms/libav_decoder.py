"""Decodes with FFmpeg's libraries, through PyAV: compressed sound, and the sound of video."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

from transforms.container_headers import Promise, check_end, nothing_decoded, pcm_sample_bytes
from transforms.elements import AudioHeader
from transforms.errors import (
    AudioError,
    DamagedError,
    NoAudioStreamError,
    ReadError,
    UnsupportedError,
)
from transforms.sniffing import Sniffed


@contextmanager
def open_libav(file: BinaryIO, sniffed: Sniffed, promise: Promise) -> Iterator[LibavDecoder]:
    """Opens the default sound of a file, and decodes the first of it.

    Raises:
      UnsupportedError: the sound is encrypted, or of a codec that is not known here.
      NoAudioStreamError: there are only other things in it.
      DamagedError: the content makes no sense.
      NoSamplesError: there is no sound in it.
    """
    if promise.locked:
        raise UnsupportedError("the sound is encrypted")
    try:
        container = _open_container(file, sniffed)
    except av.FFmpegError as error:
        raise _as_audio_error(error) from error
    with container:
        yield LibavDecoder(container, _pick_stream(container), sniffed.format, promise)


class LibavDecoder:
    """A stream of sound that libav has opened; to be read once.

    Attributes:
      header: what the recording is.
    """

    def __init__(
        self, container: InputContainer, stream: AudioStream, format_: str, promise: Promise
    ) -> None:
        self._container = container
        self._stream = stream
        self._promise = promise
        self._reached_s = 0.0
        self._trouble: AudioError | None = None
        self._gave_up = False
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise self._trouble or nothing_decoded(promise)
        self._frames = chain([first], self._frames)
        self._channel_layout = first.layout
        self._promise = _completed(promise, format_, container, stream, first)
        self.header = AudioHeader(
            format=format_,
            codec=_codec(stream),
            sample_rate_hz=first.sample_rate,
            channels=first.layout.nb_channels,
            declared_samples=self._promise.samples,
        )

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1], n as it comes.

        Raises:
          DamagedError: a packet could not be decoded; what came before is good.
          TruncatedError: the sound ends before the header says.
          ReadError: the file could not be read on.
        """
        heard = 0
        for frame in self._alike(self._frames):
            chunk = _as_float32(frame)
            heard += len(chunk)
            yield chunk
        self._check_end(heard)

    def _check_end(self, heard: int) -> None:
        """Raises what went wrong, if anything.

        Trouble with the last packets is none where all that was promised is there: junk and tags
        follow many a recording. Where the file is known to be cut, that is what is told.
        """
        rate = self.header.sample_rate_hz
        if self._trouble and self._gave_up and self._promise.is_kept:
            raise self._trouble
        is_exact = not self._promise.tolerance
        reached = heard if is_exact else max(heard, round(self._reached_s * rate))
        check_end(self._promise, heard, reached, rate)
        if self._trouble and (self._gave_up or self._promise.samples is None):
            raise self._trouble

    def _decode(self) -> Iterator[AudioFrame]:
        """Yields frames up to the end, or to damage that is followed by more sound.

        Damage before the first frame is passed over: a stream that was joined while it ran begins
        with packets that lean on earlier ones. So is damage behind all that was promised: where
        recordings were joined end to end, a header lies in between.
        """
        heard = 0
        for packet in self._packets():
            frames = self._decode_packet(packet)
            if frames and self._trouble:
                self._gave_up = 0 < heard < (self._promise.samples or sys.maxsize)
                if self._gave_up:
                    return
                self._trouble = None
            self._note_time(packet)
            heard += sum(frame.samples for frame in frames)
            yield from frames

    def _packets(self) -> Iterator[Packet[Any]]:
        try:
            yield from self._container.demux()
        except av.FFmpegError as error:
            self._trouble = self._trouble or _as_audio_error(error)
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error

    def _decode_packet(self, packet: Packet[Any]) -> list[AudioFrame]:
        if packet.stream is not self._stream:
            return []
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            self._trouble = self._trouble or _as_audio_error(error)
            return []
        return [frame for frame in frames if frame.samples]

    def _note_time(self, packet: Packet[Any]) -> None:
        """Keeps how far the recording has been read, on the clock of the container.

        Where the header tells only the length of the whole, pictures count as well: sound may well
        end before they do.
        """
        counts = packet.stream is self._stream or (
            self._stream.duration is None and packet.stream.type == "video"
        )
        if counts and packet.pts is not None and not self._trouble:
            end_s = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
            self._reached_s = max(self._reached_s, end_s)

    def _alike(self, frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
        """Brings frames to the rate and channels of the header where they change in mid-stream."""
        resampler, source = None, None
        for frame in frames:
            shape = (frame.sample_rate, frame.layout.name, frame.format.name)
            if resampler is not None and shape != source:
                yield from _resample(resampler, None)
                resampler = None
            if self._is_readable(frame):
                yield frame
                continue
            if resampler is None:
                resampler, source = self._resampler(), shape
            frame.pts = None
            yield from _resample(resampler, frame)
        if resampler is not None:
            yield from _resample(resampler, None)

    def _is_readable(self, frame: AudioFrame) -> bool:
        """Whether the samples of a frame can be taken as they are.

        Of planes, PyAV reads beyond the last one from eight channels on (seen in 18.1): these have
        to be interleaved first.
        """
        is_of_header = (
            frame.sample_rate == self.header.sample_rate_hz
            and frame.layout.nb_channels == self.header.channels
        )
        return is_of_header and not (frame.format.is_planar and self.header.channels >= 8)

    def _resampler(self) -> AudioResampler:
        return AudioResampler(
            format="flt", layout=self._channel_layout, rate=self.header.sample_rate_hz
        )


def _resample(resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    """Resamples a frame, or with None returns what remains."""
    try:
        return list(resampler.resample(frame))
    except (av.FFmpegError, ValueError) as error:
        raise DamagedError("the sound changes its rate or channels in mid-stream") from error


def _open_container(file: BinaryIO, sniffed: Sniffed) -> InputContainer:
    """Opens a file as the format it was recognised as, and keeps libav from all else.

    No other demuxer, no protocol that a hostile file could name, no decoder for pictures.
    """
    container: InputContainer = av.open(
        _Nameless(file, sniffed.start),
        mode="r",
        format=sniffed.demuxer,
        container_options={
            "format_whitelist": sniffed.demuxer,
            "protocol_whitelist": "none",
            "codec_whitelist": _audio_decoders(),
        },
        metadata_errors="replace",
    )
    return container


@lru_cache(maxsize=1)
def _audio_decoders() -> str:
    return ",".join(sorted(filter(_is_audio_decoder, av.codecs_available)))


def _is_audio_decoder(name: str) -> bool:
    try:
        return bool(Codec(name, "r").type == "audio")
    except ValueError:  # there is only an encoder of this name
        return False


class _Nameless:
    """A file without its name, seen from a byte of it on."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start
        self._size = file.seek(0, io.SEEK_END)
        file.seek(start)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seeks; beyond the end nothing will be read, and before the start lies nothing: -1."""
        origins = {io.SEEK_SET: self._start, io.SEEK_CUR: self._file.tell()}
        position = origins.get(whence, self._size) + offset
        if position < self._start:
            return -1
        self._file.seek(min(position, self._size))
        return position - self._start


def _pick_stream(container: InputContainer) -> AudioStream:
    """Returns the default stream of sound that can be decoded, else the first."""
    streams = container.streams.audio
    if not streams:
        others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise NoAudioStreamError(f"no sound in it, only: {others}")
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        raise UnsupportedError("the codec of the sound is not known here")
    default = [stream for stream in decodable if stream.disposition & Disposition.default]
    stream = (default or decodable)[0]
    if _codec(stream) == "flac":  # whose checksums libav would not look at
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return stream


# Containers whose headers tell the length of the sound. Of the second group libav makes an estimate
# of its own where the file is shorter than its header says.
_TIMED = {
    "mp4",
    "matroska",
    "flv",
    "rm",
    "wavpack",
    "ape",
    "tta",
    "tak",
    "mpc",
    "dsf",
    "flac",
    "aiff",
}
_TIMED_IF_WHOLE = {"ogg", "avi", "caf", "wav", "w64", "rf64", "dff", "wtv"}


def _completed(
    promise: Promise,
    format_: str,
    container: InputContainer,
    stream: AudioStream,
    first: AudioFrame,
) -> Promise:
    """Counts the promise in samples, by the length that libav found where the header tells it."""
    sample_bytes = pcm_sample_bytes(_codec(stream))
    if promise.samples is not None:
        return promise
    if promise.sound_bytes is not None and sample_bytes:
        samples = promise.sound_bytes // (sample_bytes * first.layout.nb_channels)
        return promise._replace(samples=samples)
    seconds = promise.seconds
    if seconds is None and (format_ in _TIMED or (format_ in _TIMED_IF_WHOLE and promise.is_kept)):
        seconds = _duration_s(container, stream)
    if seconds is None:
        return promise
    samples = round(seconds * first.sample_rate) - promise.lead_in
    # Encoders add silence at both ends, and containers round.
    tolerance = 0 if format_ == "flac" else first.sample_rate // 2
    return promise._replace(samples=max(0, samples), tolerance=tolerance)


def _duration_s(container: InputContainer, stream: AudioStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * (stream.time_base or 0))
    return None if container.duration is None else container.duration / av.time_base


def _codec(stream: AudioStream) -> str:
    """Names the codec without the byte order and the order of its samples."""
    name: str = stream.codec_context.codec.canonical_name
    if not name.startswith("pcm_"):
        return name
    return name.removesuffix("_planar").removesuffix("le").removesuffix("be")


def _as_float32(frame: AudioFrame) -> NDArray[np.float32]:
    """Returns float32 [n, channels] in [-1, 1] of any format of samples."""
    if frame.format.name.startswith("s64"):
        raise UnsupportedError("samples of 64-bit integers")
    # [channels, n], or [1, n * channels] where interleaved
    planes: NDArray[Any] = frame.to_ndarray()
    samples = planes.T if frame.format.is_planar else planes.reshape(-1, frame.layout.nb_channels)
    zero, full_scale = _SCALES.get(samples.dtype, (0, 1))
    with np.errstate(over="ignore"):  # doubles beyond float32 become infinite
        values = np.ascontiguousarray(samples, dtype=np.float32)
    return values if full_scale == 1 else (values - np.float32(zero)) / np.float32(full_scale)


# The value that is silence, and the distance from it to full scale.
_SCALES = {
    np.dtype(np.uint8): (128, 128),
    np.dtype(np.int16): (0, 1 << 15),
    np.dtype(np.int32): (0, 1 << 31),
}


def _as_audio_error(error: av.FFmpegError) -> AudioError:
    message = " ".join((error.strerror or type(error).__name__).split())
    lacks = (av.error.LookupError, av.error.NotImplementedError, av.error.PatchWelcomeError)
    return UnsupportedError(message) if isinstance(error, lacks) else DamagedError(message)
