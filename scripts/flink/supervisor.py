"""Keeps the processes of scripts/flink-cluster alive: what dies is started again.

    supervisor.py FOLDER

FOLDER/commands.json names the commands. Each runs in a process group of its own, writes to
FOLDER/log/NAME.log, and has its group in FOLDER/groups.json. SIGTERM ends them all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

RESTART_S = 3.0
"""A command isn't started more often than this."""

TERM_S = 5.0
"""How long processes have to end in good order."""


class Supervisor:
    """Commands by name, and the processes that run them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._commands: dict[str, list[str]] = json.loads((folder / "commands.json").read_text())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started_s: dict[str, float] = {}
        self._write_groups()

    def start_missing(self) -> None:
        """Start what has not been started yet, and what has died."""
        for name, command in self._commands.items():
            process = self._processes.get(name)
            if process and process.poll() is None:
                continue
            if time.monotonic() - self._started_s.get(name, -RESTART_S) < RESTART_S:
                continue
            if process:
                _signal(process, signal.SIGKILL)  # what it has left in its group
                print(f"{name} ended with {process.returncode}: started again", flush=True)
            self._start(name, command)

    def end(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)
        deadline_s = time.monotonic() + TERM_S
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline_s - time.monotonic()))
        for process in self._processes.values():
            _signal(process, signal.SIGKILL)
            process.wait()

    def _start(self, name: str, command: list[str]) -> None:
        with (self._folder / "log" / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        self._started_s[name] = time.monotonic()
        self._write_groups()

    def _write_groups(self) -> None:
        groups = {name: process.pid for name, process in self._processes.items()}
        partial = self._folder / "groups.json.partial"
        partial.write_text(json.dumps({"supervisor": os.getpid(), **groups}))
        partial.replace(self._folder / "groups.json")


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def main() -> None:
    """Supervise until SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    supervisor = Supervisor(Path(sys.argv[1]))
    try:
        while not ended.is_set():
            supervisor.start_missing()
            ended.wait(0.5)
    finally:
        supervisor.end()


if __name__ == "__main__":
    main()
