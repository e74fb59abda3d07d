"""Waiting for jobs elsewhere, and what is told when that goes wrong."""

from __future__ import annotations

import threading

import grpc
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.engines import await_end
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
        await_end(LostJob(grpc.RpcError()), Interrupts(), PipelineOptions([]))
    assert "\n" not in str(raised.value)
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_thread_is_shown(capsys):
    with pytest.raises(RunError):
        await_end(LostJob(ZeroDivisionError()), Interrupts(), PipelineOptions([]))
    assert "ZeroDivisionError" in capsys.readouterr().err
