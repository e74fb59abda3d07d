"""Very many short files: earmark beside the bare loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.archives import DIFFERENT, FORMATS, archive, linked
from benchmarks.earmark_runs import classify
from benchmarks.formats import bare_loop, cost_cells
from benchmarks.machine import load
from benchmarks.pairing import in_rounds, ratio
from benchmarks.processes import Cost
from benchmarks.setting import Setting
from benchmarks.tables import Table, at_most, spread

FORMAT = "wav"
SECONDS = 1
OF_THE_LOOP = 1.0
"""How long earmark may take, as a multiple of the bare loop's time."""


def measure(setting: Setting) -> list[Table]:
    """Measure short files; gives their table."""
    folder = short_files(setting, setting.short)
    contenders = {
        "earmark": partial(classify, setting, folder, setting.short),
        "loop": partial(bare_loop, setting, folder),
    }
    measured = in_rounds(contenders, setting.repeats)
    print(f"short files: {setting.short}; {load()}", flush=True)
    return [_table(setting, measured["earmark"], measured["loop"])]


def short_files(setting: Setting, count: int) -> Path:
    """A folder of so many short files, in the folder that is thrown away."""
    recordings = archive(setting.cache, FORMATS[FORMAT], DIFFERENT, SECONDS / 60)
    folder = setting.work / f"short-{count}"
    linked(recordings, folder, count)
    return folder


def _table(setting: Setting, earmark: Sequence[Cost], loop: Sequence[Cost]) -> Table:
    wall = ratio([each.wall_s for each in earmark], [each.wall_s for each in loop])
    cpu = ratio([each.cpu_s for each in earmark], [each.cpu_s for each in loop])
    columns = (
        *("files", "earmark s", "CPU s", "peak MB", "bare loop s", "CPU s", "peak MB"),
        *("earmark / loop", "target", "of CPU"),
    )
    cells = (*cost_cells(earmark), *cost_cells(loop))
    row = [f"{setting.short:,}", *cells, spread(wall), at_most(OF_THE_LOOP), spread(cpu)]
    return Table(
        f"{FORMAT} files of {SECONDS} s",
        columns,
        [row],
        f"Medians of {setting.repeats} rounds, start-up included.",
    )
