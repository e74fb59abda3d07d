from __future__ import annotations

import math
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.transforms.decoding.spans import SpanDecoding
from earmark.transforms.elements import (
    AudioObject,
    Ending,
    FrameBlock,
    Gap,
    SignalLevel,
    Span,
    gaps_with,
)
from earmark.transforms.frames import resampling, stretches
from earmark.transforms.frames.channels import BLOCK_FRAMES
from earmark.transforms.settings import Decoding, FrameGrid
from tests.transforms.audio.files import harp

GRID = FrameGrid(16_000, 15_600, 15_600)


def decode(
    path: Path | str, grid: FrameGrid = GRID, span: Span | None = None
) -> tuple[list[FrameBlock], Ending]:
    span = span or Span(AudioObject(str(path), 1, "v"))
    decoding = SpanDecoding(span, Decoding(grid))
    blocks = [FrameBlock(span, at, frames) for at, frames in decoding.blocks(str(path))]
    return blocks, decoding.ending()


def frames_of(blocks: list[FrameBlock]) -> np.ndarray:
    return np.concatenate([np.empty((0, 15_600), np.float32), *(block.frames for block in blocks)])


def noise(seconds: float, rate: int, channels: int, seed: int = 0) -> np.ndarray:
    size = (round(seconds * rate), channels)
    return np.random.default_rng(seed).uniform(-0.5, 0.5, size).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "channels", "seconds"),
    [(16_000, 1, 130.3), (44_100, 2, 130.3), (8_000, 1, 130.3), (96_000, 5, 65.3)],
)
def test_frames_are_the_mixed_and_resampled_recording(tmp_path, rate, channels, seconds):
    samples = noise(seconds, rate, channels)
    sf.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    mono = samples.astype(np.float64).mean(axis=1)
    expected = soxr.resample(mono, rate, 16_000, quality="VHQ") if rate != 16_000 else mono
    expected = np.pad(expected, (0, -len(expected) % 15_600)).reshape(-1, 15_600)

    blocks, ending = decode(tmp_path / "a.wav")

    np.testing.assert_allclose(frames_of(blocks), expected, atol=2e-7)
    assert [block.first_frame for block in blocks] == list(range(0, len(expected), BLOCK_FRAMES))
    assert ending.samples == len(samples)
    assert ending.frames == len(expected)
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


SPLIT_FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_24"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
}


def in_spans(
    path: Path, grid: FrameGrid, span_s: int, seconds: float
) -> list[tuple[list[FrameBlock], Ending]]:
    clip, count = AudioObject(str(path), 1, "v"), max(1, math.ceil(seconds / span_s))
    stops = [*((i + 1) * span_s for i in range(count - 1)), None]
    return [
        decode(path, grid, Span(clip, i, count, i * span_s, stop)) for i, stop in enumerate(stops)
    ]


def joined(parts: list[tuple[list[FrameBlock], Ending]]) -> tuple[np.ndarray, list[int]]:
    """The frames of all spans, and their indices in the clip."""
    blocks = [block for blocks, _ in parts for block in blocks]
    indices = [block.first_frame + i for block in blocks for i in range(len(block.frames))]
    return frames_of(blocks), indices


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(
    kind=st.sampled_from(list(SPLIT_FORMATS)),
    seconds=st.floats(1, 30),
    segment_s=st.integers(2, 6),
    rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    hop=st.sampled_from([1, 0.5, 0.4823, 0.1, 1.7, 3.3]),
    segments=st.integers(1, 4),
    gap=st.booleans(),
)
def test_frames_are_the_same_however_a_recording_is_cut_into_spans(
    tmp_path, kind, seconds, segment_s, rate, hop, segments, gap
):
    samples = noise(seconds, rate, 2)
    if gap and kind == "float.wav":
        samples[rng_positions(len(samples))] = np.nan
    container, subtype = SPLIT_FORMATS[kind]
    path = tmp_path / f"a.{kind}"
    sf.write(path, samples, rate, format=container, subtype=subtype)
    grid = FrameGrid(16_000, 15_600, round(hop * 15_600))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "SEGMENT_S", segment_s)
        whole_blocks, whole = decode(path, grid)
        parts = in_spans(path, grid, segments * segment_s, len(samples) / rate)

    frames, indices = joined(parts)
    np.testing.assert_array_equal(frames, frames_of(whole_blocks))
    assert indices == list(range(whole.frames))
    endings = [ending for _, ending in parts]
    assert sum(ending.frames for ending in endings) == whole.frames
    assert sum(ending.samples for ending in endings) == whole.samples == len(samples)
    assert sum((ending.level for ending in endings), SignalLevel()) == whole.level
    assert [ending.trouble for ending in endings] == [None] * len(parts)


def rng_positions(length: int) -> np.ndarray:
    return np.random.default_rng(length).integers(0, length, 5)


@pytest.mark.parametrize("span_s", [2, 4, 8, 10])
@pytest.mark.parametrize("hop", [15_600, 7_800, 40_000])
@pytest.mark.parametrize("damage", ["overwritten", "cut"])
def test_spans_up_to_the_first_trouble_are_what_is_heard_of_the_whole(
    tmp_path, monkeypatch, damage, hop, span_s
):
    monkeypatch.setattr(resampling, "SEGMENT_S", 2)
    path = tmp_path / "a.flac"
    sf.write(path, noise(20, 44_100, 2), 44_100)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    if damage == "cut":
        del content[half:]
    else:
        content[half : half + 3000] = bytes(3000)
    path.write_bytes(content)
    grid = FrameGrid(16_000, 15_600, hop)
    whole_blocks, whole = decode(path, grid)
    if damage == "cut":
        assert whole.trouble is not None
        assert 5 < whole.samples / 44_100 < 15
    else:
        assert whole.trouble is None
        assert len(whole.gaps) == 1
        assert whole.samples == 20 * 44_100

    parts = in_spans(path, grid, span_s, 20)

    until = next((i for i, (_, ending) in enumerate(parts) if ending.trouble), len(parts))
    heard = parts[: until + 1]
    frames, indices = joined(heard)
    np.testing.assert_array_equal(frames, frames_of(whole_blocks))
    assert indices == list(range(whole.frames))
    assert sum(ending.samples for _, ending in heard) == whole.samples
    assert heard[-1][1].trouble == whole.trouble
    assert gaps_of(ending for _, ending in heard) == list(whole.gaps)


def gaps_of(endings: Iterable[Ending]) -> list[Gap]:
    gaps: list[Gap] = []
    for ending in endings:
        for gap in ending.gaps:
            gaps[-1:] = gaps_with(gaps[-1:], gap)
    return gaps


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(
    lengths_s=st.lists(st.floats(0.5, 4), min_size=1, max_size=4),
    pauses_s=st.lists(st.floats(0.1, 30), min_size=4, max_size=4),
    segment_s=st.integers(2, 4),
    hop=st.sampled_from([1, 0.5, 0.1, 1.7, 3.3]),
    segments=st.integers(1, 4),
)
def test_a_recording_with_pauses_is_heard_as_if_they_were_silent_however_it_is_cut(
    tmp_path, lengths_s, pauses_s, segment_s, hop, segments
):
    rate, sounds, places, at = 8000, [], [], 0
    for length_s, pause_s in zip(lengths_s, pauses_s, strict=False):
        sound = noise(round(length_s, 3), rate, 1)[:, 0]
        sounds.append((sound * 20_000).astype("<i2"))
        places.append((at, at + len(sound)))
        at += len(sound) + round(pause_s * 1000) * rate // 1000
    path = harp(tmp_path / "a.x.wav", [place[0] / rate for place in places], sounds, rate)
    silent = np.zeros(places[-1][1], np.int16)
    for (start, stop), sound in zip(places, sounds, strict=True):
        silent[start:stop] = sound
    sf.write(tmp_path / "b.wav", silent, rate)
    grid = FrameGrid(16_000, 15_600, round(hop * 15_600))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "SEGMENT_S", segment_s)
        patch.setattr(stretches, "SEGMENT_S", segment_s)
        all_blocks, _ = decode(tmp_path / "b.wav", grid)
        whole_blocks, whole = decode(path, grid)
        in_parts = in_spans(path, grid, segments * segment_s, len(silent) / rate)

    frames, indices = joined([(whole_blocks, whole)])
    has_sound = [
        any(
            start < k * grid.hop_samples / 2 + 7800 and k * grid.hop_samples / 2 < stop
            for start, stop in places
        )
        for k in range(sum(len(block.frames) for block in all_blocks))
    ]
    assert indices == np.flatnonzero(has_sound).tolist()
    np.testing.assert_array_equal(frames, frames_of(all_blocks)[has_sound])
    edges = [stop for _, stop in places[:-1]], [start for start, _ in places[1:]]
    assert list(whole.gaps) == [Gap(*edge, "duty_cycle") for edge in zip(*edges, strict=True)]
    assert whole.decoded == pytest.approx(sum(map(len, sounds)))
    np.testing.assert_array_equal(joined(in_parts)[0], frames)
    assert joined(in_parts)[1] == indices
    assert gaps_of(ending for _, ending in in_parts) == list(whole.gaps)
    levels = sum((ending.level for _, ending in in_parts), SignalLevel())
    assert levels == whole.level
    assert levels.values == sum(map(len, sounds))
