"""What is made of the runs on Flink and beside it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.flink import OnFlink, speed
from benchmarks.processes import Cost
from benchmarks.setting import Setting

SETTING = Setting(Path(), 16_000, 15_600, Path(), Path(), files=144, minutes=5, repeats=1)


def local(wall_s: float, cpu_s: float) -> list[Cost]:
    return [Cost(wall_s, cpu_s, 0)]


def on_flink(wall_s: float, cpu_s: float) -> list[OnFlink]:
    return [OnFlink(Cost(wall_s, 2, 0), {"Python worker": cpu_s - 3, "jobmanager": 1}, {})]


def test_speed_is_that_of_an_hour_without_start_up():
    measured = {
        ("local", 48): local(20, 30),
        ("local", 144): local(52, 90),
        ("Flink", 48): on_flink(40, 50),
        ("Flink", 144): on_flink(80, 130),
    }
    rows = speed(SETTING, (48, 144), measured).rows
    starts = {row[0]: row[5:] for row in rows}
    assert starts["local"] == ["4.00", "4.00", "7.50"]
    assert starts["Flink"] == ["20.0", "5.00", "10.0"]
    assert starts["Flink's speed"][1:] == ["0.80 (0.80 to 0.80)", "0.75 (0.75 to 0.75)"]
