"""Running a process, and what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
"""What processes are started in, so that they find the project's modules."""


_LOOK_EVERY_S = 0.05
_LOOKS_A_SUM = 10
"""A sum of what all hold is made in every so many looks: the system counts their pages for it."""


class ProcessError(Exception):
    """A process that failed; the message is the last that it said."""


class Cost(NamedTuple):
    """What a process and its descendants cost.

    Attributes:
      wall_s: from before its start to its end.
      cpu_s: of all threads of all of them, in user and system.
      peak_mb: the sum of what each of them had resident at most, 10^6 bytes; pages that several
        share count in each.
      together_mb: the most that all of them held at the same time, as far as was seen; pages that
        several share count once. 0 where the system doesn't tell.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    together_mb: float = 0.0


class Finished(NamedTuple):
    """A process that ended well: what it cost, and what it wrote to stdout."""

    cost: Cost
    said: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """Run a command to its end.

    Args:
      command: what to run, in the project's folder.
      environment: variables to set besides those that are.

    Raises:
      ProcessError: it failed.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaints:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=complaints,
        )
        with _watched(process.pid) as held:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise ProcessError(f"{' '.join(command[:6])} ...: {last_line(_text(complaints))}")
        # where /proc is there, the usage is not asked: it begins at what this process holds
        peaks_mb = held.peak_mb or _resident_mb(usage)
        cost = Cost(wall_s, usage.ru_utime + usage.ru_stime, peaks_mb, held.together_mb)
        return Finished(cost, _text(said))


def run_together(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str] | None = None
) -> list[Finished]:
    """Run commands at the same time, each to its end.

    Raises:
      ProcessError: one of them failed.
    """
    with ThreadPoolExecutor(len(commands)) as threads:
        return list(threads.map(lambda command: run(command, environment), commands))


def python(module: str, *arguments: object) -> list[str]:
    """The command that runs a module in this Python."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def last_line(text: str) -> str:
    """The last line that has something in it."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def descendants(pid: int) -> Iterator[int]:
    """A process, and all that descend from it."""
    yield pid
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return
    for child in " ".join(lists).split():
        yield from descendants(int(child))


def peak_mb(pid: int) -> float:
    """The most that a process has had resident so far, 10^6 bytes; 0 where it is gone."""
    return _counted_mb(pid, "status", "VmHWM:")


class _Held:
    """What a process and its descendants were seen to hold."""

    def __init__(self) -> None:
        self.peaks_mb: dict[int, float] = {}
        self.together_mb = 0.0

    @property
    def peak_mb(self) -> float:
        """The sum of their peaks."""
        return sum(self.peaks_mb.values())


@contextmanager
def _watched(pid: int) -> Iterator[_Held]:
    """Look, meanwhile, at what a process and its descendants hold."""
    held = _Held()
    ended = threading.Event()

    def look() -> None:
        for number in count():
            if ended.wait(_LOOK_EVERY_S):
                return
            all_of_them = list(descendants(pid))
            for each in all_of_them:
                # the latest: a process that is being started has what its parent holds
                held.peaks_mb[each] = peak_mb(each) or held.peaks_mb.get(each, 0)
            if number % _LOOKS_A_SUM == 0:
                held.together_mb = max(held.together_mb, sum(map(_own_mb, all_of_them)))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield held
    finally:
        ended.set()
        watcher.join()


def _own_mb(pid: int) -> float:
    """What a process has resident now, 10^6 bytes, with its part of each page that it shares."""
    return _counted_mb(pid, "smaps_rollup", "Pss:")


def _counted_mb(pid: int, file: str, name: str) -> float:
    """A line of a file of the system's about a process, in 10^6 bytes; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name)), 0)


def _resident_mb(usage: Any) -> float:
    """The most that one of the processes had resident, as the system tells it at the end."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(usage.ru_maxrss * unit / 1e6)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
