"""Sound that costs a decoder what a field recording costs it, made from nothing but a seed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import scipy.signal
from numpy.random import Generator
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]

_PINK_NUMERATOR = (0.049922035, -0.095993537, 0.050612699, -0.004408786)
_PINK_DENOMINATOR = (1.0, -2.494956002, 2.017265875, -0.522189400)
"""A filter that makes white noise pink: Smith, Spectral Audio Signal Processing, 2011."""

_BACKGROUND_DBFS = (-43.0, -35.0)
_OWN_PART = 0.35
_CALLS_A_SECOND = 0.7
_THUDS_A_SECOND = 0.1


def recording(seed: int, seconds: float, sample_rate_hz: int) -> Samples:
    """A stereo recording: wind that swells, hiss, calls that glide, thuds.

    Args:
      seed: each gives another recording, and always the same.
      seconds: how long it is.
      sample_rate_hz: of its samples.

    Returns:
      float32 [n, 2], in -1..1.
    """
    rng = np.random.default_rng(seed)
    samples = round(seconds * sample_rate_hz)
    stereo = _background(rng, samples, sample_rate_hz)
    for _ in range(rng.poisson(_CALLS_A_SECOND * seconds)):
        _add(stereo, rng, _call(rng, sample_rate_hz))
    for _ in range(rng.poisson(_THUDS_A_SECOND * seconds)):
        _add(stereo, rng, _thud(rng, sample_rate_hz))
    return np.clip(stereo, -1, 1, out=stereo)


def _background(rng: Generator, samples: int, sample_rate_hz: int) -> Samples:
    """Noise with a part that both channels hear and one that each has of its own."""
    common = _pink(rng, samples)
    level = 10 ** (rng.uniform(*_BACKGROUND_DBFS) / 20)
    swell = level * _swelling(rng, samples, sample_rate_hz)
    channels = [(common + _OWN_PART * _pink(rng, samples)) * swell for _ in range(2)]
    return np.stack(channels, axis=1)


def _pink(rng: Generator, samples: int) -> Samples:
    """Noise with a root mean square of 1."""
    white = rng.standard_normal(samples, np.float32)
    pink: Samples = scipy.signal.lfilter(_PINK_NUMERATOR, _PINK_DENOMINATOR, white).astype("f4")
    pink /= np.sqrt(np.mean(np.square(pink)))
    return pink


def _swelling(rng: Generator, samples: int, sample_rate_hz: int) -> Samples:
    """A gain that wanders by some 6 dB up and down, with a new aim every second and a half."""
    knots = np.arange(0, samples + 3 * sample_rate_hz, round(1.5 * sample_rate_hz))
    gains_db = rng.normal(0, 3, len(knots)).clip(-6, 6)
    gain: Samples = np.power(10, np.interp(np.arange(samples), knots, gains_db) / 20).astype("f4")
    return gain


def _call(rng: Generator, sample_rate_hz: int) -> Samples:
    """A tone with two overtones that glides, like a bird's."""
    time_s = np.arange(round(rng.uniform(0.1, 0.6) * sample_rate_hz)) / sample_rate_hz
    from_hz, to_hz = rng.uniform(800, 6000, 2)
    cycles = time_s * (from_hz + (to_hz - from_hz) / 2 * time_s / time_s[-1])
    tone = sum(np.sin(2 * np.pi * k * cycles) / k**2 for k in (1, 2, 3))
    call: Samples = (tone * np.hanning(len(time_s)) * rng.uniform(0.02, 0.2)).astype("f4")
    return call


def _thud(rng: Generator, sample_rate_hz: int) -> Samples:
    """A burst of noise that dies away."""
    samples = round(0.4 * sample_rate_hz)
    decay = np.exp(-np.arange(samples) / (rng.uniform(0.02, 0.1) * sample_rate_hz))
    return (rng.normal(0, rng.uniform(0.05, 0.25), samples) * decay).astype(np.float32)


def _add(stereo: Samples, rng: Generator, sound: Samples) -> None:
    """Mix a mono sound in, anywhere in time and between the channels."""
    if len(sound) >= len(stereo):
        return
    start = rng.integers(len(stereo) - len(sound))
    pan = rng.uniform(0.2, 0.8)
    stereo[start : start + len(sound)] += sound[:, None] * np.array([pan, 1 - pan], np.float32)
