"""A store that isn't there is told in seconds, and a signal at the start ends the process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.pipelines.cli import main
from earmark.transforms.storage import clients

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=["refused", "silent"])
def endpoint(request, monkeypatch) -> Iterator[str]:
    """Where nothing listens, or somebody who takes connections and never answers."""
    clients.forget_clients()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listening.listen(64)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for name, value in _environment(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(clients, "ANSWER_S", 0.5)
        yield url


def _environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "STORAGE_EMULATOR_HOST": url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": "127.0.0.1",
    }


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize("what", ["output", "model", "labels", "input", "manifest"])
def test_a_store_that_is_not_there_is_one_line(tmp_path, record, capsys, endpoint, what, scheme):
    pytest.importorskip("boto3", reason="earmark[aws] is not installed")
    record(tmp_path / "in" / "a.wav", "tone")
    uri = f"{scheme}://bucket/it"
    given = {"input": f"{tmp_path}/in", "output": f"{tmp_path}/out", "model": "builtin"}
    given |= {"input": f"{uri}.csv"} if what == "manifest" else {what: uri}
    flags = [word for name, value in given.items() for word in (f"--{name}", value)]
    assert main(["classify", *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"nobody answers at {endpoint}: " in err
    assert uri in err


def test_a_model_in_a_store_that_is_not_there_is_one_line(capsys, endpoint):
    pytest.importorskip("boto3", reason="earmark[aws] is not installed")
    assert main(["model", "info", "s3://bucket/model.tflite"]) == 2
    assert f"nobody answers at {endpoint}: " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["output", "model"])
def test_a_uri_with_credentials_is_refused_without_showing_them(tmp_path, record, capsys, option):
    record(tmp_path / "a.wav", "tone")
    given = {"input": str(tmp_path), "output": f"{tmp_path}/out", "model": "builtin"}
    given[option] = "s3://me:hush@bucket/it"
    flags = [word for name, value in given.items() for word in (f"--{name}", value)]
    assert main(["classify", *flags]) == 2
    err = capsys.readouterr().err
    assert "credentials don't go into URIs" in err
    assert "hush" not in err


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
@pytest.mark.parametrize("is_swallowed", [False, True], ids=["raised", "swallowed"])
def test_a_signal_at_the_start_ends_the_process(tmp_path, number, status, is_swallowed):
    """Also where a library swallows whatever is raised, and goes on waiting."""
    waiting = """
import signal, time
from earmark.pipelines import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

def wait(_):
    print("waiting", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            if not SWALLOWED:
                raise

cli._command = lambda _: wait
cli.run_command(["classify"])
""".replace("SWALLOWED", str(is_swallowed))
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", waiting],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        try:
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status
    said = err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith("earmark: interrupted")
    assert time.monotonic() - began < 60
