"""How loud a recording is, and how much of it is clipped or silent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.elements import ENERGY_BITS, SignalLevel

SILENCE_DBFS = -60.0
"""A second whose RMS lies below this level counts as silent."""

_MIX_STEP = 64
"""One sample of so many tells well enough whether channels cancel."""

_FULL_SCALE = {"pcm_u8": 127 / 128, "pcm_s8": 127 / 128}
_FULL_SCALE_16_BIT = 32767 / 32768


def full_scale(codec: str) -> float:
    """The largest value that samples of this codec reach without clipping, and the clipped ones."""
    return _FULL_SCALE.get(codec, _FULL_SCALE_16_BIT)


def measure(second: NDArray[np.float32], clip_at: float = _FULL_SCALE_16_BIT) -> SignalLevel:
    """Measure one second.

    Args:
      second: float32 [n, channels], a second of a recording, or the rest at its end.
      clip_at: the magnitude from which a value counts as clipped.
    """
    peak = _peak(second)
    apart, mixed = _energies(second[::_MIX_STEP])
    if not math.isfinite(peak):
        second = second[np.isfinite(second)]
        peak = _peak(second)
    values = second.size
    square_sum = float(np.square(second, dtype=np.float64).sum()) if peak else 0.0
    silent = values and math.sqrt(square_sum / values) < 10 ** (SILENCE_DBFS / 20)
    return SignalLevel(
        values=values,
        energy=int(math.ldexp(square_sum, ENERGY_BITS)),
        peak=peak,
        clipped=int(np.count_nonzero(np.abs(second) >= clip_at)) if peak >= clip_at else 0,
        silent=values if silent else 0,
        apart=apart,
        mixed=mixed,
    )


def _energies(samples: NDArray[np.float32]) -> tuple[int, int]:
    """The energy per channel, and that of the mean of all channels; nothing for a single one."""
    channels = samples.shape[1]
    if channels == 1:
        return 0, 0
    values = samples.astype(np.float64)
    total = values @ np.ones(channels)
    apart, mixed = np.vdot(values, values) / channels, np.vdot(total, total) / channels**2
    if not math.isfinite(apart):
        return 0, 0
    return int(math.ldexp(apart, ENERGY_BITS)), int(math.ldexp(mixed, ENERGY_BITS))


def _peak(second: NDArray[np.float32]) -> float:
    return max(float(second.max()), -float(second.min()), 0.0) if second.size else 0.0
