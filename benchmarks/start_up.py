"""How long it takes before anything is heard: helps, a model's facts, and a run on one frame."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

from benchmarks.earmark_runs import classify, tiny_archive
from benchmarks.machine import load
from benchmarks.pairing import in_rounds
from benchmarks.processes import Cost, python, run
from benchmarks.setting import Setting
from benchmarks.tables import Table, figure

BEAM = "the import of Beam alone"
RUN = "a run on one frame"
TARGETS = {
    "earmark --help": "≤ 0.4",
    "earmark classify --help": "≤ 0.4",
    "earmark model info": "≤ 0.4",
    RUN: "≤ 0.7 more",
}
ROUNDS_A_REPEAT = 2


def measure(setting: Setting) -> list[Table]:
    """Measure start-up; gives its table."""
    commands: dict[str, list[str]] = {
        BEAM: [sys.executable, "-c", "import apache_beam"],
        "earmark --help": python("earmark", "--help"),
        "earmark classify --help": python("earmark", "classify", "--help"),
        "earmark model info": python("earmark", "model", "info", setting.model),
    }
    contenders: dict[str, Callable[[], Cost]] = {
        name: partial(_cost, command) for name, command in commands.items()
    }
    contenders[RUN] = partial(classify, setting, tiny_archive(setting), 1)
    rounds = ROUNDS_A_REPEAT * setting.repeats
    measured = in_rounds(contenders, rounds)
    print(f"start-up; {load()}", flush=True)
    return [
        Table(
            "Start-up",
            ("what", "s", "CPU s", "s more than Beam", "CPU s", "target", "peak MB"),
            [_row(name, measured) for name in measured],
            f"Medians of {rounds} rounds; differences are of the same round.",
        )
    ]


def _cost(command: Sequence[str]) -> Cost:
    return run(command).cost


def _row(name: str, measured: Mapping[str, Sequence[Cost]]) -> list[str]:
    costs, of_beam = measured[name], measured[BEAM]
    kinds = ("wall_s", "cpu_s", "peak_mb")
    wall_s, cpu_s, peak_mb = (median(getattr(each, kind) for each in costs) for kind in kinds)
    pairs = list(zip(costs, of_beam, strict=True))
    more_s = [
        median(getattr(each, kind) - getattr(beam, kind) for each, beam in pairs)
        for kind in kinds[:2]
    ]
    more = [f"{each:.2f}" for each in more_s] if name == RUN else ["", ""]
    return [name, figure(wall_s), figure(cpu_s), *more, TARGETS.get(name, ""), f"{peak_mb:.0f}"]
