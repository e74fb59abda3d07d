"""Whatever the standard streams are, a command does its work, ends with its status and no noise."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pytest

from earmark.transforms.output.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]

CLOSED = {
    "stdout": "1>&-",
    "stderr": "2>&-",
    "stdout and stderr": "1>&- 2>&-",
    "all": "0<&- 1>&- 2>&-",
    "stdin": "0<&-",
}


def earmark(arguments: str, streams: str, folder: Path) -> tuple[int, str, str]:
    """Run a command in a shell that closes streams, or sends them elsewhere; status, out, err."""
    return in_shell(f'"{sys.executable}" -m earmark {arguments} {streams}', folder)


def in_shell(
    script: str, folder: Path, stdout: int | TextIO = subprocess.PIPE
) -> tuple[int, str, str]:
    done = subprocess.run(
        ["bash", "-c", f"cd {ROOT}; {script}"],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


ONE_AFTER_ANOTHER = """
import gc, os, sys
import earmark.pipelines.classify, earmark.pipelines.model  # and with them Beam, once for all
from earmark.pipelines.cli import run

gc.freeze()
ended = []
for arguments in sys.argv[2:]:
    child = os.fork()
    if not child:
        sys.argv[1:] = arguments.split()
        run()
    ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with open(sys.argv[1], "w") as file:
    print(*ended, file=file)
"""


def all_of(
    commands: Sequence[str], streams: str, folder: Path, stdout: int | TextIO = subprocess.PIPE
) -> tuple[list[int], str]:
    """Run several commands, each with such streams; their statuses, and what they say of errors."""
    script, ended = folder / "script.py", folder / "ended"
    script.write_text(ONE_AFTER_ANOTHER)
    words = [sys.executable, str(script), str(ended), *commands]
    _, _, err = in_shell(f"{shlex.join(words)} {streams}", folder, stdout)
    return [int(status) for status in ended.read_text().split()], err


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED)
def test_closed_streams_change_nothing(tmp_path, streams):
    statuses = {
        "--version": 0,
        "classify --help": 0,
        "model info builtin": 0,
        "classify --nonsense": 2,
    }
    ended, err = all_of(list(statuses), streams, tmp_path)
    assert ended == list(statuses.values())
    assert "Traceback" not in err
    assert "NoneType" not in err


@pytest.mark.parametrize("streams", [CLOSED["stdout"], CLOSED["all"]], ids=["stdout", "all"])
@pytest.mark.parametrize("command", ["classify", "embed"])
def test_a_run_goes_well_with_closed_streams_and_only_writes_tables(
    tmp_path, record, rows, command, streams
):
    record(tmp_path / "in" / "a.wav", "tone")
    output = tmp_path / "out"
    arguments = f"{command} --input {tmp_path}/in --output {output} --model builtin"
    status, _, err = earmark(arguments, streams, tmp_path)
    assert status == 0, err
    assert "Traceback" not in err
    assert len(rows(output, "clips")) == 1
    assert {path.name for path in output.iterdir()} <= {"_runs", *(each.name for each in TABLES)}


def test_the_demo_goes_well_with_closed_streams(tmp_path):
    status, _, _ = earmark(f"demo --output {tmp_path}/demo", CLOSED["all"], tmp_path)
    assert status == 0
    assert (tmp_path / "demo" / "labels" / "clips").is_dir()


def test_what_cannot_be_shown_is_told_in_a_line(tmp_path):
    commands = ["--help", "model info --help", "model info builtin --json"]
    ended, err = all_of(commands, ">/dev/full", tmp_path)
    assert ended == [1, 1, 1]
    assert err == 3 * "earmark: cannot print the output: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_trouble(tmp_path):
    commands = ["--help", "classify --help", "model info builtin --labels"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread:
        assert all_of(commands, "", tmp_path, unread) == ([0, 0, 0], "")


def test_a_full_stderr_does_not_fail_a_run(tmp_path, record, rows):
    record(tmp_path / "in" / "a.wav", "tone")
    arguments = f"classify --input {tmp_path}/in --output {tmp_path}/out --model builtin"
    status, out, _ = earmark(arguments, "2>/dev/full", tmp_path)
    assert (status, "1 clip scored" in out) == (0, True)
    assert len(rows(tmp_path / "out", "clips")) == 1


def test_names_that_an_encoding_lacks_are_shown_as_escapes(tmp_path, record):
    record(tmp_path / "vögel" / "a.wav", "tone")
    arguments = f"classify --input {tmp_path}/vögel --output {tmp_path}/ö --model builtin"
    script = f"cd {ROOT}; export PYTHONIOENCODING=ascii; "
    done = subprocess.run(
        ["bash", "-c", f'{script} "{sys.executable}" -m earmark.pipelines.{arguments}'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert r"\xf6" in done.stdout
