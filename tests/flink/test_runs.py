"""Runs that end, on Flink: the rows are a local run's, whatever is killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.sockets import is_loopback, listening_meanwhile, needs_proc

from .conftest import Cluster, eventually
from .mixed_archive import write_long, write_mixed_archive

OBJECTS = 520
LONG_MIN = 80
"""Three recordings of this length: enough for some seconds of hearing in each attempt."""

TABLES = {
    "detections": "*",
    "events": "*",
    "embeddings": "*",
    "clips": "* exclude (run_id)",
    "failures": "* exclude (run_id)",
}
"""What is to be the same however it was heard."""

HEARING = "DecodeFrames"
"""What the name of the vertex has in it that decodes, scores and tallies."""


class Run:
    """`earmark classify`, a process of its own."""

    def __init__(self, inputs: Path, output: Path, *options: object) -> None:
        self.output = output
        if "--model" not in options:
            options = (*options, "--model", "builtin")
        given = ["--input", inputs, "--output", output, "--embeddings", *options]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "earmark", "classify", *map(str, given)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, limit_s: float = 400) -> tuple[int, str]:
        """Wait for its end; gives the status, and what it wrote to stderr."""
        _, err = self._process.communicate(timeout=limit_s)
        return self._process.returncode, err

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class Job:
    """The only job on a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        (job,) = cluster.jobs()
        self._cluster, self._id = cluster, job["jid"]

    def ask(self, path: str = "") -> Any:
        return self._cluster.ask(f"/jobs/{self._id}{path}")

    def attempts(self) -> list[int]:
        """How often each subtask that hears has been begun anew."""
        return [each["attempt"] for each in self._hearing()]

    def spans(self) -> list[int]:
        """How many spans each subtask that hears has been given."""
        return [each["metrics"]["read-records"] for each in self._hearing()]

    def failures(self) -> int:
        """How many failures Flink has noted."""
        return len(self.ask("/exceptions")["exceptionHistory"]["entries"])

    def hears(self, seconds: float) -> bool:
        """Whether a subtask that hears has been at it for so long, and still is."""
        return any(
            each["status"] == "RUNNING" and each["duration"] >= 1000 * seconds
            for each in self._hearing()
        )

    def _hearing(self) -> list[dict[str, Any]]:
        for vertex in self.ask()["vertices"]:
            if HEARING in vertex["name"]:
                return self.ask(f"/vertices/{vertex['id']}")["subtasks"]
        return []


@pytest.fixture
def earmark() -> Iterator[Callable[..., Run]]:
    """Starts earmark; what still runs after the test is killed."""
    started = []

    def start(*arguments: object) -> Run:
        started.append(Run(*arguments))
        return started[-1]

    yield start
    for run in started:
        run.kill()


@pytest.fixture(scope="module")
def archive(started_cluster, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mixed") / "in"
    assert write_mixed_archive(folder, OBJECTS, LONG_MIN) == OBJECTS
    return folder


@pytest.fixture(scope="module")
def expected(archive, tmp_path_factory) -> dict[str, Counter]:
    """The rows of a local run over the archive."""
    return rows_of_a_local_run(archive, tmp_path_factory.mktemp("local") / "out")


def rows_of_a_local_run(archive: Path, output: Path, *options: object) -> dict[str, Counter]:
    status, err = Run(archive, output, *options).end()
    assert status == 0, err
    return all_rows(output)


def all_rows(output: Path) -> dict[str, Counter]:
    return {
        table: Counter(
            map(str, duckdb.sql(f"select {columns} from '{output}/{table}/*.parquet'").fetchall())
        )
        for table, columns in TABLES.items()
    }


def assert_whole(run: Run, expected: dict[str, Counter]) -> None:
    status, err = run.end()
    assert status == 0, err
    assert "Traceback" not in err
    got = all_rows(run.output)
    for table, rows in expected.items():
        assert got[table] == rows, table


def begun(cluster: Cluster, run: Run, seconds: float | None = 1) -> Job:
    """The job of a run, once it has been hearing for so long, or at once."""
    assert eventually(lambda: run.is_over() or cluster.jobs() != [], 60)
    assert not run.is_over(), run.end()
    job = Job(cluster)
    assert seconds is None or eventually(lambda: job.hears(seconds), 60)
    return job


def kill_until_it_hits(kill: Callable[[], bool], job: Job) -> None:
    """Kill in the midst of hearing; what it hit may have been left over, and not of the job."""
    assert eventually(lambda: job.hears(1), 60)
    failures, attempts = job.failures(), sum(job.attempts())
    for _ in range(5):
        assert eventually(kill, 60)  # a worker that is to be begun anew takes its time
        if eventually(lambda: job.failures() > failures, 15):
            break
    assert job.failures() > failures
    assert eventually(lambda: sum(job.attempts()) > attempts, 60)


@pytest.mark.parametrize("span_s", [60, 120])
def test_an_archive_of_everything_gives_the_rows_of_a_local_run(
    cluster, earmark, archive, expected, tmp_path, span_s
):
    run = earmark(archive, tmp_path / "out", "--span_s", span_s, *cluster.options)
    assert_whole(run, expected)
    assert not list(run.output.glob("_staging-*"))
    assert sum(expected["clips"].values()) + sum(expected["failures"].values()) == OBJECTS
    assert min(len(rows) for rows in expected.values()) > 3


def test_real_recordings_and_yamnet_give_the_rows_of_a_local_run(
    cluster, earmark, shared, yamnet_path, tmp_path
):
    model = ("--model", yamnet_path)
    expected = rows_of_a_local_run(shared / "audio", tmp_path / "local", *model)
    run = earmark(shared / "audio", tmp_path / "out", *model, *cluster.options)
    assert_whole(run, expected)
    assert len(expected["detections"]) > 100


def test_a_cluster_listens_on_loopback_only(cluster, earmark, archive, tmp_path):
    needs_proc()
    run = earmark(archive, tmp_path / "out")
    seen = listening_meanwhile(cluster.processes, lambda: not run.is_over())
    assert run.end()[0] == 0
    assert seen
    assert all(map(is_loopback, seen)), seen


def test_the_spans_of_one_recording_are_heard_by_all_workers(cluster, earmark, tmp_path):
    archive = tmp_path / "in"
    archive.mkdir()
    write_long(archive / "long.flac", LONG_MIN)
    run = earmark(archive, tmp_path / "out", "--span_s", 60, *cluster.options)
    job = begun(cluster, run, seconds=None)  # Flink tells what runs each three seconds, no oftener
    assert run.end()[0] == 0
    spans = job.spans()
    assert min(spans) >= 0.4 * sum(spans)


def test_rows_are_the_same_when_workers_and_a_taskmanager_are_killed(
    cluster, earmark, archive, expected, tmp_path
):
    run = earmark(archive, tmp_path / "out", "--span_s", 60, *cluster.options)
    job = begun(cluster, run)
    for kill in (cluster.kill_worker, cluster.kill_taskmanager, cluster.kill_worker):
        kill_until_it_hits(kill, job)
    assert_whole(run, expected)
    assert job.failures() >= 3
    assert max(job.attempts()) >= 1


def test_workers_that_die_while_they_start_are_replaced(
    cluster, earmark, archive, expected, tmp_path
):
    assert eventually(lambda: not cluster.workers(), 60)  # those of the last job
    run = earmark(archive, tmp_path / "out", "--span_s", 60, *cluster.options)
    job = begun(cluster, run, seconds=None)
    for _ in range(2):
        assert eventually(lambda: cluster.kill("sdk_worker"), 60)
    assert_whole(run, expected)
    assert job.failures() == 0


def test_a_worker_that_dies_costs_its_own_slot_alone(cluster, earmark, archive, expected, tmp_path):
    run = earmark(archive, tmp_path / "out", "--span_s", 60, *cluster.options)
    job = begun(cluster, run)
    kill_until_it_hits(cluster.kill_worker, job)
    assert_whole(run, expected)
    assert min(job.attempts()) == 0


def test_after_kill_9_the_same_command_gives_the_whole(
    cluster, earmark, archive, expected, tmp_path
):
    options = ("--span_s", 60, *cluster.options)
    first = earmark(archive, tmp_path / "out", *options)
    begun(cluster, first)
    first.kill()
    assert_whole(earmark(archive, tmp_path / "out", *options), expected)
    # the job of the killed one may go on until it sees that the folder isn't its own any more
    assert eventually(lambda: not cluster.jobs(), 150)
    assert_whole(earmark(archive, tmp_path / "out", *options), expected)
    assert not list((tmp_path / "out").glob("_staging-*"))


def test_after_ctrl_c_no_job_is_left_and_the_same_command_gives_the_whole(
    cluster, earmark, archive, expected, tmp_path
):
    options = ("--span_s", 60, *cluster.options)
    first = earmark(archive, tmp_path / "out", *options)
    begun(cluster, first)
    first.send(signal.SIGINT)
    status, err = first.end(60)
    assert status == 130, err
    assert "cancelling the job" in err
    assert "Traceback" not in err
    assert eventually(lambda: not cluster.jobs(), 10)
    assert not list((tmp_path / "out").glob("_staging-*"))
    assert_whole(earmark(archive, tmp_path / "out", *options), expected)


def without_plan(output: Path) -> bool:
    """Take the plan away before a worker has read it."""
    plans = list(output.glob("_staging-*/*.plan"))
    for plan in plans:
        plan.unlink()
    return bool(plans)


def with_a_file_for_a_folder(output: Path) -> bool:
    """Have a file stand where detections are to be written aside."""
    folders = [plan.parent for plan in output.glob("_staging-*/*.plan")]
    for folder in folders:
        (folder / "detections").touch()
    return bool(folders)


@pytest.mark.parametrize("spoil", [without_plan, with_a_file_for_a_folder])
def test_a_job_of_which_every_attempt_fails_ends_in_a_line(cluster, earmark, tmp_path, spoil):
    archive = tmp_path / "in"
    write_mixed_archive(archive, objects=60, minutes=1)
    run = earmark(archive, tmp_path / "out", *cluster.options)
    assert eventually(lambda: spoil(tmp_path / "out"), 60)
    status, err = run.end(150)
    assert status == 1, err
    assert "Traceback" not in err
    last = err.splitlines()[-1]
    assert last.startswith("earmark: [Errno ")
    assert last.endswith("nothing was committed")
    assert not cluster.jobs()


@pytest.mark.parametrize("sign", ["FlinkJobServerDriver", "StandaloneSessionClusterEntrypoint"])
def test_an_engine_that_dies_ends_the_run_in_a_line(cluster, earmark, archive, tmp_path, sign):
    run = earmark(archive, tmp_path / "out", "--span_s", 60, *cluster.options)
    begun(cluster, run)
    assert cluster.kill(sign)
    status, err = run.end(120)
    assert status == 1, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("earmark: ")
    assert eventually(lambda: is_ready(cluster), 60)


def is_ready(cluster: Cluster) -> bool:
    with suppress(OSError):
        return len(cluster.ask("/taskmanagers")["taskmanagers"]) == 2
    return False
