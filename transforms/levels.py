"""How loud a recording is, and how much of it is clipped or silent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SILENCE_DBFS = -60.0
"""A second whose RMS lies below this level counts as silent."""

_FULL_SCALE = {"pcm_u8": 127 / 128, "pcm_s8": 127 / 128}
_FULL_SCALE_16_BIT = 32767 / 32768

_ENERGY_BITS = 64
"""Energies are integers in units of 2**-64: integers add up the same in any order."""


@dataclass(frozen=True)
class SignalLevel:
    """Sums over sample values of all channels; two of them add up to the level of both parts.

    Attributes:
      values: how many sample values were measured; those that are no numbers are not.
      energy: the sum of their squares, in units of 2**-64 of full scale squared.
      peak: the largest magnitude; 1.0 is full scale.
      clipped: how many values lie at full scale or beyond.
      silent: how many values lie in silent seconds.
    """

    values: int = 0
    energy: int = 0
    peak: float = 0.0
    clipped: int = 0
    silent: int = 0

    def __add__(self, other: SignalLevel) -> SignalLevel:
        return SignalLevel(
            self.values + other.values,
            self.energy + other.energy,
            max(self.peak, other.peak),
            self.clipped + other.clipped,
            self.silent + other.silent,
        )

    @property
    def rms_dbfs(self) -> float | None:
        """Root mean square in dB, where a full-scale square wave is 0; -inf in digital silence.

        None, like the others, where there are no values.
        """
        if not self.values:
            return None
        return _decibels(math.sqrt(self.energy / (self.values << _ENERGY_BITS)))

    @property
    def peak_dbfs(self) -> float | None:
        """The largest magnitude in dB of full scale; -inf in digital silence."""
        return _decibels(self.peak) if self.values else None

    @property
    def clipped_fraction(self) -> float | None:
        """The share of values at full scale or beyond."""
        return self.clipped / self.values if self.values else None

    @property
    def silent_fraction(self) -> float | None:
        """The share of time in seconds whose RMS lies below SILENCE_DBFS."""
        return self.silent / self.values if self.values else None


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
    if not math.isfinite(peak):
        second = second[np.isfinite(second)]
        peak = _peak(second)
    values = second.size
    square_sum = float(np.square(second, dtype=np.float64).sum()) if peak else 0.0
    silent = values and math.sqrt(square_sum / values) < 10 ** (SILENCE_DBFS / 20)
    return SignalLevel(
        values=values,
        energy=int(math.ldexp(square_sum, _ENERGY_BITS)),
        peak=peak,
        clipped=int(np.count_nonzero(np.abs(second) >= clip_at)) if peak >= clip_at else 0,
        silent=values if silent else 0,
    )


def _peak(second: NDArray[np.float32]) -> float:
    return max(float(second.max()), -float(second.min()), 0.0) if second.size else 0.0


def _decibels(magnitude: float) -> float:
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf
