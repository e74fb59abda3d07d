"""From recordings to frames: decode, mix down, resample, cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timezone, tzinfo

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from numpy.typing import NDArray

from transforms import progress
from transforms.audio_files import AudioReader, open_audio
from transforms.elements import AudioHeader, AudioObject, Ending, FrameBlock, Trouble
from transforms.errors import AudioError, ReadError, TruncatedError
from transforms.framing import FrameGrid, cut_frames
from transforms.levels import SignalLevel, full_scale, measure
from transforms.local_copies import local_copy
from transforms.recording_time import RecordedAt, recorded_at
from transforms.resampling import mix_down, resample

BLOCK_FRAMES = 16
"""Frames per block: 1 MB of samples at YAMNet's frame length."""


@dataclass(frozen=True)
class Clock:
    """How to read the time of recording where it isn't stated in full.

    Attributes:
      time_pattern: of names, as for strptime; None for the usual ones.
      time_zone: of times that name none.
    """

    time_pattern: str | None = None
    time_zone: tzinfo = timezone.utc


@dataclass
class DecodeFrames(beam.PTransform):  # type: ignore[misc]
    """Decode recordings into blocks of frames: AudioObject to FrameBlock.

    Each clip ends with a block that has no frames and says how decoding ended; for an object that
    cannot be decoded at all it is the only one.
    """

    grid: FrameGrid
    clock: Clock = Clock()
    run_id: str = ""

    def expand(self, objects: beam.PCollection[AudioObject]) -> beam.PCollection[FrameBlock]:
        """Apply the transform."""
        return objects | "Decode" >> beam.ParDo(_DecodeFn(self))


class _DecodeFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, stage: DecodeFrames) -> None:
        self._stage = stage
        self._decoded = Metrics.counter(DecodeFrames, "objects")
        self._seconds = Metrics.counter(DecodeFrames, "seconds")
        self._troubled = Metrics.counter(DecodeFrames, "objects_with_trouble")

    def process(self, clip: AudioObject) -> Iterator[FrameBlock]:
        board = progress.board(self._stage.run_id)
        for block in decode_frames(clip, self._stage.grid, self._stage.clock):
            board.heard_s(len(block.frames) * self._stage.grid.hop_s)
            if block.ending is not None:
                self._decoded.inc()
                self._seconds.inc(round(block.ending.duration_s))
                self._troubled.inc(int(block.ending.trouble is not None))
                board.finished(clip.size_bytes or 0, failed=block.ending.samples == 0)
            yield block


def decode_frames(clip: AudioObject, grid: FrameGrid, clock: Clock) -> Iterator[FrameBlock]:
    """Decode one recording; whatever is wrong with it, the last block says so.

    Args:
      clip: the recording.
      grid: where the frames lie, at the rate wanted.
      clock: how to read the time of recording.

    Yields:
      Blocks of frames, then one without frames that holds the Ending.
    """
    decoding = _Decoding()
    try:
        with local_copy(clip.uri) as path, open_audio(path) as reader:
            decoding.header = reader.header
            decoding.recorded_at = recorded_at(
                path, clip.uri, time_pattern=clock.time_pattern, time_zone=clock.time_zone
            )
            signal = _signal(reader, decoding, grid.sample_rate_hz)
            for first_frame, frames in cut_frames(signal, grid, BLOCK_FRAMES):
                decoding.frames += len(frames)
                yield FrameBlock(clip, first_frame, frames)
    except AudioError as error:
        decoding.stop(error)
    none = np.empty((0, grid.frame_samples), np.float32)
    yield FrameBlock(clip, decoding.frames, none, decoding.ending())


@dataclass
class _Decoding:
    """What is known so far of a recording that is being decoded."""

    header: AudioHeader | None = None
    samples: int = 0
    frames: int = 0
    level: SignalLevel = field(default_factory=SignalLevel)
    recorded_at: RecordedAt | None = None
    trouble: Trouble | None = None

    def watch(self, seconds: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Pass blocks of a second on and measure them; end where the decoder gives up."""
        clip_at = full_scale(self.header.codec if self.header else "")
        try:
            for second in seconds:
                self.samples += len(second)
                self.level += measure(second, clip_at)
                yield second
        except AudioError as error:
            self.stop(error)

    def stop(self, error: AudioError) -> None:
        stage = "read" if isinstance(error, ReadError) else "decode"
        # a name that the system could not decode must not make a message that Parquet cannot hold
        message = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
        if self.samples and not isinstance(error, TruncatedError):
            message = f"{message}, after {self.ending().duration_s:.3f} s"
        self.trouble = Trouble(stage, error.reason, message)

    def ending(self) -> Ending:
        time, source = self.recorded_at or (None, None)
        return Ending(
            self.header, self.samples, self.frames, self.level, time, source, self.trouble
        )


def _signal(reader: AudioReader, decoding: _Decoding, to_hz: int) -> Iterator[NDArray[np.float32]]:
    """The recording as mono at another rate, float32 [any] each; no numbers stay no numbers."""
    from_hz = reader.header.sample_rate_hz
    mono = map(mix_down, decoding.watch(reader.blocks(from_hz)))
    return resample(mono, from_hz, to_hz)
