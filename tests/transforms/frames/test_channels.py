from __future__ import annotations

import numpy as np
import pytest

from earmark.transforms.errors import UnsupportedError
from earmark.transforms.frames.channels import (
    MIXED,
    ChannelUse,
    by_channel,
    channel_signals,
    channels_heard,
    cut_channel_frames,
)
from earmark.transforms.frames.resampling import mix_down, resample
from earmark.transforms.settings import FrameGrid

RATES = 22_050, 16_000
EACH = ChannelUse(each=True)
STEREO_MODEL = ChannelUse(in_frame=2)


def seconds(channels: int, count: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(channels)
    whole = [rng.uniform(-1, 1, (RATES[0], channels)).astype(np.float32) for _ in range(count)]
    return [*whole, whole[0][:777]]


def signals(of: list[np.ndarray], use: ChannelUse) -> np.ndarray:
    return np.concatenate(list(channel_signals(of, use, of[0].shape[1], RATES, 0)))


def mono(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(resample(parts, *RATES)))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_mixed_down_there_is_one_signal(channels):
    of = seconds(channels)
    got = signals(of, MIXED)
    np.testing.assert_array_equal(got[:, 0], mono([mix_down(part) for part in of]))
    assert got.shape[1] == 1


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_each_channel_is_resampled_as_if_it_were_alone(channels):
    of = seconds(channels)
    got = signals(of, EACH)
    assert got.shape[1] == channels == channels_heard(EACH, channels)
    for channel in range(channels):
        alone = mono([np.ascontiguousarray(part[:, channel]) for part in of])
        np.testing.assert_array_equal(got[:, channel], alone)


def test_a_model_of_two_channels_gets_both_or_one_twice():
    of = seconds(2)
    np.testing.assert_array_equal(signals(of, STEREO_MODEL), signals(of, EACH))
    alone = seconds(1)
    got = signals(alone, STEREO_MODEL)
    np.testing.assert_array_equal(got, np.repeat(signals(alone, MIXED), 2, axis=1))
    assert channels_heard(STEREO_MODEL, 2) == 1


def test_a_recording_of_another_number_of_channels_is_told_to_be_so():
    with pytest.raises(UnsupportedError, match="it has 3 channels, but the model takes 2"):
        signals(seconds(3), STEREO_MODEL)


@pytest.mark.parametrize("hop", [4, 10, 15])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_frames_of_several_channels_are_those_of_each(hop, count):
    grid = FrameGrid(10, 10, hop)
    samples = np.random.default_rng(1).uniform(-1, 1, (97, count)).astype(np.float32)
    chunks = [samples[:13], samples[13:50], samples[50:]]
    got = [
        (first, by_channel(frames, count).reshape(count, -1, 10))
        for first, frames in cut_channel_frames(chunks, grid, count, 4, 0, None)
    ]
    assert [first for first, _ in got] == list(range(0, grid.count(97), 4))
    together = np.concatenate([frames for _, frames in got], axis=1)
    assert together.shape == (count, grid.count(97), 10)
    padded = np.pad(samples, ((0, 20), (0, 0)))
    for channel in range(count):
        for frame in range(grid.count(97)):
            expected = padded[frame * hop :][:10, channel]
            np.testing.assert_array_equal(together[channel, frame], expected)


def test_frames_for_a_model_of_two_channels_are_interleaved():
    grid = FrameGrid(10, 3, 3)
    samples = np.arange(12, dtype=np.float32).reshape(6, 2)
    ((first, frames),) = cut_channel_frames([samples], grid, 2, 16, 0, None)
    assert first == 0
    np.testing.assert_array_equal(frames, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
