"""Environments for peers that cannot share one with earmark."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import last_line


class MissingPeerError(Exception):
    """A peer that cannot be had here; the message says why."""


def python_with(requirements: Sequence[str], folder: Path, python: str = sys.executable) -> Path:
    """The interpreter of an environment with these packages, which is made where it is missing.

    Any number of processes may ask for the same one at once.

    Args:
      requirements: as pip takes them.
      folder: of the environment; it is kept for the next time.
      python: the interpreter to make it with.

    Raises:
      MissingPeerError: they cannot be installed.
    """
    own = folder / "bin" / "python"
    install = [str(own), "-m", "pip", "install", "--quiet", *requirements]
    _make(folder, requirements, [[python, "-m", "venv", str(folder)], install])
    return own


def node_with(requirements: Sequence[str], folder: Path) -> Path:
    """The folder of the programs that packages of npm's bring; made and kept as by `python_with`.

    Raises:
      MissingPeerError: they cannot be installed, or there is no npm.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise MissingPeerError(f"{requirements[0]} needs npm: there is none")
    quietly = ("--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1")
    _make(folder, requirements, [[npm, "install", *quietly, f"--prefix={folder}", *requirements]])
    return folder / "node_modules" / ".bin"


def _make(folder: Path, requirements: Sequence[str], commands: Sequence[Sequence[str]]) -> None:
    """Make an environment by some commands, unless it is there with just these requirements."""
    done = folder / "installed.txt"
    wanted = "\n".join(requirements)
    with alone(folder):
        if not done.is_file() or done.read_text(encoding="utf-8") != wanted:
            print(f"installing {', '.join(requirements)} in {folder}", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for command in commands:
                _call(command)
            done.write_text(wanted, encoding="utf-8")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have a folder for this process alone, as long as the context lasts."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _call(command: Sequence[str]) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise MissingPeerError(f"not installed: {last_line(_without_notices(finished.stderr))}")


def _without_notices(said: str) -> str:
    return "\n".join(line for line in said.splitlines() if not line.startswith("[notice]"))
