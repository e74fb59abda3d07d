"""From recordings to frames: decode, mix down, resample, cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timezone, tzinfo

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from numpy.typing import NDArray

from transforms import progress
from transforms.audio_files import AudioReader, open_audio
from transforms.elements import AudioHeader, Ending, FrameBlock, Span, Trouble
from transforms.errors import AudioError, ReadError, TruncatedError
from transforms.framing import FrameGrid, cut_frames
from transforms.levels import SignalLevel, full_scale, measure
from transforms.local_copies import local_copy
from transforms.recording_time import RecordedAt, recorded_at
from transforms.resampling import LEAD_IN_S, mix_down, resample

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
    """Decode recordings into blocks of frames: Span to FrameBlock.

    Each span ends with a block that has no frames and says how decoding ended; for an object that
    cannot be decoded at all it is the only one.
    """

    grid: FrameGrid
    clock: Clock = Clock()
    run_id: str = ""

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[FrameBlock]:
        """Apply the transform."""
        return spans | "Decode" >> beam.ParDo(_DecodeFn(self))


class _DecodeFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, stage: DecodeFrames) -> None:
        self._stage = stage
        self._decoded = Metrics.counter(DecodeFrames, "spans")
        self._samples = Metrics.counter(DecodeFrames, "samples")
        self._troubled = Metrics.counter(DecodeFrames, "spans_with_trouble")

    def process(self, span: Span) -> Iterator[FrameBlock]:
        board = progress.board(self._stage.run_id)
        for block in decode_frames(span, self._stage.grid, self._stage.clock):
            board.heard_s(len(block.frames) * self._stage.grid.hop_s)
            if block.ending is not None:
                self._decoded.inc()
                self._samples.inc(block.ending.samples)
                self._troubled.inc(int(block.ending.trouble is not None))
                board.finished(span, failed=block.ending.samples == 0)
            yield block


def decode_frames(span: Span, grid: FrameGrid, clock: Clock) -> Iterator[FrameBlock]:
    """Decode a span of a recording; whatever is wrong with it, the last block says so.

    Its frames are those of the whole recording, to the last bit: some of what lies before the span
    is decoded, too, and thrown away once the resampler has seen it, and what lies behind it up to
    the end of the last frame that begins in it.

    Args:
      span: the part of a recording.
      grid: where the frames lie, at the rate wanted.
      clock: how to read the time of recording.

    Yields:
      Blocks of frames, then one without frames that holds the Ending.
    """
    decoding = _Decoding(span)
    first = end = grid.first_from(span.start_s)
    stop = None if span.stop_s is None else grid.first_from(span.stop_s)
    uri = span.clip.uri
    try:
        with local_copy(uri) as path, open_audio(path) as reader:
            decoding.header = reader.header
            if span.index == 0:
                decoding.recorded_at = recorded_at(
                    path, uri, time_pattern=clock.time_pattern, time_zone=clock.time_zone
                )
            signal = _signal(reader, decoding, grid, first * grid.hop_samples)
            for at, frames in cut_frames(signal, grid, BLOCK_FRAMES, first, stop):
                end = at + len(frames)
                yield FrameBlock(span, at, frames)
    except AudioError as error:
        decoding.stop(error)
    none = np.empty((0, grid.frame_samples), np.float32)
    yield FrameBlock(span, end, none, decoding.ending(end - first))


@dataclass
class _Decoding:
    """What is known so far of a span that is being decoded.

    Attributes:
      span: the part of a recording.
      position: samples per channel from the recording's start to where it has been read.
      level: of what lies in the span.
    """

    span: Span
    header: AudioHeader | None = None
    position: int = 0
    level: SignalLevel = field(default_factory=SignalLevel)
    recorded_at: RecordedAt | None = None
    trouble: Trouble | None = None

    def watch(self, reader: AudioReader, ahead_s: int) -> Iterator[NDArray[np.float32]]:
        """Read second by second, from some before the span to some behind it.

        What lies in the span is measured. Where the decoder gives up, the signal ends; that this
        was before the recording's end is told by the span in which it happened.
        """
        rate, codec = reader.header.sample_rate_hz, reader.header.codec
        span = self.span
        second = max(0, span.start_s - LEAD_IN_S)
        stop_s = math.inf if span.stop_s is None else span.stop_s
        clip_at = full_scale(codec)
        self.position = second * rate
        stop = None if span.stop_s is None else (span.stop_s + ahead_s) * rate
        try:
            for samples in reader.blocks(rate, self.position, stop):
                self.position += len(samples)
                if span.start_s <= second < stop_s:
                    self.level += measure(samples, clip_at)
                second += 1
                yield samples
        except AudioError as error:
            if self.position < stop_s * rate:
                self.stop(error)

    def stop(self, error: AudioError) -> None:
        """Note what went wrong."""
        stage = "read" if isinstance(error, ReadError) else "decode"
        # a name that the system could not decode must not make a message that Parquet cannot hold
        message = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
        if self.position and self.header and not isinstance(error, TruncatedError):
            message = f"{message}, after {self.position / self.header.sample_rate_hz:.3f} s"
        self.trouble = Trouble(stage, error.reason, message)

    def ending(self, frames: int) -> Ending:
        """How it ended, after so many frames."""
        time, source = self.recorded_at or (None, None)
        return Ending(self.header, self._samples(), frames, self.level, time, source, self.trouble)

    def _samples(self) -> int:
        if self.header is None:
            return 0
        start, rate = self.span.start_s, self.header.sample_rate_hz
        stop = self.position if self.span.stop_s is None else self.span.stop_s * rate
        return max(0, min(self.position, stop) - start * rate)


def _signal(
    reader: AudioReader, decoding: _Decoding, grid: FrameGrid, start: int
) -> Iterator[NDArray[np.float32]]:
    """A span as mono at the grid's rate, float32 [any] each, and on to the end of its last frame.

    Numbers that are none stay so.

    Args:
      reader: of the recording.
      decoding: of the span.
      grid: where the frames lie.
      start: where to begin, in samples of the grid's rate from the recording's beginning.
    """
    ahead_s = math.ceil(grid.frame_samples / grid.sample_rate_hz) + LEAD_IN_S
    mono = map(mix_down, decoding.watch(reader, ahead_s))
    start_s = decoding.span.start_s
    resampled = resample(mono, reader.header.sample_rate_hz, grid.sample_rate_hz, start_s)
    return _without_first(resampled, start - start_s * grid.sample_rate_hz)


def _without_first(
    chunks: Iterable[NDArray[np.float32]], samples: int
) -> Iterator[NDArray[np.float32]]:
    for chunk in chunks:
        yield chunk[samples:]
        samples = max(0, samples - len(chunk))
