"""earmark.Classify in a pipeline of somebody's own."""

from __future__ import annotations

import pickle
import tarfile
import uuid
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import PipelineOptions

import earmark
from earmark.pipelines.engines.local import local_runner
from earmark.transforms.output.tables import DETECTIONS, EVENTS

WORKERS = ["--direct_num_workers=2", "--direct_running_mode=in_memory"]


@pytest.fixture
def archive(tmp_path, record) -> Path:
    folder = tmp_path / "in"
    record(folder / "a_20240528_061500.wav", "tone", "siren")
    record(folder / "long.wav", "tone", "siren", "hum", seconds=45)
    record(folder / "c.flac", "hum", rate=44_100, channels=2)
    (folder / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    return folder


@pytest.fixture
def heard(tmp_path):
    """Hears recordings by a transform; gives the results by URI, each of which comes once."""

    def run(uris: Sequence[str], **options) -> dict[str, earmark.ClassifiedClip]:
        return results(uris, earmark.Classify("builtin", **options), tmp_path / "results")

    return run


def results(
    uris: Sequence[str], transform: beam.PTransform, folder: Path
) -> dict[str, earmark.ClassifiedClip]:
    folder.mkdir()
    with beam.Pipeline(runner=local_runner(), options=PipelineOptions(WORKERS)) as pipeline:
        clips = pipeline | beam.Create(uris) | transform
        _ = clips | "Keep" >> beam.Map(
            lambda clip: (folder / uuid.uuid4().hex).write_bytes(pickle.dumps(clip))
        )
    found = [pickle.loads(path.read_bytes()) for path in folder.iterdir()]
    by_uri = {clip.uri: clip for clip in found}
    assert len(by_uri) == len(found)
    return by_uri


def test_results_are_the_rows_of_a_run(heard, tmp_path, archive, rows):
    options = {"min_score": 0.3, "hop_s": 0.7, "span_s": 60, "events_gap_s": 1}
    earmark.classify(input=archive, output=tmp_path / "out", model="builtin", **options)
    clips = heard([str(path) for path in archive.iterdir()], **options)
    for table, kind in (("detections", earmark.Detection), ("events", earmark.Event)):
        expected = rows(tmp_path / "out", table, ", ".join(kind._fields))
        got = [tuple(row) for clip in clips.values() for row in getattr(clip, table)]
        assert sorted(map(repr, map(_plain, got))) == sorted(map(repr, map(_plain, expected)))
    columns = "clip, status, reason, message, duration_s, recorded_at, sample_rate_hz"
    assert {
        (clip.uri, clip.status, clip.reason, clip.message, clip.duration_s, clip.recorded_at)
        for clip in clips.values()
        if clip.header is not None
    } == {row[:-1] for row in rows(tmp_path / "out", "clips", columns)}
    (failure,) = rows(tmp_path / "out", "failures", "clip, reason, message")
    failed = clips[failure[0]]
    assert (failed.status, failed.reason, failed.message) == ("failed", *failure[1:])


def _plain(row: tuple) -> list:
    return [each.timestamp() if hasattr(each, "timestamp") else each for each in row]


def test_the_fields_of_rows_are_the_columns_of_tables():
    assert list(earmark.Detection._fields) == DETECTIONS.names
    assert list(earmark.Event._fields) == EVENTS.names


def test_what_is_missing_is_a_result(heard, tmp_path):
    (clip,) = heard([str(tmp_path / "gone.wav")]).values()
    assert (clip.status, clip.reason, clip.labels, clip.events) == ("failed", "io", (), ())


def test_what_comes_twice_has_one_result(heard, archive):
    path = str(archive / "a_20240528_061500.wav")
    (clip,) = heard([path, path, f"{archive}/./a_20240528_061500.wav"]).values()
    assert clip.status == "scored"


def test_an_archive_stands_for_its_members(heard, tmp_path, archive):
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        packed.add(archive, "in")
    clips = heard([f"{tmp_path}/a.tar"])
    assert {uri.rpartition("!/")[2] for uri in clips} == {
        f"in/{path.name}" for path in archive.iterdir()
    }


def test_embeddings_are_those_of_the_classifier(heard, archive):
    path = str(archive / "long.wav")
    (clip,) = heard([path], embeddings=True, span_s=60).values()
    classifier = earmark.load_classifier("builtin", embeddings=True)
    frames = list(earmark.frames(path))
    expected = classifier.predict(np.stack([frame.samples for frame in frames])).embeddings
    np.testing.assert_allclose(clip.embeddings.values, expected, rtol=0, atol=1e-5)
    assert clip.embeddings.start_s.tolist() == [frame.start_s for frame in frames]
    assert not clip.embeddings.channel.any()


def test_it_travels_to_workers(tmp_path, archive):
    transform = pickler.loads(pickler.dumps(earmark.Classify("builtin", min_score=0.3)))
    (clip,) = results([str(archive / "c.flac")], transform, tmp_path / "results").values()
    assert clip.status == "scored"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"output": "x"}, "earmark.Classify has no option output"),
        ({"mni_score": 1}, "did you mean min_score"),
        ({"min_score": 2}, "min_score 2: the model gives no score above 1"),
        ({"allow": "Frog"}, "Frog"),
    ],
)
def test_what_cannot_be_is_told_when_it_is_made(how, said):
    with pytest.raises(earmark.UsageError, match=said):
        earmark.Classify("builtin", **how)
