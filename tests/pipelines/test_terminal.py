"""What is seen on a terminal, where progress is a bar that redraws itself."""

from __future__ import annotations

import os
import pty
import re
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def on_a_terminal(
    *arguments: str, largest_file: int | None = None, columns: int = 200
) -> tuple[int, str]:
    """Run earmark on a pseudo-terminal; its status, and all that it showed."""

    def limit():
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "earmark", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=limit,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
    ) as process:
        os.close(theirs)
        shown = b"".join(_chunks(ours))
    os.close(ours)
    return process.returncode, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def _chunks(descriptor: int):
    while True:
        try:
            yield os.read(descriptor, 65_536)
        except OSError:  # the other end was closed
            return


def test_a_run_shows_its_progress_and_then_what_it_heard(tmp_path, record):
    record(tmp_path / "in" / "a.wav", "tone", seconds=120)
    status, shown = on_a_terminal(
        *("classify", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")),
        *("--model", "builtin"),
    )
    assert status == 0
    assert re.search(r"[01] of 1 object .* h of audio .* real time", shown)
    assert "1 clip scored" in shown


def test_an_error_in_the_middle_of_a_run_is_seen_without_a_traceback(tmp_path, record):
    record(tmp_path / "in" / "a.wav", "tone")
    status, shown = on_a_terminal(
        *("classify", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")),
        *("--model", "builtin"),
        largest_file=1000,
    )
    assert status == 1
    assert "earmark: [Errno 27] File too large" in shown
    assert "Traceback" not in shown
