from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from transforms import output_lock
from transforms.output_lock import LockedError, locked


def lock_file(output: Path, **said) -> Path:
    path = output / "_locks" / "other.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"run_id": "other", "pid": 1, "born": None, **said}))
    return path


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path):
    with locked(str(tmp_path / "out"), "one"):
        with (
            pytest.raises(LockedError, match="run one is writing to it"),
            locked(str(tmp_path / "out"), "two"),
        ):
            pass
        assert [path.name for path in (tmp_path / "out" / "_locks").iterdir()] == ["one.json"]
    assert not (tmp_path / "out").exists()
    with locked(str(tmp_path / "out"), "two"):
        pass


def test_a_run_on_this_machine_that_is_dead_locks_nobody_out(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    machine = output_lock._machine()
    path = lock_file(tmp_path, pid=gone.pid, machine=machine, renewed=time.time())
    with locked(str(tmp_path), "two"):
        assert not path.exists()


def test_a_process_that_has_the_number_of_a_dead_run_is_not_taken_for_it(tmp_path):
    if output_lock._born(os.getpid()) is None:
        pytest.skip("the system does not tell when a process began")
    machine, pid = output_lock._machine(), os.getppid()
    path = lock_file(tmp_path, pid=pid, born="0", machine=machine, renewed=time.time())
    with locked(str(tmp_path), "two"):
        assert not path.exists()


def test_a_process_that_lives_keeps_its_lock_however_old(tmp_path):
    machine, pid = output_lock._machine(), os.getppid()
    lock_file(tmp_path, pid=pid, born=output_lock._born(pid), machine=machine, renewed=0)
    with pytest.raises(LockedError, match="run other"), locked(str(tmp_path), "two"):
        pass


@pytest.mark.parametrize(("age_s", "is_dead"), [(0, False), (300, False), (3600, True)])
def test_a_run_elsewhere_is_dead_when_it_has_not_renewed_its_lock(tmp_path, age_s, is_dead):
    path = lock_file(tmp_path, machine="elsewhere pid:[1]", renewed=time.time() - age_s)
    if is_dead:
        with locked(str(tmp_path), "two"):
            assert not path.exists()
        return
    with pytest.raises(LockedError, match="on elsewhere"), locked(str(tmp_path), "two"):
        pass
    assert path.exists()


def test_a_lock_is_renewed_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "BEAT_S", 0.01)
    with locked(str(tmp_path), "one"):
        path = tmp_path / "_locks" / "one.json"
        first = json.loads(path.read_text())["renewed"]
        until = time.monotonic() + 30
        while json.loads(path.read_text())["renewed"] == first:
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.parametrize("content", ["", "{}", "no json"])
def test_what_is_no_lock_is_told(tmp_path, content):
    lock_file(tmp_path).write_text(content)
    with pytest.raises(LockedError, match=r"other\.json is no lock"), locked(str(tmp_path), "two"):
        pass


def test_a_lock_that_was_taken_over_is_not_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(output_lock, "BEAT_S", 0.01)
    with locked(str(tmp_path), "one"):
        (tmp_path / "_locks" / "one.json").unlink()
        time.sleep(0.1)
        assert not output_lock.is_held(str(tmp_path), "one")


def test_a_run_that_is_refused_leaves_the_folders_of_the_other(tmp_path):
    (tmp_path / "clips").mkdir()
    with locked(str(tmp_path), "one"):
        with pytest.raises(LockedError), locked(str(tmp_path), "two"):
            pass
        assert (tmp_path / "clips").exists()
