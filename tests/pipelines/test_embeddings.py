"""Embeddings, beside detections and alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from earmark.models.builtin.synthesis import synthesise
from earmark.models.classifier import AudioClassifier
from earmark.models.scores.heads import ModelOptions
from earmark.pipelines.cli import main
from earmark.transforms.detecting import embeddings

BUILTIN = Path(__file__).parents[2] / "models" / "builtin" / "builtin.tflite"
SIZE = 96


@pytest.fixture
def sound() -> np.ndarray:
    rng = np.random.default_rng(5)
    parts = [synthesise(name, rng, 40.0, 16_000) for name in ("tone", "noise", "siren", "chord")]
    return np.concatenate(parts).astype(np.float32)


def vectors(output: Path) -> list[tuple]:
    """Rows of embeddings/, in the order of the files."""
    files = sorted((output / "embeddings").glob("*.parquet"))
    return [
        (row["clip"], row["channel"], row["start_s"], row["end_s"], tuple(row["embedding"]))
        for file in files
        for row in pq.read_table(file).to_pylist()
    ]


def expected(sound: np.ndarray, hop: int = 15_600) -> np.ndarray:
    """The model's own, frame by frame."""
    starts = range(0, max(len(sound) - 15_600, 0) + hop, hop)
    frames = [np.pad(sound[at : at + 15_600], (0, 15_600))[:15_600] for at in starts]
    classifier = AudioClassifier.from_path(BUILTIN, ModelOptions(embeddings=True))
    return classifier.predict(np.stack(frames)).embeddings


def test_each_frame_has_its_embedding_beside_the_detections(tmp_path, classify, sound, rows):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "x.wav", sound, 16_000, subtype="FLOAT")
    output = tmp_path / "out"
    status, shown, err = classify(tmp_path / "in", output, "--embeddings")
    assert status == 0, err
    assert f"{len(expected(sound))} embeddings" in shown
    got = vectors(output)
    np.testing.assert_array_equal(np.array([row[4] for row in got], np.float32), expected(sound))
    assert [row[2] for row in got] == [pytest.approx(i * 0.975) for i in range(len(got))]
    assert got[-1][3] == len(sound) / 16_000
    plain = tmp_path / "plain"
    assert classify(tmp_path / "in", plain)[0] == 0
    for table in ("detections", "events"):
        assert rows(output, table, rest="order by all") == rows(plain, table, rest="order by all")
    assert not (plain / "embeddings").exists()


def test_a_clip_has_the_mean_of_its_embeddings(tmp_path, classify, sound, rows):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "x.wav", sound, 16_000, subtype="FLOAT")
    assert classify(tmp_path / "in", tmp_path / "out", "--embeddings")[0] == 0
    ((mean,),) = rows(tmp_path / "out", "clips", "embedding")
    np.testing.assert_allclose(mean, expected(sound).mean(axis=0), rtol=1e-5, atol=1e-6)


def test_embed_gives_the_same_without_scores(tmp_path, classify, sound, rows, capsys):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "x.flac", sound, 16_000)
    (tmp_path / "in" / "broken.wav").write_bytes(b"no sound")
    assert classify(tmp_path / "in", tmp_path / "beside", "--embeddings")[0] == 0
    output = tmp_path / "alone"
    arguments = ["--input", str(tmp_path / "in"), "--output", str(output), "--model", "builtin"]
    assert main(["embed", *arguments]) == 0
    assert f"{output}/embeddings/*.parquet" in capsys.readouterr().out
    assert vectors(output) == vectors(tmp_path / "beside")
    assert {path.name for path in output.iterdir()} == {"embeddings", "clips", "failures", "_runs"}
    assert rows(output, "failures", "reason") == [("not_audio",)]
    assert rows(output, "clips", "status, len(labels), len(embedding)") == [("scored", 0, SIZE)]
    assert main(["embed", *arguments]) == 0
    assert "Nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_readers_of_arrow_get_lists_of_a_fixed_size(tmp_path, classify, record, rows, dtype):
    record(tmp_path / "in" / "x.wav", "tone")
    assert classify(tmp_path / "in", tmp_path / "out", "--embeddings", dtype)[0] == 0
    (file,) = (tmp_path / "out" / "embeddings").iterdir()
    kind = {"float32": pa.float32(), "float16": pa.float16()}[dtype]
    assert pq.read_schema(file).field("embedding").type == pa.list_(kind, SIZE)
    assert rows(tmp_path / "out", "embeddings", "distinct len(embedding)") == [(SIZE,)]


def test_they_depend_neither_on_spans_nor_on_how_many_are_held(
    tmp_path, classify, sound, monkeypatch, rows
):
    (tmp_path / "in").mkdir()
    sound = sound[: 100 * 16_000]
    sf.write(tmp_path / "in" / "x.wav", np.stack([sound, -sound[::-1]], axis=1), 16_000)
    how = ["--embeddings", "--hop_s", "0.1", "--channels", "each"]
    assert classify(tmp_path / "in", tmp_path / "one", *how)[0] == 0
    one = vectors(tmp_path / "one")
    assert len(one) > 1.5 * embeddings.ROWS_ASIDE
    monkeypatch.setattr(embeddings, "ROWS_ASIDE", 100)
    assert classify(tmp_path / "in", tmp_path / "cut", *how, "--span_s", "60")[0] == 0
    order = [(row[2], row[1]) for row in one]
    assert order == sorted(order)
    assert vectors(tmp_path / "cut") == one
    means = [rows(tmp_path / name, "clips", "embedding") for name in ("one", "cut")]
    assert means[0] == means[1]
    for name in ("one", "cut"):
        assert not list((tmp_path / name).glob("_staging*"))


def test_those_of_a_recording_that_has_changed_take_the_place_of_the_old(
    tmp_path, classify, record, rows
):
    record(tmp_path / "in" / "a.wav", "tone")
    record(tmp_path / "in" / "b.wav", "noise")
    assert classify(tmp_path / "in", tmp_path / "out", "--embeddings")[0] == 0
    before = vectors(tmp_path / "out")
    record(tmp_path / "in" / "a.wav", "siren", "chord")
    os.utime(tmp_path / "in" / "a.wav", (1, 1))
    assert classify(tmp_path / "in", tmp_path / "out", "--embeddings")[0] == 0
    after = vectors(tmp_path / "out")
    kept = [row for row in before if row[0].endswith("b.wav")]
    assert [row for row in after if row[0].endswith("b.wav")] == kept
    assert classify(tmp_path / "in", tmp_path / "new", "--embeddings")[0] == 0
    assert sorted(after) == sorted(vectors(tmp_path / "new"))


def test_rows_without_are_not_added_to_rows_with(tmp_path, classify, record):
    record(tmp_path / "in" / "a.wav", "tone")
    assert classify(tmp_path / "in", tmp_path / "out", "--embeddings")[0] == 0
    status, _, err = classify(tmp_path / "in", tmp_path / "out")
    assert status == 2
    assert "holds the tables detections, events, embeddings, clips, failures, not detecti" in err
    assert classify(tmp_path / "in", tmp_path / "plain")[0] == 0
    status, _, err = classify(tmp_path / "in", tmp_path / "plain", "--embeddings")
    assert status == 2
    assert "holds the tables detections, events, clips, failures, not detections, events, em" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--min_score", "0.5"],
            "--min_score: not an option of earmark embed",
        ),
        (["--heads", "scores"], "--heads: not an option of earmark embed"),
        (["--embeddings", "float64"], "--embeddings float64: input should be 'float32'"),
    ],
)
def test_embed_knows_no_options_of_scores(tmp_path, record, capsys, options, message):
    record(tmp_path / "in" / "a.wav", "tone")
    arguments = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *options]
    assert main(["embed", *arguments, "--model", "builtin"]) == 2
    assert message in capsys.readouterr().err


def test_the_embeddings_of_yamnet_are_its_pooled_tensor(shared, yamnet_path, tmp_path):
    arguments = ["--input", f"{shared}/audio/speech.wav", "--output", str(tmp_path / "out")]
    assert main(["embed", *arguments, "--model", str(yamnet_path)]) == 0
    got = np.array([row[4] for row in vectors(tmp_path / "out")])
    assert got.shape == (5, 1024)
    assert got.min() >= 0  # it follows a ReLU
    steps = np.unique(np.diff(np.unique(got)))
    assert steps.min() == pytest.approx(got[got > 0].min(), rel=1e-3)  # 8 bits, of one scale
