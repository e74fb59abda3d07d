"""Each sound is what its label says, by measures that know nothing of how it was made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import signal

from earmark.models.builtin.synthesis import (
    LABELS,
    MIXTURES,
    Grid,
    sine,
    synthesise,
    synthesise_mixture,
)

RATE_HZ = 16_000
FRAME_S = 0.975
SEEDS = range(8)

Array = NDArray[np.floating]

each_label = pytest.mark.parametrize("label", LABELS)
each_seed = pytest.mark.parametrize("seed", SEEDS)


def made(label: str, seed: int, duration_s: float = 4.0, rate_hz: int = RATE_HZ) -> Array:
    return synthesise(label, np.random.default_rng(seed), duration_s, rate_hz)


def dbfs(level: float) -> float:
    return float(20 * np.log10(level))


def spectrum(sound: Array) -> tuple[Array, Array]:
    """The frequencies of a windowed FFT and the share of the energy at each."""
    power = np.abs(np.fft.rfft(sound * np.blackman(sound.size))) ** 2
    return np.fft.rfftfreq(sound.size, 1 / RATE_HZ), power / power.sum()


def energy_share(sound: Array, low_hz: float, high_hz: float) -> float:
    frequency_hz, share = spectrum(sound)
    return float(share[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].sum())


def lines_hz(sound: Array) -> Array:
    """The frequencies of the spectral lines that are no more than 20 dB below the strongest."""
    frequency_hz, share = spectrum(sound)
    peaks, _ = signal.find_peaks(share, height=share.max() / 100)
    return frequency_hz[peaks]


def pitch_octaves(sound: Array) -> Array:
    """The strongest frequency every 8 ms, as octaves above 1 Hz."""
    frequency_hz, _, power = signal.spectrogram(
        sound, RATE_HZ, "hann", nperseg=480, noverlap=352, nfft=8192
    )
    return np.log2(frequency_hz[power.argmax(axis=0)])


def envelope(sound: Array) -> Array:
    """The largest sample of every 10 ms, relative to the largest of all."""
    blocks = np.abs(sound[: sound.size // 160 * 160]).reshape(-1, 160)
    return blocks.max(axis=1) / blocks.max()


def onsets_per_frame(sound: Array) -> Array:
    """How often the sound sets in, after 20 ms of being softer, in each 0.975 s of it."""
    loud = envelope(sound) > 0.3
    sets_in = loud[2:] & ~loud[1:-1] & ~loud[:-2]
    return sliding_window_view(sets_in, 95).sum(axis=1)


@each_label
@settings(max_examples=15, deadline=None)
@given(
    duration_s=st.floats(0.001, 3.0),
    rate_hz=st.sampled_from([8000, 11025, 16000, 44100, 48000]),
    seed=st.integers(0, 2**32),
)
def test_any_duration_at_any_rate_has_its_samples_within_full_scale(
    label: str, duration_s: float, rate_hz: int, seed: int
) -> None:
    sound = made(label, seed, duration_s, rate_hz)
    assert sound.shape == (round(duration_s * rate_hz),)
    assert sound.dtype == np.float32
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1.0


@each_label
def test_the_same_seed_gives_the_same_samples_and_another_gives_others(label: str) -> None:
    np.testing.assert_array_equal(made(label, 3), made(label, 3))
    assert any(not np.array_equal(made(label, 3), made(label, seed)) for seed in (4, 5, 6))


@each_seed
@pytest.mark.parametrize("label", LABELS[1:])
def test_a_sound_peaks_between_minus_40_and_minus_1_dbfs(label: str, seed: int) -> None:
    assert -40.1 < dbfs(np.abs(made(label, seed)).max()) < -0.9


@each_seed
@pytest.mark.parametrize("label", LABELS[1:])
def test_no_quarter_of_a_sound_is_without_it(label: str, seed: int) -> None:
    sound = made(label, seed)
    frames = sliding_window_view(sound, round(FRAME_S * RATE_HZ))[:: RATE_HZ // 10]
    assert dbfs(np.abs(frames).max(axis=1).min() / np.abs(sound).max()) > -12


@pytest.mark.parametrize("seed", range(40))
def test_silence_stays_below_minus_65_dbfs(seed: int) -> None:
    assert np.abs(made("silence", seed)).max() < 10 ** (-65 / 20)


def test_silence_is_sometimes_digital_and_sometimes_not() -> None:
    assert {bool(made("silence", seed).any()) for seed in range(20)} == {True, False}


@pytest.mark.parametrize("frequency_hz", [100.0, 440.0, 3210.0, 7000.0])
def test_a_sine_has_its_peak_where_it_was_asked(frequency_hz: float) -> None:
    wave = sine(frequency_hz, Grid(RATE_HZ, RATE_HZ), turn=0.25)
    assert lines_hz(wave) == pytest.approx([frequency_hz])
    assert wave[0] == pytest.approx(1.0)


@each_seed
def test_a_tone_is_a_single_line(seed: int) -> None:
    sound = made("tone", seed)
    (line_hz,) = lines_hz(sound)
    assert line_hz >= 250
    assert energy_share(sound, line_hz - 2, line_hz + 2) > 0.999


@each_seed
def test_a_chord_has_notes_in_the_ratios_of_just_intonation(seed: int) -> None:
    lines = lines_hz(made("chord", seed))
    assert len(lines) in (3, 4)
    ratios = lines / lines[0]
    assert np.min(np.abs(ratios[1] - np.array([6 / 5, 5 / 4, 4 / 3]))) < 0.01
    assert np.min(np.abs(ratios[2] - np.array([3 / 2, 5 / 3]))) < 0.01


@each_seed
def test_a_sweep_glides_one_way_and_jumps_back(seed: int) -> None:
    steps = np.diff(pitch_octaves(made("sweep", seed)))
    jump, glide = steps[np.abs(steps) > 0.5], steps[np.abs(steps) <= 0.1]
    way = np.sign(np.median(glide))
    assert np.mean(way * glide >= -0.01) > 0.99
    assert way * jump.sum() < -2
    assert 1.0 <= way * np.median(glide) / 0.008 <= 2.6


@each_seed
def test_a_siren_swings_up_and_down_in_every_frame_without_a_jump(seed: int) -> None:
    pitch = pitch_octaves(made("siren", seed))
    steps = np.diff(pitch)
    assert np.abs(steps).max() < 0.3
    in_frame = sliding_window_view(steps, 110)
    assert np.clip(in_frame, 0, None).sum(axis=1).min() > 0.3
    assert np.clip(in_frame, None, 0).sum(axis=1).max() < -0.3


@each_seed
def test_noise_has_no_line_and_no_pause(seed: int) -> None:
    sound = made("noise", seed)
    _, share = spectrum(sound)
    assert share.max() < 0.03
    assert envelope(sound).min() > 0.02


def test_noise_comes_in_four_colours() -> None:
    tilts_db = [
        10 * np.log10(energy_share(sound, 2000, 4000) / energy_share(sound, 500, 1000))
        for sound in (made("noise", seed) for seed in range(40))
    ]
    # Two octaves up and four times as wide: white +6 dB, and 3 dB an octave between the colours.
    assert set(np.round(np.array(tilts_db) / 6)) == {-1.0, 0.0, 1.0, 2.0}


@each_seed
def test_hum_is_made_of_the_harmonics_of_50_or_60_hz(seed: int) -> None:
    sound = made("hum", seed)
    frequency_hz, share = spectrum(sound)

    def near_harmonics(mains_hz: int) -> NDArray[np.bool_]:
        return np.abs((frequency_hz + mains_hz / 2) % mains_hz - mains_hz / 2) < 1.5

    on_grid = {mains_hz: share[near_harmonics(mains_hz)].sum() for mains_hz in (50, 60)}
    assert max(on_grid.values()) > 0.99
    assert min(on_grid.values()) < 0.6
    assert energy_share(sound, 0, 1501) > 0.99
    assert energy_share(sound, 125, 1501) > 0.05


@each_seed
def test_clicks_are_short_wide_and_at_least_three_in_every_frame(seed: int) -> None:
    sound = made("clicks", seed)
    assert onsets_per_frame(sound)[20:].min() >= 3
    assert np.mean(envelope(sound) > 0.1) < 0.25
    assert energy_share(sound, 1000, 8000) > 0.7


@each_seed
def test_knocks_ring_low_and_at_least_two_in_every_frame(seed: int) -> None:
    sound = made("knocking", seed)
    assert onsets_per_frame(sound)[30:].min() >= 2
    assert np.mean(envelope(sound) > 0.1) > 0.12
    assert energy_share(sound, 50, 1000) > 0.95


@each_seed
def test_beeps_are_one_line_that_is_off_about_half_the_time(seed: int) -> None:
    sound = made("alarm beeps", seed)
    frequency_hz, share = spectrum(sound)
    line_hz = frequency_hz[share.argmax()]
    assert line_hz >= 690
    assert energy_share(sound, line_hz - 100, line_hz + 100) > 0.98
    assert 0.3 < np.mean(envelope(sound) < 0.05) < 0.65
    assert onsets_per_frame(sound).min() >= 2


@pytest.mark.parametrize("label", [label for label in LABELS if label not in ("silence", "noise")])
def test_the_noise_floor_lies_at_least_50_db_below_the_peak(label: str) -> None:
    # Above all that is in the tonal and the low sounds; clicks are wide, but short.
    high = signal.butter(8, 7000, "highpass", fs=RATE_HZ, output="sos")
    sound = made(label, 1)
    floor = np.median(np.abs(signal.sosfilt(high, sound)))
    assert dbfs(floor / np.abs(sound).max()) < -50


@pytest.mark.parametrize("pair", MIXTURES)
def test_a_mixture_repeats_itself_and_stays_within_its_levels(pair: tuple[str, str]) -> None:
    first, again = (
        synthesise_mixture(pair, np.random.default_rng(2), 1.5, 22_050) for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (33_075,)
    assert -40.1 < dbfs(np.abs(first).max()) < -0.9


def test_a_mixture_of_hum_and_a_tone_holds_both() -> None:
    sound = synthesise_mixture(("tone", "hum"), np.random.default_rng(0), 4.0)
    frequency_hz, share = spectrum(sound)
    assert frequency_hz[share.argmax()] > 250
    assert energy_share(sound, 45, 125) > 0.01


def test_there_is_no_mixture_with_silence_or_of_two_that_are_alike() -> None:
    labels = {label for pair in MIXTURES for label in pair}
    assert labels == set(LABELS) - {"silence"}
    for pair in (("tone", "chord"), ("silence", "tone")):
        with pytest.raises(ValueError, match="no mixture of"):
            synthesise_mixture(pair, np.random.default_rng(0), 1.0)


def test_a_sound_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match="unknown sound 'cough'; known are silence, tone"):
        made("cough", 0)


def test_a_duration_without_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no sample"):
        made("tone", 0, duration_s=0.0)
