"""Decodes with FFmpeg's libraries, through PyAV: compressed sound, and the sound of video."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import chain
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.formats import Duration, Format
from earmark.transforms.audio.libav_clock import clock_of
from earmark.transforms.audio.libav_frames import Shape, alike, joined, samples_of
from earmark.transforms.audio.libav_packets import Packets
from earmark.transforms.audio.timeline import Hole
from earmark.transforms.elements import AudioHeader, Silence
from earmark.transforms.errors import (
    HOSTILE_CONTENT_ERRORS,
    AudioError,
    DamagedError,
    NoAudioStreamError,
    ReadError,
    UnsupportedError,
)
from earmark.transforms.samples import Samples, as_float32


@contextmanager
def open_libav(
    content: FilePart, format_: Format, declared: DeclaredLength
) -> Iterator[LibavDecoder]:
    """Opens the default sound of a file, and decodes the first of it.

    Raises:
      UnsupportedError: the sound is encrypted, or of a codec that is not known here.
      NoAudioStreamError: there are only other things in it.
      DamagedError: the content is not valid.
      NoSamplesError: there is no sound in it.
    """
    if declared.locked:
        raise UnsupportedError("the sound is encrypted")
    with _in_libav():
        container = _open_container(content, format_.demuxer, bool(declared.pauses))
    with container:
        yield LibavDecoder(content, container, _pick_stream(container, format_), format_, declared)


class LibavDecoder:
    """A stream of sound that libav has opened; to be read once.

    Attributes:
      header: what the recording is.
      declared: how long its header says that it is, in samples where it says so.
      byte_order: of uncompressed sound, as numpy names it.
      can_seek: False: chunks() always starts with the first sample.
      samples: None: libav doesn't count them beforehand.
    """

    library = "libav"
    can_seek = False
    samples = None

    def __init__(
        self,
        content: FilePart,
        container: InputContainer,
        stream: AudioStream,
        format_: Format,
        declared: DeclaredLength,
    ) -> None:
        self._stream = stream
        self._codec = stream.codec_context
        self._packets = Packets(container, stream)
        self._is_tail_lost = partial(format_.is_tail_lost, content)
        start_s = (container.start_time or 0) / av.time_base
        self._clock = clock_of(content, format_, stream, self._packets, start_s, declared)
        self.declared = declared
        self._trouble: AudioError | None = None
        self._silent_s = 0.0  # of what was decoded
        # of the last packet by its timestamp: that, its duration, and what came of it
        self._last: tuple[int, int, list[AudioFrame]] = (0, 0, [])
        frames = self._decode()
        leading, first = _up_to_first(frames)
        if first is None:
            seconds = declared.seconds or (stream.duration and _duration_s(container, stream))
            raise self._trouble or declared._replace(seconds=seconds).nothing_decoded()
        self._frames = chain(leading, [first], frames)
        self._first = first
        self._shape = Shape(first.sample_rate, first.layout, first.layout.nb_channels)
        self.declared = _in_samples(declared, format_.duration, container, stream, first)
        self.header = AudioHeader(
            format=format_.name,
            codec=_codec(stream),
            sample_rate_hz=first.sample_rate,
            channels=first.layout.nb_channels,
            declared_samples=self.declared.samples,
            tracks=len(container.streams.audio),
        )
        self.byte_order = ">" if self._codec.codec.canonical_name.endswith("be") else "<"

    @property
    def first(self) -> NDArray[np.float32]:
        """The first of the recording, float32 [n, channels]."""
        return as_float32(samples_of(self._first))

    def chunks(
        self, wanted: int, start: int = 0, like: LibavDecoder | None = None
    ) -> Iterator[Samples | Silence]:
        """Yields samples [n, channels], and silence where sound is missing.

        Args:
          wanted: n, for most chunks.
          start: always 0.
          like: whose rate and channels they are brought to, if not their own.

        Raises:
          DamagedError: nothing behind some place could be decoded; what came before is good.
          TruncatedError: the sound ends before the header says.
          ReadError: the file could not be read on.
        """
        frames = alike(self._frames, self._shape)
        shape = like._shape if like else self._shape
        yield from joined(alike(frames, shape) if like else frames, wanted, shape.sample_rate_hz)
        self._check_end()

    def _check_end(self) -> None:
        """Raises what went wrong, if anything.

        Trouble with the last packets is none where all that was declared is there: junk and tags
        follow many a recording. Where the file is known to be cut, that is what is told.
        """
        reached_s, rate = self._clock.timeline.reached_s, self.header.sample_rate_hz
        decoded, reached = round((reached_s - self._silent_s) * rate), round(reached_s * rate)
        if self.declared.tolerance:
            reached = max(reached, round(self._container_reached_s() * rate))
        self.declared.check_end(decoded, reached, rate)
        if self._trouble and self.declared.samples is None:
            raise self._trouble
        if self._is_tail_lost(self._packets.reached_bytes):
            raise DamagedError("nothing could be found in the rest of the file")

    def _container_reached_s(self) -> float:
        """How far the recording has been read, on the clock of the container.

        Where the header tells only the length of the whole, pictures count as well: sound may well
        end before they do.
        """
        (begin, lasts, frames), tick_s = self._last, float(self._stream.time_base or 0)
        # of the duration of a packet that is the last before a hole, the hole may be part
        decoded_s = sum(frame.samples / frame.sample_rate for frame in frames)
        reached_s = begin * tick_s + min(lasts * tick_s, decoded_s)
        if self._stream.duration is None:
            return max(reached_s, self._packets.pictures_reached_s)
        return reached_s

    def _decode(self) -> Iterator[AudioFrame | Hole]:
        """Yields frames up to the end, and the holes between them.

        Damage before the first frame is passed over, but for the time that it takes: a stream that
        was joined while it ran begins with packets that lean on earlier ones. Damage behind all
        that was declared is none: where recordings were joined, a header lies in between.
        """
        is_damaged = False
        for packet in self._good_packets():
            frames = self._decode_packet(packet)
            is_damaged = is_damaged or self._trouble is not None
            self._clock.note(packet, frames)
            if frames and self._trouble:
                self._trouble = None
                reached = self._clock.timeline.reached_s * frames[0].sample_rate
                is_damaged = reached < (self.declared.samples or math.inf)
            for frame in frames:
                if hole := self._clock.hole_before(frame, packet, is_damaged=is_damaged):
                    self._silent_s += hole.seconds
                    yield hole
                is_damaged = False
                yield frame
            if frames and (pts := packet.pts) is not None and pts >= self._last[0]:
                self._last = (pts, packet.duration or 0, frames)
        is_whole = self.declared.is_whole
        if self._trouble and is_whole and (hole := self._clock.hole_at_end()):
            self._trouble = None
            self._silent_s += hole.seconds
            yield hole

    def _good_packets(self) -> Iterator[Packet[Any]]:
        try:
            with _in_libav():
                yield from self._packets
        except (DamagedError, UnsupportedError) as error:
            self._trouble = self._trouble or error

    def _decode_packet(self, packet: Packet[Any]) -> list[AudioFrame]:
        try:
            frames = self._codec.decode(packet)
        except _LIBAV_ERRORS as error:
            trouble = _as_audio_error(error)
            if isinstance(trouble, ReadError):
                raise trouble from error
            self._trouble = self._trouble or trouble
            return []
        return [frame for frame in frames if frame.samples]


def _up_to_first(
    frames: Iterator[AudioFrame | Hole],
) -> tuple[list[Hole], AudioFrame | None]:
    holes: list[Hole] = []
    for frame in frames:
        if not isinstance(frame, Hole):
            return holes, frame
        holes.append(frame)
    return holes, None


@contextmanager
def _in_libav() -> Iterator[None]:
    """Makes an AudioError of whatever libav and PyAV raise when content lies to them.

    Raises:
      UnsupportedError: libav lacks what it takes.
      DamagedError: the content is not valid.
      ReadError: the file could not be read.
    """
    try:
        yield
    except _LIBAV_ERRORS as error:
        raise _as_audio_error(error) from error


_LIBAV_ERRORS = (av.FFmpegError, OSError, *HOSTILE_CONTENT_ERRORS)


def _open_container(content: FilePart, demuxer: str, has_pauses: bool) -> InputContainer:
    """Opens a file as the format it was recognised as, and keeps libav from all else.

    No other demuxer, no protocol that a hostile file could name, no decoder for pictures. Of edit
    lists with pauses libav would make repetitions (seen in 8.0).
    """
    edits = {"advanced_editlist": "0"} if has_pauses else {}
    container: InputContainer = av.open(
        content,
        mode="r",
        format=demuxer,
        container_options={
            "format_whitelist": demuxer,
            "protocol_whitelist": "none",
            "codec_whitelist": _audio_decoders(),
            **edits,
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


def _pick_stream(container: InputContainer, format_: Format) -> AudioStream:
    """Returns the default stream of sound that can be decoded, else the first."""
    streams = container.streams.audio
    if not streams:
        others = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise NoAudioStreamError(f"contains no audio, only: {others}")
    decodable = [stream for stream in streams if stream.codec_context is not None]
    if not decodable:
        raise UnsupportedError("the audio codec is not supported")
    default = [stream for stream in decodable if stream.disposition & Disposition.default]
    stream = (default or decodable)[0]
    if _codec(stream) == format_.configured and not stream.codec_context.extradata:
        raise DamagedError("what configures the decoder is missing")
    stream.codec_context.thread_count = 1  # the cores are busy with other recordings
    if format_.has_checksums or _codec(stream) == "flac":  # which libav would not look at
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    return stream


def _in_samples(
    declared: DeclaredLength,
    duration: Duration,
    container: InputContainer,
    stream: AudioStream,
    first: AudioFrame,
) -> DeclaredLength:
    """Counts a declared length in samples, by what libav says where that is the header's word."""
    if declared.samples is not None:
        return declared
    samples = declared.pcm_samples(_codec(stream), first.layout.nb_channels)
    if samples is not None:
        return declared._replace(samples=samples)
    seconds = declared.seconds
    if seconds is None and duration.is_told(declared.is_whole):
        seconds = _duration_s(container, stream)
    if seconds is None:
        return declared
    seconds += sum(pause_s for _, pause_s in declared.pauses)
    samples = round(seconds * first.sample_rate) - declared.lead_in
    # Encoders add silence at both ends, and containers round.
    tolerance = 0 if duration is Duration.COUNTED else first.sample_rate // 2
    return declared._replace(samples=max(0, samples), tolerance=tolerance)


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


_NO_SENSE = "the content is not valid for the decoder"


def _as_audio_error(error: Exception) -> AudioError:
    if isinstance(error, av.FFmpegError):
        return _in_plain_words(error)
    if isinstance(error, OSError):
        return ReadError(error.strerror or str(error))
    return DamagedError(f"{_NO_SENSE}: {error or type(error).__name__}")


def _in_plain_words(error: av.FFmpegError) -> AudioError:
    """Says what libav says for an archivist; EIO is what it says where it wants more to read."""
    message = " ".join((error.strerror or type(error).__name__).split())
    is_nameless = message.startswith("Error number ")  # as those of libav's AC-3 parser are
    if is_nameless or isinstance(error, (av.error.InvalidDataError, av.error.ArgumentError)):
        return DamagedError(_NO_SENSE)
    if isinstance(error, av.error.EOFError):
        return DamagedError("the content ends before the sound begins")
    if error.errno == errno.EIO:
        return DamagedError("the content breaks off in the middle")
    lacks = (av.error.LookupError, av.error.NotImplementedError, av.error.PatchWelcomeError)
    return UnsupportedError(message) if isinstance(error, lacks) else DamagedError(message)
