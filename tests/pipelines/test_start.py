"""What commands import that run nothing: a second of imports would be felt on each --help."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = {"apache_beam", "av", "pandas", "pyarrow", "scipy", "soundfile", "tensorflow"}

PROGRAM = f"""
import atexit, sys
atexit.register(lambda: print(*({SLOW} & set(sys.modules)), file=sys.stderr))
from earmark.pipelines.cli import run_command
run_command(sys.argv[1:])
"""


def imported_by(command: str) -> tuple[int, str, set[str]]:
    """The exit status and the output of a command, and which of the slow libraries it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()], capture_output=True, text=True
    )
    return done.returncode, done.stdout, set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("--help", "earmark classify archive"),
        ("--version", "earmark "),
        ("classify --help", "--min_score"),
        ("classify --help_all", "--commit_every_s"),
        ("embed --help", "--embeddings"),
        ("demo --help", "small archive"),
        ("model --help", "info"),
        ("rederive --help", "--min_score"),
        ("repair --help", "--dry_run"),
        ("model list", "yamnet"),
    ],
)
def test_what_only_shows_text_imports_no_slow_library(command, shown):
    status, output, slow = imported_by(command)
    assert (status, slow) == (0, set())
    assert shown in output


def test_model_info_imports_no_slow_library():
    status, output, slow = imported_by("model info builtin")
    assert (status, slow) == (0, set())
    assert "cut at its log-mel patch" in output


@pytest.mark.parametrize(
    "command",
    [
        "clasify",
        "rederive labels",
        "repair",
        "demo --no_such_flag",
        "model inform",
        "model info no_such_model",
        "classify",
        "classify a --output",
        "classify a --output b --no_such_flag",
        "embed a --output=b --min_score 0.5",
        "classify a --output b --min_score x",
        "classify a --output b --time_zone Mars",
        "classify a --output b --watch --notifications carrier://pigeon",
    ],
)
def test_wrong_usage_is_told_without_a_slow_library(command):
    status, _, slow = imported_by(command)
    assert (status, slow) == (2, set())


def test_beside_flags_of_beam_unknown_ones_may_be_the_engines_and_are_looked_up_in_beam():
    status, _, slow = imported_by("classify a --output b --runner=DirectRunner --no_such_flag")
    assert status == 2
    assert "apache_beam" in slow
