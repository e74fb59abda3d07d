"""Running processes, and telling what they cost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.environments import MissingPeerError, python_with
from benchmarks.processes import ProcessError, last_line, run, run_together


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_what_a_process_says_comes_back():
    assert run(python("print('heard')")).said == "heard\n"


def test_a_process_that_fails_is_told_by_its_last_words():
    with pytest.raises(ProcessError, match=r"ValueError: no such thing"):
        run(python("raise ValueError('no such thing')"))


def test_memory_of_children_counts():
    held = "import time; held = bytearray(b'x') * 10**8; time.sleep(0.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {held!r}])"
    assert 100 < run(python(parent)).cost.peak_mb < 200


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux tells it only")
def test_what_processes_share_counts_once_in_what_they_hold_together():
    forked = "import os, time; held = bytearray(b'x') * 10**8; os.fork(); time.sleep(2)"
    cost = run(python(forked)).cost
    assert 100 < cost.together_mb < 150
    assert cost.peak_mb > 200


def test_commands_that_run_together_come_back_in_their_order():
    assert [each.said for each in run_together([python(f"print({k})") for k in range(3)])] == [
        "0\n",
        "1\n",
        "2\n",
    ]


def test_the_last_line_is_one_that_says_something():
    assert last_line("first\nlast words \n\n \n") == "last words"
    assert last_line("") == ""


def test_an_environment_that_is_there_is_used_as_it_is(tmp_path):
    (tmp_path / "installed.txt").write_text("one\ntwo<2")
    assert python_with(("one", "two<2"), tmp_path) == tmp_path / "bin" / "python"


QUICK_VENV = """#!/bin/sh
if [ "$2" = venv ]; then mkdir "$3/bin" && cp "$0" "$3/bin/python"; else exec {} "$@"; fi
"""


def test_a_peer_that_cannot_be_installed_is_missing_with_the_reason(tmp_path):
    python = tmp_path / "python"
    python.write_text(QUICK_VENV.format(sys.executable))
    python.chmod(0o755)
    with pytest.raises(MissingPeerError, match=r"not installed: .*[Rr]equirement"):
        python_with(("no requirement at all!",), tmp_path / "environment", str(python))
    assert not (tmp_path / "environment" / "installed.txt").exists()
