from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from earmark.transforms.output import lock as output_lock
from earmark.transforms.output.lock import LockedError, locked

ONE, TWO, OTHER = (f"20261101T120000Z-0000000{each}" for each in "123")


def lock_file(output: Path, age_s: float = 0, **said: object) -> Path:
    """The lock of another run: one of this machine and time, unless it says otherwise."""
    path = output / "_locks" / f"{OTHER}.json"
    path.parent.mkdir(parents=True)
    ours = output_lock._own_lock(OTHER).model_dump()
    path.write_text(json.dumps({**ours, **said}))
    changed_s = time.time() - age_s
    os.utime(path, (changed_s, changed_s))
    return path


def elsewhere(**said: object) -> dict[str, object]:
    """What a lock says that was made on another machine, with a clock of its own."""
    return {"machine": "another", "boot": "another", "pid": os.getppid(), "born": "1", **said}


@pytest.fixture
def gone() -> int:
    """The number of a process that is dead."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def short_watch(monkeypatch):
    """Locks are watched for a moment, not for a minute and more."""
    monkeypatch.setattr(output_lock, "WATCHED_S", 0.5)
    monkeypatch.setattr(output_lock, "_LOOK_S", 0.02)


def assert_refused(output: Path, said: str = f"run {OTHER} is writing to it") -> None:
    with pytest.raises(LockedError, match=said) as told, locked(str(output), TWO):
        pass
    assert "\n" not in str(told.value)
    assert f"{OTHER}.json" in str(told.value)
    assert [path.stem for path in (output / "_locks").iterdir()] == [OTHER]


def assert_let_in(output: Path) -> None:
    with locked(str(output), TWO):
        assert [path.stem for path in (output / "_locks").iterdir()] == [TWO]


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path):
    with locked(str(tmp_path / "out"), ONE):
        with (
            pytest.raises(LockedError, match=f"run {ONE} is writing to it"),
            locked(str(tmp_path / "out"), TWO),
        ):
            pass
        assert [path.stem for path in (tmp_path / "out" / "_locks").iterdir()] == [ONE]
    assert not (tmp_path / "out").exists()
    with locked(str(tmp_path / "out"), TWO):
        pass


@pytest.mark.parametrize("output", [".", "./out", "out/", "a//b", "./a/../b"])
def test_a_run_does_not_take_its_own_lock_for_anothers(tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    with locked(output, ONE), pytest.raises(LockedError, match=ONE), locked(output, TWO):
        pass


def test_a_folder_that_a_run_removes_at_its_end_is_made_again(tmp_path, monkeypatch):
    real_renew, left = output_lock._renew, [2]

    def renew(path: str, run_id: str) -> None:
        left[0] -= 1
        if left[0] >= 0:
            (tmp_path / "_locks").rmdir()
            raise FileNotFoundError(path)
        real_renew(path, run_id)

    monkeypatch.setattr(output_lock, "_renew", renew)
    with locked(str(tmp_path), ONE):
        assert [path.stem for path in (tmp_path / "_locks").iterdir()] == [ONE]


def test_of_runs_that_come_at_once_one_is_let_in(tmp_path):
    at_once, decided = threading.Barrier(8), threading.Barrier(8)

    def come(number: int) -> bool:
        at_once.wait()
        try:
            with locked(str(tmp_path / "out"), f"20261101T120000Z-0000000{number}"):
                decided.wait()
        except LockedError:
            decided.wait()
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(come, range(8))) == 1


def test_a_run_on_this_machine_that_is_dead_locks_nobody_out(tmp_path, gone):
    lock_file(tmp_path, pid=gone)
    assert_let_in(tmp_path)


def test_a_process_that_has_the_number_of_a_dead_run_is_not_taken_for_it(tmp_path):
    if output_lock._born(os.getpid()) is None:
        pytest.skip("the system does not tell when a process began")
    lock_file(tmp_path, pid=os.getppid(), born="0")
    assert_let_in(tmp_path)


def test_a_process_that_lives_keeps_its_lock_however_old(tmp_path):
    pid = os.getppid()
    lock_file(tmp_path, 1e6, pid=pid, born=output_lock._born(pid), renewed=0.0)
    assert_refused(tmp_path)


@pytest.mark.parametrize(("age_s", "is_dead"), [(0, False), (300, False), (3600, True)])
@pytest.mark.parametrize("clock_s", [-1e6, -700, 0, 700, 1e6])
def test_a_run_elsewhere_is_dead_when_its_file_has_not_been_renewed_whatever_its_clock_says(
    tmp_path, age_s, is_dead, clock_s
):
    lock_file(tmp_path, age_s, **elsewhere(renewed=time.time() - age_s + clock_s))
    if is_dead:
        assert_let_in(tmp_path)
    else:
        assert_refused(tmp_path)


def test_a_machine_of_the_same_name_is_another(tmp_path, gone):
    lock_file(tmp_path, **elsewhere(host=platform.node(), pid=gone))
    assert_refused(tmp_path)


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (-1e6, elsewhere()),  # its time is in the future: a clock was set back
        (0, {"boot": "an earlier one"}),
        (0, {"processes": "pid:[1]"}),
    ],
)
@pytest.mark.parametrize("is_alive", [False, True])
def test_where_nothing_else_tells_it_is_watched_whether_a_lock_is_renewed(
    tmp_path, short_watch, age_s, said, is_alive
):
    path = lock_file(tmp_path, age_s, **said)
    told: list[str] = []

    def say(line: str) -> None:
        told.append(line)
        if is_alive:
            path.write_text(json.dumps({**json.loads(path.read_text()), "renewed": 1.0}))

    if is_alive:
        with pytest.raises(LockedError, match=OTHER), locked(str(tmp_path), TWO, say):
            pass
    else:
        with locked(str(tmp_path), TWO, say):
            assert not path.exists()
    assert len(told) == 1
    assert f"whether run {OTHER} still renews its lock {path}" in told[0]


def test_a_lock_is_renewed_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "BEAT_S", 0.01)
    with locked(str(tmp_path), ONE):
        path = tmp_path / "_locks" / f"{ONE}.json"
        first = json.loads(path.read_text())["renewed"]
        until = time.monotonic() + 30
        while json.loads(path.read_text())["renewed"] == first:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.parametrize("content", ["", "{}", "no json", "[]", "7", "[" * 9_000])
def test_what_is_no_lock_is_told(tmp_path, content):
    lock_file(tmp_path).write_text(content)
    assert_refused(tmp_path, rf"{OTHER}\.json is not a valid lock")


@pytest.mark.parametrize(
    "said",
    [
        {"pid": "1"},
        {"pid": -1},
        {"pid": 1 << 70},
        {"pid": None},
        {"host": 7},
        {"renewed": "now"},
        {"left_to_engine": "no"},
        {"run_id": ONE},
        {"run_id": "../x"},
        {"more": 1},
    ],
)
def test_a_lock_with_odd_content_is_told(tmp_path, said):
    lock_file(tmp_path, **said)
    assert_refused(tmp_path, rf"{OTHER}\.json is not a valid lock")


def test_names_of_hosts_cannot_write_on_the_terminal(tmp_path):
    lock_file(tmp_path, **elsewhere(host="evil\x1b[2J\nhost"))
    assert_refused(tmp_path)


def test_a_run_that_was_left_to_an_engine_keeps_its_lock(tmp_path):
    lock_file(tmp_path, 1e6, **elsewhere(left_to_engine=True))
    assert_refused(tmp_path, "was left to an engine")


def test_a_lock_that_was_taken_over_is_not_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "BEAT_S", 0.01)
    with locked(str(tmp_path), ONE):
        (tmp_path / "_locks" / f"{ONE}.json").unlink()
        time.sleep(0.1)
        assert not output_lock.is_held(str(tmp_path), ONE)


def test_a_run_that_is_refused_leaves_the_folders_of_the_other(tmp_path):
    (tmp_path / "clips").mkdir()
    with locked(str(tmp_path), ONE):
        with pytest.raises(LockedError), locked(str(tmp_path), TWO):
            pass
        assert (tmp_path / "clips").exists()
