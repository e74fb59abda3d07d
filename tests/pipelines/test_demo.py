from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest
import soundfile as sf

from earmark.pipelines.cli import main
from earmark.pipelines.demo import RECORDINGS


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    with redirect_stdout(io.StringIO()) as out:
        status = main(["demo", "--output", str(folder)])
    return status, out.getvalue(), folder


def test_the_demo_hears_what_it_put_into_each_recording(demo, rows):
    status, _, folder = demo
    assert status == 0
    seconds = {
        (clip.removeprefix(f"{folder}/archive/"), label): seconds
        for clip, label, seconds in rows(
            folder / "labels",
            "events",
            "clip, label, sum(end_s - start_s)",
            "where max_score >= 0.5 group by all",
        )
    }
    for recording in RECORDINGS:
        for label, length in recording.sounds:
            expected = sum(s for name, s in recording.sounds if name == label) * recording.kept
            assert seconds[recording.name, label] == pytest.approx(expected, abs=2.5), length


def test_the_demo_accounts_for_what_is_damaged_and_what_is_no_recording(demo, rows):
    _, out, folder = demo
    labels = folder / "labels"
    assert rows(
        labels, "clips", "regexp_extract(clip, '[^/]*$'), reason", "where reason <> ''"
    ) == [("damaged.flac", "truncated")]
    assert rows(labels, "failures", "regexp_extract(clip, '[^/]*$'), reason") == [
        ("shopping list.wav", "not_audio")
    ]
    assert "skipped by its name" in out
    assert "1 file skipped" in out


def test_the_demos_archive_has_several_formats_rates_and_channel_counts(demo):
    _, _, folder = demo
    found = [sf.info(folder / "archive" / recording.name) for recording in RECORDINGS]
    assert len({info.format for info in found}) >= 5
    assert len({info.samplerate for info in found}) >= 5
    assert {info.channels for info in found} == {1, 2, 3}


def test_the_demo_can_be_run_again_but_takes_no_folder_of_others(demo, tmp_path, capsys):
    _, _, folder = demo
    (folder / "archive" / "own.txt").write_text("my own")
    assert main(["demo", "--output", str(folder)]) == 0
    assert (folder / "archive" / "own.txt").read_text() == "my own"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    capsys.readouterr()
    assert main(["demo", "--output", str(tmp_path / "mine")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
