"""Synthesised sounds, each with a known label.

The builtin model is trained and tested on them, and the demo's archive is made of them. There are
ten kinds, told apart by any second of them, whatever its phase:

| label | what makes it so |
| --- | --- |
| silence | nothing, or noise whose peak stays below -65 dBFS |
| tone | one sine that never changes |
| chord | three or four sines in the ratios of a musical chord, all steady |
| sweep | one sine that glides one way only, up or down, and jumps back at the end of its range |
| siren | a pitch that swings up and down without a jump, 2.5 times a second or faster |
| noise | steady noise of any colour; nothing else steady is without a pitch |
| hum | many harmonics of 50 or 60 Hz, steady, next to nothing above 1.5 kHz |
| clicks | bursts of 3 ms over the whole spectrum, 4 or more a second |
| knocking | low thuds that ring for a tenth of a second, next to nothing above 1 kHz |
| alarm beeps | one sine switched on and off, 3 or more times a second |

All that matters lies below 0.4 of the sample rate, so a sound made for 8 kHz survives the
telephone. Every sound but silence has a noise floor of its own, at least 50 dB below its peak.
Everything depends on the generator that is passed in, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
Wave: TypeAlias = NDArray[np.float64]

PEAK_DBFS: Final = (-40.0, -1.0)
"""The peak levels that sounds are made at."""

SILENCE_BELOW_DBFS: Final = -65.0
"""A recording whose samples all stay below this is silence."""

FLOOR_BELOW_PEAK_DB: Final = (50.0, 80.0)
"""How far below a sound's peak its noise floor lies (root mean square)."""

MIXTURE_DB: Final = (-6.0, 0.0)
NOISE_IN_MIXTURE_DB: Final = (-18.0, -12.0)
"""The peak levels of the sounds in a mixture. Noise as loud as a click would hide it."""

MAINS_HZ: Final = (50.0, 60.0)
HUM_TOP_HZ: Final = 1500.0

CHORDS: Final = (
    (1.0, 5 / 4, 3 / 2),  # major
    (1.0, 6 / 5, 3 / 2),  # minor
    (1.0, 4 / 3, 5 / 3),  # major, second inversion
    (1.0, 5 / 4, 3 / 2, 2.0),
    (1.0, 6 / 5, 3 / 2, 2.0),
)
"""Ratios of a chord's notes to its lowest, in just intonation."""

NOISE_COLOURS: Final = {"white": 0.0, "pink": -1.0, "brown": -2.0, "blue": 1.0}
"""The exponent of frequency in the power spectrum of each colour."""


class Grid(NamedTuple):
    """The moments at which a sound is sampled."""

    samples: int
    sample_rate_hz: int

    @classmethod
    def over(cls, duration_s: float, sample_rate_hz: int) -> Grid:
        """The grid of a duration, which must hold at least one sample."""
        samples = round(duration_s * sample_rate_hz)
        if samples < 1:
            raise ValueError(f"{duration_s} s at {sample_rate_hz} Hz holds no sample")
        return cls(samples, sample_rate_hz)

    @property
    def times_s(self) -> Wave:
        """The time of each sample in seconds, float64 [samples]."""
        return np.arange(self.samples) / self.sample_rate_hz

    @property
    def top_hz(self) -> float:
        """The highest pitch that a sound may take."""
        return min(0.4 * self.sample_rate_hz, 6000.0)


def synthesise(
    label: str, rng: Generator, duration_s: float, sample_rate_hz: int = 16_000
) -> Samples:
    """Make one sound, of a pitch, character, level and noise floor that the generator draws.

    Args:
      label: one of `LABELS`.
      rng: the generator of everything random; the same state gives the same samples.
      duration_s: the duration; the sound goes on to the end.
      sample_rate_hz: the sample rate, 8000 or more.

    Returns:
      float32 [round(duration_s * sample_rate_hz)], within -1 and 1.

    Raises:
      ValueError: an unknown label, or not one sample.
    """
    if label not in SOUNDS:
        raise ValueError(f"unknown sound {label!r}; known are {', '.join(LABELS)}")
    wave = SOUNDS[label](rng, Grid.over(duration_s, sample_rate_hz))
    return wave.astype(np.float32) if label == "silence" else _recorded(wave, rng)


def synthesise_mixture(
    labels: tuple[str, str], rng: Generator, duration_s: float, sample_rate_hz: int = 16_000
) -> Samples:
    """Make a mixture of two sounds, at levels from `MIXTURE_DB`.

    Args:
      labels: a pair out of `MIXTURES`.
      rng: the generator of everything random.
      duration_s: the duration.
      sample_rate_hz: the sample rate, 8000 or more.

    Returns:
      float32 [round(duration_s * sample_rate_hz)], within -1 and 1.

    Raises:
      ValueError: not one of the pairs, or not one sample.
    """
    if labels not in MIXTURES:
        raise ValueError(f"no mixture of {' and '.join(labels)}; see MIXTURES for those there are")
    grid = Grid.over(duration_s, sample_rate_hz)
    first, second = (_part(label, rng, grid) for label in labels)
    return _recorded(first + second, rng)


def silence(rng: Generator, grid: Grid) -> Wave:
    """Digital silence, or noise of any colour that peaks below `SILENCE_BELOW_DBFS`."""
    if rng.random() < 0.3:
        return np.zeros(grid.samples)
    return _at_peak(noise(rng, grid), rng.uniform(-100.0, SILENCE_BELOW_DBFS - 1.0))


def tone(rng: Generator, grid: Grid) -> Wave:
    """One sine of 250 Hz or more, which sets it apart from hum; alone, which does from a chord."""
    return sine(_pitch_hz(rng, 250.0, grid.top_hz), grid, rng.uniform())


def chord(rng: Generator, grid: Grid) -> Wave:
    """Three or four steady sines of nearly the same level, the lowest at 350 Hz or more.

    Closer together than 70 Hz they would beat within a frame of YAMNet's STFT instead of being
    seen as notes.
    """
    ratios = CHORDS[rng.integers(len(CHORDS))]
    root_hz = _pitch_hz(rng, 350.0, grid.top_hz / 2)
    notes = [rng.uniform(0.6, 1.0) * sine(root_hz * r, grid, rng.uniform()) for r in ratios]
    wave: Wave = np.sum(notes, axis=0)
    return wave


def sweep(rng: Generator, grid: Grid) -> Wave:
    """A sine that glides by 1 to 2.5 octaves a second over the whole range, always the same way.

    The range takes more than a second to cross, so a frame holds one jump back at most; a siren
    turns around instead, and within a fifth of a second.
    """
    low_hz, high_hz = 250.0, min(grid.top_hz, 4000.0)
    span = np.log2(high_hz / low_hz)
    octaves = rng.uniform(1.0, 2.5) * grid.times_s + rng.uniform(0.0, span)
    rising = octaves % span
    return _glide(low_hz * 2.0 ** (rising if rng.random() < 0.5 else span - rising), grid)


def siren(rng: Generator, grid: Grid) -> Wave:
    """A pitch that swings 2.5 to 5 times a second by a third to a whole octave, with an overtone.

    The fast yelp of a siren; its slow wail would look like a sweep for a second at a time.
    """
    phase = rng.uniform() + rng.uniform(2.5, 5.0) * grid.times_s
    swing = np.sin(2 * np.pi * phase) if rng.random() < 0.5 else _triangle(phase)
    middle_hz = _pitch_hz(rng, 500.0, 1100.0)
    pitch_hz = middle_hz * 2.0 ** (rng.uniform(0.17, 0.5) * swing)
    return _glide(pitch_hz, grid, overtone=rng.uniform(0.0, 0.3))


def noise(rng: Generator, grid: Grid) -> Wave:
    """Gaussian noise whose power goes with a power of the frequency, from 100 Hz up.

    It crackles from one spectral frame to the next, also where brown noise is as low as hum.
    """
    colours = tuple(NOISE_COLOURS.values())
    exponent = colours[rng.integers(len(colours))]
    spectrum = np.fft.rfft(rng.standard_normal(grid.samples))
    frequency_hz = np.fft.rfftfreq(grid.samples, 1 / grid.sample_rate_hz)
    shape = (np.maximum(frequency_hz, 100.0) / 1000.0) ** (exponent / 2)
    wave: Wave = np.fft.irfft(spectrum * shape, grid.samples)
    return wave


def hum(rng: Generator, grid: Grid) -> Wave:
    """Mains hum: harmonics of 50 or 60 Hz up to 1.5 kHz, falling by 3 to 7 dB an octave.

    In half of the cases the even ones lead, as in a transformer's hum.
    """
    mains_hz = MAINS_HZ[rng.integers(len(MAINS_HZ))]
    numbers = np.arange(1, int(HUM_TOP_HZ / mains_hz) + 1)
    levels = numbers ** -rng.uniform(0.5, 1.2)
    if rng.random() < 0.5:
        levels[::2] *= rng.uniform(0.1, 0.5)
    turns = np.exp(2j * np.pi * rng.uniform(size=numbers.size))
    fundamental = np.exp(2j * np.pi * mains_hz * grid.times_s)
    wave: Wave = np.polynomial.polynomial.polyval(fundamental, [0.0, *levels * turns]).imag
    return wave


def clicks(rng: Generator, grid: Grid) -> Wave:
    """Bursts of white noise that are over within 3 ms, 4 to 10 a second, not quite regular."""
    return _repeated(lambda: _click(rng, grid.sample_rate_hz), rng, grid, rate_hz=(4.0, 10.0))


def knocking(rng: Generator, grid: Grid) -> Wave:
    """Thuds of a few resonances between 120 and 600 Hz, 3 to 6 a second, not quite regular."""
    modes_hz = _pitch_hz(rng, 120.0, 250.0) * np.array([1.0, 1.59, 2.14])
    decay_s = rng.uniform(0.02, 0.05)
    return _repeated(
        lambda: _knock(modes_hz, decay_s, rng, grid.sample_rate_hz), rng, grid, rate_hz=(3.0, 6.0)
    )


def alarm_beeps(rng: Generator, grid: Grid) -> Wave:
    """A sine of 700 Hz or more, switched on for 40 to 60 % of each of 3 to 6 periods a second."""
    phase = (rng.uniform() + rng.uniform(3.0, 6.0) * grid.times_s) % 1.0
    open_share = rng.uniform(0.4, 0.6)
    # A gate that opens and shuts over 1 % of a period does not click.
    gate = np.clip(np.minimum(phase, open_share - phase) * 100.0, 0.0, 1.0)
    return gate * sine(_pitch_hz(rng, 700.0, min(grid.top_hz, 4000.0)), grid, rng.uniform())


def sine(frequency_hz: float, grid: Grid, turn: float = 0.0) -> Wave:
    """A sine of amplitude 1, float64 [samples], whose phase begins at `turn` full turns."""
    wave: Wave = np.sin(2 * np.pi * (frequency_hz * grid.times_s + turn))
    return wave


def _glide(pitch_hz: Wave, grid: Grid, overtone: float = 0.0) -> Wave:
    """A sine with the pitch at each sample, and its octave at the level of `overtone`."""
    phase = 2 * np.pi * np.cumsum(pitch_hz) / grid.sample_rate_hz
    wave: Wave = np.sin(phase) + overtone * np.sin(2 * phase)
    return wave


def _triangle(phase: Wave) -> Wave:
    """A triangle between -1 and 1 with a period of 1."""
    return 4.0 * np.abs(phase % 1.0 - 0.5) - 1.0


def _repeated(
    strike: Callable[[], Wave], rng: Generator, grid: Grid, rate_hz: tuple[float, float]
) -> Wave:
    """Strike again and again at a rate drawn from the range, each up to 10 % late."""
    period_s = 1.0 / rng.uniform(*rate_hz)
    wave = np.zeros(grid.samples)
    for due_s in np.arange(rng.uniform(0.0, period_s), grid.times_s[-1], period_s):
        start = round((due_s + rng.uniform(0.0, 0.1) * period_s) * grid.sample_rate_hz)
        room = wave[start:]
        struck = rng.uniform(0.7, 1.0) * strike()[: room.size]
        room[: struck.size] += struck
    return wave


def _click(rng: Generator, sample_rate_hz: int) -> Wave:
    times_s = np.arange(round(0.003 * sample_rate_hz)) / sample_rate_hz
    burst = rng.standard_normal(times_s.size) * np.exp(-times_s / rng.uniform(0.0003, 0.001))
    return _at_peak(burst, 0.0)


def _knock(modes_hz: Wave, decay_s: float, rng: Generator, sample_rate_hz: int) -> Wave:
    times_s = np.arange(round(8 * decay_s * sample_rate_hz)) / sample_rate_hz
    modes = np.sin(2 * np.pi * np.outer(modes_hz, times_s))
    strengths = rng.uniform(0.3, 1.0, size=modes_hz.size)
    return _at_peak(strengths @ modes * np.exp(-times_s / decay_s), 0.0)


def _pitch_hz(rng: Generator, low_hz: float, high_hz: float) -> float:
    """A pitch between the two, every octave as likely as any other."""
    return float(low_hz * (high_hz / low_hz) ** rng.uniform())


def _part(label: str, rng: Generator, grid: Grid) -> Wave:
    """A sound at the level that it takes in a mixture."""
    level_db = NOISE_IN_MIXTURE_DB if label == "noise" else MIXTURE_DB
    return _at_peak(SOUNDS[label](rng, grid), rng.uniform(*level_db))


def _recorded(wave: Wave, rng: Generator) -> Samples:
    """The wave at a level, and over a noise floor, that the generator draws."""
    peak_dbfs = rng.uniform(*PEAK_DBFS)
    floor_dbfs = peak_dbfs - rng.uniform(*FLOOR_BELOW_PEAK_DB)
    floor = _gain(floor_dbfs) * rng.standard_normal(wave.size)
    return np.clip(_at_peak(wave, peak_dbfs) + floor, -1.0, 1.0).astype(np.float32)


def _at_peak(wave: Wave, peak_dbfs: float) -> Wave:
    """The wave scaled to a peak level; one that is all zeros stays so."""
    peak = np.max(np.abs(wave), initial=0.0)
    return wave if peak == 0.0 else wave * (_gain(peak_dbfs) / peak)


def _gain(level_db: float) -> float:
    return float(10.0 ** (level_db / 20.0))


SOUNDS: Final[dict[str, Callable[[Generator, Grid], Wave]]] = {
    "silence": silence,
    "tone": tone,
    "chord": chord,
    "sweep": sweep,
    "siren": siren,
    "noise": noise,
    "hum": hum,
    "clicks": clicks,
    "knocking": knocking,
    "alarm beeps": alarm_beeps,
}
"""The function that makes each sound, in the order of the builtin model's output."""

LABELS: Final = tuple(SOUNDS)

_ALIKE: Final = {("tone", "chord"), ("sweep", "siren")}

MIXTURES: Final = tuple(p for p in combinations(LABELS[1:], 2) if p not in _ALIKE)
"""The pairs that may sound at once: none has silence in it, and a tone is lost in a chord."""
