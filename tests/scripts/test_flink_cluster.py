"""scripts/flink-cluster: what it says where it can't work, its worker pool, and the real thing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import grpc
import pytest
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)

from earmark.models.catalogue import cache_folder
from scripts.flink import worker_pool

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "flink-cluster"


# What it says ------------------------------------------------------------------------------------


def flink_cluster(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def only_java(tmp_path) -> str:
    """A PATH on which there is a java and nothing else."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(sys.executable)
    return str(tmp_path / "bin")


def test_a_missing_java_is_one_line(tmp_path):
    done = flink_cluster("start", "--dir", tmp_path / "cluster", PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flink-cluster: java is not on the PATH")
    assert done.stderr.count("\n") == 1


def test_a_missing_maven_is_one_line_and_leaves_nothing(tmp_path, only_java):
    folder = tmp_path / "cluster"
    cache = tmp_path / "cache"
    done = flink_cluster("start", "--dir", folder, PATH=only_java, EARMARK_CACHE=str(cache))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("flink-cluster: mvn is not on the PATH")
    assert done.stderr.count("\n") == 1
    assert not folder.exists()
    assert not cache.exists()


def test_a_python_without_beam_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", SCRIPT, "start", "--dir", tmp_path / "cluster"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "has no apache_beam" in done.stderr
    assert done.stderr.count("\n") == 1


def test_stop_without_start_says_so_and_makes_no_folder(tmp_path):
    done = flink_cluster("stop", "--dir", tmp_path / "cluster")
    assert done.returncode == 1
    assert done.stderr == (
        f"flink-cluster: no cluster has been started in {tmp_path / 'cluster'}\n"
    )
    assert not (tmp_path / "cluster").exists()


@pytest.mark.parametrize("action", ["start", "stop"])
def test_a_folder_with_other_things_is_left_alone(tmp_path, only_java, action):
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    done = flink_cluster(action, "--dir", folder, PATH=only_java)
    assert done.returncode != 0
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


# The worker pool ---------------------------------------------------------------------------------


class Taskmanager(
    beam_fn_api_pb2_grpc.BeamFnControlServicer,
    beam_fn_api_pb2_grpc.BeamFnLoggingServicer,
    beam_provision_api_pb2_grpc.ProvisionServiceServicer,
):
    """As much of a taskmanager as a worker needs to start, to be given nothing, and to end."""

    def __init__(self) -> None:
        self.connected: SimpleQueue[str] = SimpleQueue()
        self._work: SimpleQueue[None] = SimpleQueue()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8))
        beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(self, self._server)
        beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(self, self._server)
        beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def GetProvisionInfo(self, request, context):  # noqa: N802
        info = beam_provision_api_pb2.ProvisionInfo()
        info.pipeline_options["beam:option:job_name:v1"] = "heard"
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)

    def Logging(self, request_iterator, context):  # noqa: N802
        for _ in request_iterator:
            pass
        return iter([])

    def Control(self, request_iterator, context):  # noqa: N802
        self.connected.put(dict(context.invocation_metadata())["worker_id"])
        self._work.get()
        return iter([])

    def start_worker(self, pool) -> None:
        assert not self.ask_for_worker(pool).error
        assert self.connected.get(timeout=60) == "1-1"

    def ask_for_worker(self, pool) -> beam_fn_api_pb2.StartWorkerResponse:
        return pool.StartWorker(self.request())

    def request(self) -> beam_fn_api_pb2.StartWorkerRequest:
        endpoint = endpoints_pb2.ApiServiceDescriptor(url=self.address)
        return beam_fn_api_pb2.StartWorkerRequest(
            worker_id="1-1",
            control_endpoint=endpoint,
            logging_endpoint=endpoint,
            provision_endpoint=endpoint,
        )

    def stop_worker(self, pool) -> None:
        pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"))
        self._work.put(None)

    def die(self) -> None:
        self._work.put(None)
        self._server.stop(None).wait()


@pytest.fixture
def taskmanagers() -> Iterator[list[Taskmanager]]:
    both = [Taskmanager(), Taskmanager()]
    yield both
    for each in both:
        each.die()


@pytest.fixture
def pool(tmp_path) -> Iterator[worker_pool.WorkerPool]:
    pool = worker_pool.WorkerPool(str(tmp_path), grace_s=1.0)
    yield pool
    pool.close()


@pytest.fixture
def stub(pool) -> Iterator[beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub]:
    server, port = worker_pool.serve(pool, 0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
    server.stop(None).wait()


def eventually(holds: Callable[[], bool], limit_s: float = 30.0) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


def test_stopping_a_worker_spares_the_one_of_that_name_of_another_taskmanager(
    pool, stub, taskmanagers
):
    first, second = taskmanagers
    first.start_worker(stub)
    second.start_worker(stub)
    first.stop_worker(stub)
    assert eventually(lambda: pool.tend() == 1)
    time.sleep(1)
    assert pool.tend() == 1


def test_a_worker_ends_when_its_taskmanager_dies(pool, stub, taskmanagers):
    taskmanagers[0].start_worker(stub)
    taskmanagers[0].die()
    assert eventually(lambda: pool.tend() == 0)


def test_a_worker_that_cannot_end_is_killed_once_its_taskmanager_is_gone(
    pool, stub, taskmanagers, tmp_path
):
    taskmanagers[0].start_worker(stub)
    (worker,) = processes(tmp_path)
    os.kill(worker, signal.SIGSTOP)
    taskmanagers[0].die()
    assert eventually(lambda: pool.tend() == 0)
    assert not processes(tmp_path)


def test_a_worker_that_dies_while_it_starts_is_replaced(pool, stub, taskmanagers, tmp_path):
    """A taskmanager would wait for it for ever."""
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(taskmanagers[0].ask_for_worker, stub)
        assert eventually(lambda: processes(tmp_path) != [])
        (killed,) = processes(tmp_path)
        os.kill(killed, signal.SIGKILL)
        assert not asked.result(timeout=30).error
    assert taskmanagers[0].connected.get(timeout=60) == "1-1"
    assert pool.tend() == 1
    assert killed not in processes(tmp_path)


def test_workers_that_cannot_start_are_given_up(pool, stub, taskmanagers, monkeypatch):
    monkeypatch.setattr(worker_pool, "WORKER", Path("not there.py"))
    error = taskmanagers[0].ask_for_worker(stub).error
    assert error == "a worker was started 3 times, and died before it had connected"
    assert eventually(lambda: pool.tend() == 0)  # its pipe is closed before it is dead


def test_a_worker_that_is_not_wanted_any_more_once_it_has_started_is_ended(
    pool, stub, taskmanagers, tmp_path
):
    asked = stub.StartWorker.future(taskmanagers[0].request())
    assert eventually(lambda: processes(tmp_path) != [])
    asked.cancel()
    assert eventually(lambda: pool.tend() == 0 and processes(tmp_path) == [])


def processes(folder: Path, name: str = "") -> list[int]:
    """The processes whose command lines contain a folder, and a name."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,command="], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=1) for line in listed.stdout.splitlines()]
    return [int(pid) for pid, command in lines if str(folder) in command and name in command]


# The real thing ----------------------------------------------------------------------------------


@pytest.fixture
def options(tmp_path) -> Iterator[str]:
    """What start prints for a cluster in tmp_path / "cluster", which is stopped in the end."""
    if not os.environ.get("EARMARK_FLINK"):
        pytest.skip("starts a Flink cluster, as `make flink` does")
    if not shutil.which("java"):
        pytest.skip("needs Java")
    if not shutil.which("mvn") and not any(cache_folder().glob("flink/**/flink-*.jar")):
        pytest.skip("needs Maven")
    started = flink_cluster("start", "--dir", tmp_path / "cluster")
    if "Maven could not" in started.stderr:
        pytest.skip(f"needs Flink's packages: {started.stderr}")
    assert started.returncode == 0, started.stderr
    yield started.stdout.splitlines()[-1]
    flink_cluster("stop", "--dir", tmp_path / "cluster")


def test_a_cluster_outlives_its_parts_and_stop_leaves_nothing(tmp_path, options):
    folder = tmp_path / "cluster"
    ports = [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", options)]
    assert len(ports) == 4
    assert options.startswith("--runner=FlinkRunner ")

    (killed,) = processes(folder, "resource-id=taskmanager-1")
    os.kill(killed, signal.SIGKILL)
    assert eventually(lambda: processes(folder, "resource-id=taskmanager-1") not in ([], [killed]))
    again = flink_cluster("start", "--dir", folder)
    assert again.stdout.splitlines()[-1] == options

    for supervisor in processes(folder, "supervisor.py"):
        os.kill(supervisor, signal.SIGKILL)
    assert processes(folder, "jobmanager") or processes(folder, "StandaloneSession")
    stopped = flink_cluster("stop", "--dir", folder)
    assert stopped.returncode == 0, stopped.stderr
    assert not processes(folder)
    assert not folder.exists()
