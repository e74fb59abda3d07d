"""Whole runs from Python, in a process that has more to do than this."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import earmark
from earmark.pipelines.console import screen
from earmark.pipelines.library import notebooks, runs
from earmark.pipelines.screen import progress
from earmark.shared import _REGISTRY
from earmark.transforms import workers


@pytest.fixture
def archive(tmp_path, record) -> Path:
    for number in range(4):
        record(tmp_path / "in" / f"{number}.wav", "tone", "siren")
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    return tmp_path / "in"


def test_a_run_says_what_came_of_it(tmp_path, archive, rows):
    output = tmp_path / "out"
    done = earmark.classify(input=archive, output=output, model="builtin")
    assert done.output == str(output)
    assert (done.clips, done.failed, done.failures) == (4, 1, {"not_audio": 1})
    assert (done.audio_s, done.processed_before, done.partial) == (24.0, 0, {})
    assert done.labels["siren"] == 4
    assert list(done.labels.values()) == sorted(done.labels.values(), reverse=True)
    for table in ("detections", "events"):
        assert [(getattr(done, table),)] == rows(output, table, "count(*)")
    assert (output / "_runs" / f"{done.run_id}.json").is_file()
    assert done.read()["clips"].count() == 4


def test_what_was_heard_is_not_heard_again(tmp_path, archive, record):
    how = {"input": str(archive), "output": str(tmp_path / "out"), "model": "builtin"}
    earmark.classify(**how)
    again = earmark.classify(**how)
    assert (again.run_id, again.clips, again.processed_before) == (None, 0, 5)
    record(archive / "new.wav", "hum")
    more = earmark.classify(**how)
    assert (more.clips, more.processed_before, more.read()["clips"].count()) == (1, 5, 5)


def test_the_rows_are_those_of_the_command(tmp_path, archive, classify, rows):
    asked = {"min_score": 0.3, "top_k": 2, "hop_s": 0.5}
    flags = [f"--{name}={value}" for name, value in asked.items()]
    assert classify(archive, tmp_path / "command", *flags)[0] == 0
    earmark.classify(input=archive, output=tmp_path / "python", model="builtin", **asked)
    for table in ("detections", "events"):
        order = "order by clip, label, start_s"
        assert rows(tmp_path / "python", table, "*", order) == rows(
            tmp_path / "command", table, "*", order
        )


def test_embed_writes_embeddings_alone(tmp_path, archive):
    done = earmark.embed(input=archive, output=tmp_path / "out", model="builtin")
    assert done.embeddings == 4 * 7
    assert list(done.read()) == ["embeddings", "clips", "failures"]


def test_options_may_come_from_a_file(tmp_path, archive):
    config = tmp_path / "run.yaml"
    config.write_text(f"input: {archive}\nmodel: builtin\nmin_score: 0.9\ntop_k: 1\n")
    done = earmark.classify(config=config, output=tmp_path / "out", min_score=0.5)
    assert done.clips == 4
    assert done.read().settings()["min_score"] == "0.5"
    assert done.read().settings()["top_k"] == "1"


def test_it_runs_in_threads(tmp_path, archive):
    done: dict[int, earmark.RunSummary] = {}

    def run(number: int) -> None:
        output = tmp_path / f"out{number}"
        done[number] = earmark.classify(input=archive, output=output, model="builtin")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done[number].clips for number in range(2)] == [4, 4]


def test_an_interrupt_commits_what_was_heard_and_is_raised(tmp_path, record, monkeypatch):
    for number in range(100):
        record(tmp_path / "in" / f"{number}.wav", "tone", seconds=1)
    how = {"input": tmp_path / "in", "output": tmp_path / "out", "model": "builtin"}
    predict = earmark.AudioClassifier.predict

    def interrupting(self, frames):
        monkeypatch.setattr(earmark.AudioClassifier, "predict", predict)
        os.kill(os.getpid(), signal.SIGINT)
        return predict(self, frames)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(earmark.AudioClassifier, "predict", interrupting)
        with pytest.raises(
            KeyboardInterrupt, match=r"\d+ objects? (is|are) committed; the same command"
        ):
            earmark.classify(**how, beam={"direct_num_workers": 1})
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    rest = earmark.classify(**how)
    assert rest.processed_before > 0
    assert rest.clips + rest.processed_before == rest.read()["clips"].count() == 100


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, "^input is required"),
        ({"input": "in", "modle": "x"}, "earmark.classify has no option modle; did you mean model"),
        ({"input": "in", "dry_run": True}, "earmark.classify has no option dry_run"),
        ({"input": "in", "min_score": "much"}, "min_score much"),
        ({"input": "in", "beam": {"rnner": "x"}}, "--rnner=x; did you mean --runner"),
        ({"input": "in", "beam": ["--runner=x"]}, "beam: must be a mapping"),
        ({"input": "in", "beam": {"top_k": 1}}, "--top_k: an option of earmark.classify itself"),
        ({"input": "in", "config": {"top_k": 1}}, "config .*: name a file"),
        ({"input": 3}, "input 3: must be a list"),
        ({"input": []}, r"input \[\]: name at least one"),
        ({"input": ["in", None]}, "input None: input should be a valid string$"),
        ({"input": b"nowhere"}, "nowhere does not exist"),
        ({"input": "nowhere"}, "nowhere does not exist"),
        ({"input": "in", "model": "yamnut"}, "yamnut"),
        ({"input": "in", "output": "in/0.wav"}, "is a file"),
    ],
)
def test_what_cannot_be_is_raised_in_a_line(tmp_path, archive, monkeypatch, how, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(earmark.UsageError, match=said) as raised:
        earmark.classify(**{"output": "out", "model": "builtin", **how})
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_raised_in_a_line(tmp_path, archive, monkeypatch):
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"uri\n{archive}/0.wav\n")

    def broken(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("earmark.pipelines.runs.graph.ScoreFrames.expand", broken)
    with pytest.raises(earmark.RunError, match="No space left on device; nothing was committed"):
        earmark.classify(input=manifest, output=tmp_path / "out", model="builtin")


def test_nothing_is_printed_and_nothing_stays_behind(tmp_path, archive, capfd):
    level, shared = logging.getLogger("apache_beam").level, set(_REGISTRY.values)
    earmark.classify(input=archive, output=tmp_path / "out", model="builtin")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("apache_beam").level == level
    assert {owner for owner, _ in set(_REGISTRY.values) - shared} <= {""}


def test_beam_is_quiet_until_the_last_call_ends():
    logger = logging.getLogger("apache_beam")
    first, second = runs._quiet_beam(), runs._quiet_beam()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not logger.isEnabledFor(logging.CRITICAL)
    second.__exit__(None, None, None)
    assert logger.level == logging.NOTSET


def test_a_notebook_is_shown_a_bar(monkeypatch):
    shown: list[dict[str, str]] = []
    handle = type("Handle", (), {"update": lambda self, said, raw: shown.append(said)})

    def display(said, raw, display_id):
        shown.append(said)
        return handle()

    shell = type("Shell", (), {"kernel": object()})()
    notebook = type(sys)("IPython")
    notebook.get_ipython = lambda: shell
    notebook.display = type(sys)("IPython.display")
    notebook.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook.display)
    assert progress.is_notebook()
    with progress.watch("a run", None):
        workers.board("a run").listed(2, {".wav": 1000})
    assert shown == []
    with progress.watch("a run", screen()):
        workers.board("a run").listed(2, {".wav": 1000})
    assert "<progress" in shown[0]["text/html"]
    assert shown[-1]["text/plain"].startswith("0 of 2 objects")


def test_no_bar_where_there_is_neither_a_terminal_nor_a_notebook():
    assert not progress.is_notebook()
    assert not screen(errors=True).is_terminal


def test_steps_can_be_applied_in_a_notebook_without_pandas(monkeypatch):
    import apache_beam as beam

    monkeypatch.setattr("apache_beam.pipeline.alter_label_if_ipython", _fails)
    interactive = "apache_beam.runners.interactive.interactive_environment"
    monkeypatch.setitem(sys.modules, interactive, None)  # so that importing it fails
    notebooks.keep_labels()
    with pytest.raises(ImportError):
        _ = beam.Pipeline() | beam.Create([1])
    monkeypatch.setattr(notebooks, "is_in_ipython", lambda: True)
    notebooks.keep_labels()
    _ = beam.Pipeline() | beam.Create([1])


def _fails(*_):
    raise ImportError("pandas")


def test_a_script_ends_as_it_would_have(tmp_path, archive):
    script = (
        "import earmark, sys\n"
        f"done = earmark.classify(input={str(archive)!r}, output={str(tmp_path / 'out')!r},"
        " model='builtin')\n"
        "print(done.clips)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
