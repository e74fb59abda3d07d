"""Runs in processes of their own, which tests may signal or kill."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(archive: Path, output: Path, *options: str) -> subprocess.Popen[str]:
    """Start `earmark classify` with the builtin model."""
    command = [sys.executable, "-m", "earmark", "classify", "--model", "builtin"]
    return subprocess.Popen(
        [*command, "--input", str(archive), "--output", str(output), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(
    condition: Callable[[], object], process: subprocess.Popen[str], look_every_s: float = 0.02
) -> None:
    """Wait until something holds, while a process runs that it is expected of."""
    until = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(look_every_s)
