"""From a span of a recording to frames: decode, mix down, resample, cut."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio import AudioReader, Origin, open_audio, origin_of
from earmark.transforms.decoding.messages import endless_s
from earmark.transforms.elements import (
    AudioHeader,
    ByteRange,
    Ending,
    Gap,
    SignalLevel,
    Silence,
    Span,
    Trouble,
)
from earmark.transforms.errors import AudioError, DamagedError, trouble_of
from earmark.transforms.frames import (
    LEAD_IN_S,
    channels_heard,
    frames_of,
    full_scale,
    measure,
)
from earmark.transforms.samples import Samples
from earmark.transforms.settings import Decoding, FrameGrid


def parts_read(span: Span, grid: FrameGrid) -> list[ByteRange] | None:
    """The parts of a recording that decoding a span of it reads, in order; None for all of it."""
    if span.sound is None:
        return None
    first, stop = (
        span.sound.stop if second is None else span.sound.start + second * span.sound.second_bytes
        for second in seconds_read(span, grid)
    )
    sound = min(first, span.sound.stop), min(stop, span.sound.stop)
    behind = span.sound.stop, max(span.sound.stop, span.clip.size_bytes or 0)
    return _merged([(0, span.sound.head_bytes), sound, behind])


def seconds_read(span: Span, grid: FrameGrid) -> tuple[int, int | None]:
    """The first second that decoding a span reads, and the one before which it stops; None for all.

    The resampler needs some audio around a span, and the span's last frame may end behind it.
    """
    first = max(0, span.start_s - LEAD_IN_S)
    if span.stop_s is None:
        return first, None
    ahead_s = math.ceil(grid.frame_samples / grid.sample_rate_hz) + LEAD_IN_S
    return first, span.stop_s + ahead_s


def _merged(parts: Iterable[ByteRange]) -> list[ByteRange]:
    """Parts in the order of their starts, with those in one that touch each other."""
    merged: list[ByteRange] = []
    for start, stop in parts:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        elif start < stop:
            merged.append((start, stop))
    return merged


class SpanDecoding:
    """The decoding of a span of a recording; for one use.

    Its frames are bit-identical to those of the whole recording: some audio before the span is
    decoded for the resampler and then dropped, and so is audio after it, up to the end of the last
    frame that begins in the span.

    Args:
      span: the part of a recording.
      decoding: how it becomes frames.
      each_second: called with the seconds decoded so far whenever there is one more.
    """

    def __init__(
        self,
        span: Span,
        decoding: Decoding,
        each_second: Callable[[int], None] = lambda seconds: None,
    ) -> None:
        self._span = span
        self._decoding = decoding
        self._grid, self._use = decoding.grid, decoding.use
        self._each_second = each_second
        self._header: AudioHeader | None = None
        self._position = 0  # samples per channel from the recording's start
        self._level = SignalLevel()
        self._origin = Origin(None, None)
        self._trouble: Trouble | None = None
        self._frames = 0
        self._gaps: list[Gap] = []  # of the whole recording, as far as it has been read

    @property
    def channels(self) -> int:
        """How many channels give frames of their own."""
        return channels_heard(self._use, self._header.channels) if self._header else 1

    def blocks(self, path: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Decode; errors of the recording are only reported by the ending.

        Args:
          path: the local file with the content.

        Yields:
          The index of a block's first frame in the clip, and its frames, float32
          [channels * n, values]: all frames of the first channel, then those of the next.
        """
        start_s, stop_s = self._span.start_s, self._span.stop_s
        stop = None if stop_s is None else self._grid.first_from(stop_s)
        try:
            with open_audio(path, self._span.clip.uri) as reader:
                self._header = header = reader.header
                if self._span.sound not in (None, reader.sound):
                    raise RuntimeError("other parts of the file were fetched than are read")
                self._origin = self._find_origin(path)
                seconds = self._seconds(reader, endless_s(Path(path).stat().st_size))
                rate_hz, channels = header.sample_rate_hz, header.channels
                for at, frames in frames_of(
                    seconds, channels, rate_hz, self._grid, self._use, start_s, stop
                ):
                    yield from self._outside_gaps(at, frames)
        except AudioError as error:
            self._stop(error)

    def ending(self, without_gaps: int = 0) -> Ending:
        """How decoding ended, or, before its end, how it would end if it stopped here.

        Args:
          without_gaps: how many gaps of the span are left out, the first ones.
        """
        time, source = self._origin.at or (None, None)
        return Ending(
            self._header,
            self._samples(),
            self._frames,
            self._level,
            time,
            source,
            self._origin.place,
            self._trouble,
            tuple(self._gaps_within(without_gaps)),
        )

    def _find_origin(self, path: str) -> Origin:
        if self._span.index:
            return Origin(None, None)
        pattern, name = self._decoding.time_pattern, self._decoding.time_zone
        zone = timezone.utc if name == "UTC" else ZoneInfo(name)
        return origin_of(path, self._span.clip.uri, time_pattern=pattern, time_zone=zone)

    def _outside_gaps(
        self, first: int, frames: NDArray[np.float32]
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yields blocks of those frames of which anything was decoded."""
        if not self._gaps:
            self._frames += len(frames) // self.channels
            yield first, frames
            return
        each = frames.reshape(self.channels, -1, frames.shape[1])
        for begin, end in _runs(self._has_sound(first, each.shape[1])):
            self._frames += end - begin
            part = frames if end - begin == each.shape[1] else each[:, begin:end]
            yield first + begin, part.reshape(-1, frames.shape[1])

    def _has_sound(self, first: int, count: int) -> NDArray[np.bool_]:
        """Which of some frames, bool [count], do not lie wholly in gaps."""
        has_sound = np.ones(count, np.bool_)
        if self._gaps and self._header is not None:
            # both on a clock that ticks for each sample of the recording and of the frames
            ours, theirs = self._grid.sample_rate_hz, self._header.sample_rate_hz
            start = (first + np.arange(count, dtype=np.int64)) * self._grid.hop_samples * theirs
            end = start + self._grid.heard_samples * theirs
            end = np.minimum(end, self._position * ours)
            for gap in _joined(self._gaps[self._gaps_before(int(start[0]) // ours) :]):
                has_sound &= (start < gap.start * ours) | (end > gap.stop * ours)
        return has_sound

    def _seconds(self, reader: AudioReader, endless_s: int) -> Iterator[Samples | Silence]:
        """Read second by second, from some before the span to some behind it.

        What lies in the span is measured. Where the decoder gives up, the signal ends; that this
        was before the recording's end is told by the span in which it happened.
        """
        rate, clip_at = reader.header.sample_rate_hz, full_scale(reader.header.codec)
        start_s = self._span.start_s
        stop_s = math.inf if self._span.stop_s is None else self._span.stop_s
        first, read_to_s = seconds_read(self._span, self._grid)
        self._position = first * rate
        self._gaps = reader.gaps
        decoded_s = 0
        try:
            read_to = None if read_to_s is None else read_to_s * rate
            parts = reader.blocks_and_silences(rate, self._position, read_to)
            for samples in parts:
                if isinstance(samples, Silence):
                    self._position += samples.samples
                    yield samples
                    continue
                _check_end(decoded_s, endless_s)
                decoded_s += 1
                if start_s * rate <= self._position < stop_s * rate:
                    self._level += measure(self._without_gaps(samples), clip_at)
                self._position += len(samples)
                self._each_second(decoded_s)
                yield samples
        except AudioError as error:
            if self._position < stop_s * rate:
                self._stop(error)

    def _without_gaps(self, second: Samples) -> Samples:
        """What was decoded of the second that comes next."""
        begin, end = self._position, self._position + len(second)
        if not self._gaps or self._gaps[-1].stop <= begin:
            return second
        decoded = np.ones(len(second), np.bool_)
        for gap in self._gaps[self._gaps_before(begin) :]:
            decoded[max(0, gap.start - begin) : max(0, min(end, gap.stop) - begin)] = False
        return second[decoded]

    def _stop(self, error: AudioError) -> None:
        reached_s = self._position / self._header.sample_rate_hz if self._header else 0
        self._trouble = trouble_of(error, reached_s)

    def _samples(self) -> int:
        start, stop = self._bounds()
        return max(0, min(self._position, stop) - start)

    def _bounds(self) -> tuple[int, int]:
        """The samples at which the span begins and ends, as far as it has been read."""
        if self._header is None:
            return 0, 0
        start_s, stop_s, rate = self._span.start_s, self._span.stop_s, self._header.sample_rate_hz
        return start_s * rate, self._position if stop_s is None else stop_s * rate

    def _gaps_within(self, without: int) -> Iterator[Gap]:
        start, stop = self._bounds()
        for gap in self._gaps[self._gaps_before(start) + without :]:
            if gap.start >= stop:
                break
            is_within = gap.start >= start and gap.stop <= stop
            yield gap if is_within else Gap(max(start, gap.start), min(stop, gap.stop), gap.why)

    def _gaps_before(self, sample: int) -> int:
        """How many gaps end at a sample or before it."""
        return bisect_right(self._gaps, sample, key=lambda gap: gap.stop)


def _runs(wanted: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Where runs of true values begin and end."""
    edges = np.flatnonzero(np.diff(wanted, prepend=False, append=False)).tolist()
    return zip(edges[::2], edges[1::2], strict=True)


def _joined(gaps: Iterable[Gap]) -> Iterator[Gap]:
    """Gaps, of which those that touch are one, whatever they are there for."""
    last = None
    for gap in gaps:
        if last is not None and last.stop == gap.start:
            last = last._replace(stop=gap.stop)
            continue
        if last is not None:
            yield last
        last = gap
    if last is not None:
        yield last


def _check_end(second: int, endless_s: int) -> None:
    if second >= endless_s:
        raise DamagedError("the audio never ends: there is far more of it than the file can hold")
