"""Running a process, and what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
"""What processes are started in, so that they find the project's modules."""


_LOOK_EVERY_S = 0.05


class ProcessError(Exception):
    """A process that failed; the message is the last that it said."""


class Cost(NamedTuple):
    """What a process and its descendants cost.

    Attributes:
      wall_s: from before its start to its end.
      cpu_s: of all threads of all of them, in user and system.
      peak_mb: the sum of what each of them had resident at most, 10^6 bytes; pages that several
        share count in each.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


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
        with _watched(process.pid) as held_mb:
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise ProcessError(f"{' '.join(command[:6])} ...: {last_line(_text(complaints))}")
        # where /proc is there, the usage is not asked: it begins at what this process holds
        cost = Cost(wall_s, usage.ru_utime + usage.ru_stime, held_mb() or _resident_mb(usage))
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
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    peak = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(line.split()[1]) * 1024 / 1e6 for line in peak), 0)


@contextmanager
def _watched(pid: int) -> Iterator[Callable[[], float]]:
    """Look, meanwhile, at what a process and its descendants hold; gives the sum of their peaks."""
    peaks_mb: dict[int, float] = {}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            for each in descendants(pid):
                # the latest: a process that is being started has what its parent holds
                peaks_mb[each] = peak_mb(each) or peaks_mb.get(each, 0)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: sum(peaks_mb.values())
    finally:
        ended.set()
        watcher.join()


def _resident_mb(usage: Any) -> float:
    """The most that one of the processes had resident, as the system tells it at the end."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(usage.ru_maxrss * unit / 1e6)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
