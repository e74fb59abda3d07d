from __future__ import annotations

import math
import os
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.decoding import BLOCK_FRAMES, Clock, decode_frames
from transforms.elements import AudioObject, Ending, FrameBlock
from transforms.framing import FrameGrid

GRID = FrameGrid(16_000, 15_600, 15_600)


def decode(path: Path | str, grid: FrameGrid = GRID) -> tuple[list[FrameBlock], Ending]:
    *blocks, last = decode_frames(AudioObject(str(path), 1, "v"), grid, Clock())
    assert all(block.ending is None for block in blocks)
    assert len(last.frames) == 0
    assert last.ending is not None
    return blocks, last.ending


def frames_of(blocks: list[FrameBlock]) -> np.ndarray:
    return np.concatenate([np.empty((0, 15_600), np.float32), *(block.frames for block in blocks)])


def noise(seconds: float, rate: int, channels: int, seed: int = 0) -> np.ndarray:
    size = (round(seconds * rate), channels)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, size).astype(np.float32)


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1), (96_000, 5)])
def test_frames_are_the_mixed_and_resampled_recording(tmp_path, rate, channels):
    samples = noise(40.3, rate, channels)
    sf.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    mono = samples.astype(np.float64).mean(axis=1)
    expected = soxr.resample(mono, rate, 16_000, quality="VHQ") if rate != 16_000 else mono
    expected = np.pad(expected, (0, -len(expected) % 15_600)).reshape(-1, 15_600)

    blocks, ending = decode(tmp_path / "a.wav")

    np.testing.assert_allclose(frames_of(blocks), expected, atol=1e-5)
    assert [block.first_frame for block in blocks] == [0, BLOCK_FRAMES, 2 * BLOCK_FRAMES]
    assert ending.samples == len(samples)
    assert ending.frames == len(expected)
    assert ending.duration_s == pytest.approx(40.3)
    assert ending.trouble is None
    assert ending.level.rms_dbfs == pytest.approx(
        10 * math.log10(np.square(samples, dtype=np.float64).mean()), abs=1e-6
    )


def test_what_can_be_decoded_of_a_truncated_recording_comes_and_then_the_reason(tmp_path):
    samples = noise(10, 16_000, 1)
    whole = tmp_path / "whole.wav"
    sf.write(whole, samples, 16_000, subtype="FLOAT")
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])

    blocks, ending = decode(cut)

    got = frames_of(blocks).ravel()
    assert 5.9 * 16_000 < ending.samples < 6.1 * 16_000
    np.testing.assert_array_equal(got[: ending.samples], samples[: ending.samples, 0])
    assert not got[ending.samples :].any()
    assert (ending.trouble.stage, ending.trouble.reason) == ("decode", "truncated")


def test_a_frame_with_a_sample_that_is_no_number_holds_nan_and_others_do_not(tmp_path):
    samples = noise(5, 48_000, 2)
    samples[100_000, 1] = np.nan  # at 2.083 s, in the third frame
    samples[150_000, 0] = np.inf  # at 3.125 s, in the fourth
    sf.write(tmp_path / "a.wav", samples, 48_000, subtype="FLOAT")
    blocks, ending = decode(tmp_path / "a.wav")
    heard = np.isfinite(frames_of(blocks)).all(axis=1)
    assert heard.tolist() == [True, True, False, False, True, True]
    assert ending.trouble is None
    assert math.isfinite(ending.level.rms_dbfs)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (b"RIFF", "not_audio"),
        (b"just some text, and quite a lot of it. " * 50, "not_audio"),
        (np.random.default_rng(0).bytes(20_000), "not_audio"),
    ],
)
def test_what_is_no_recording_is_a_failure_with_a_reason(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    blocks, ending = decode(path)
    assert blocks == []
    assert (ending.trouble.stage, ending.trouble.reason) == ("decode", reason)
    assert "\n" not in ending.trouble.message


def test_a_file_that_vanished_is_an_io_failure(tmp_path):
    blocks, ending = decode(tmp_path / "gone.wav")
    assert blocks == []
    assert (ending.trouble.stage, ending.trouble.reason) == ("read", "io")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_an_io_failure(tmp_path):
    path = tmp_path / "a.wav"
    sf.write(path, noise(1, 8000, 1), 8000)
    path.chmod(0)
    assert decode(path)[1].trouble.reason == "io"


def test_a_recording_of_one_sample_has_a_frame(tmp_path):
    sf.write(tmp_path / "a.wav", np.full((1, 1), 0.5, np.float32), 192_000, subtype="FLOAT")
    blocks, ending = decode(tmp_path / "a.wav")
    assert ending.frames == len(frames_of(blocks)) == 1


def test_the_time_of_recording_comes_with_the_ending(tmp_path):
    sf.write(tmp_path / "x_20240528_100000.flac", noise(1, 8000, 1), 8000)
    _, ending = decode(tmp_path / "x_20240528_100000.flac")
    assert ending.recorded_at == datetime(2024, 5, 28, 10, tzinfo=timezone.utc)
    assert ending.recorded_at_source == "name"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    samples=st.integers(1, 60_000),
    rate=st.sampled_from([8000, 11_025, 16_000, 44_100]),
    hop=st.integers(500, 40_000),
)
def test_every_sample_is_in_a_frame_whatever_the_length_rate_and_hop(tmp_path, samples, rate, hop):
    path = tmp_path / "a.wav"
    sf.write(path, np.full((samples, 1), 0.5, np.float32), rate, subtype="FLOAT")
    grid = FrameGrid(16_000, 15_600, hop)
    blocks, ending = decode(path, grid)
    length = max(1, round(samples * 16_000 / rate))
    starts = np.concatenate(
        [np.arange(b.first_frame, b.first_frame + len(b.frames)) for b in blocks]
    )
    assert starts.tolist() == list(range(ending.frames))
    assert (ending.frames - 1) * hop < length
    if hop <= 15_600:
        assert (ending.frames - 1) * hop + 15_600 >= length
