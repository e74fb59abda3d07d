"""Waiting for jobs elsewhere, and what is told when that goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from earmark.pipelines.cli import main
from earmark.pipelines.engines.flink import FlinkEngine
from earmark.pipelines.engines.remote import RemoteEngine
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.pipelines.options import CLASSIFY, parse


@pytest.fixture(autouse=True)
def _own_hook(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)


class LostJob:
    """A job whose connection is lost: for the thread that reads its messages, too."""

    state = "RUNNING"

    def __init__(self, of_reader: Exception) -> None:
        self._of_reader = of_reader

    def wait_until_finish(self) -> None:
        reader = threading.Thread(target=self._read)
        reader.start()
        reader.join()
        raise grpc.RpcError

    def _read(self) -> None:
        raise self._of_reader


def await_end(start):
    return RemoteEngine(["--runner=SparkRunner"]).await_end(
        start, Interrupts(), PipelineOptions([])
    )


def test_a_lost_job_server_is_told_in_one_line_and_nothing_else(capsys):
    with pytest.raises(RunError, match="the job server no longer answers") as raised:
        await_end(lambda: LostJob(grpc.RpcError()))
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_thread_is_shown(capsys):
    with pytest.raises(RunError):
        await_end(lambda: LostJob(ZeroDivisionError()))
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("error", [grpc.RpcError, grpc.FutureTimeoutError])
def test_a_job_server_that_is_gone_when_a_job_is_to_begin_is_told_in_one_line(error):
    def start():
        raise error

    with pytest.raises(RunError, match="did not take the job"):
        await_end(start)


@pytest.mark.parametrize(
    ("kind", "flags", "name"),
    [
        (RemoteEngine, [], "earmark-r-00001"),
        (RemoteEngine, ["--job_name=birds"], "birds"),
        (FlinkEngine, [], "earmark-r-00001"),
        (FlinkEngine, ["--job_name=birds"], "birds-r-00001"),
    ],
)
def test_jobs_on_flink_share_their_names_with_no_others(kind, flags, name):
    """Else one run's Ctrl-C would cancel the jobs of another."""
    options = kind(["--runner=FlinkRunner", *flags]).named("R-00001")
    assert options.view_as(GoogleCloudOptions).job_name == name


@pytest.fixture
def job_server() -> Iterator[str]:
    """The address of one that only tells which flags its engine has."""
    kinds = beam_job_api_pb2.PipelineOptionType

    class Describing(beam_job_api_pb2_grpc.JobServiceServicer):
        def DescribePipelineOptions(self, request, context):  # noqa: N802 (gRPC calls it so)
            described = beam_job_api_pb2.PipelineOptionDescriptor
            options = [
                described(name="parallelism_limit", type=kinds.INTEGER),
                described(name="files_to_send", type=kinds.ARRAY),
            ]
            return beam_job_api_pb2.DescribePipelineOptionsResponse(options=options)

    server = grpc.server(ThreadPoolExecutor(2))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(Describing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_an_engines_flag_with_one_value_is_given_once(job_server):
    run = ["--input=x", "--output=y", "--runner=FlinkRunner", f"--job_endpoint={job_server}"]
    lists = ["--files_to_send=a", "--files_to_send=b", "--parallelism_limit=1"]
    assert parse([*run, *lists], CLASSIFY)[1][2:] == lists
    with pytest.raises(UsageError, match="--parallelism_limit: given twice"):
        parse([*run, *lists, "--parallelism_limit=2"], CLASSIFY)


@pytest.mark.parametrize(
    "error", [RuntimeError("Unable to fetch\na jar"), FileNotFoundError("java")]
)
def test_a_job_that_cannot_be_started_is_told_in_a_line(tmp_path, monkeypatch, capsys, error):
    def fail(*_):
        raise error

    (tmp_path / "a.wav").write_bytes(b"RIFF")
    monkeypatch.setattr("apache_beam.runners.portability.job_server.JavaJarJobServer.start", fail)
    flags = ["--input", str(tmp_path), "--output", str(tmp_path / "out"), "--model", "builtin"]
    assert main(["classify", *flags, "--runner=FlinkRunner"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("earmark: the job could not be started: ")
    assert " ".join(str(error).split()) in said
