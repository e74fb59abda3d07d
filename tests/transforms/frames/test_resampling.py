from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from earmark.transforms.frames.resampling import LEAD_IN_S, mix_down, resample


def tone(hertz: float, rate: int, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def resampled(signal: np.ndarray, from_hz: int, start_s: int = 0) -> np.ndarray:
    seconds = [signal[i : i + from_hz] for i in range(0, len(signal), from_hz)]
    return np.concatenate(list(resample(seconds, from_hz, 16_000, start_s)))


@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_mixing_down_is_the_mean_of_the_channels(channels):
    block = np.random.default_rng(1).uniform(-1, 1, (500, channels)).astype(np.float32)
    expected = block.astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(mix_down(block), expected, atol=1e-6)


def test_mixing_down_leaves_the_block_as_it_is():
    block = np.ones((4, 2), np.float32)
    mix_down(block)[:] = 0
    assert (block == 1).all()


@given(start=st.integers(0, 30), channels=st.integers(1, 9))
def test_mixing_down_gives_the_same_bits_wherever_a_block_begins(start, channels):
    block = np.random.default_rng(2).uniform(-1, 1, (64, channels)).astype(np.float32)
    np.testing.assert_array_equal(mix_down(block)[start:], mix_down(block[start:]))


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 384000])
def test_a_tone_stays_that_tone(rate):
    got = resampled(tone(1000, rate, 2.0), rate)
    expected = tone(1000, 16_000, 2.0)
    assert len(got) == len(expected)
    middle = slice(2000, -2000)
    np.testing.assert_allclose(got[middle], expected[middle], atol=1e-3)


@pytest.mark.parametrize("seconds", [1.5, 59.0, 60.0, 60.2, 61.0, 61.3, 119.99, 120.0, 183.7])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_segments_together_are_the_signal_resampled_as_a_whole(rate, seconds):
    signal = np.random.default_rng(3).uniform(-1, 1, round(rate * seconds)).astype(np.float32)
    expected = soxr.resample(signal.astype(np.float64), rate, 16_000, quality="VHQ")
    np.testing.assert_allclose(resampled(signal, rate), expected, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_a_segment_is_the_same_to_the_last_bit_wherever_reading_began(rate):
    signal = np.random.default_rng(3).uniform(-1, 1, rate * 190).astype(np.float32)
    whole = resampled(signal, rate)
    for start_s in (60, 120, 180):
        later = resampled(signal[(start_s - LEAD_IN_S) * rate :], rate, start_s=start_s)
        np.testing.assert_array_equal(later, whole[start_s * 16_000 :])


def test_at_the_right_rate_samples_pass_unchanged():
    signal = np.random.default_rng(4).uniform(-1, 1, 5000).astype(np.float32)
    np.testing.assert_array_equal(resampled(signal, 16_000), signal)


def test_even_one_sample_gives_a_sample():
    assert len(resampled(np.ones(1, np.float32), 384_000)) == 1


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_samples_that_are_no_numbers_stay_so_and_leave_their_neighbours_alone(rate):
    signal = tone(500, rate, 3.0)
    broken = signal.copy()
    hole = slice(rate, rate + rate // 10)
    broken[hole] = [np.nan, np.inf] * (rate // 20) if rate != 44100 else np.nan

    got = resampled(broken, rate)

    assert len(got) == 48_000
    assert np.isnan(got[16_010:17_590]).all()
    assert np.isfinite(got[:15_990]).all()
    assert np.isfinite(got[17_610:]).all()
    clean = resampled(signal, rate)
    np.testing.assert_allclose(got[:15_000], clean[:15_000], atol=2e-2)


def test_a_last_sample_that_is_no_number_is_found():
    signal = np.zeros(44_101, np.float32)
    signal[-1] = np.nan
    assert np.isnan(resampled(signal, 44_100)[-1])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_integers_are_mixed_down_like_the_same_numbers_as_float32(channels, order):
    integers = np.random.default_rng(3).integers(-(2**15), 2**15, (2001, channels), np.int16)
    integers[:3] = [[-(2**15)] * channels, [2**15 - 1] * channels, [0] * channels]
    block = np.asarray(integers, order=order)
    sums = [sum(map(int, row)) for row in integers]  # exact
    expected = np.float32(sums) * np.float32(1 / channels) * np.float32(2.0**-15)
    np.testing.assert_array_equal(mix_down(block), expected)
    as_numbers = np.asarray(integers.astype(np.float32) / 2**15, order=order)
    np.testing.assert_array_equal(mix_down(as_numbers), expected)
