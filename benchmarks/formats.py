"""earmark, the bare loop and the ideal on the same archives, one format after another.

Whole runs over archives of two sizes. The slope between them is the steady state: what a frame
takes without start-up and the end of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import ideal
from benchmarks.archives import FORMATS, archive, bytes_of
from benchmarks.earmark_runs import classify
from benchmarks.ideal import Parts
from benchmarks.machine import load
from benchmarks.pairing import in_rounds, ratio, slopes
from benchmarks.parts import WAYS as PARTS
from benchmarks.processes import Cost, python, run
from benchmarks.setting import Setting
from benchmarks.tables import Table, at_least, at_most, figure, spread

TIMES_AS_MANY = 3
"""Files in the larger archive, as a multiple of those in the smaller one."""

STEADY = {"wav": 2.2, "flac": 2.0, "mp3": 1.8, "ogg": 2.4, "opus": 2.7}
"""How many times as fast as the bare loop earmark is to be, in the steady state."""

WHOLE_RUNS = {"flac": 1.6}
"""Likewise, start-up included."""

TIMES_THE_IDEAL = {"flac": 1.25}
"""How much CPU time a frame may take, as a multiple of the sum of its parts."""


class Sizes(NamedTuple):
    """What runs over the smaller and over the larger archive cost, round by round."""

    small: Sequence[Cost]
    large: Sequence[Cost]


@dataclass(frozen=True)
class Rounds:
    """What was measured of one format.

    Attributes:
      megabytes: of the smaller archive, 10^6 bytes.
      more_frames: that the larger archive has.
      ways: how the ideal does each part.
      earmark: whole runs.
      loop: the bare loop.
      parts: of the ideal, round by round.
    """

    megabytes: float
    more_frames: int
    ways: Mapping[str, str]
    earmark: Sizes
    loop: Sizes
    parts: Sequence[Parts]


def measure(setting: Setting, names: Sequence[str]) -> list[Table]:
    """Measure formats; gives the tables of the steady state, of the ideal and of whole runs."""
    measured: dict[str, Rounds] = {}
    ways: dict[str, str] = {}
    for name in names:
        measured[name] = _rounds(setting, name, ways)
        ways = {part: way for part, way in measured[name].ways.items() if part != "decoding"}
    return [steady(setting, measured), sums(setting, measured), whole_runs(setting, measured)]


def _rounds(setting: Setting, name: str, known_ways: Mapping[str, str]) -> Rounds:
    form, larger = FORMATS[name], TIMES_AS_MANY * setting.files
    small = archive(setting.cache, form, setting.files, setting.minutes)
    large = archive(setting.cache, form, larger, setting.minutes)
    ways = {
        part: known_ways.get(part) or ideal.fastest_way(setting, part, form, small)
        for part in PARTS
    }
    contenders: dict[str, Callable[[], Any]] = {
        "earmark, small": partial(classify, setting, small[0].parent, len(small)),
        "loop, small": partial(bare_loop, setting, small[0].parent),
        "earmark, large": partial(classify, setting, large[0].parent, len(large)),
        "loop, large": partial(bare_loop, setting, large[0].parent),
        "ideal": partial(ideal.measure, setting, form, small, ways),
    }
    measured = in_rounds(contenders, setting.repeats)
    rounds = Rounds(
        megabytes=bytes_of(small) / 1e6,
        more_frames=(len(large) - len(small)) * ceil(setting.minutes * 60 / setting.frame_s),
        ways=ways,
        earmark=Sizes(measured["earmark, small"], measured["earmark, large"]),
        loop=Sizes(measured["loop, small"], measured["loop, large"]),
        parts=measured["ideal"],
    )
    print(f"{name}: {_in_short(rounds)}; {load()}", flush=True)
    return rounds


def bare_loop(setting: Setting, folder: Path) -> Cost:
    """Have the bare loop hear a folder."""
    out = setting.work / "loop.parquet"
    return run(
        python("benchmarks.bare_loop", setting.model, setting.sample_rate_hz, out, folder)
    ).cost


def _in_short(rounds: Rounds) -> str:
    wall, cpu = (spread(_faster(rounds, kind)) for kind in ("wall_s", "cpu_s"))
    return f"in the steady state {wall} times the bare loop's speed, of CPU {cpu}"


def steady(setting: Setting, measured: Mapping[str, Rounds]) -> Table:
    """The slope between both sizes, for earmark and the bare loop."""
    columns = (
        *("format", "earmark ms", "CPU ms", "bare loop ms", "CPU ms"),
        *("loop / earmark", "target", "of CPU"),
    )
    sizes = f"{setting.files} and {TIMES_AS_MANY * setting.files} files"
    return Table(
        f"Steady state: the slope between {sizes} of {setting.minutes:g} minutes",
        columns,
        [_steady(name, rounds) for name, rounds in measured.items()],
        f"For each frame of {setting.frame_s:.3f} s: what the larger archive takes longer, divided"
        f" by its frames. Medians of {setting.repeats} rounds; ratios are of the same round, with"
        " the lowest and the highest.",
    )


def _steady(name: str, rounds: Rounds) -> list[str]:
    of_earmark, of_loop = (
        [figure(median(frame_ms(rounds, sizes, kind))) for kind in ("wall_s", "cpu_s")]
        for sizes in (rounds.earmark, rounds.loop)
    )
    wall, cpu = (spread(_faster(rounds, kind)) for kind in ("wall_s", "cpu_s"))
    return [name, *of_earmark, *of_loop, wall, at_least(STEADY.get(name)), cpu]


def frame_ms(rounds: Rounds, sizes: Sizes, kind: str) -> list[float]:
    """What a frame takes in the steady state, round by round; the kind is a field of `Cost`."""
    small, large = ([getattr(cost, kind) for cost in costs] for costs in sizes)
    return [1e3 * each for each in slopes(small, large, rounds.more_frames)]


def _faster(rounds: Rounds, kind: str) -> Any:
    """How many times as fast as the bare loop earmark is, in the steady state."""
    return ratio(*(frame_ms(rounds, sizes, kind) for sizes in (rounds.loop, rounds.earmark)))


def sums(setting: Setting, measured: Mapping[str, Rounds]) -> Table:
    """earmark's CPU time for a frame beside the sum of the parts that cannot be left out."""
    parts = list(PARTS)
    return Table(
        "CPU time of a frame beside the sum of its parts",
        (
            "format",
            "decoder",
            *(f"{part} ms" for part in parts),
            "sum",
            "earmark ms",
            "earmark / sum",
            "target",
        ),
        [_sum(name, rounds, parts) for name, rounds in measured.items()],
        "Each part by itself, in one thread of each core at once, by the fastest way:"
        f" {_ways(measured)}. earmark's time is the slope of the table above.",
    )


def _sum(name: str, rounds: Rounds, parts: Sequence[str]) -> list[str]:
    in_all = [sum(each.values()) for each in rounds.parts]
    cpu_ms = frame_ms(rounds, rounds.earmark, "cpu_s")
    return [
        *(name, rounds.ways["decoding"]),
        *(figure(median(each[part] for each in rounds.parts)) for part in parts),
        *(figure(median(in_all)), figure(median(cpu_ms))),
        *(spread(ratio(cpu_ms, in_all)), at_most(TIMES_THE_IDEAL.get(name))),
    ]


def _ways(measured: Mapping[str, Rounds]) -> str:
    """How all parts but decoding are done, which is the same for all formats."""
    ways = next(iter(measured.values())).ways
    return ", ".join(f"{part} {way}" for part, way in ways.items() if part != "decoding")


def whole_runs(setting: Setting, measured: Mapping[str, Rounds]) -> Table:
    """What whole runs over the smaller archive take, start-up included."""
    columns = (
        *("format", "MB", "earmark s", "CPU s", "peak MB"),
        *("bare loop s", "CPU s", "peak MB", "loop / earmark", "target", "of CPU"),
    )
    hours = setting.files * setting.minutes / 60
    return Table(
        f"Whole runs over {setting.files} files of {setting.minutes:g} minutes"
        f" ({hours:.3g} h of sound)",
        columns,
        [_whole_run(name, rounds) for name, rounds in measured.items()],
        f"Medians of {setting.repeats} rounds, start-up included.",
    )


def _whole_run(name: str, rounds: Rounds) -> list[str]:
    earmark, loop = rounds.earmark.small, rounds.loop.small
    wall = ratio([each.wall_s for each in loop], [each.wall_s for each in earmark])
    cpu = ratio([each.cpu_s for each in loop], [each.cpu_s for each in earmark])
    cells = (*cost_cells(earmark), *cost_cells(loop))
    target = at_least(WHOLE_RUNS.get(name))
    return [name, f"{rounds.megabytes:.0f}", *cells, spread(wall), target, spread(cpu)]


def cost_cells(costs: Sequence[Cost]) -> list[str]:
    """Medians: elapsed seconds, CPU seconds, and the peak in MB."""
    wall_s, cpu_s, peak_mb = (
        median(getattr(each, kind) for each in costs) for kind in ("wall_s", "cpu_s", "peak_mb")
    )
    return [figure(wall_s), figure(cpu_s), f"{peak_mb:.0f}"]
