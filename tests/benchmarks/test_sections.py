"""The smaller sections: start-up, short files, BirdNET."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import birdnet, start_up
from benchmarks.bare_loop import files_at
from benchmarks.environments import MissingPeerError
from benchmarks.processes import Cost
from benchmarks.setting import Setting

SETTING = Setting(Path("model"), 16_000, 15_600, Path("cache"), Path(), 40, 5, repeats=2)


def test_the_loop_hears_files_and_folders_of_files(tmp_path):
    for name in ("b.wav", "a.wav"):
        (tmp_path / "folder" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "folder" / name).touch()
    inside = [str(tmp_path / "folder" / name) for name in ("a.wav", "b.wav")]
    assert files_at(str(tmp_path / "folder")) == inside
    assert files_at(inside[1]) == inside[1:]


def test_a_run_is_compared_with_the_import_of_beam_in_the_same_round():
    measured = {
        start_up.BEAM: [Cost(1, 2, 100), Cost(2, 4, 100)],
        start_up.RUN: [Cost(1.5, 2.25, 300), Cost(3, 4.25, 310)],
    }
    row = start_up._row(start_up.RUN, measured)
    assert row == [start_up.RUN, "2.25", "3.25", "0.75", "0.25", "≤ 0.7 more", "305"]
    assert start_up._row(start_up.BEAM, measured)[3:6] == ["", "", ""]


def test_a_minute_of_birdnet_is_a_slope():
    measured = {
        ("earmark", 8): [Cost(10, 12, 0)],
        ("earmark", 24): [Cost(18, 28, 0)],
        ("birdnetlib", 8): [Cost(20, 30, 0)],
        ("birdnetlib", 24): [Cost(36, 78, 0)],
    }
    row = birdnet._row("birdnetlib", measured)
    assert row == ["birdnetlib", "1.00", "3.00", "2.00 (2.00 to 2.00)", "3.00 (3.00 to 3.00)"]


def test_birdnet_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch):
    def missing() -> Path:
        raise MissingPeerError("there is no network")

    monkeypatch.setattr(birdnet, "_birdnetlib", missing)
    (table,) = birdnet.measure(SETTING)
    assert table.rows == [["birdnetlib", "not run: there is no network", "", "", ""]]
