"""Runs that go on where others ended, however those ended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import soundfile as sf

from tests.pipelines.processes import ROOT, start, wait_for


def heard(rows, output: Path) -> dict[str, str]:
    """The run that each object's row is of, by the object's name."""
    both = [*rows(output, "clips", "clip, run_id"), *rows(output, "failures", "clip, run_id")]
    named = {Path(clip).name: run_id for clip, run_id in both}
    assert len(both) == len(named)
    return named


def detections(rows, output: Path) -> list[tuple]:
    return sorted(rows(output, "detections", "clip, start_s, label, score"))


def test_the_same_command_again_does_nothing_and_says_so(tmp_path, archive, classify, rows):
    assert classify(archive, tmp_path / "out")[0] == 0
    before = sorted(path for path in (tmp_path / "out").rglob("*"))
    status, out, _ = classify(archive, tmp_path / "out")
    assert status == 0
    assert "Nothing to do: 4 objects already processed" in out
    assert sorted(path for path in (tmp_path / "out").rglob("*")) == before


def test_nothing_is_opened_of_what_is_done(tmp_path, archive, classify, monkeypatch):
    assert classify(archive, tmp_path / "out")[0] == 0

    def opened(*_args, **_kwargs):
        raise AssertionError("something was opened")

    monkeypatch.setattr("earmark.transforms.decoding.stage.local_copy", opened)
    monkeypatch.setattr("earmark.transforms.decoding.pool.DecoderPool.decode", opened)
    monkeypatch.setattr("earmark.transforms.decoding.pool.DecoderPool.length", opened)
    assert classify(archive, tmp_path / "out")[0] == 0
    (archive / "a.wav").touch()
    with pytest.raises(AssertionError, match="something was opened"):
        classify(archive, tmp_path / "out")


def test_what_is_new_is_added(tmp_path, archive, classify, record, rows):
    classify(archive, tmp_path / "out")
    first = heard(rows, tmp_path / "out")
    record(archive / "new.wav", "tone")
    status, out, _ = classify(archive, tmp_path / "out")
    assert status == 0
    assert "1 clip scored" in out
    assert "4 already processed by earlier runs" in out
    second = heard(rows, tmp_path / "out")
    assert {name: second[name] for name in first} == first
    assert second["new.wav"] not in first.values()


def test_what_has_changed_is_heard_anew_and_its_old_rows_are_gone(
    tmp_path, archive, classify, record, rows
):
    classify(archive, tmp_path / "out")
    first = heard(rows, tmp_path / "out")
    record(archive / "b.wav", "tone", seconds=9)
    record(archive / "broken.wav", "hum")
    status, out, _ = classify(archive, tmp_path / "out")
    assert status == 0
    assert "2 processed again, having changed since an earlier run" in out
    second = heard(rows, tmp_path / "out")
    assert {name for name in first if second[name] != first[name]} == {"b.wav", "broken.wav"}
    assert rows(tmp_path / "out", "failures") == []
    lengths = dict(rows(tmp_path / "out", "clips", "clip, duration_s"))
    assert lengths[str(archive / "b.wav")] == 9

    classify(archive, tmp_path / "anew")
    assert detections(rows, tmp_path / "out") == detections(rows, tmp_path / "anew")


@pytest.mark.parametrize("in_a_round", [1, 3, 100])
def test_what_lay_in_one_file_and_is_heard_anew_in_several_rounds_is_not_doubled(
    tmp_path, archive, classify, rows, monkeypatch, in_a_round
):
    classify(archive, tmp_path / "out")
    before = heard(rows, tmp_path / "out"), detections(rows, tmp_path / "out")
    monkeypatch.setattr("earmark.pipelines.engines.local.ROUND_OBJECTS", in_a_round)
    for path in archive.iterdir():
        path.touch()
    assert classify(archive, tmp_path / "out")[0] == 0
    anew = heard(rows, tmp_path / "out")
    assert anew.keys() == before[0].keys()
    assert not set(anew.values()) & set(before[0].values())
    assert detections(rows, tmp_path / "out") == before[1]
    assert "Nothing to do" in classify(archive, tmp_path / "out")[1]


def test_what_runs_have_written_is_not_heard_when_the_output_lies_in_the_input(
    tmp_path, archive, classify, rows
):
    assert classify(archive, archive / "out", "--all_files")[0] == 0
    assert len(heard(rows, archive / "out")) == 4
    assert "Nothing to do: 4 objects" in classify(archive, archive / "out", "--all_files")[1]


def test_recordings_in_folders_of_the_output_are_processed_like_others(
    tmp_path, archive, classify, record, rows
):
    assert classify(archive, archive)[0] == 0
    for folder in ("clips", "events", "_runs", "_staging-mine"):
        record(archive / folder / "mine.wav", "tone")
    status, out, _ = classify(archive, archive)
    assert status == 0
    assert "4 clips scored" in out
    assert "written by earmark" in out


@pytest.mark.parametrize("table", ["clips", "failures"])
@pytest.mark.parametrize("options", [(), ("--dry_run",)])
def test_a_table_that_is_broken_is_told_in_a_line(tmp_path, archive, classify, table, options):
    classify(archive, tmp_path / "out")
    (broken,) = (tmp_path / "out" / table).iterdir()
    broken.write_bytes(b"PAR1 and no more")
    status, _, err = classify(archive, tmp_path / "out", *options)
    assert status == 2
    assert f"{broken} cannot be read: " in err.splitlines()[-1]


def test_what_was_deleted_keeps_its_rows(tmp_path, archive, classify, rows):
    classify(archive, tmp_path / "out")
    (archive / "a.wav").unlink()
    assert classify(archive, tmp_path / "out")[0] == 0
    assert "a.wav" in heard(rows, tmp_path / "out")


def test_what_could_not_be_read_is_tried_again_what_is_damaged_only_when_asked(
    tmp_path, archive, classify, record, rows
):
    (archive / "away.wav").symlink_to(tmp_path / "not yet mounted.wav")
    classify(archive, tmp_path / "out")
    first = heard(rows, tmp_path / "out")

    classify(archive, tmp_path / "out")
    second = heard(rows, tmp_path / "out")
    assert {name for name in first if second[name] != first[name]} == {"away.wav"}

    record(tmp_path / "not yet mounted.wav", "tone")
    assert classify(archive, tmp_path / "out", "--retry_failed")[0] == 0
    third = heard(rows, tmp_path / "out")
    assert {name for name in first if third[name] != second[name]} == {"away.wav", "broken.wav"}
    reasons = rows(tmp_path / "out", "failures", "clip, reason")
    assert [Path(clip).name for clip, _ in reasons] == ["broken.wav"]


def test_rows_made_in_another_way_are_not_mixed_with_these(tmp_path, archive, classify, rows):
    classify(archive, tmp_path / "out")
    before = detections(rows, tmp_path / "out")
    status, _, err = classify(archive, tmp_path / "out", "--min_score", "0.5")
    assert status == 2
    assert "holds rows made with min_score 0.1, not 0.5: run `earmark rederive " in err
    assert detections(rows, tmp_path / "out") == before


def test_what_rows_do_not_depend_on_may_change(tmp_path, archive, classify):
    classify(archive, tmp_path / "out")
    options = ["--span_s", "60", "--direct_num_workers", "1", "--commit_every_s", "1"]
    assert classify(archive, tmp_path / "out", *options)[0] == 0


def test_rounds_are_committed_one_by_one(tmp_path, archive, classify, rows, monkeypatch):
    monkeypatch.setattr("earmark.pipelines.engines.local.ROUND_OBJECTS", 1)
    assert classify(archive, tmp_path / "out")[0] == 0
    (run,) = (tmp_path / "out" / "_runs").glob("*.json")
    said = json.loads(run.read_text())
    assert said["rounds"] == 4
    assert said["listed"]["objects"] == 4
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 4

    classify(archive, tmp_path / "whole")
    assert detections(rows, tmp_path / "out") == detections(rows, tmp_path / "whole")


def test_a_round_that_fails_leaves_those_before_it(tmp_path, archive, classify, rows, monkeypatch):
    monkeypatch.setattr("earmark.pipelines.engines.local.ROUND_OBJECTS", 2)
    with pytest.MonkeyPatch.context() as patch:
        from earmark.transforms.output import committing

        commit = committing.commit_round

        def second_fails(*arguments):
            if arguments[5] == "00002":
                raise OSError(28, "No space left on device")
            return commit(*arguments)

        patch.setattr(committing, "commit_round", second_fails)
        status, _, err = classify(archive, tmp_path / "out")
    assert status == 1
    assert err.splitlines()[-1] == (
        "earmark: [Errno 28] No space left on device; 2 objects are committed; "
        "the same command resumes from there"
    )
    first = heard(rows, tmp_path / "out")
    assert len(first) == 2
    assert classify(archive, tmp_path / "out")[0] == 0
    second = heard(rows, tmp_path / "out")
    assert len(second) == 4
    assert {name: second[name] for name in first} == first


# a process of its own, and signals


def long_archive(folder: Path, clips: int, record) -> Path:
    """Enough to take some seconds, in clips of half a minute."""
    record(folder / "0.wav", "tone", "hum", "tone", "hum", seconds=8)
    for number in range(1, clips):
        os.link(folder / "0.wav", folder / f"{number}.wav")
    return folder


def halted_when(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Halt a run in its midst, as soon as something holds: SIGCONT has it go on."""
    wait_for(condition, process)
    process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_run_in_good_order_and_the_next_goes_on(
    tmp_path, record, classify, rows, number, status
):
    archive, output = long_archive(tmp_path / "in", 80, record), tmp_path / "out"
    process = start(archive, output, "--commit_every_s", "0.5")
    halted_when(lambda: list((output / "clips").glob("*.parquet")), process)
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "finishing the recordings in progress" in err
    assert "objects are committed; the same command resumes from there" in err
    assert not list(output.glob("_staging-*"))
    assert not (output / "_locks").exists()
    first = heard(rows, output)
    assert 0 < len(first) < 80

    assert classify(archive, output)[0] == 0
    second = heard(rows, output)
    assert len(second) == 80
    assert {name: second[name] for name in first} == first


@pytest.mark.parametrize("stdout", ["/dev/full", "closed"])
def test_a_summary_that_cannot_be_shown_does_not_fail_the_run(tmp_path, archive, rows, stdout):
    reading, writing = os.pipe()
    os.close(reading)
    closed = os.fdopen(writing, "w")
    with closed, Path("/dev/full").open("w") as full:
        shown_in = full if stdout == "/dev/full" else closed
        done = subprocess.run(
            [sys.executable, "-m", "earmark", "classify", "--model", "builtin"]
            + ["--input", str(archive), "--output", str(tmp_path / "out")],
            cwd=ROOT,
            stdout=shown_in,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "cannot print the summary" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(heard(rows, tmp_path / "out")) == 4


def test_an_output_that_is_a_file_or_has_no_proper_name_is_refused(tmp_path, archive, classify):
    (tmp_path / "file").touch()
    status, _, err = classify(archive, tmp_path / "file")
    assert (status, "is a file; name a folder" in err) == (2, True)
    status, _, err = classify(archive, tmp_path / "x\udcff")
    assert (status, "its name is not UTF-8" in err) == (2, True)


def test_a_second_run_into_one_folder_is_refused(tmp_path, record, classify):
    archive, output = long_archive(tmp_path / "in", 20, record), tmp_path / "out"
    process = start(archive, output)
    halted_when(lambda: list((output / "_locks").glob("*.json")), process)
    status, _, err = classify(archive, output)
    assert status == 2
    assert "is writing to it (process" in err
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=120)
    assert process.returncode == 0
    assert classify(archive, output)[0] == 0


def wait_until_new(
    pattern: str, output: Path, there: set[Path], process: subprocess.Popen[str]
) -> None:
    """Wait until a run has written something, or has ended since nothing was left to do."""
    wait_for(lambda: set(output.glob(pattern)) - there or process.poll() is not None, process)


def test_kill_9_at_any_moment_costs_no_row_and_doubles_none(tmp_path, record, classify, rows):
    """A few moments here; `make fuzz` kills fifty times."""
    kills = int(os.environ.get("EARMARK_KILLS", "3"))
    archive, output = long_archive(tmp_path / "in", 20 * kills, record), tmp_path / "out"
    (archive / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    rng = random.Random(1)
    committed: set[tuple[str, str]] = set()
    for number in range(kills):
        there = set(output.rglob("*"))
        begins = ("clips/*.parquet", "_locks/*.json", "_staging-*/*/*.parquet")[number % 3]
        process = start(archive, output, "--commit_every_s", "0.3")
        wait_until_new(begins, output, there, process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        if list((output / "clips").glob("*.parquet")):
            now = set(heard(rows, output).items())
            assert committed <= now  # what was committed is never heard again
            committed = now
    assert classify(archive, output)[0] == 0
    assert len(heard(rows, output)) == 20 * kills + 1
    assert committed <= set(heard(rows, output).items())
    assert classify(archive, tmp_path / "whole")[0] == 0
    assert detections(rows, output) == detections(rows, tmp_path / "whole")
    assert not list(output.glob("_staging-*"))


def test_a_changed_file_in_a_long_archive_costs_only_itself(tmp_path, record, classify, rows):
    archive, output = long_archive(tmp_path / "in", 12, record), tmp_path / "out"
    classify(archive, output)
    samples, rate = sf.read(archive / "0.wav")
    (archive / "7.wav").unlink()
    sf.write(archive / "7.wav", samples[: rate * 3], rate)
    status, out, _ = classify(archive, output)
    assert (status, "1 clip scored" in out) == (0, True)
    assert len(heard(rows, output)) == 12
