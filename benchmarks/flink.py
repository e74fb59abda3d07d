"""`python -m benchmarks.flink`: runs on a small Flink cluster beside local ones, on this machine.

It starts a cluster with scripts/flink-cluster, which needs Java and Maven, and ends it. Each round
has every archive heard by both engines, one after another; from two sizes of archive follows what
an hour of sound takes without start-up.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.archives import FORMATS, archive
from benchmarks.earmark_runs import classify, tiny_archive
from benchmarks.machine import described, load
from benchmarks.pairing import Ratio, in_rounds, ratio, slopes
from benchmarks.processes import ROOT, Cost, ProcessError, descendants, peak_mb
from benchmarks.setting import Setting, prepared
from benchmarks.tables import Table, figure, render, spread
from earmark.models.catalogue import cache_folder
from earmark.models.errors import ModelError

SCRIPT = ROOT / "scripts" / "flink-cluster"
FORMAT = "flac"
WORKERS = 2
"""As many as the cluster has taskmanagers."""

_LOOK_EVERY_S = 0.2
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

_KINDS = {
    "StandaloneSessionClusterEntrypoint": "jobmanager",
    "TaskManagerRunner": "taskmanager",
    "FlinkJobServerDriver": "job server",
    "sdk_worker": "Python worker",
    "decoding.process": "its decoding process",
    "worker_pool": "worker pool",
}
"""What processes of the cluster are, by what stands in their command lines."""


class Cluster(NamedTuple):
    """A cluster that runs.

    Attributes:
      options: what makes an earmark command run on it.
      supervisor: the process that all others descend from.
    """

    options: tuple[str, ...]
    supervisor: int


class OnFlink(NamedTuple):
    """What a run on the cluster cost.

    Attributes:
      command: the cost of the command itself.
      cluster_cpu_s: CPU time of the cluster's processes, by kind.
      peaks_mb: the most that a process had resident, by kind.
    """

    command: Cost
    cluster_cpu_s: dict[str, float]
    peaks_mb: dict[str, float]

    @property
    def cpu_s(self) -> float:
        """Of all processes together."""
        return self.command.cpu_s + sum(self.cluster_cpu_s.values())


class Costs(NamedTuple):
    """What rounds of an engine cost, the same archive each time."""

    wall_s: list[float]
    cpu_s: list[float]


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the tables."""
    options = _parser().parse_args(arguments)
    print(f"{described()}\n{load().capitalize()} at the start.\n", flush=True)
    try:
        with (
            prepared(
                options.model,
                options.archive,
                files=max(options.files),
                minutes=options.minutes,
                repeats=options.repeats,
            ) as setting,
            cluster(setting.work / "flink") as running,
        ):
            tables = measure(setting, sorted(options.files), running)
    except (ModelError, ProcessError) as error:
        sys.exit(f"benchmarks: {error}")
    print("\n".join(map(render, tables)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flink",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="yamnet", help="as `earmark classify` takes it")
    parser.add_argument(
        "--files", type=int, nargs=2, default=[48, 144], help="in the two archives (48 144)"
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="that each lasts (5)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (3)")
    parser.add_argument(
        "--archive",
        type=Path,
        default=cache_folder() / "benchmarks",
        metavar="FOLDER",
        help="where recordings are kept (%(default)s)",
    )
    return parser


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster for the length of the context.

    Raises:
      ProcessError: it doesn't start.
    """
    command = [sys.executable, str(SCRIPT)]
    started = subprocess.run(
        [*command, "start", "--dir", folder], capture_output=True, text=True, check=False
    )
    if started.returncode:
        raise ProcessError(started.stderr.strip())
    try:
        yield Cluster(tuple(started.stdout.splitlines()[-1].split()), _supervisor(folder))
    finally:
        subprocess.run([*command, "stop", "--dir", folder], check=True)


def measure(setting: Setting, sizes: Sequence[int], running: Cluster) -> list[Table]:
    """Have archives of so many files heard by both engines; gives the tables."""
    contenders: dict[tuple[str, int], Callable[[], Cost | OnFlink]] = {}
    for files in sizes:
        folder = archive(setting.cache, FORMATS[FORMAT], files, setting.minutes)[0].parent
        contenders["local", files] = partial(
            _said, classify, setting, folder, files, "--direct_num_workers", WORKERS
        )
        contenders["Flink", files] = partial(_said, _on_flink, setting, folder, files, running)
    _on_flink(setting, tiny_archive(setting), 1, running)  # Java's first run is its slowest
    measured = in_rounds(contenders, setting.repeats)
    on_flink = [cost for costs in measured.values() for cost in costs if isinstance(cost, OnFlink)]
    return [speed(setting, sizes, measured), _memory(on_flink)]


def _said(run: Callable[..., Cost | OnFlink], *arguments: object) -> Cost | OnFlink:
    cost = run(*arguments)
    wall_s = cost.command.wall_s if isinstance(cost, OnFlink) else cost.wall_s
    print(f"{run.__name__}: {arguments[2]} files, {wall_s:.1f} s, CPU {cost.cpu_s:.1f} s; {load()}")
    sys.stdout.flush()
    return cost


def _on_flink(setting: Setting, folder: Path, files: int, running: Cluster) -> OnFlink:
    with _watched(running.supervisor) as seen:
        command = classify(setting, folder, files, *running.options)
    cpu_s: dict[str, float] = {}
    peaks_mb: dict[str, float] = {}
    for each in seen.values():
        cpu_s[each.kind] = cpu_s.get(each.kind, 0) + each.cpu_s - each.before_s
        peaks_mb[each.kind] = max(peaks_mb.get(each.kind, 0), each.peak_mb)
    return OnFlink(command, cpu_s, peaks_mb)


def speed(
    setting: Setting,
    sizes: Sequence[int],
    measured: Mapping[tuple[str, int], Sequence[Cost | OnFlink]],
) -> Table:
    """How fast both engines are, of what was measured: each engine with each number of files."""
    costs = {key: _costs(each) for key, each in measured.items()}
    hours = [files * setting.minutes / 60 for files in sizes]
    more = hours[1] - hours[0]
    rows = []
    for engine in ("local", "Flink"):
        small, large = (costs[engine, files] for files in sizes)
        cells = [median(each) for each in (small.wall_s, small.cpu_s, large.wall_s, large.cpu_s)]
        hour_s = median(slopes(small.wall_s, large.wall_s, more))
        hour_cpu_s = median(slopes(small.cpu_s, large.cpu_s, more))
        start_s = cells[0] - hours[0] * hour_s
        rows.append([engine, *map(figure, (*cells, start_s, hour_s, hour_cpu_s))])
    ratios = [_speed_of_flink(costs, sizes, kind) for kind in Costs._fields]
    rows.append(["Flink's speed", *[""] * 5, *map(spread, ratios)])
    return Table(
        f"{hours[0]:g} and {hours[1]:g} hours of {FORMAT}, {WORKERS} workers",
        (
            *("engine", "small s", "CPU s", "large s", "CPU s", "start-up s"),
            *("s for an hour", "CPU s for an hour"),
        ),
        rows,
        f"Medians of {setting.repeats} rounds; an hour is the difference of both sizes, without"
        " start-up; ratios are of the same round, with the lowest and the highest.",
    )


def _speed_of_flink(
    costs: Mapping[tuple[str, int], Costs], sizes: Sequence[int], kind: str
) -> Ratio:
    """What an hour takes a local run of what it takes Flink, in wall_s or in cpu_s."""
    local, flink = (
        slopes(getattr(costs[engine, sizes[0]], kind), getattr(costs[engine, sizes[1]], kind), 1)
        for engine in ("local", "Flink")
    )
    return ratio(local, flink)


def _costs(runs: Sequence[Cost | OnFlink]) -> Costs:
    walls = [(run.command if isinstance(run, OnFlink) else run).wall_s for run in runs]
    return Costs(walls, [run.cpu_s for run in runs])


def _memory(runs: Sequence[OnFlink]) -> Table:
    last = runs[-1]
    return Table(
        "The cluster's processes",
        ("process", "peak MB", "CPU s"),
        [
            [
                kind,
                f"{max(run.peaks_mb.get(kind, 0) for run in runs):.0f}",
                figure(last.cluster_cpu_s.get(kind, 0)),
            ]
            for kind in _KINDS.values()
        ],
        "Peak of any one process of a kind; CPU of all of the kind together, in the last run.",
    )


class _Seen:
    """A process of the cluster, as it was last seen."""

    def __init__(self, kind: str, before_s: float) -> None:
        self.kind, self.before_s = kind, before_s
        self.cpu_s, self.peak_mb = before_s, 0.0


@contextmanager
def _watched(supervisor: int) -> Iterator[dict[int, _Seen]]:
    """Look at a cluster's processes as long as the context lasts; some come and go."""
    seen: dict[int, _Seen] = {}
    ended = threading.Event()
    _look(supervisor, seen, is_first=True)

    def look() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            _look(supervisor, seen)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()
        _look(supervisor, seen)


def _look(supervisor: int, seen: dict[int, _Seen], is_first: bool = False) -> None:
    for pid in descendants(supervisor):
        try:
            cpu_s = _cpu_s(pid)
            if pid not in seen:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                kind = next((name for sign, name in _KINDS.items() if sign in words), "others")
                seen[pid] = _Seen(kind, cpu_s if is_first else 0)
        except OSError:
            continue
        seen[pid].cpu_s = cpu_s
        seen[pid].peak_mb = peak_mb(pid) or seen[pid].peak_mb


def _cpu_s(pid: int) -> float:
    """What a process itself has used so far, in user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / _TICKS_A_SECOND


def _supervisor(folder: Path) -> int:
    groups: dict[str, int] = json.loads((folder / "groups.json").read_text())
    return groups["supervisor"]


if __name__ == "__main__":
    main(sys.argv[1:])
