from __future__ import annotations

import math

import numpy as np
import pytest

from earmark.transforms.elements import ENERGY_BITS, SignalLevel
from earmark.transforms.frames.levels import full_scale, measure


def test_a_full_scale_sine_has_its_textbook_level():
    time_s = np.arange(48_000) / 48_000
    sine = np.sin(2 * np.pi * 1000 * time_s, dtype=np.float32)[:, None]
    level = measure(sine)
    assert level.rms_dbfs == pytest.approx(-3.0103, abs=1e-3)
    assert level.peak_dbfs == pytest.approx(0.0, abs=1e-3)


def test_levels_are_over_all_channels():
    stereo = np.stack([np.full(1000, 0.1), np.full(1000, 0.7)], axis=1).astype(np.float32)
    level = measure(stereo)
    assert level.rms_dbfs == pytest.approx(20 * math.log10(math.sqrt((0.01 + 0.49) / 2)), abs=1e-4)
    assert level.peak_dbfs == pytest.approx(20 * math.log10(0.7), abs=1e-4)


def test_digital_silence_is_minus_infinity_and_silent():
    level = measure(np.zeros((500, 2), np.float32))
    assert level.rms_dbfs == -math.inf
    assert level.peak_dbfs == -math.inf
    assert level.silent_fraction == 1.0


def test_silent_fraction_is_the_share_of_seconds_below_60_db():
    loud = np.full((1000, 1), 0.002, np.float32)
    quiet = np.full((1000, 1), 0.0005, np.float32)
    level = measure(loud) + measure(quiet) + measure(quiet[:500])
    assert level.silent_fraction == pytest.approx(1500 / 2500)


@pytest.mark.parametrize(("codec", "top"), [("pcm_s16", 32767 / 32768), ("pcm_u8", 127 / 128)])
def test_values_at_full_scale_count_as_clipped(codec, top):
    samples = np.array([[top], [-1.0], [1.2], [0.9], [0.0]], np.float32)
    assert measure(samples, full_scale(codec)).clipped_fraction == pytest.approx(3 / 5)


def test_values_that_are_no_numbers_are_not_measured():
    samples = np.array([[np.nan], [np.inf], [-np.inf], [0.5]], np.float32)
    level = measure(samples)
    assert level.peak_dbfs == pytest.approx(20 * math.log10(0.5), abs=1e-4)
    assert level.rms_dbfs == pytest.approx(20 * math.log10(0.5), abs=1e-4)


def test_a_recording_without_one_number_has_no_level():
    level = measure(np.full((100, 2), np.nan, np.float32))
    assert (level.rms_dbfs, level.peak_dbfs, level.silent_fraction) == (None, None, None)


def test_sums_are_the_same_in_any_order():
    rng = np.random.default_rng(5)
    parts = [
        measure(rng.normal(0, 10 ** rng.uniform(-6, 0), (800, 1)).astype(np.float32))
        for _ in range(50)
    ]
    forward, backward = SignalLevel(), SignalLevel()
    for part in parts:
        forward = forward + part
    for part in reversed(parts):
        backward = backward + part
    assert forward == backward
    assert forward.rms_dbfs == backward.rms_dbfs


def test_nothing_measured_is_not_an_error():
    level = measure(np.empty((0, 2), np.float32))
    assert (level.clipped_fraction, level.silent_fraction) == (None, None)


@pytest.mark.parametrize(
    ("second_channel", "expected_db"), [(1.0, 0.0), (-1.0, math.inf), (0.0, 3.01), (-0.5, 10.0)]
)
def test_what_the_mix_loses_is_told(second_channel, expected_db):
    first = np.random.default_rng(1).normal(0, 0.1, 48_000)
    stereo = np.stack([first, second_channel * first], axis=1).astype(np.float32)
    level = measure(stereo) + measure(stereo)
    # (1 + g)^2 / (2 + 2 g^2), by definition
    assert level.mix_loss_db == pytest.approx(expected_db, abs=0.01)


def test_unrelated_channels_lose_3_db():
    stereo = np.random.default_rng(1).normal(0, 0.1, (480_000, 2)).astype(np.float32)
    level = sum((measure(second) for second in np.split(stereo, 10)), SignalLevel())
    assert level.mix_loss_db == pytest.approx(3.01, abs=0.3)


def test_one_channel_and_silence_lose_nothing_that_can_be_told():
    assert measure(np.ones((1000, 1), np.float32)).mix_loss_db is None
    assert measure(np.zeros((1000, 2), np.float32)).mix_loss_db is None
    assert measure(np.full((1000, 2), np.nan, np.float32)).mix_loss_db is None


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_integers_are_measured_exactly_and_like_the_same_numbers_as_float32(channels, order):
    integers = np.random.default_rng(5).integers(-(2**15), 2**15, (30_000, channels), np.int16)
    integers[7], integers[8:11] = -(2**15), 2**15 - 1
    level = measure(np.asarray(integers, order=order))
    squares = sum(value * value for value in map(int, integers.flat))
    assert level.energy == squares << (ENERGY_BITS - 30)
    assert level.clipped == np.count_nonzero(np.abs(integers.astype(np.int32)) >= 2**15 - 1)
    assert level.peak == 1.0
    assert level == measure(np.asarray(integers.astype(np.float32) / 2**15, order=order))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_levels_do_not_depend_on_the_order_in_memory(dtype):
    second = (np.random.default_rng(6).uniform(-1, 1, (44_100, 3)) * 20_000).astype(dtype)
    second = second if dtype == np.int16 else second / np.float32(2**15)
    assert measure(second) == measure(np.asfortranarray(second))
