"""The clock of a container places the sound: late starts, holes, and timestamps that lie."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.mp4 import mp4_length
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.audio.timeline import STEP_S, TOLERANCE_S, Hole, Timeline
from earmark.transforms.elements import Gap, Silence, gaps_with
from earmark.transforms.samples import as_float32
from tests.transforms.audio.files import mux_parts, saved, write

RATE_HZ = 48_000

CONTAINERS = {
    "mkv": ("matroska", "pcm_s16le"),
    "webm": ("webm", "libopus"),
    "mp4": ("mp4", "aac"),
    "fragmented": ("mp4", "aac"),
    "ts": ("mpegts", "mp2"),
    "aac.ts": ("mpegts", "aac"),
    "mpg": ("mpeg", "mp2"),
    "flv": ("flv", "aac"),
    "mp3.flv": ("flv", "libmp3lame"),
    "asf": ("asf", "libmp3lame"),
    "wma": ("asf", "wmav2"),
    "opus": ("ogg", "libopus"),
    "wtv": ("wtv", "mp2"),
}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "1000000"}
FROM_FIRST = ("ts", "aac.ts", "mpg", "wtv")
"""Formats whose clocks begin anywhere."""


def beeps(seconds: float, at_s: Iterable[float]) -> np.ndarray:
    """Quiet noise with half a second of a tone at each place, [n]."""
    samples = np.random.default_rng(0).normal(0, 0.001, round(seconds * RATE_HZ))
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE_HZ // 2) / RATE_HZ)
    for start_s in at_s:
        samples[round(start_s * RATE_HZ) :][: len(tone)] += tone
    return samples


def mux(path: Path, kind: str, parts: Sequence[tuple[float, np.ndarray]]) -> Path:
    """Writes parts of a recording, each at its time."""
    options = FRAGMENTED if kind == "fragmented" else {}
    return mux_parts(path, *CONTAINERS[kind], parts, RATE_HZ, options)


def heard_beeps(path: Path) -> tuple[list[float], list[tuple[float, float, str]]]:
    """Where tones begin, and the gaps, in seconds."""
    found, at, was_loud = [], 0, False
    with open_audio(path) as reader:
        rate_hz = reader.header.sample_rate_hz
        for block in reader.blocks_and_silences(rate_hz // 100):
            if isinstance(block, Silence):
                at += block.samples
                continue
            is_loud = bool(np.abs(as_float32(block)).max() > 0.2)
            if is_loud and not was_loud:
                found.append(at / rate_hz)
            was_loud, at = is_loud, at + len(block)
    return found, [(gap.start / rate_hz, gap.stop / rate_hz, gap.why) for gap in reader.gaps]


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_recording_without_a_hole_has_no_gap(tmp_path: Path, kind: str) -> None:
    found, gaps = heard_beeps(mux(tmp_path / "clip", kind, [(0, beeps(13.3, [2, 9]))]))
    assert gaps == []
    np.testing.assert_allclose(found, [2, 9], atol=0.06)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_hole_in_the_timestamps_is_a_gap(tmp_path: Path, kind: str) -> None:
    parts = [(0, beeps(10, [4])), (30, beeps(10, [4]))]
    found, [gap] = heard_beeps(mux(tmp_path / "clip", kind, parts))
    np.testing.assert_allclose(found, [4, 34], atol=0.06)
    np.testing.assert_allclose(gap[:2], [10, 30], atol=0.15)
    assert gap[2] == "missing"


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if kind != "fragmented"])
def test_a_late_start_counts_from_the_container_s_zero(tmp_path: Path, kind: str) -> None:
    found, gaps = heard_beeps(mux(tmp_path / "clip", kind, [(4.9, beeps(12, [2, 9]))]))
    if kind in FROM_FIRST:
        assert gaps == []
        np.testing.assert_allclose(found, [2, 9], atol=0.06)
        return
    [(start_s, end_s, why)] = gaps
    assert (start_s, why) == (0, "late_start")
    assert end_s == pytest.approx(4.9, abs=0.06)
    np.testing.assert_allclose(found, [6.9, 13.9], atol=0.06)


def with_first_stamps(content: bytes, tags: int, shift_ms: int) -> bytes:
    """An FLV whose first tags have other timestamps (annex E.4.1)."""
    changed, at = bytearray(content), 13
    while tags:
        if changed[at] == 8:  # sound
            stamp = int.from_bytes(changed[at + 4 : at + 7], "big") + shift_ms
            changed[at + 4 : at + 7] = stamp.to_bytes(3, "big")
            tags -= 1
        at += 15 + int.from_bytes(changed[at + 1 : at + 4], "big")
    return bytes(changed)


@pytest.mark.parametrize("kind", ["flv", "mp3.flv"])
@pytest.mark.parametrize(("tags", "late_s"), [(2, 0), (2, 4.9), (60, 0)])
def test_first_timestamps_that_are_off_move_nothing(
    tmp_path: Path, kind: str, tags: int, late_s: float
) -> None:
    whole = mux(tmp_path / "whole", kind, [(late_s, beeps(12, [3, 9]))]).read_bytes()
    path = saved(tmp_path / "clip", with_first_stamps(whole, tags, 20_000))
    found, gaps = heard_beeps(path)
    np.testing.assert_allclose(found, [late_s + 3, late_s + 9], atol=0.06)
    assert [why for *_, why in gaps] == ["late_start"] * (late_s > 0)


def with_edits(content: bytes, edits: Sequence[tuple[int, int]]) -> bytes:
    """An MP4, whose moov lies at its end, with other edits: durations in ms, and media times."""
    at = content.index(b"elst") - 4
    table = b"".join(struct.pack(">Iii", *edit, 1 << 16) for edit in edits)
    box = struct.pack(">I4sII", 16 + len(table), b"elst", 0, len(edits)) + table
    grown = len(box) - int.from_bytes(content[at : at + 4], "big")
    changed = bytearray(content[:at] + box + content[at + len(box) - grown :])
    for name in (b"moov", b"trak", b"edts"):
        head = changed.index(name) - 4
        size = int.from_bytes(changed[head : head + 4], "big") + grown
        changed[head : head + 4] = size.to_bytes(4, "big")
    return bytes(changed)


def test_a_pause_in_an_edit_list_is_declared(tmp_path: Path) -> None:
    content = mux(tmp_path / "whole", "mp4", [(0, beeps(20, [4, 14]))]).read_bytes()
    edits = [(10_000, 1024), (20_000, -1), (10_000, 1024 + 10 * RATE_HZ)]
    found, [gap] = heard_beeps(saved(tmp_path / "clip", with_edits(content, edits)))
    np.testing.assert_allclose(found, [4, 34], atol=0.06)
    np.testing.assert_allclose(gap[:2], [10, 30], atol=0.06)
    assert gap[2] == "paused"


def test_edits_that_leave_sound_out_are_no_pauses(tmp_path: Path) -> None:
    content = mux(tmp_path / "whole", "mp4", [(0, beeps(20, [4, 14]))]).read_bytes()
    edits = [(2000, 1024), (1000, -1), (10_000, 1024 + 10 * RATE_HZ)]
    with saved(tmp_path / "clip", with_edits(content, edits)).open("rb") as file:
        assert mp4_length(FilePart(file)).pauses == ()


def test_a_clock_that_wraps_goes_on(tmp_path: Path) -> None:
    """The timestamps of MPEG-TS have 33 bits, at 90 kHz: here they wrap after six seconds."""
    wraps_s = (1 << 33) / 90_000
    path = mux(tmp_path / "clip", "ts", [(wraps_s - 6, beeps(12, [2, 9]))])
    found, gaps = heard_beeps(path)
    assert gaps == []
    np.testing.assert_allclose(found, [2, 9], atol=0.06)


def test_a_clock_that_starts_again_goes_on(tmp_path: Path) -> None:
    one = mux(tmp_path / "clip", "ts", [(7, beeps(12, [2, 9]))]).read_bytes()
    found, gaps = heard_beeps(saved(tmp_path / "two", one + one))
    assert gaps == []
    np.testing.assert_allclose(found, [2, 9, 14, 21], atol=0.12)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_flipped_bit_in_a_page_of_ogg_costs_that_page_alone(tmp_path: Path, subtype: str) -> None:
    samples = beeps(40, [4, 34]).astype(np.float32)[:, None]
    content = bytearray(write(tmp_path / "whole", "OGG", subtype, samples, RATE_HZ).read_bytes())
    content[len(content) // 2] ^= 1
    found, [gap] = heard_beeps(saved(tmp_path / "clip", bytes(content)))
    np.testing.assert_allclose(found, [4, 34], atol=0.03)
    assert gap[2] == "missing"
    assert 10 < gap[0] < gap[1] < 30


def test_what_lies_behind_damage_in_an_mp3_is_heard_in_its_place(tmp_path: Path) -> None:
    samples = beeps(82.9, [4, 12, 60, 80]).astype(np.float32)[:, None]
    content = write(tmp_path / "whole", "MP3", "MPEG_LAYER_III", samples, RATE_HZ).read_bytes()
    at = len(content) // 4
    broken = content[:at] + np.random.default_rng(0).bytes(40_000) + content[at + 40_000 :]
    found, [gap] = heard_beeps(saved(tmp_path / "clip", broken))
    np.testing.assert_allclose(found, [4, 12, 60, 80], atol=0.06)
    assert gap[2] == "damaged"
    lost_s = 82.9 * 40_000 / len(content)
    assert gap[1] - gap[0] == pytest.approx(lost_s, abs=0.2)


class Clock:
    """A timeline that is given frames of 20 ms, whose timestamps may be off."""

    def __init__(self) -> None:
        self.timeline = Timeline(0.0)
        self.timeline.first(0.0, 0.0, is_damaged=False)
        self.timeline.add(0.02)

    def holes(self, stamps_s: Iterable[float]) -> list[Hole]:
        holes = []
        for stamp_s in stamps_s:
            holes.append(self.timeline.before(stamp_s, is_damaged=False))
            self.timeline.add(0.02)
        return [hole for hole in holes if hole]


def test_jitter_within_the_tolerance_is_no_hole() -> None:
    stamps_s = 0.02 * np.arange(1, 5000)
    jitter_s = np.random.default_rng(0).uniform(-0.9, 0.9, len(stamps_s)) * TOLERANCE_S
    assert Clock().holes(stamps_s + jitter_s) == []


def test_a_hole_is_as_long_as_the_timestamps_say() -> None:
    [hole] = Clock().holes([0.02, 0.04, 5.06, 5.08])
    assert hole.seconds == pytest.approx(5)
    assert hole.why == "missing"


def test_a_clock_that_runs_slowly_ahead_is_followed_and_nothing_is_missing() -> None:
    stamps_s = 0.02 * np.arange(1, 50_000) * 1.0001
    clock = Clock()
    holes = clock.holes(stamps_s)
    assert {hole.why for hole in holes} == {"drift"}
    assert clock.timeline.reached_s == pytest.approx(stamps_s[-1] + 0.02, abs=TOLERANCE_S)
    assert STEP_S > 0.02 * 0.0001


def test_a_clock_that_is_set_back_drops_no_sound() -> None:
    clock = Clock()
    assert clock.holes([0.02, 0.04, -7.0, -6.98, -6.96]) == []
    assert clock.timeline.reached_s == pytest.approx(0.12)


def test_a_clock_that_is_set_back_by_damage_returns() -> None:
    clock = Clock()
    [hole] = clock.holes([0.02, 8.0, 8.02, 1.0, 1.02, 10.0, 10.02])[1:]
    assert hole.seconds == pytest.approx(10 - 8.08)
    assert clock.timeline.reached_s == pytest.approx(10.04)


def test_gaps_that_touch_are_told_apart_by_why_they_are_there() -> None:
    gaps = (Gap(0, 5, "paused"),)
    assert gaps_with(gaps, Gap(5, 9, "paused")) == (Gap(0, 9, "paused"),)
    assert gaps_with(gaps, Gap(5, 9, "damaged")) == (*gaps, Gap(5, 9, "damaged"))
    assert gaps_with(gaps, Gap(6, 9, "paused")) == (*gaps, Gap(6, 9, "paused"))
