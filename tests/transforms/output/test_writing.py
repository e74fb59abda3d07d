from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import apache_beam as beam
import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from earmark.pipelines.engines.local import local_runner
from earmark.transforms.detecting.aggregating import Tally, summarise_clip
from earmark.transforms.elements import (
    AudioHeader,
    AudioObject,
    ClipResult,
    Ending,
    FailedClip,
    FrameScores,
    HeadLabels,
    Listed,
    Span,
    Trouble,
)
from earmark.transforms.frames.levels import measure
from earmark.transforms.output.columns import CLIPS, DETECTIONS, EVENTS, FAILURES
from earmark.transforms.output.committing import CommitRound
from earmark.transforms.output.concluding import conclude
from earmark.transforms.output.folder import round_id, staging_folder
from earmark.transforms.output.lock import locked
from earmark.transforms.output.writing import WriteParquet, shard_of
from earmark.transforms.settings import Decoding, FrameGrid, Settings

GRID = FrameGrid(sample_rate_hz=10, frame_samples=10, hop_samples=10)
HEADS = (HeadLabels("scores", ("wind", "bird", 'bird\'s "wing"')),)
SETTINGS = Settings(
    *(Decoding(GRID), HEADS, np.full(3, 0.1, np.float32)),
    run_id="20260101T000000Z-00000abc",
    model_name="toy",
)
SCHEMAS = {"detections": DETECTIONS, "events": EVENTS, "clips": CLIPS, "failures": FAILURES}
BEGAN = datetime(2024, 5, 28, 10, 0, 0, 250_000, tzinfo=timezone.utc)


def heard(uri: str, scores: list[list[float]], began: datetime | None = None) -> ClipResult:
    span = Span(AudioObject(uri, 123, "v1"))
    header = AudioHeader("wav", "pcm_s16", 10, 2, len(scores) * 10)
    level = measure(np.full((10, 2), 0.5, np.float32))
    source = "name" if began else None
    ending = Ending(header, len(scores) * 10 - 4, len(scores), level, began, source)
    tally = Tally()
    tally.add(FrameScores(span, 0, np.array(scores, np.float32)), SETTINGS)
    tally.add(FrameScores(span, len(scores), np.empty((0, 3), np.float32), 0, ending), SETTINGS)
    return summarise_clip(tally, SETTINGS)


def failed(uri: str) -> ClipResult:
    return FailedClip(AudioObject(uri, None, ""), Trouble("read", "io", "Permission denied"))


RESULTS = [
    heard("/a/zebra's.wav", [[0.9, 0.5, 0.0], [0.0, 0.6, 0.0]], BEGAN),
    heard("/a/ant.wav", [[0.0, 0.3, 0.2]]),
    heard("/a/naïve\n🎧.wav", [[0.0, 0.0, 0.0]]),
    failed("/a/broken.wav"),
]


def write(results: list[ClipResult], output: Path, listed: int, num_shards: int | None) -> None:
    run_id = SETTINGS.run_id
    with locked(str(output), run_id), beam.Pipeline(local_runner()) as pipeline:
        parts = [Listed(part, {".txt": 2}) for part in (1, 0, listed - 1)]
        summary = pipeline | "Listed" >> beam.Create(parts)
        obsolete = pipeline | "Superseded" >> beam.Create([])
        (
            pipeline
            | beam.Create(results)
            | WriteParquet(
                staging_folder(str(output), run_id), round_id(run_id, "00001"), SETTINGS, num_shards
            )
            | CommitRound(str(output), run_id, "00001", summary, obsolete)
        )
    conclude(str(output), run_id, {"run_id": run_id, "note": "kept"})


@pytest.fixture(
    scope="module", params=[None, 1, 3], ids=["shards by rows", "one shard", "three shards"]
)
def output(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    write(RESULTS, folder, len(RESULTS), request.param)
    return folder


def rows(output: Path, table: str, columns: str = "*") -> list[tuple]:
    return duckdb.sql(f"select {columns} from '{output}/{table}/*.parquet'").fetchall()


def test_each_object_has_one_row_in_clips_or_failures(output):
    uris = [uri for table in ("clips", "failures") for (uri,) in rows(output, table, "clip")]
    assert sorted(uris) == sorted(result.clip.uri for result in RESULTS)


def test_detections_say_what_was_heard_where_and_when(output):
    got = sorted(rows(output, "detections", "clip, start_s, end_s, label, label_index, score"))
    expected = [
        ("/a/ant.wav", 0.0, 0.6, "bird", 1, 0.3),
        ("/a/ant.wav", 0.0, 0.6, 'bird\'s "wing"', 2, 0.2),
        ("/a/zebra's.wav", 0.0, 1.0, "bird", 1, 0.5),
        ("/a/zebra's.wav", 0.0, 1.0, "wind", 0, 0.9),
        ("/a/zebra's.wav", 1.0, 1.6, "bird", 1, 0.6),
    ]
    assert [row[:5] for row in got] == [row[:5] for row in expected]
    assert [row[5] for row in got] == pytest.approx([row[5] for row in expected])


def test_the_moment_of_a_detection_is_the_recordings_beginning_plus_its_start(output):
    moments = rows(output, "detections", "clip, start_s, epoch_ms(start_time)")
    began_ms = int(BEGAN.timestamp() * 1000)
    for clip, start_s, moment_ms in moments:
        assert moment_ms == (began_ms + start_s * 1000 if "zebra" in clip else None)


def test_events_and_labels_sum_detections_up(output):
    events = rows(output, "events", "clip, label, start_s, end_s, frames")
    assert ("/a/zebra's.wav", "bird", 0.0, 1.6, 2) in events
    assert len(events) == 4
    (labels,) = [
        labels for clip, labels in rows(output, "clips", "clip, labels") if "zebra" in clip
    ]
    assert [label["label"] for label in labels] == ["wind", "bird"]
    assert labels[1]["seconds"] == pytest.approx(1.6)
    assert labels[1]["mean_score"] == pytest.approx(0.55)


def test_rows_lie_sorted_by_label_clip_and_time_in_each_file(output):
    for path in (output / "detections").iterdir():
        table = pq.read_table(path).to_pylist()
        keys = [(row["label"], row["clip"], row["start_s"]) for row in table]
        assert keys == sorted(keys)


def test_files_hold_the_schema_as_documented_and_say_what_made_them(output):
    assert {path.name for path in output.iterdir()} == {*SCHEMAS, "_runs"}
    for table, schema in SCHEMAS.items():
        for path in (output / table).iterdir():
            file = pq.ParquetFile(path)
            assert file.schema_arrow.remove_metadata() == schema
            said = {k.decode(): v.decode() for k, v in file.metadata.metadata.items()}
            assert said["earmark.model_name"] == "toy"
            assert said["earmark.run_id"] == SETTINGS.run_id
            assert said["earmark.frame_samples"] == "10"
            if file.metadata.num_rows:
                column = file.metadata.row_group(0).column(0)
                assert column.compression == "ZSTD"
                assert column.has_column_index


def test_the_file_of_the_run_is_there_and_nothing_else_is(output):
    record = json.loads((output / "_runs" / f"{SETTINGS.run_id}.json").read_text())
    assert record["note"] == "kept"
    assert record["listed"] == {"objects": 4, "skipped": {".txt": 2}}
    assert record["totals"]["clips"] == 3
    assert record["totals"]["failures"] == {"io": 1}
    assert record["totals"]["labels"]["bird"]["clips"] == 2
    found = {os.path.relpath(path, output) for path in output.rglob("*") if path.is_file()}
    assert found == {*record["files"], f"_runs/{SETTINGS.run_id}.json"}


def test_a_run_with_nothing_heard_leaves_tables_that_can_be_read(tmp_path):
    write([failed("/a/x.wav")], tmp_path, 1, None)
    assert rows(tmp_path, "detections") == []
    assert len(rows(tmp_path, "failures")) == 1


def test_a_run_that_lost_an_object_fails_and_commits_nothing(tmp_path):
    with pytest.raises(
        RuntimeError,
        match="5 objects were listed, but 3 have a row in clips/ and 1 in failures/; they are",
    ):
        write(RESULTS, tmp_path, 5, None)
    assert not list(tmp_path.glob("clips/*"))
    assert not list(tmp_path.glob("_runs/*"))


def test_a_clip_belongs_to_the_same_shard_for_ever():
    assert [shard_of(f"/a/{i}.wav", 7) for i in range(5)] == [
        int.from_bytes(_crc32(f"/a/{i}.wav"), "big") % 7 for i in range(5)
    ]


def _crc32(text: str) -> bytes:
    """The standard's checksum, bit by bit (ISO 3309, reversed polynomial 0xEDB88320)."""
    crc = 0xFFFFFFFF
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "big")
