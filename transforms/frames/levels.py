"""How loud a recording is, and how much of it is clipped or silent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.elements import ENERGY_BITS, SignalLevel
from earmark.transforms.samples import INT16_STEP, Samples, as_float32

SILENCE_DBFS = -60.0
"""A second whose RMS lies below this level counts as silent."""

_MIX_STEP = 64
"""One sample of so many tells well enough whether channels cancel."""

_AT_ONCE = 1 << 13
"""How many values stay in the CPU's cache, and with the thread that squares them."""

_FULL_SCALE = {"pcm_u8": 127 / 128, "pcm_s8": 127 / 128}
_FULL_SCALE_16_BIT = 32767 / 32768


def full_scale(codec: str) -> float:
    """The largest value that samples of this codec reach without clipping, and the clipped ones."""
    return _FULL_SCALE.get(codec, _FULL_SCALE_16_BIT)


def measure(second: Samples, clip_at: float = _FULL_SCALE_16_BIT) -> SignalLevel:
    """Measure one second.

    Args:
      second: [n, channels], a second of a recording, or the rest at its end.
      clip_at: the magnitude from which a value counts as clipped.
    """
    peak = _peak(second)
    apart, mixed = _energies(as_float32(second[::_MIX_STEP]))
    if not math.isfinite(peak):
        second = second[np.isfinite(second)][:, None]
        peak = _peak(second)
    values = second.size
    square_sum = _square_sum(second) if peak else 0.0
    silent = values and math.sqrt(square_sum / values) < 10 ** (SILENCE_DBFS / 20)
    return SignalLevel(
        values=values,
        energy=int(math.ldexp(square_sum, ENERGY_BITS)),
        peak=peak,
        clipped=_clipped(second, clip_at) if peak >= clip_at else 0,
        silent=values if silent else 0,
        apart=apart,
        mixed=mixed,
    )


def _energies(samples: NDArray[np.float32]) -> tuple[int, int]:
    """The energy per channel, and that of the mean of all channels; nothing for a single one."""
    channels = samples.shape[1]
    if channels == 1:
        return 0, 0
    values = samples.astype(np.float64, order="C")
    total = values @ np.ones(channels)
    apart, mixed = np.vdot(values, values) / channels, np.vdot(total, total) / channels**2
    if not math.isfinite(apart):
        return 0, 0
    return int(math.ldexp(apart, ENERGY_BITS)), int(math.ldexp(mixed, ENERGY_BITS))


def _peak(second: Samples) -> float:
    if not second.size:
        return 0.0
    peak = max(float(second.max()), -float(second.min()), 0.0)
    return peak * INT16_STEP if second.dtype == np.int16 else peak


def _square_sum(second: Samples) -> float:
    """The sum of the squares of all values: to the bit the same in any order in memory."""
    if second.dtype == np.int16:  # whose squares add up to less than 2^53, so nothing is rounded
        flat, square_sum = second.ravel(order="K"), 0.0
        for start in range(0, len(flat), _AT_ONCE):
            values = flat[start : start + _AT_ONCE].astype(np.float64)
            square_sum += float(np.dot(values, values))
        return square_sum * INT16_STEP**2
    return sum(float(np.square(each, dtype=np.float64).sum()) for each in second.T)


def _clipped(second: Samples, clip_at: float) -> int:
    return int(np.count_nonzero(np.abs(as_float32(second)) >= clip_at))
