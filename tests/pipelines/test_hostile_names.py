"""Names, labels and metadata that would act on a terminal, or hold secrets, do neither."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.models import builtin
from earmark.pipelines.cli import main

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = Path(builtin.__file__).with_name("builtin.tflite")
ESC = "\x1b]0;taken\x07\x1b[31m"
ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HUSH = "hush-hush-42"


def is_tame(*shown: str) -> bool:
    return not any(ACTING.search(each) for each in shown)


def test_names_of_files_leave_the_terminal_alone(tmp_path, record, classify):
    archive = tmp_path / f"in{ESC}"
    record(archive / "a.wav", "tone")
    (archive / f"b.{ESC}").touch()
    (archive / "c.\u202etxt").touch()
    (archive / "d\n\x1b.wav").write_text("not audio")
    output = tmp_path / f"out{ESC}\n"
    status, out, err = classify(archive, output)
    assert status == 0, err
    assert is_tame(out, err), (out, err)
    assert r"\x1b[31m" in out
    status, out, err = classify(archive, tmp_path / "dry", "--dry_run", "--all_files")
    assert status == 0, err
    assert is_tame(out, err)


def test_three_hundred_kinds_of_files_are_told_in_a_few_lines(tmp_path, record, classify):
    record(tmp_path / "in" / "a.wav", "tone")
    for number in range(300):
        (tmp_path / "in" / f"x.{number:03}").touch()
    (tmp_path / "in" / "y.000").touch()
    status, out, err = classify(tmp_path / "in", tmp_path / "out")
    assert status == 0, err
    said = " ".join(out.split())
    assert "301 files skipped, not audio by name (2 .000, 1 .001, " in said
    assert "1 .009, and 290 others)" in said
    (run,) = (tmp_path / "out" / "_runs").glob("*.json")
    skipped = json.loads(run.read_text())["listed"]["skipped"]
    assert (len(skipped), sum(skipped.values())) == (101, 301)
    status, _, err = classify(tmp_path / "in" / "x.*[0-9]", tmp_path / "nothing", "--dry_run")
    assert len(err) < 1000


@pytest.fixture
def model(tmp_path) -> Path:
    """A model whose name, labels and metadata act on terminals."""
    labels = [f"{ESC}label {number}\u202e" for number in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    path = tmp_path / "model.tflite"
    texts = {"name": f"n{ESC}", "description": f"d{ESC}\n\u2028é", "author": "\x9b31m"}
    flags = [word for name, text in texts.items() for word in (f"--{name}", text)]
    labelled = ["label", "builtin", "--labels", str(tmp_path / "labels.txt"), "--output", str(path)]
    assert main(["model", *labelled, *flags]) == 0
    return path


def test_labels_and_metadata_leave_the_terminal_alone(tmp_path, record, classify, model, capsys):
    capsys.readouterr()
    assert main(["model", "info", str(model), "--labels"]) == 0
    out, err = capsys.readouterr()
    assert is_tame(out, err)
    assert r"\x1b[31mlabel 3\u202e" in out
    record(tmp_path / "in" / "a.wav", "tone")
    status, out, err = classify(tmp_path / "in", tmp_path / "out", "--model", str(model))
    assert status == 0, err
    assert is_tame(out, err)


def test_facts_as_json_are_whole_and_leave_the_terminal_alone(model, capsys):
    capsys.readouterr()
    assert main(["model", "info", str(model), "--json"]) == 0
    out, _ = capsys.readouterr()
    assert is_tame(out)
    said = json.loads(out)
    assert said["metadata"]["description"] == f"d{ESC}\n\u2028é"
    assert said["heads"][0]["labels"][3] == f"{ESC}label 3\u202e"


def test_a_model_by_a_name_that_acts_is_told_tamely(tmp_path, capsys):
    path = tmp_path / f"{ESC}.tflite"
    shutil.copy(BUILTIN, path)
    assert main(["model", "info", str(path)]) == 0
    assert main(["model", "info", f"{path}x"]) == 2
    assert is_tame(*capsys.readouterr())


def test_secrets_in_options_are_neither_shown_nor_written(tmp_path, record, classify):
    record(tmp_path / "in" / "a.wav", "tone")
    azure = f"DefaultEndpointsProtocol=https;AccountName=me;AccountKey={HUSH}=="
    secret = [
        f"--azure_connection_string={azure}",
        "--environment_config",
        json.dumps({"command": f"x --password {HUSH}", "env": {"A": HUSH}}),
        f"--s3_endpoint_url=https://me:{HUSH}@127.0.0.1:9",
        *("--job_name", f"password={HUSH}"),
    ]
    status, out, err = classify(tmp_path / "in", tmp_path / "out", *secret)
    assert status == 0, err
    assert HUSH not in out + err
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) >= 4
    assert not any(HUSH.encode() in path.read_bytes() for path in written)
    for more in (["--dry_run"], ["--unknwon", f"password={HUSH}"], ["--min_score", f"sig={HUSH}"]):
        _, out, err = classify(tmp_path / "in", tmp_path / "other", *secret, *more)
        assert HUSH not in out + err


def test_a_bug_is_shown_without_secrets():
    script = (
        "from earmark.pipelines import cli\n"
        "def broken(_): raise ZeroDivisionError('with password=HUSH \\x1b[31m')\n"
        "cli._command = lambda _: broken\n"
        "cli.run_command(['classify'])"
    ).replace("HUSH", HUSH)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert HUSH not in done.stderr
    assert is_tame(done.stderr)


def test_what_libraries_log_is_shown_without_secrets(tmp_path):
    script = (
        "import logging; from earmark.pipelines.console import quiet_libraries;"
        "quiet_libraries(False);"
        f"logging.getLogger('x').warning('token={HUSH} \\x1b[31m\\nline two')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "WARNING:x:token=*** \\x1b[31m\nline two\n"
