"""A watch on this machine: what comes while it runs is heard once, however it is ended."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from earmark.pipelines.engines import engine_of
from earmark.pipelines.errors import UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.pipelines.options.model import ClassifyOptions
from earmark.pipelines.runs import watches
from earmark.transforms.storage.paths import ListingError
from tests.pipelines.processes import wait_for


@pytest.fixture
def watch(classify_apart) -> Callable[[], subprocess.Popen[str]]:
    """Starts a watch of tmp_path / "in"."""
    return lambda: classify_apart("--watch", "--window_s", "1")


def committed(rows, output: Path) -> Counter[str]:
    """How often each recording has a row, by its name."""
    if not list(output.glob("failures/*.parquet")):
        return Counter()
    both = [*rows(output, "clips", "clip"), *rows(output, "failures", "clip")]
    return Counter(Path(clip).name for (clip,) in both)


def wait_for_rows(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    wait_for(condition, process, look_every_s=0.2)


def test_a_watch_hears_what_comes_and_ends_whole(tmp_path, record, rows, watch):
    (tmp_path / "in").mkdir()
    output = tmp_path / "out"
    process = watch()
    wait_for(lambda: list(output.glob("_locks/*")), process)
    record(tmp_path / "in" / "a.wav", "tone")
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    wait_for_rows(lambda: len(committed(rows, output)) == 2, process)
    record(tmp_path / "in" / "deeper" / "b.flac", "hum")
    wait_for_rows(lambda: len(committed(rows, output)) == 3, process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "2 clips scored" in out
    assert committed(rows, output) == {"a.wav": 1, "broken.wav": 1, "b.flac": 1}
    (record_file,) = (output / "_runs").glob("*.json")
    said = json.loads(record_file.read_text())
    assert (said["listed"]["objects"], said["totals"]["failures"]) == (3, {"not_audio": 1})
    assert not list(output.glob("_locks*")) + list(output.glob("_staging*"))


def test_a_watch_that_was_killed_goes_on_and_hears_anew_what_has_changed(
    tmp_path, record, rows, watch
):
    output = tmp_path / "out"
    for name in ("a.wav", "b.wav"):
        record(tmp_path / "in" / name, "tone")
    process = watch()
    wait_for_rows(lambda: len(committed(rows, output)) == 2, process)
    process.kill()
    process.communicate()

    record(tmp_path / "in" / "c.wav", "hum")
    process = watch()
    wait_for_rows(lambda: len(committed(rows, output)) == 3, process)
    record(tmp_path / "in" / "a.wav", "siren", seconds=5)
    wait_for_rows(lambda: ("siren",) in rows(output, "events", "label"), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert committed(rows, output) == {"a.wav": 1, "b.wav": 1, "c.wav": 1}
    lengths = {
        Path(clip).name: length for clip, length in rows(output, "clips", "clip, duration_s")
    }
    assert lengths == {"a.wav": 5, "b.wav": 3, "c.wav": 3}


def test_a_recording_that_is_still_being_written_waits(tmp_path, record, rows, watch):
    output, growing = tmp_path / "out", tmp_path / "in" / "growing.wav"
    whole = record(tmp_path / "whole.wav", "tone", "hum", "siren", seconds=4).read_bytes()
    record(tmp_path / "in" / "other.wav", "tone")
    growing.write_bytes(whole[:1000])
    process = watch()
    until = time.monotonic() + 60
    size = 1000
    while not committed(rows, output) and time.monotonic() < until:
        size += 1000
        growing.write_bytes(whole[:size])
        time.sleep(0.2)
    assert committed(rows, output) == {"other.wav": 1}
    growing.write_bytes(whole)
    wait_for_rows(lambda: len(committed(rows, output)) == 2, process)
    assert rows(output, "clips", "reason") == [(None,), (None,)]


@pytest.mark.parametrize(
    ("asked", "message"), [({"retry_failed": True}, "--retry_failed"), ({"num_shards": 3}, "3")]
)
def test_what_a_watch_on_an_engine_does_not_do_is_refused(asked, message):
    how = {"retry_failed": False, "num_shards": None, **asked}
    with pytest.raises(UsageError, match=message):
        engine_of(["--runner=FlinkRunner"]).check_watch(None, **how)
    engine_of([]).check_watch(None, **how)


def test_what_is_left_out_is_counted_once_however_many_windows_there_are(
    tmp_path, record, rows, watch
):
    output = tmp_path / "out"
    record(tmp_path / "in" / "a.wav", "tone")
    (tmp_path / "in" / "notes.txt").write_text("by the pond")
    process = watch()
    wait_for_rows(lambda: len(committed(rows, output)) == 1, process)
    record(tmp_path / "in" / "b.wav", "hum")
    (tmp_path / "in" / "more.txt").write_text("by the brook")
    wait_for_rows(lambda: len(committed(rows, output)) == 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    (record_file,) = (output / "_runs").glob("*.json")
    assert json.loads(record_file.read_text())["listed"]["skipped"] == {".txt": 2}


def test_a_look_that_fails_does_not_end_a_watch(tmp_path, monkeypatch, capsys):
    planner = SimpleNamespace(look=Mock())
    interrupts = Interrupts()
    monkeypatch.setattr(watches, "Planner", lambda _: nullcontext(planner))
    monkeypatch.setattr(watches, "closing", lambda each: each)
    planner.look.side_effect = [ListingError("gs://b is not there"), KeyboardInterrupt]
    options = ClassifyOptions(input=("in",), output="out", model="builtin", watch=True, window_s=1)
    run = SimpleNamespace(options=options, settings=Mock(run_id="R"), engine=engine_of([]))
    with pytest.raises(KeyboardInterrupt):
        watches.watch(run, interrupts)
    told = "looking for new recordings failed, and will be tried again: gs://b is not there"
    assert told in capsys.readouterr().err
