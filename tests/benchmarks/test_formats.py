"""What is made of whole runs over two sizes of archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.formats import Rounds, Sizes, frame_ms, steady, sums, whole_runs
from benchmarks.processes import Cost
from benchmarks.setting import Setting

SETTING = Setting(Path(), 16_000, 15_600, Path(), Path(), files=40, minutes=5, repeats=2)

ROUNDS = Rounds(
    megabytes=1273.4,
    more_frames=10_000,
    ways={"decoding": "dr_flac", "network": "in batches of 64"},
    # 2 s of start-up, 4 ms a frame and 5 ms of CPU; in the second round all takes twice as long
    earmark=Sizes(
        small=[Cost(22, 30, 400), Cost(44, 60, 420)], large=[Cost(62, 80, 0), Cost(124, 160, 0)]
    ),
    loop=Sizes(
        small=[Cost(55, 75, 600), Cost(66, 90, 620)], large=[Cost(135, 175, 0), Cost(246, 290, 0)]
    ),
    parts=[
        {"decoding": 2, "resampling": 0.5, "log-mel": 0.5, "network": 1},
        {"decoding": 4, "resampling": 1, "log-mel": 1, "network": 2},
    ],
)


def test_a_frame_is_what_the_larger_archive_takes_longer_by_its_frames():
    assert frame_ms(ROUNDS, ROUNDS.earmark, "wall_s") == [4, 8]
    assert frame_ms(ROUNDS, ROUNDS.earmark, "cpu_s") == [5, 10]
    assert frame_ms(ROUNDS, ROUNDS.loop, "wall_s") == [8, 18]


def test_the_steady_state_is_compared_within_a_round():
    (row,) = steady(SETTING, {"flac": ROUNDS}).rows
    assert row[:5] == ["flac", "6.00", "7.50", "13.0", "15.0"]
    assert row[5:] == ["2.12 (2.00 to 2.25)", "≥ 2", "2.00 (2.00 to 2.00)"]


def test_a_frame_is_compared_with_the_sum_of_its_parts():
    table = sums(SETTING, {"flac": ROUNDS})
    (row,) = table.rows
    assert row[:7] == ["flac", "dr_flac", "3.00", "0.750", "0.750", "1.50", "6.00"]
    assert row[-3:] == ["7.50", "1.25 (1.25 to 1.25)", "≤ 1.25"]
    assert "network in batches of 64" in table.note


def test_whole_runs_are_those_over_the_smaller_archive():
    (row,) = whole_runs(SETTING, {"flac": ROUNDS}).rows
    assert row[:5] == ["flac", "1273", "33.0", "45.0", "410"]
    assert row[-3:] == ["2.00 (1.50 to 2.50)", "≥ 1.6", "2.00 (1.50 to 2.50)"]


@pytest.mark.parametrize("name", ["wav", "mp3"])
def test_formats_without_a_target_have_none(name):
    (row,) = sums(SETTING, {name: ROUNDS}).rows
    assert row[-1] == ""
