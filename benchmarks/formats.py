"""earmark, the bare loop and the ideal on the same archives, one format after another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.archives import FORMATS, archive, bytes_of
from benchmarks.earmark_runs import classify, tiny_archive
from benchmarks.ideal import Effort
from benchmarks.machine import cores, load
from benchmarks.pairing import in_rounds, ratio
from benchmarks.processes import Cost, python, run, run_together
from benchmarks.setting import Setting
from benchmarks.tables import Table, figure, percent, spread
from earmark.transforms.threads import ONE_BLAS_THREAD


@dataclass(frozen=True)
class Rounds:
    """What was measured of one format, round by round.

    Attributes:
      megabytes: of the archive, 10^6 bytes.
      way: that the ideal decodes.
      start_up: earmark on a single frame.
      earmark: on the archive.
      loop: the bare loop on the archive.
      ideal: all processes together on the archive.
    """

    megabytes: float
    way: str
    start_up: Sequence[Cost]
    earmark: Sequence[Cost]
    loop: Sequence[Cost]
    ideal: Sequence[Effort]


def measure(setting: Setting, names: Sequence[str]) -> list[Table]:
    """Measure formats; gives the tables of whole runs and of shares of the ideal."""
    measured = {name: _rounds(setting, name) for name in names}
    return [_whole_runs(setting, measured), _shares(measured)]


def _rounds(setting: Setting, name: str) -> Rounds:
    form = FORMATS[name]
    paths = archive(setting.cache, form, setting.files, setting.minutes)
    way = run(python("benchmarks.ideal", "fastest", paths[0]), ONE_BLAS_THREAD).said.strip()
    tiny = tiny_archive(setting)
    measured: dict[str, list[Any]] = in_rounds(
        {
            "start_up": partial(classify, setting, tiny, 1),
            "earmark": partial(classify, setting, paths[0].parent, len(paths)),
            "loop": partial(_bare_loop, setting, paths),
            "ideal": partial(_ideal, setting, way, paths),
        },
        setting.repeats,
    )
    rounds = Rounds(bytes_of(paths) / 1e6, way, **measured)
    print(f"{name}: {_in_short(rounds)}; {load()}", flush=True)
    return rounds


def _bare_loop(setting: Setting, paths: Sequence[Path]) -> Cost:
    out = setting.work / "loop.parquet"
    command = python("benchmarks.bare_loop", setting.model, setting.sample_rate_hz, out, *paths)
    return run(command).cost


def _ideal(setting: Setting, way: str, paths: Sequence[Path]) -> Effort:
    """A process for each core, all at once, each with its part of the files."""
    parts = [part for k in range(cores()) if (part := paths[k :: cores()])]
    commands = [python("benchmarks.ideal", "hear", setting.model, way, *part) for part in parts]
    efforts = [Effort(*json.loads(each.said)) for each in run_together(commands, ONE_BLAS_THREAD)]
    return Effort(*map(sum, zip(*efforts, strict=True)))


def _in_short(rounds: Rounds) -> str:
    earmark, loop = (figure(_wall_s(costs)) for costs in (rounds.earmark, rounds.loop))
    ideal = figure(median(map(_ideal_wall_s, rounds.ideal)))
    return f"earmark {earmark} s, bare loop {loop} s, ideal {ideal} s"


def _whole_runs(setting: Setting, measured: dict[str, Rounds]) -> Table:
    columns = (
        *("format", "MB", "earmark s", "CPU s", "peak MB"),
        *("bare loop s", "CPU s", "peak MB", "loop / earmark", "of CPU"),
    )
    hours = setting.files * setting.minutes / 60
    return Table(
        f"Whole runs over {setting.files} files of {setting.minutes:g} minutes"
        f" ({hours:.3g} h of sound)",
        columns,
        [_whole_run(name, rounds) for name, rounds in measured.items()],
        f"Medians of {setting.repeats} rounds, start-up included; ratios are of the same round,"
        " with the lowest and the highest.",
    )


def _whole_run(name: str, rounds: Rounds) -> list[str]:
    earmark, loop = rounds.earmark, rounds.loop
    wall = ratio([each.wall_s for each in loop], [each.wall_s for each in earmark])
    cpu = ratio([each.cpu_s for each in loop], [each.cpu_s for each in earmark])
    return [
        name,
        f"{rounds.megabytes:.0f}",
        *_cost(earmark),
        *_cost(loop),
        spread(wall),
        spread(cpu),
    ]


def _cost(costs: Sequence[Cost]) -> list[str]:
    peak_mb = median(each.peak_mb for each in costs)
    return [figure(_wall_s(costs)), figure(median(each.cpu_s for each in costs)), f"{peak_mb:.0f}"]


def _shares(measured: dict[str, Rounds]) -> Table:
    columns = (
        *("format", "decoder", "decoding ms", "network ms", "ideal s", "earmark s", "start-up s"),
        *("share", "without start-up", "of CPU, without start-up"),
    )
    return Table(
        "Share of the ideal",
        columns,
        [_share(name, rounds) for name, rounds in measured.items()],
        "Decoding and network are for each frame, in one thread of each core at once.",
    )


def _share(name: str, rounds: Rounds) -> list[str]:
    efforts = rounds.ideal
    ideal_s = [_ideal_wall_s(each) for each in efforts]
    earmark_s = [each.wall_s for each in rounds.earmark]
    start_up_s = _wall_s(rounds.start_up)
    start_up_cpu_s = median(each.cpu_s for each in rounds.start_up)
    hearing_cpu_s = [each.cpu_s - start_up_cpu_s for each in rounds.earmark]
    return [
        *(name, rounds.way),
        figure(median(1e3 * each.decoding_s / each.frames for each in efforts)),
        figure(median(1e3 * each.network_s / each.frames for each in efforts)),
        *map(figure, (median(ideal_s), median(earmark_s), start_up_s)),
        percent(ratio(ideal_s, earmark_s).median),
        percent(ratio(ideal_s, [each - start_up_s for each in earmark_s]).median),
        percent(ratio([each.cpu_s for each in efforts], hearing_cpu_s).median),
    ]


def _ideal_wall_s(effort: Effort) -> float:
    """As if the work were spread evenly over the cores."""
    return (effort.decoding_s + effort.network_s) / cores()


def _wall_s(costs: Sequence[Cost]) -> float:
    return median(each.wall_s for each in costs)
