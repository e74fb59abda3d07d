"""How time and memory grow with the archive and with the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.archives import FORMATS, archive, linked
from benchmarks.earmark_runs import classify, tiny_archive
from benchmarks.machine import cores, load
from benchmarks.pairing import in_rounds
from benchmarks.processes import Cost
from benchmarks.setting import Setting
from benchmarks.tables import Table, figure

FORMAT = "flac"
FILES = 4
TIMES = (1, 4, 16)


class Size(NamedTuple):
    """A run: its worker threads, and its archive as a multiple of the smallest; 0 is one frame."""

    workers: int
    times: int


def measure(setting: Setting) -> list[Table]:
    """Measure growth; gives its table."""
    folders = _folders(setting)
    sizes = [Size(workers, times) for workers in sorted({1, 2, cores()}) for times in folders]
    runs = {size: _run(setting, size, *folders[size.times]) for size in sizes}
    measured = in_rounds(runs, setting.repeats)
    print(f"growth: {len(sizes)} sizes of run; {load()}", flush=True)
    return [_table(setting, measured)]


def _folders(setting: Setting) -> dict[int, tuple[Path, int]]:
    """For each multiple, a folder and how many files are in it."""
    recordings = archive(setting.cache, FORMATS[FORMAT], FILES, setting.minutes)
    folders = {times: setting.work / f"times-{times}" for times in TIMES}
    for times, folder in folders.items():
        linked(recordings, folder, FILES * times)
    grown = {times: (folder, FILES * times) for times, folder in folders.items()}
    return {0: (tiny_archive(setting), 1), **grown}


def _run(setting: Setting, size: Size, folder: Path, files: int) -> Callable[[], Cost]:
    return partial(classify, setting, folder, files, "--direct_num_workers", size.workers)


def _table(setting: Setting, measured: Mapping[Size, Sequence[Cost]]) -> Table:
    columns = (
        *("workers", "files", "s", "start-up s", "processing s", "s for each file"),
        *("of one worker's", "CPU s", "peak MB", "of the smallest's"),
    )
    return Table(
        f"Growth: {FILES} {FORMAT} files of {setting.minutes:g} minutes,"
        f" and {', '.join(map(str, TIMES[1:]))} times as many",
        columns,
        [_row(size, measured) for size in measured if size.times],
        f"Medians of {setting.repeats} rounds. Processing is without start-up, which is a run on"
        " one frame.",
    )


def _row(size: Size, measured: Mapping[Size, Sequence[Cost]]) -> list[str]:
    files = FILES * size.times
    hearing_s = _hearing_s(size, measured)
    start_up_s = median(each.wall_s for each in measured[size._replace(times=0)])
    peak_mb = _peak_mb(measured[size])
    return [
        *(str(size.workers), str(files)),
        *map(figure, (hearing_s + start_up_s, start_up_s, hearing_s, hearing_s / files)),
        f"{hearing_s / _hearing_s(size._replace(workers=1), measured):.2f}",
        figure(median(each.cpu_s for each in measured[size])),
        f"{peak_mb:.0f}",
        f"{peak_mb / _peak_mb(measured[size._replace(times=TIMES[0])]):.2f}",
    ]


def _hearing_s(size: Size, measured: Mapping[Size, Sequence[Cost]]) -> float:
    whole, start_up = measured[size], measured[size._replace(times=0)]
    return median(each.wall_s for each in whole) - median(each.wall_s for each in start_up)


def _peak_mb(costs: Sequence[Cost]) -> float:
    return median(each.peak_mb for each in costs)
