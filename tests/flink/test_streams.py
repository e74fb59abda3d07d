"""Recordings that come while a watch runs on Flink: each is heard once, whatever is killed.

EARMARK_STREAM_FILES and EARMARK_STREAM_S make the stream longer.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile as sf

from earmark.models.builtin.synthesis import SOUNDS, synthesise
from earmark.pipelines.cli import main

from .conftest import Cluster, eventually

FILES = int(os.environ.get("EARMARK_STREAM_FILES", "60"))
SECONDS = float(os.environ.get("EARMARK_STREAM_S", "60"))

TABLES = {
    "detections": "*",
    "events": "*",
    "embeddings": "*",
    "clips": "* exclude (run_id)",
    "failures": "* exclude (run_id)",
}
"""What is to be the same however it was heard."""


class Recorder:
    """Writes recordings into a folder, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sounds = [
            synthesise(name, np.random.default_rng(7), 3, 16_000) for name in sorted(SOUNDS)
        ]
        self.written = 0
        folder.mkdir()

    def write(self) -> None:
        """Write the next; every tenth is damaged."""
        path = self._folder / f"{self.written:04d}.wav"
        if self.written % 10 == 9:
            path.write_bytes(b"RIFF, and then nothing of the kind")
        else:
            sf.write(path, self._sounds[self.written % len(self._sounds)], 16_000)
        self.written += 1

    def write_all(self, files: int, seconds: float) -> None:
        """Write so many in so much time."""
        for _ in range(files):
            self.write()
            time.sleep(seconds / files)


class WatchProcess:
    """`earmark classify --watch` on the cluster."""

    def __init__(self, cluster: Cluster, archive: Path, output: Path, *options: str) -> None:
        self.output = output
        self._cluster = cluster
        arguments = ["--input", archive, "--output", output, "--model", "builtin", "--watch"]
        arguments += ["--embeddings", "float16"]
        self.log = output.with_name(f"{output.name}.log")
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "earmark", "classify"),
                    *(*map(str, arguments), "--window_s", "5", "--checkpointing_interval=2000"),
                    *(*cluster.options, *options),
                ],
                stdout=log,
                stderr=log,
            )

    def heard(self) -> int:
        """How many objects have rows."""
        return len(versions(self.output)) if (self.output / "clips").exists() else 0

    def stop_with_savepoint(self, folder: Path) -> str:
        """Have Flink stop the job; gives where the savepoint is."""
        (job,) = self._cluster.jobs()
        where = {"targetDirectory": f"file://{folder}", "drain": False}
        asked = self._cluster.ask(f"/jobs/{job['jid']}/stop", where)["request-id"]
        done: dict = {}

        def is_done() -> bool:
            done.update(self._cluster.ask(f"/jobs/{job['jid']}/savepoints/{asked}"))
            return done["status"]["id"] == "COMPLETED"

        assert eventually(is_done, 60)
        assert "location" in done["operation"], done
        assert self._process.wait(60) == 0, self.log.read_text()
        return done["operation"]["location"]

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(60) == 0, self.log.read_text()

    def kill(self) -> None:
        """kill -9 the command, if it runs."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def watch(cluster, tmp_path) -> Iterator[Callable[..., WatchProcess]]:
    """Starts a watch of tmp_path / "in"."""
    started = []

    def start(*options: str) -> WatchProcess:
        started.append(WatchProcess(cluster, tmp_path / "in", tmp_path / "out", *options))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def versions(output: Path) -> list[tuple]:
    every = " union all ".join(
        f"select clip, version from '{output}/{table}/*.parquet'" for table in ("clips", "failures")
    )
    return duckdb.sql(every).fetchall()


def all_rows(output: Path) -> dict[str, Counter]:
    return {
        table: Counter(
            map(str, duckdb.sql(f"select {columns} from '{output}/{table}/*.parquet'").fetchall())
        )
        for table, columns in TABLES.items()
    }


def assert_each_heard_once(archive: Path, output: Path, tmp_path: Path) -> None:
    heard = Counter(clip for clip, _ in versions(output))
    assert heard == {str(path): 1 for path in archive.iterdir()}
    shutil.rmtree(tmp_path / "local", ignore_errors=True)
    arguments = ["--input", archive, "--output", tmp_path / "local", "--model", "builtin"]
    arguments += ["--embeddings", "float16"]
    assert main(["classify", *map(str, arguments)]) == 0
    assert all_rows(output) == all_rows(tmp_path / "local")


def test_a_stream_with_kills_and_a_savepoint_hears_each_file_once(cluster, watch, tmp_path):
    recorder = Recorder(tmp_path / "in")
    stream = watch()
    assert eventually(lambda: len(cluster.jobs()) == 1, 90)
    writing = threading.Thread(target=recorder.write_all, args=(FILES, SECONDS))
    writing.start()

    assert eventually(lambda: stream.heard() >= FILES // 8, 120)
    assert eventually(cluster.kill_worker, 60)
    before = stream.heard()
    assert eventually(lambda: stream.heard() > before, 120)
    savepoint = stream.stop_with_savepoint(tmp_path / "savepoints")
    assert stream.heard() < FILES
    time.sleep(3)

    stream = watch(f"--savepoint_path={savepoint}")
    before = stream.heard()
    assert eventually(lambda: stream.heard() > before, 120)
    assert eventually(cluster.kill_worker, 60)
    writing.join()
    assert eventually(lambda: stream.heard() >= FILES, 120)
    time.sleep(10)  # what would come twice comes with the next windows
    stream.interrupt()
    assert not cluster.jobs()
    assert_each_heard_once(tmp_path / "in", tmp_path / "out", tmp_path)


def test_a_stream_that_is_stopped_and_started_anew_goes_on_from_what_is_there(
    cluster, watch, tmp_path
):
    recorder = Recorder(tmp_path / "in")
    recorder.write_all(15, 0)
    stream = watch()
    assert eventually(lambda: stream.heard() == 15, 120), stream.log.read_text()
    stream.interrupt()
    recorder.write_all(5, 0)
    (tmp_path / "in" / "0000.wav").write_bytes((tmp_path / "in" / "0001.wav").read_bytes())
    stream = watch()
    assert eventually(lambda: stream.heard() == 20, 120), stream.log.read_text()
    stream.interrupt()
    assert_each_heard_once(tmp_path / "in", tmp_path / "out", tmp_path)
