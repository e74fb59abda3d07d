"""What comes out of libav's decoders: brought to one rate and layout, and taken over by numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from transforms.errors import HOSTILE_CONTENT_ERRORS, DamagedError, UnsupportedError


class Shape(NamedTuple):
    """The rate and channels that frames are to have."""

    sample_rate_hz: int
    layout: AudioLayout


def alike(frames: Iterable[AudioFrame], wanted: Shape) -> Iterator[AudioFrame]:
    """Brings frames to the rate and channels wanted where theirs, which may change, are others."""
    resampler, source = None, None
    for frame in frames:
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if resampler is not None and shape != source:
            yield from _resample(resampler, None)
            resampler = None
        if _is_readable(frame, wanted):
            yield frame
            continue
        if resampler is None:
            resampler, source = _resampler(wanted), shape
        frame.pts = None
        yield from _resample(resampler, frame)
    if resampler is not None:
        yield from _resample(resampler, None)


def _is_readable(frame: AudioFrame, wanted: Shape) -> bool:
    """Whether the samples of a frame can be taken as they are.

    Of planes, PyAV reads beyond the last one from eight channels on (seen in 18.1): these have to
    be interleaved first.
    """
    channels = wanted.layout.nb_channels
    is_as_wanted = (frame.sample_rate, frame.layout.nb_channels) == (
        wanted.sample_rate_hz,
        channels,
    )
    return is_as_wanted and not (frame.format.is_planar and channels >= 8)


def _resampler(wanted: Shape) -> AudioResampler:
    return AudioResampler(format="flt", layout=wanted.layout, rate=wanted.sample_rate_hz)


def _resample(resampler: AudioResampler, frame: AudioFrame | None) -> list[AudioFrame]:
    """Resamples a frame, or with None returns what remains."""
    try:
        return list(resampler.resample(frame))
    except (av.FFmpegError, *HOSTILE_CONTENT_ERRORS) as error:
        raise DamagedError("the sound changes its rate or channels in mid-stream") from error


def as_float32(frame: AudioFrame) -> NDArray[np.float32]:
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
