"""Too few files, threads or bytes: one line says what to raise."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.pipelines.limits import exhausted

ROOT = Path(__file__).resolve().parents[2]


def limited(soft: int, hard: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run earmark where so many files may be open."""
    return subprocess.run(
        [sys.executable, "-m", "earmark", *arguments],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [("model", "info", "builtin"), ("classify", "--help")])
def test_too_few_open_files_are_one_line(arguments):
    done = limited(16, 16, *arguments)
    assert done.returncode == 2
    assert done.stderr == (
        "earmark: only 16 files may be open at once, but earmark needs 64: raise the limit with "
        "ulimit -n 64\n"
    )


def test_a_run_needs_files_for_each_worker(tmp_path, record):
    record(tmp_path / "in" / "a.wav", "tone")
    run = ("classify", "--input", f"{tmp_path}/in", "--output", f"{tmp_path}/out")
    run = (*run, "--model", "builtin", "--direct_num_workers", "32")
    done = limited(200, 200, *run)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "only 200 files may be open at once, but a run with --direct_num_workers 32 needs 320: "
        "raise the limit with ulimit -n 320\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_low_limit_that_may_be_raised_is_raised(tmp_path, record):
    record(tmp_path / "in" / "a.wav", "tone")
    run = ("classify", "--input", f"{tmp_path}/in", "--output", f"{tmp_path}/out")
    done = limited(40, 1000, *run, "--model", "builtin")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "ulimit -v"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ulimit -v"),
        (ImportError("a.so: failed to map segment from shared object"), "ulimit -v"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ],
)
def test_what_has_run_out_is_told(error, said):
    assert said in str(exhausted(error))


def test_a_bug_is_not_taken_for_a_lack():
    assert exhausted(RuntimeError("set changed size during iteration")) is None
