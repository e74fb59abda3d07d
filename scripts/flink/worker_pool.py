"""Beam's Python workers, for taskmanagers that ask for them: the EXTERNAL environment.

Beam has a pool of its own (`apache_beam.runners.worker.worker_pool_main`), which several
taskmanagers can't share: each of them names its workers 1-1, 2-1 and so on, and there a name is a
worker, so that one taskmanager stops the worker of another. Nor do its workers know the pipeline's
options. Here a worker is known by the taskmanager's address too, and starts as in Beam's container.
And one that dies while it starts is replaced: taskmanagers would wait for it for ever.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_fn_api_pb2,
    beam_fn_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
)
from google.protobuf import json_format, text_format

WORKER = Path(__file__).with_name("sdk_worker.py")

GRACE_S = 10.0
"""How long a worker may live on when nobody answers any more where its work came from."""

START_ATTEMPTS = 3
"""A taskmanager that is told of a failure leaks what it has started for the job, so it is tried."""

PROVISION_LIMIT_S = 30.0


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):  # type: ignore[misc]
    """Starts workers, processes of their own, and sees to it that none stays behind."""

    def __init__(self, mark: str = "", grace_s: float = GRACE_S) -> None:
        """The mark stands in the command line of each worker, where `ps` shows it."""
        self._mark = mark
        self._grace_s = grace_s
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()

    def StartWorker(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Start a worker for a StartWorkerRequest, again if need be, until one is connected."""
        info = _provision(request)
        for _ in range(START_ATTEMPTS):
            if self._is_connected(request, info, context):
                return beam_fn_api_pb2.StartWorkerResponse()
        error = f"a worker was started {START_ATTEMPTS} times, and died before it had connected"
        return beam_fn_api_pb2.StartWorkerResponse(error=error)

    def _is_connected(self, request: Any, info: Any, context: grpc.ServicerContext) -> bool:
        """Start a worker, and wait until it is connected, or dead."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as connected:
            with os.fdopen(writing, "wb"):
                process = self._start(request, info, writing)
            with self._lock:
                self._workers.append(_Worker(process, request.control_endpoint.url))
            is_connected = connected.read() != b""
        if not context.is_active():  # the taskmanager has given up meanwhile, and won't use it
            process.kill()
            return True
        return is_connected

    def _start(self, request: Any, info: Any, ready: int) -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as options:  # can be too long for a variable
            options.write(json_format.MessageToJson(info.pipeline_options).encode())
            options.seek(0)
            variables = {
                **_variables(request, info),
                "PIPELINE_OPTIONS_FILE": f"/dev/fd/{options.fileno()}",
            }
            return subprocess.Popen(
                [sys.executable, str(WORKER), str(ready), self._mark],
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                pass_fds=[options.fileno(), ready],
            )

    def StopWorker(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Nothing: a name alone doesn't tell which worker is meant.

        It ends by itself when the taskmanager closes the connection that its work comes by, else
        `tend` ends it.
        """
        return beam_fn_api_pb2.StopWorkerResponse()

    def tend(self) -> int:
        """Bury the workers that have ended, end those without a taskmanager; how many live."""
        with self._lock:
            self._workers = [worker for worker in self._workers if worker.process.poll() is None]
            workers = list(self._workers)
        for worker in workers:
            worker.end_if_orphaned(self._grace_s)
        return len(workers)

    def close(self) -> None:
        """End all workers."""
        with self._lock:
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.wait()
            self._workers.clear()


def serve(pool: WorkerPool, port: int) -> tuple[grpc.Server, int]:
    """Serve a pool on a port of the loopback address, 0 for any; the server and its port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, bound


class _Worker:
    """A process, and the address of the taskmanager's server that gives it work."""

    def __init__(self, process: subprocess.Popen[bytes], control_address: str) -> None:
        self.process = process
        self._control_address = control_address
        self._answered_s = time.monotonic()

    def end_if_orphaned(self, grace_s: float) -> None:
        now_s = time.monotonic()
        if _answers(self._control_address):
            self._answered_s = now_s
        elif now_s - self._answered_s > grace_s:
            self.process.kill()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1):
            return True
    except OSError:
        return False


def _provision(request: Any) -> Any:
    """What the taskmanager says of the job that a worker is for."""
    with grpc.insecure_channel(request.provision_endpoint.url) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        return stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=[("worker_id", request.worker_id)],
            timeout=PROVISION_LIMIT_S,
        ).info


def _variables(request: Any, info: Any) -> dict[str, str]:
    """The environment variables by which Beam's container tells a worker what it is for."""
    variables = {
        "WORKER_ID": request.worker_id,
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(request.control_endpoint),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(request.logging_endpoint),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.HasField("status_endpoint"):
        status = text_format.MessageToString(info.status_endpoint)
        variables["STATUS_API_SERVICE_DESCRIPTOR"] = status
    return variables


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mark", default="")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pool = WorkerPool(arguments.mark)
    server, _ = serve(pool, arguments.port)
    while not ended.wait(1):
        pool.tend()
    server.stop(None).wait()
    pool.close()


if __name__ == "__main__":
    main()
