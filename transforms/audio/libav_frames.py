"""What comes out of libav's decoders: brought to one rate and layout, and taken over by numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from earmark.transforms.audio.timeline import Hole
from earmark.transforms.elements import Silence
from earmark.transforms.errors import (
    HOSTILE_CONTENT_ERRORS,
    AudioError,
    DamagedError,
    UnsupportedError,
)
from earmark.transforms.samples import Samples


class Shape(NamedTuple):
    """The rate and channels that frames are to have."""

    sample_rate_hz: int
    layout: AudioLayout
    channels: int


def alike(frames: Iterable[AudioFrame | Hole], wanted: Shape) -> Iterator[AudioFrame | Hole]:
    """Brings frames to the rate and channels wanted where theirs, which may change, are others."""
    resampler, source = None, None
    for frame in frames:
        if isinstance(frame, Hole):
            if resampler is not None:
                yield from _resample(resampler, None)
                resampler = None
            yield frame
            continue
        if resampler is not None and _kind(frame) != source:
            yield from _resample(resampler, None)
            resampler = None
        if _is_readable(frame, wanted):
            yield frame
            continue
        if resampler is None:
            resampler, source = _resampler(wanted), _kind(frame)
        frame.pts = None
        yield from _resample(resampler, frame)
    if resampler is not None:
        yield from _resample(resampler, None)


def _kind(frame: AudioFrame) -> tuple[int, str, str]:
    return (frame.sample_rate, frame.layout.name, frame.format.name)


def _is_readable(frame: AudioFrame, wanted: Shape) -> bool:
    """Whether the samples of a frame can be taken as they are.

    Of planes, PyAV reads beyond the last one from eight channels on (seen in 18.1): these have to
    be interleaved first.
    """
    channels = frame.layout.nb_channels
    if frame.sample_rate != wanted.sample_rate_hz or channels != wanted.channels:
        return False
    return channels < 8 or not frame.format.is_planar


def _resampler(wanted: Shape) -> AudioResampler:
    return AudioResampler(format="flt", layout=wanted.layout, rate=wanted.sample_rate_hz)


def _resample(resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    """Resamples a frame, or with None returns what remains."""
    try:
        return list(resampler.resample(frame))
    except (av.FFmpegError, *HOSTILE_CONTENT_ERRORS) as error:
        raise DamagedError("the sound changes its rate or channels in mid-stream") from error


def joined(
    frames: Iterable[AudioFrame | Hole], samples: int, rate_hz: int
) -> Iterator[Samples | Silence]:
    """Yields the samples of frames that are alike, [n, channels], and holes.

    Frames are short, and to look into each would cost more than to decode it: libav's own buffer
    joins them. n is `samples`, but for the last one and where the format of samples changes. What
    came before an AudioError comes before it.
    """
    fifo, waiting, trouble = AudioFifo(), 0, None
    try:
        for frame in frames:
            if isinstance(frame, Hole):
                yield from _taken(fifo)
                fifo, waiting = AudioFifo(), 0
                yield Silence(round(frame.seconds * rate_hz), frame.why)
                continue
            frame.pts = None  # for the buffer would take exception to gaps
            try:
                fifo.write(frame)
            except ValueError:  # another format of samples
                yield from _taken(fifo)
                fifo, waiting = AudioFifo(), 0
                fifo.write(frame)
            waiting += frame.samples
            while waiting >= samples:
                yield from _taken(fifo, samples)
                waiting -= samples
    except AudioError as error:
        trouble = error
    yield from _taken(fifo)
    if trouble:
        raise trouble


def _taken(fifo: AudioFifo, samples: int = 0) -> Iterator[Samples]:
    """Takes so many samples out of a buffer, or with 0 what is left."""
    if (frame := fifo.read(samples)) is not None:
        yield samples_of(frame)


def samples_of(frame: AudioFrame) -> Samples:
    """Returns samples [n, channels] of any format that libav has.

    In memory they lie channel beside channel, or channel after channel, as the decoder had them.
    """
    if frame.format.name.startswith("s64"):
        raise UnsupportedError("samples of 64-bit integers")
    # [channels, n], or [1, n * channels] where interleaved
    planes: NDArray[Any] = frame.to_ndarray()
    samples = planes.T if frame.format.is_planar else planes.reshape(-1, frame.layout.nb_channels)
    if samples.dtype == np.int16:
        return samples
    zero, full_scale = _SCALES.get(samples.dtype, (0, 1))
    with np.errstate(over="ignore", invalid="ignore"):  # doubles beyond float32 become infinite
        values = samples.astype(np.float32, copy=False)
    return values if full_scale == 1 else (values - np.float32(zero)) / np.float32(full_scale)


# The value that is silence, and the distance from it to full scale.
_SCALES = {
    np.dtype(np.uint8): (128, 128),
    np.dtype(np.int32): (0, 1 << 31),
}
