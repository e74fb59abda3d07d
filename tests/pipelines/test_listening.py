"""Nobody can connect to a local run: it listens nowhere."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest

from tests.sockets import descendants, is_loopback, listening, listening_meanwhile, needs_proc


def test_what_listens_here_is_seen():
    needs_proc()
    with socket.create_server(("127.0.0.1", 0)), socket.create_server(("", 0)):
        assert listening([os.getpid()]) >= {"127.0.0.1", "0.0.0.0"}
    assert [is_loopback(each) for each in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == [True] * 3
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_listens_nowhere(tmp_path, record, classify_apart, workers):
    needs_proc()
    for number in range(6):
        record(tmp_path / "in" / f"{number}.wav", "tone", seconds=20)
    run = classify_apart(f"--direct_num_workers={workers}")
    meanwhile = Meanwhile(run)
    assert listening_meanwhile(meanwhile.processes, meanwhile.goes_on) == set()
    assert run.returncode == 0, run.communicate()
    assert meanwhile.most_processes > 1  # it was seen while it was decoding


def test_a_watch_listens_nowhere(tmp_path, record, classify_apart):
    needs_proc()
    record(tmp_path / "in" / "a.wav", "tone", seconds=20)
    watch = classify_apart("--watch", "--window_s=1")
    rows = tmp_path / "out" / "clips"
    meanwhile = Meanwhile(watch)

    def goes_on() -> bool:
        return meanwhile.goes_on() and not (rows.is_dir() and any(rows.iterdir()))

    assert listening_meanwhile(meanwhile.processes, goes_on) == set()
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(60) == 0
    assert meanwhile.most_processes > 1


class Meanwhile:
    """The processes of a run, from look to look; they are counted at every tenth."""

    def __init__(self, run: subprocess.Popen[str]) -> None:
        self._run = run
        self._looks = 0
        self.most_processes = 0

    def goes_on(self) -> bool:
        self._looks += 1
        if self._looks % 10 == 0:
            self.processes()
        return self._run.poll() is None

    def processes(self) -> set[int]:
        found = descendants(self._run.pid)
        self.most_processes = max(self.most_processes, len(found))
        return found
