"""A Flink cluster on this machine, started once for all tests here: see scripts/flink-cluster.

`make flink` runs them; they need Java and Maven, and some minutes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "flink-cluster"


class Cluster:
    """The cluster in a folder.

    Attributes:
      folder: where its logs lie.
      options: what makes an earmark command run on it.
    """

    def __init__(self, folder: Path, said: str) -> None:
        self.folder = folder
        self.options = said.splitlines()[-1].split()
        self._rest = re.search(r"http://\S+", said)[0]

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Ask Flink's REST API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._rest}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that have not ended."""
        return [job for job in self.ask("/jobs/overview")["jobs"] if job["end-time"] < 0]

    def cancel_all(self) -> None:
        """Cancel what is left of failed tests."""
        for job in self.jobs():
            self.ask(f"/jobs/{job['jid']}?mode=cancel", method="PATCH")
        assert eventually(lambda: not self.jobs(), 60)

    def kill(self, sign: str) -> bool:
        """kill -9 a process of the cluster's that has a sign in its command line, if there is."""
        for pid in _processes(str(self.folder), sign):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def processes(self) -> set[int]:
        """All of the cluster's processes that live."""
        return set(_processes(str(self.folder)))

    def workers(self) -> list[int]:
        """The Python workers that live."""
        return _processes(str(self.folder), "sdk_worker")

    def kill_worker(self) -> bool:
        """kill -9 one of the Python workers that hear, which have a decoding process each."""
        decoding = {_parent(pid) for pid in _processes("decoding.process")}
        for pid in decoding.intersection(self.workers()):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    def kill_taskmanager(self) -> bool:
        """kill -9 one of the taskmanagers; the cluster starts another."""
        return self.kill("TaskManagerRunner")


@pytest.fixture(scope="session")
def started_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if not os.environ.get("EARMARK_FLINK"):
        pytest.skip("on a Flink cluster, which `make flink` starts")
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    folder = tmp_path_factory.mktemp("flink") / "cluster"
    said = subprocess.run(
        [sys.executable, SCRIPT, "start", "--dir", folder], capture_output=True, text=True
    )
    if said.returncode == 2:
        pytest.skip(f"needs Flink's packages: {said.stderr}")
    assert said.returncode == 0, said.stderr
    yield Cluster(folder, said.stdout)
    subprocess.run([sys.executable, SCRIPT, "stop", "--dir", folder], check=True)


@pytest.fixture
def cluster(started_cluster: Cluster) -> Iterator[Cluster]:
    """The cluster, with no jobs on it."""
    yield started_cluster
    started_cluster.cancel_all()


def eventually(holds: Callable[[], bool], limit_s: float) -> bool:
    """Whether something comes to hold in time."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.2)
    return False


def _processes(*signs: str) -> list[int]:
    """The processes that have all of these in their command lines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if all(sign in words for sign in signs):
            found.append(int(entry.parent.name))
    return found


def _parent(pid: int) -> int:
    """The process that has started another; 0 where that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
