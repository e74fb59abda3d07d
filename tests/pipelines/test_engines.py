"""Waiting for jobs elsewhere, and what is told when that goes wrong."""

from __future__ import annotations

import threading

import grpc
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.engines import await_end, named
from pipelines.errors import RunError
from pipelines.interrupts import Interrupts


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


def test_a_lost_job_server_is_told_in_one_line_and_nothing_else(capsys):
    with pytest.raises(RunError, match="the job server does not answer any more") as raised:
        await_end(lambda: LostJob(grpc.RpcError()), Interrupts(), PipelineOptions([]))
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_thread_is_shown(capsys):
    with pytest.raises(RunError):
        await_end(lambda: LostJob(ZeroDivisionError()), Interrupts(), PipelineOptions([]))
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("error", [grpc.RpcError, grpc.FutureTimeoutError])
def test_a_job_server_that_is_gone_when_a_job_is_to_begin_is_told_in_one_line(error):
    def start():
        raise error

    with pytest.raises(RunError, match="takes no job"):
        await_end(start, Interrupts(), PipelineOptions([]))


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ([], "earmark-r-00001"),
        (["--job_endpoint=localhost:1"], "earmark-r-00001"),
        (["--job_endpoint=localhost:1", "--job_name=birds"], "birds-r-00001"),
        (["--job_name=birds"], "birds"),
    ],
)
def test_jobs_on_flink_share_their_names_with_no_others(flags, name):
    """Else one run's Ctrl-C would cancel the jobs of another."""
    options = named(PipelineOptions(flags), "R-00001")
    assert options.view_as(GoogleCloudOptions).job_name == name
