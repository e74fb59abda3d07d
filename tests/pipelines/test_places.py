"""Where recordings were made: what rows say of it, and what a run makes of it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import earmark
from earmark.models import sources
from earmark.models.builtin.synthesis import LABELS
from earmark.models.catalogue import PublishedFile, PublishedModel
from earmark.pipelines.cli import main
from tests.models.small_models import Graph, Port

NORTHERN = set(LABELS[::2])


def companion() -> bytes:
    """A model of places, by which every second class is plausible, and only in the north."""
    graph = Graph()
    weights = np.zeros((len(LABELS), 3), np.float32)
    weights[::2, 0] = 1
    return graph.model([graph.dense(graph.input(Port([1, 3])), weights)])


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has every model be one that is known, with a companion in the cache."""
    content = companion()
    file = PublishedFile(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    model = PublishedModel(name="toy", files={"model": (file,), "places": (file,)}, urls=())
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path))
    model.path_in(tmp_path, "places").write_bytes(content)
    monkeypatch.setattr(sources, "known_model", lambda sha256: model)
    monkeypatch.setattr(sources, "published_models", lambda: (model,))


@pytest.fixture
def cards(tmp_path: Path, record) -> Path:
    """A recording that says that it was made in the south, and one that says nothing."""
    own = record(tmp_path / "cards" / "own.wav", "tone", "hum", "siren")
    record(tmp_path / "cards" / "other.wav", "tone", "hum", "siren")
    text = b"GUANO|Version:1.0\nLoc Position:-33.9 18.4\n"
    content = own.read_bytes() + b"guan" + struct.pack("<I", len(text)) + text
    own.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return tmp_path / "cards"


def places(output: Path) -> dict[str, tuple[float | None, float | None]]:
    rows = earmark.read(output)["clips"].arrow().to_pylist()
    return {Path(row["clip"]).name: (row["latitude"], row["longitude"]) for row in rows}


def heard(output: Path) -> Counter[tuple[str, str]]:
    rows = earmark.read(output)["detections"].arrow().to_pylist()
    return Counter((Path(row["clip"]).name, row["label"]) for row in rows)


def test_a_clip_has_its_own_place_whatever_is_asked_for(cards, tmp_path, classify):
    assert classify(cards, tmp_path / "out")[0] == 0
    assert places(tmp_path / "out") == {"own.wav": (-33.9, 18.4), "other.wav": (None, None)}


def test_what_is_implausible_where_a_recording_was_made_has_no_rows(
    cards, known, tmp_path, classify
):
    everywhere, own, north = (tmp_path / name for name in ("everywhere", "own", "north"))
    assert classify(cards, everywhere)[0] == 0
    assert classify(cards, own, "--place", "own")[0] == 0
    status, out, _ = classify(cards, north, "--place", "50.8, 12.9")
    assert status == 0
    of_other = Counter({key: n for key, n in heard(everywhere).items() if key[0] == "other.wav"})
    in_north = Counter({key: n for key, n in of_other.items() if key[1] in NORTHERN})
    assert Counter() < in_north < of_other
    assert heard(own) == of_other
    assert heard(north) == in_north
    assert places(north) == {"own.wav": (-33.9, 18.4), "other.wav": (50.8, 12.9)}
    left_out = Counter[str]()
    for (_, label), n in (heard(everywhere) - in_north).items():
        left_out[label] += n
    (record,) = (north / "_runs").glob("*.json")
    assert json.loads(record.read_text())["totals"]["implausible"] == left_out
    assert f"{len(left_out)} labels left out, implausible" in " ".join(out.split())


def test_one_folder_has_rows_of_one_place(cards, known, tmp_path, classify):
    output = tmp_path / "out"
    assert classify(cards, output, "--place", "50.8,12.9")[0] == 0
    assert classify(cards, output, "--place=50.80,12.9")[0] == 0
    status, _, err = classify(cards, output, "--place", "-33.9,18.4")
    assert status == 2
    assert "made with place 50.8,12.9, not -33.9,18.4; name another folder" in err
    said = pq.read_metadata(next((output / "clips").glob("*.parquet"))).metadata
    assert said[b"earmark.places_sha256"].decode() == hashlib.sha256(companion()).hexdigest()


def test_the_models_version_is_told(cards, tmp_path, classify):
    model, output = tmp_path / "model.tflite", tmp_path / "out"
    arguments = ["model", "label", "builtin", "--version", "2.4-beta", "--output", str(model)]
    assert main(arguments) == 0
    status, _, err = classify(cards, output, "--model", str(model))
    assert status == 0
    assert "model (version 2.4-beta, 10 classes" in " ".join(err.split())
    (record,) = (output / "_runs").glob("*.json")
    assert json.loads(record.read_text())["model"]["version"] == "2.4-beta"
    for file in output.glob("*/*.parquet"):
        assert pq.read_metadata(file).metadata[b"earmark.model_version"] == b"2.4-beta"
