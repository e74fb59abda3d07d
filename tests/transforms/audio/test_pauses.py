"""Recorders that pause: AudioMoth with a trigger, HARP with a duty cycle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.audio.recording_time import recorded_at
from earmark.transforms.elements import Gap, Silence
from earmark.transforms.errors import TruncatedError
from tests.transforms.audio.files import AUDIOMOTH_COMMENT, HARP_BEGAN, audiomoth, harp, pause

RATE_HZ = 16_000


def sound(samples: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-9000, 9000, samples).astype("<i2")


def hear(
    path: Path, start: int = 0, stop: int | None = None
) -> tuple[NDArray[np.int16], list[Gap]]:
    """The samples, those of gaps zero, and the gaps."""
    with open_audio(path) as reader:
        parts = [block[:, 0] * 32768 for block in reader.blocks(1000, start, stop)]
        return np.concatenate([np.zeros(0), *parts]).astype(np.int16), reader.gaps


def test_a_recording_of_audiomoth_s_trigger_is_expanded(tmp_path: Path) -> None:
    calls = sound(3 * 16_384), sound(16_384, 1)
    body = pause(1250) + calls[0].tobytes() + pause(64) + calls[1].tobytes() + pause(200)
    heard, gaps = hear(audiomoth(tmp_path / "20240528_100000T.WAV", body))
    ends = np.cumsum([12, 1250 * 256, 3 * 16_384, 64 * 256, 16_384, 200 * 256])
    assert gaps == [Gap(ends[i], ends[i + 1], "trigger") for i in (0, 2, 4)]
    assert len(heard) == ends[-1]
    np.testing.assert_array_equal(heard[ends[1] : ends[2]], calls[0])
    np.testing.assert_array_equal(heard[ends[3] : ends[4]], calls[1])


def test_it_is_expanded_from_any_sample_on(tmp_path: Path) -> None:
    body = sound(512).tobytes() + pause(5) + sound(768, 1).tobytes() + pause(3)
    path = audiomoth(tmp_path / "a.wav", body)
    whole, _ = hear(path)
    with open_audio(path) as reader:
        assert reader.can_seek
    for start in range(0, len(whole), 97):
        for stop in (start + 300, None):
            heard, _ = hear(path, start, stop)
            np.testing.assert_array_equal(heard, whole[start:stop])


def test_no_part_of_it_is_told_without_the_others(tmp_path: Path) -> None:
    """A pause may lie anywhere, even if there is none where the file was looked into."""
    body = sound(100_000).tobytes()
    for comment, is_told in ((AUDIOMOTH_COMMENT, False), (b"no trigger", True)):
        with open_audio(audiomoth(tmp_path / "a.wav", body, comment)) as reader:
            assert (reader.sound is not None) == is_told


def test_hours_without_a_call_take_no_memory(tmp_path: Path) -> None:
    path = audiomoth(tmp_path / "a.wav", sound(256).tobytes() + pause(1 << 22) + pause(5))
    with open_audio(path) as reader:
        blocks = list(reader.blocks_and_silences(16_000))
        assert not reader.can_seek
    assert reader.gaps == [Gap(12 + 256, 12 + 256 + ((1 << 22) + 5) * 256, "trigger")]
    assert sum(len(block) for block in blocks if not isinstance(block, Silence)) < 32_000


@pytest.mark.parametrize(
    ("comment", "body"),
    [
        (AUDIOMOTH_COMMENT.replace(b"Amplitude threshold was 512.", b""), pause(7) + bytes(512)),
        (AUDIOMOTH_COMMENT, pause(7)[:510] + b"\1\0" + bytes(512)),
        (AUDIOMOTH_COMMENT, pause(0) + bytes(512)),
        (AUDIOMOTH_COMMENT, bytes(256) + pause(7) + bytes(256)),
        (AUDIOMOTH_COMMENT, pause((1 << 32) - 1) * 9000),
    ],
    ids=["no trigger", "sound in the block", "no blocks", "not at a block", "many years"],
)
def test_what_only_looks_like_a_pause_is_none(tmp_path: Path, comment: bytes, body: bytes) -> None:
    path = audiomoth(tmp_path / "a.wav", body, comment)
    with open_audio(path) as reader:
        parts = reader.blocks_and_silences(16_000)
        heard = [block for block in parts if not isinstance(block, Silence)]
    assert sum(map(len, heard)) <= 12 + len(body) // 2 + 32_000
    assert len(reader.gaps) <= 1
    if len(body) < 5000:
        assert reader.gaps == []


@pytest.mark.parametrize("version", [1, 49, 2, 50])
def test_each_raw_file_of_harp_has_its_own_time(tmp_path: Path, version: int) -> None:
    raw = sound(5 * 16_000)
    path = harp(tmp_path / "a.x.wav", [0, 1, 20, 21.002, 400], np.split(raw, 5), version=version)
    heard, gaps = hear(path)
    assert gaps == [Gap(32_000, 320_000, "duty_cycle"), Gap(352_000, 6_400_000, "duty_cycle")]
    np.testing.assert_array_equal(heard[:32_000], raw[:32_000])
    np.testing.assert_array_equal(heard[320_000:352_000], raw[32_000:64_000])
    np.testing.assert_array_equal(heard[6_400_000:], raw[64_000:])
    recorded = recorded_at(path)
    assert recorded is not None
    assert recorded == (HARP_BEGAN, "harp")


def test_spans_of_harp_are_those_of_its_time(tmp_path: Path) -> None:
    path = harp(tmp_path / "a.x.wav", [0, 1, 3.5, 9], np.split(sound(4 * 16_000), 4))
    whole, _ = hear(path)
    with open_audio(path) as reader:
        assert reader.can_seek
        assert reader.header.declared_samples == len(whole) == 10 * 16_000
    for start in range(0, len(whole), 12_345):
        np.testing.assert_array_equal(hear(path, start, start + 9000)[0], whole[start:][:9000])


def test_raw_files_that_follow_each_other_are_a_plain_recording(tmp_path: Path) -> None:
    raw = sound(4 * 16_000)
    heard, gaps = hear(harp(tmp_path / "a.x.wav", [0, 1, 2.04, 2.96], np.split(raw, 4)))
    assert gaps == []
    np.testing.assert_array_equal(heard, raw)


def test_raw_files_whose_times_go_back_are_heard_one_after_another(tmp_path: Path) -> None:
    raw = sound(4 * 16_000)
    heard, gaps = hear(harp(tmp_path / "a.x.wav", [0, 0.2, -900, 3000], np.split(raw, 4)))
    np.testing.assert_array_equal(heard[:48_000], raw[:48_000])
    assert gaps == [Gap(48_000, 3000 * 16_000, "duty_cycle")]


def test_a_recording_of_harp_that_was_cut_is_said_to_be(tmp_path: Path) -> None:
    path = harp(tmp_path / "a.x.wav", [0, 10], np.split(sound(2 * 16_000), 2))
    path.write_bytes(path.read_bytes()[:-10_000])
    with open_audio(path) as reader, pytest.raises(TruncatedError, match="declares"):
        for _ in reader.blocks(1000):
            pass
