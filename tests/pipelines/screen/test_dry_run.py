from __future__ import annotations

import re

import pytest

from earmark.transforms.planning import PlanError


@pytest.fixture
def archive(tmp_path, record):
    folder = tmp_path / "in"
    for number in range(12):
        record(folder / f"{number}.wav", "tone", seconds=3 + number, rate=8000)
    record(folder / "a.flac", "hum", seconds=60)
    (folder / "broken.mp3").write_bytes(b"ID3, and then nothing of the kind" * 50)
    return folder


def test_a_dry_run_tells_what_there_is_and_writes_nothing(tmp_path, archive, classify):
    status, out, _ = classify(archive, tmp_path / "out", "--dry_run")
    assert status == 0
    assert not (tmp_path / "out").exists()
    said = dict(re.findall(r"^(\.\w+) +(\d+) ", out, re.M))
    assert said == {".wav": "12", ".flac": "1", ".mp3": "1"}
    wav_minutes = float(re.search(r"^\.wav .* ([\d.]+) minutes$", out, re.M)[1])
    assert wav_minutes == pytest.approx(sum(range(3, 15)) / 60, abs=0.051)
    assert re.search(r"^\.mp3.* \?$", out, re.M)
    assert "14 objects to process" in out
    assert "times real time" in out


def test_a_dry_run_tells_what_is_done_already(tmp_path, archive, classify, record):
    classify(archive, tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    record(archive / "3.wav", "tone", seconds=1)
    record(archive / "new.wav", "tone", seconds=1)
    status, out, _ = classify(archive, tmp_path / "out", "--dry_run")
    assert status == 0
    assert "2 objects to process" in out
    assert "1 of these changed since an earlier run" in out
    assert "13 objects already processed" in out
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_a_dry_run_with_nothing_to_do_says_only_that(tmp_path, classify, record):
    record(tmp_path / "in" / "a.wav", "tone")
    classify(tmp_path / "in", tmp_path / "out")
    _, out, _ = classify(tmp_path / "in", tmp_path / "out", "--dry_run")
    assert out == "0 objects to process.\n1 object already processed.\n"


def test_a_dry_run_into_rows_made_in_another_way_says_so(tmp_path, archive, classify):
    classify(archive, tmp_path / "out")
    status, _, err = classify(archive, tmp_path / "out", "--dry_run", "--top_k", "2")
    assert (status, "top_k all, not 2" in err) == (2, True)


def test_a_dry_run_without_room_for_its_plan_is_told_in_a_line(
    tmp_path, archive, classify, monkeypatch
):
    def full(*_):
        raise PlanError("there is no room for the list of objects")

    monkeypatch.setattr("earmark.transforms.planning.plan.Plan.look", full)
    status, _, err = classify(archive, tmp_path / "out", "--dry_run")
    assert (status, err.count("\n")) == (2, 1)
    assert "there is no room" in err
