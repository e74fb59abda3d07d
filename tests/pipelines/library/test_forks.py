"""Processes that were forked from one that uses the library, as by multiprocessing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
import earmark

path, other, output = sys.argv[1:]

def child(work):
    if pid := os.fork():
        return pid
    signal.alarm(60)
    print(work(), flush=True)
    sys.exit()  # which closes what it has

def status(pid):
    return os.waitpid(pid, 0)[1]
"""


def said_by(program: str, *arguments: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def recordings(tmp_path, record) -> tuple[Path, Path]:
    return record(tmp_path / "a.wav", "tone", seconds=40), record(tmp_path / "b.wav", "hum")


def test_what_the_parent_has_begun_is_not_the_child_s_to_go_on_with(recordings, tmp_path):
    said = said_by(
        """
begun = earmark.frames(path)
next(begun)
def go_on():
    try:
        return sum(1 for _ in begun)
    except RuntimeError as error:
        return error
print(status(child(go_on)), sum(1 for _ in begun))
""",
        *recordings,
        tmp_path / "out",
    )
    assert said.splitlines()[0].startswith("a recording is decoded to its end in the process that")
    assert said.splitlines()[1] == "0 41"


def test_a_child_of_one_that_has_run_a_pipeline_says_that_it_cannot(recordings, tmp_path):
    said = said_by(
        """
how = {"input": [path, other], "model": "builtin"}
print(earmark.classify(output=output, **how).clips)
def run():
    try:
        return earmark.classify(output=output + "2", **how).clips
    except earmark.UsageError as error:
        return error
status(child(run))
print(earmark.classify(output=output + "3", **how).clips)
""",
        *recordings,
        tmp_path / "out",
    )
    first, child, last = said.splitlines()
    assert (first, last) == ("2", "2")
    assert "forked from one that had run a pipeline" in child
    assert "spawn" in child
