"""Nobody can connect to a local run: it listens nowhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sockets import descendants, is_loopback, listening, listening_meanwhile, needs_proc

ROOT = Path(__file__).resolve().parents[2]


def test_what_listens_here_is_seen():
    needs_proc()
    with socket.create_server(("127.0.0.1", 0)), socket.create_server(("", 0)):
        assert listening([os.getpid()]) >= {"127.0.0.1", "0.0.0.0"}
    assert [is_loopback(each) for each in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == [True] * 3
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")


@pytest.fixture
def earmark_classify(tmp_path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a run; one that goes on after the test is killed."""
    started = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "earmark", "classify", "--model=builtin", *options]
        inputs = [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
        run = subprocess.Popen([*command, *inputs], cwd=ROOT, stderr=subprocess.DEVNULL)
        started.append(run)
        return run

    yield start
    for run in started:
        run.kill()
        run.wait()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_listens_nowhere(tmp_path, record, earmark_classify, workers):
    needs_proc()
    for number in range(6):
        record(tmp_path / "in" / f"{number}.wav", "tone", seconds=20)
    run = earmark_classify(f"--direct_num_workers={workers}")
    meanwhile = Meanwhile(run)
    assert listening_meanwhile(meanwhile.processes, lambda: run.poll() is None) == set()
    assert run.returncode == 0
    assert meanwhile.most_processes > 1  # it was seen while it was decoding


def test_a_watch_listens_nowhere(tmp_path, record, earmark_classify):
    needs_proc()
    record(tmp_path / "in" / "a.wav", "tone", seconds=20)
    watch = earmark_classify("--watch", "--window_s=1")
    rows = tmp_path / "out" / "clips"
    meanwhile = Meanwhile(watch)

    def goes_on() -> bool:
        return watch.poll() is None and not (rows.is_dir() and any(rows.iterdir()))

    assert listening_meanwhile(meanwhile.processes, goes_on) == set()
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(60) == 0
    assert meanwhile.most_processes > 1


class Meanwhile:
    """The processes of a run, from look to look."""

    def __init__(self, run: subprocess.Popen[bytes]) -> None:
        self._run = run
        self.most_processes = 0

    def processes(self) -> set[int]:
        found = descendants(self._run.pid)
        self.most_processes = max(self.most_processes, len(found))
        return found
