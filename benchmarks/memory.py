"""What earmark holds at most, all processes together: a day in one recording, and short files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.archives import recordings_folder
from benchmarks.earmark_runs import classify
from benchmarks.machine import load
from benchmarks.processes import Cost
from benchmarks.setting import Setting
from benchmarks.short import FORMAT, SECONDS, short_files
from benchmarks.tables import Table, at_most, figure

RATE_HZ = 8000
TIMES_AS_MANY = 5
"""Short files, as a multiple of those that are compared with the bare loop."""

MOST_MB = 450


def measure(setting: Setting) -> list[Table]:
    """Measure memory; gives its table."""
    many = TIMES_AS_MANY * setting.short
    runs: dict[str, Callable[[], Cost]] = {
        f"a flac of {setting.hours:g} hours, {RATE_HZ // 1000} kHz mono": partial(
            classify, setting, _day(setting), 1
        ),
        f"{many:,} {FORMAT} files of {SECONDS} s": partial(
            classify, setting, short_files(setting, many), many
        ),
    }
    rows = [_row(what, hear()) for what, hear in runs.items()]
    print(f"memory: {', '.join(runs)}; {load()}", flush=True)
    return [
        Table(
            "Memory of all processes together",
            ("what is heard", "s", "CPU s", "MB at once", "target", "sum of peaks MB"),
            rows,
            "One run each. At once: the most that all held at the same time, pages that several"
            " share counted once. Sum of peaks: an upper bound.",
        )
    ]


def _row(what: str, cost: Cost) -> list[str]:
    together, peaks = (f"{each:.0f}" for each in (cost.together_mb, cost.peak_mb))
    return [what, figure(cost.wall_s), figure(cost.cpu_s), together, at_most(MOST_MB), peaks]


def _day(setting: Setting) -> Path:
    """A folder with the long recording, which is made once: an hour, again and again."""
    folder = recordings_folder(setting.cache) / f"{setting.hours:g}h"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "long.flac"
    if not path.exists():
        # in a process of its own: what it holds would be this one's peak, and its children's
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
            worker.submit(_make, path, setting.hours).result()
    return folder


def _make(path: Path, hours: float) -> None:
    import soundfile

    from benchmarks.signals import recording

    times = max(1, round(hours))
    part = recording(0, 3600 * hours / times, RATE_HZ).mean(axis=1)
    # beside the folder that is heard
    partial_path = path.parent.with_name(f"{path.parent.name}.partial")
    with soundfile.SoundFile(partial_path, "w", RATE_HZ, 1, "PCM_16", format="FLAC") as file:
        for _ in range(times):
            file.write(part)
    shutil.move(partial_path, path)
