"""The whole command, from recordings on disk to rows that DuckDB reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf
from ai_edge_litert.interpreter import Interpreter
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from earmark.models.classifier import AudioClassifier
from earmark.pipelines.cli import main

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = ROOT / "models" / "builtin" / "builtin.tflite"


def test_an_archive_of_known_content_comes_out_as_it_is(tmp_path, record, classify, rows):
    archive, output = tmp_path / "archive", tmp_path / "labels"
    record(archive / "siren_20240528_100000.wav", "siren", rate=44_100, channels=2)
    record(archive / "deep" / "er" / "hum.flac", "hum", rate=22_050)
    record(archive / "chord.ogg", "chord", rate=48_000, channels=2)
    record(archive / "tone.mp3", "tone", rate=44_100, seconds=5)
    cut = record(archive / "cut.wav", "noise", seconds=10)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (archive / "text.wav").write_text("this is no recording")
    (archive / "read me.txt").write_text("nor is this")

    status, out, err = classify(archive, output, "--min_score", "0.5")

    assert status == 0
    assert longest_labels(rows, output) == {
        "siren_20240528_100000.wav": "siren",
        "hum.flac": "hum",
        "chord.ogg": "chord",
        "tone.mp3": "tone",
        "cut.wav": "noise",
    }
    (partial,) = rows(output, "clips", "reason, duration_s, message", "where status = 'partial'")
    assert partial[:2] == ("truncated", pytest.approx(5, abs=0.01))
    assert "10.000" in partial[2]
    assert rows(output, "failures", "clip, stage, reason") == [
        (str(archive / "text.wav"), "decode", "not_audio")
    ]
    assert "5 clips scored" in out
    assert "1 failed (1 not_audio)" in out
    assert "1 file skipped" in out
    assert f"'{output}/events/*.parquet'" in out
    assert "Traceback" not in err
    assert "WARNING" not in err


def longest_labels(rows, output: Path) -> dict[str, str]:
    """The label that was heard for the longest time in each clip."""
    by_length = "arg_max(label, end_s - start_s)"
    heard = rows(output, "events", f"clip, {by_length}", "group by clip")
    return {Path(clip).name: label for clip, label in heard}


def test_rows_are_the_scores_of_the_interpreter_on_the_samples_of_the_file(
    tmp_path, record, classify, rows
):
    path = record(tmp_path / "a.wav", "siren", "knocking", seconds=4.1, subtype="FLOAT")
    samples, _ = sf.read(path, dtype="float32")
    interpreter = Interpreter(str(BUILTIN))
    interpreter.allocate_tensors()
    labels = AudioClassifier.from_path(BUILTIN).labels
    expected = []
    for start in range(0, len(samples), 15_600):
        frame = samples[start : start + 15_600]
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"],
            np.pad(frame, (0, 15_600 - len(frame))),
        )
        interpreter.invoke()
        scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        end = min(start + 15_600, len(samples))
        expected += [
            (start / 16_000, end / 16_000, labels[i], i, float(scores[i]))
            for i in np.flatnonzero(scores >= np.float32(0.25))
        ]

    classify(path, tmp_path / "out", "--min_score", "0.25")

    got = rows(tmp_path / "out", "detections", "start_s, end_s, label, label_index, score")
    assert sorted(got) == sorted(expected)


def test_workers_shards_and_order_do_not_change_the_rows(tmp_path, record, classify, rows):
    sounds = ("siren", "hum", "tone", "noise", "clicks", "chord")
    for index, sound in enumerate(sounds):
        record(tmp_path / "in" / f"{index}.wav", sound, "silence", seconds=2 + index, rate=8000)
    results = []
    for number, options in enumerate(
        (
            ["--direct_num_workers", "1"],
            ["--direct_num_workers", "3", "--num_shards", "4"],
        )
    ):
        output = tmp_path / f"out{number}"
        assert classify(tmp_path / "in", output, *options)[0] == 0
        results.append(
            {
                table: sorted(
                    map(
                        repr, rows(output, table, "* exclude (run_id)" if table == "clips" else "*")
                    )
                )
                for table in ("detections", "events", "clips")
            }
        )
    assert results[0] == results[1]
    assert len(list((tmp_path / "out1" / "events").iterdir())) == 4


NAMES = (
    *("with space.wav", 'it\'s "quoted".wav', "frosch 🐸.wav", "two\nlines.wav", "star*[1]?.wav"),
    *("100%25.wav", "-dash.wav", "back\\slash.wav", "#hash&amp;.wav"),
)


def test_any_name_is_heard_and_kept_exactly(tmp_path, record, classify, rows):
    plain = record(tmp_path / "plain.wav", "tone")
    (tmp_path / "in").mkdir()
    paths = [Path(shutil.copy(plain, tmp_path / "in" / name)) for name in NAMES]
    expected = sorted((str(path),) for path in paths)
    for number, given_as in enumerate([tmp_path / "in", paths]):
        output = tmp_path / f"out{number}"
        assert classify(given_as, output)[0] == 0
        assert sorted(rows(output, "clips", "clip")) == expected
        assert sorted(rows(output, "detections", "distinct clip")) == expected


def test_a_name_that_is_no_text_is_heard(tmp_path, record, classify, rows):
    path = record(tmp_path / "in" / "plain.wav", "tone")
    os.rename(path, os.fsencode(tmp_path / "in") + b"/caf\xe9.wav")
    assert classify(tmp_path / "in", tmp_path / "out")[0] == 0
    assert rows(tmp_path / "out", "clips", "clip") == [(f"file://{tmp_path}/in/caf%E9.wav",)]


@pytest.mark.parametrize("name", ["out[1]", "out?", "o*t", 'o\'ut "q"'])
def test_any_name_of_the_output_is_kept_exactly(tmp_path, record, classify, name):
    path = record(tmp_path / "a.wav", "tone")
    output = tmp_path / name
    assert classify(path, output)[0] == 0
    assert {folder.name for folder in output.iterdir()} == {
        *("detections", "events", "clips", "failures", "_runs")
    }
    status, out, _ = classify(path, output)
    assert (status, "Nothing to do: 1 object already" in out) == (0, True)


def test_files_of_any_name_are_heard_when_asked_for(tmp_path, record, classify, rows):
    record(tmp_path / "in" / "rec.dat", "tone", format="WAV")
    (tmp_path / "in" / "note.txt").write_text("text")
    assert classify(tmp_path / "in", tmp_path / "out", "--all_files")[0] == 0
    assert rows(tmp_path / "out", "clips", "clip") == [(str(tmp_path / "in" / "rec.dat"),)]
    assert rows(tmp_path / "out", "failures", "reason") == [("not_audio",)]


def test_an_object_that_two_patterns_match_is_heard_once(tmp_path, record, classify, rows):
    path = record(tmp_path / "in" / "a.wav", "tone")
    patterns = [tmp_path / "in", tmp_path / "in" / "*.wav", path, tmp_path / "in" / "**"]
    assert classify(patterns, tmp_path / "out")[0] == 0
    assert rows(tmp_path / "out", "clips", "clip") == [(str(path),)]


def test_a_manifest_names_what_to_hear(tmp_path, record, classify, rows):
    there = record(tmp_path / "in" / "a.wav", "tone")
    gone = tmp_path / "in" / "gone.wav"
    pq.write_table(pa.table({"uri": [str(there), str(gone)]}), tmp_path / "list.parquet")
    assert classify(tmp_path / "list.parquet", tmp_path / "out")[0] == 0
    assert rows(tmp_path / "out", "clips", "clip") == [(str(there),)]
    assert rows(tmp_path / "out", "failures", "clip, stage, reason") == [(str(gone), "read", "io")]


def test_what_happens_to_a_listed_object_while_running_costs_only_itself(
    tmp_path, record, classify, rows
):
    record(tmp_path / "in" / "good.wav", "tone")
    (tmp_path / "in" / "dangling.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "in" / "folder.wav").mkdir()
    record(tmp_path / "in" / "folder.wav" / "inner.wav", "hum")
    assert classify(tmp_path / "in", tmp_path / "out")[0] == 0
    assert len(rows(tmp_path / "out", "clips")) == 2
    assert rows(tmp_path / "out", "failures", "clip, reason") == [
        (str(tmp_path / "in" / "dangling.wav"), "io")
    ]


def test_samples_that_are_no_numbers_cost_their_frames(tmp_path, classify, rows):
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000 * 6).astype(np.float32)
    samples[20_000] = np.nan
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert classify(tmp_path / "a.wav", tmp_path / "out", "--min_score", "0")[0] == 0
    ((status, reason, message, frames),) = rows(
        tmp_path / "out", "clips", "status, reason, message, frames"
    )
    assert (status, reason, frames) == ("partial", "invalid_samples", 7)
    assert "1 of 7 frames" in message
    starts = {
        round(start / 0.975, 6) for (start,) in rows(tmp_path / "out", "detections", "start_s")
    }
    assert starts == {0, 2, 3, 4, 5, 6}


def test_the_time_of_recording_dates_detections(tmp_path, record, classify, rows):
    record(tmp_path / "in" / "rec-28.05.24_1200.wav", "tone", seconds=2)
    options = ["--time_pattern", "rec-%d.%m.%y_%H%M", "--time_zone", "Europe/Berlin"]
    assert classify(tmp_path / "in", tmp_path / "out", *options)[0] == 0
    ((recorded_at, source),) = rows(tmp_path / "out", "clips", "recorded_at, recorded_at_source")
    assert (recorded_at, source) == (datetime(2024, 5, 28, 10, tzinfo=timezone.utc), "name")
    seconds = rows(tmp_path / "out", "detections", "start_s, epoch(start_time)")
    assert seconds
    for start_s, moment_s in seconds:
        assert moment_s == pytest.approx(recorded_at.timestamp() + start_s)


def test_overlapping_frames_and_the_best_few(tmp_path, record, classify, rows):
    path = record(tmp_path / "a.wav", "tone", seconds=3)
    options = ["--hop_s", "0.5", "--top_k", "1", "--min_score", "0"]
    assert classify(path, tmp_path / "out", *options)[0] == 0
    got = rows(tmp_path / "out", "detections", "start_s, end_s", "order by start_s")
    # the last frame is the first to reach the end, at 3 s
    assert got == [(i * 0.5, min(i * 0.5 + 0.975, 3.0)) for i in range(6)]


def test_the_runs_file_says_what_was_done(tmp_path, record, classify):
    path = record(tmp_path / "a.wav", "tone")
    assert classify(path, tmp_path / "out", "--min_score", "0.3")[0] == 0
    (run,) = (tmp_path / "out" / "_runs").iterdir()
    said = json.loads(run.read_text())
    assert said["run_id"] == run.stem
    assert said["options"]["min_score"] == 0.3
    assert said["model"]["name"] == "builtin"
    assert said["listed"]["objects"] == said["totals"]["clips"] == 1
    assert said["versions"]["apache-beam"]
    assert said["started_at"] <= said["finished_at"]


def test_the_module_is_the_command(tmp_path, record, rows):
    path = record(tmp_path / "a.wav", "tone")
    done = subprocess.run(
        [sys.executable, "-m", "earmark", "classify", "--model", "builtin"]
        + ["--input", path, "--output", tmp_path / "out"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 clip scored" in done.stdout
    assert "WARNING" not in done.stderr
    assert len(rows(tmp_path / "out", "clips")) == 1


def test_a_run_interrupted_before_it_hears_anything_leaves_nothing(
    tmp_path, record, classify, monkeypatch
):
    path = record(tmp_path / "a.wav", "tone")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("apache_beam.Pipeline.run", interrupted)
    status, _, err = classify(path, tmp_path / "out")
    assert status == 130
    assert err.endswith("interrupted; nothing was committed\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_trouble_with_the_output_is_one_line(tmp_path, record, classify, monkeypatch, workers):
    path = record(tmp_path / "a.wav", "tone")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("earmark.transforms.output.writing.write_table", full)
    status, _, err = classify(path, tmp_path / "out", "--direct_num_workers", workers)
    assert status == 1
    assert err.splitlines()[-1] == (
        "earmark: [Errno 28] No space left on device; nothing was committed"
    )
    assert "Traceback" not in err


AILMENTS = {
    "none": lambda content, rng: content,
    "empty": lambda content, rng: b"",
    "cut": lambda content, rng: content[: rng.integers(len(content))],
    "text": lambda content, rng: b"no sound here\n" * 20,
    "random": lambda content, rng: rng.bytes(3000),
    "flipped": lambda content, rng: _flipped(content, rng, len(content)),
    "bad header": lambda content, rng: _flipped(content, rng, 60),
}


def _flipped(content: bytes, rng: np.random.Generator, within: int) -> bytes:
    changed = bytearray(content)
    for position in rng.integers(within, size=8):
        changed[position] ^= 1 << rng.integers(8)
    return bytes(changed)


@settings(
    max_examples=8,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ailments=st.lists(st.sampled_from(sorted(AILMENTS)), min_size=1, max_size=12),
    seed=st.integers(0, 10_000),
)
def test_every_listed_object_comes_out_exactly_once_whatever_is_wrong_with_it(
    tmp_path_factory, ailments, seed, rows
):
    folder = tmp_path_factory.mktemp("archive")
    rng = np.random.default_rng(seed)
    kinds = [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3"), ("aiff", "AIFF")]
    listed = []
    for index, ailment in enumerate(ailments):
        suffix, kind = kinds[rng.integers(len(kinds))]
        path = folder / f"{index}.{suffix}"
        sf.write(path, rng.normal(0, 0.1, (12_000, 2)), 16_000, format=kind)
        path.write_bytes(AILMENTS[ailment](path.read_bytes(), rng))
        listed.append((str(path), ailment))

    output = folder / "out"
    status = main(
        ["classify", "--input", str(folder), "--output", str(output), "--model", "builtin"]
    )
    clips = [clip for (clip,) in rows(output, "clips", "clip")]
    failures = [clip for (clip,) in rows(output, "failures", "clip")]
    assert status == (0 if clips else 1)
    assert sorted(clips + failures) == sorted(path for path, _ in listed)
    assert {path for path, ailment in listed if ailment == "none"} <= set(clips)
    assert {path for path, ailment in listed if ailment in ("empty", "text", "random")} <= set(
        failures
    )


def test_a_manifest_may_name_its_recordings_in_a_column_of_another_name(
    tmp_path, classify, record, rows
):
    record(tmp_path / "a.wav", "tone")
    record(tmp_path / "b.wav", "hum")
    manifest = tmp_path / "cards.csv"
    manifest.write_text("Site;File Path\r\npond;a.wav\r\nwood;b.wav\r\n", encoding="utf-16")
    status, _, err = classify(manifest, tmp_path / "out")
    assert (status, "--uri_column names another" in err) == (2, True)
    status, *_ = classify(manifest, tmp_path / "out", "--uri_column", "file path")
    assert status == 0
    assert rows(tmp_path / "out", "clips", "clip", "order by clip") == [
        (str(tmp_path / "a.wav"),),
        (str(tmp_path / "b.wav"),),
    ]
