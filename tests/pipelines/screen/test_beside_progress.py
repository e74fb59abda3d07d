"""What is said while a bar redraws itself stays on the terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, suppress
from pathlib import Path

import pytest

from earmark.pipelines.console import BesideProgress, Screen, say
from earmark.pipelines.screen import watch
from earmark.transforms import workers
from tests.pipelines.processes import wait_for

ROOT = Path(__file__).resolve().parents[3]


def seen(written: str) -> list[str]:
    """The lines that a terminal shows of what was written to it."""
    lines, at = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif part.endswith("A") and part.startswith("\x1b"):
            at = max(0, at - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            lines[at] = ""
        elif not part.startswith(("\x1b", "\r")):
            lines[at] += part
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("is_verbose", [False, True])
def test_what_is_said_beside_a_bar_stays_and_tracebacks_are_hidden(is_verbose):
    terminal = io.StringIO()
    console = Screen(file=terminal, force_terminal=True, width=80)
    workers.board("R").listed(2, {".wav": 1000})
    with watch("R", console), redirect_stderr(BesideProgress(console, is_shown=is_verbose)):
        time.sleep(0.5)
        say("[looking] failed")
        print("Traceback", file=sys.stderr)
        time.sleep(0.5)
    assert "earmark: [looking] failed" in seen(terminal.getvalue())
    assert ("Traceback" in terminal.getvalue()) == is_verbose


def test_a_watch_says_on_stderr_that_a_look_failed(tmp_path, classify_apart, record):
    record(tmp_path / "in" / "a.wav", "tone")
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri\n{tmp_path}/in/a.wav\n")
    process = classify_apart("--watch", "--window_s", "1", "--input", str(manifest))
    wait_for(lambda: list((tmp_path / "out" / "clips").glob("*.parquet")), process)
    manifest.unlink()
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "earmark: looking for new recordings failed, and will be tried again: " in err


def test_what_an_interrupt_says_stays_on_a_terminal(tmp_path, record):
    record(tmp_path / "in" / "a.wav", "tone")
    ours, theirs = pty.openpty()
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--watch"]
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark", "classify", "--model", "builtin", *words],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    written = b""
    while b"1 of 1 object" not in written:
        written += os.read(ours, 65_536)
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the other end is closed
        while chunk := os.read(ours, 65_536):
            written += chunk
    os.close(ours)
    assert process.wait(60) == 0
    said = [line for line in seen(written.decode()) if line.startswith("earmark: ")]
    assert len(said) == 1
    assert said[0].endswith("; interrupt again to stop at once")
