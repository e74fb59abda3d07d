"""The graph for other engines, run by Beam's local one: the same rows as a local run's."""

from __future__ import annotations

import json
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.graph import ClassifyArchive, Hearing
from pipelines.local_runner import local_runner
from pipelines.options import ClassifyOptions
from pipelines.run import prepare


def test_the_graph_for_other_engines_gives_the_rows_of_a_local_run(
    tmp_path, record, classify, rows
):
    for number in range(6):
        record(tmp_path / "in" / f"{number}.wav", "tone", "hum", seconds=2 + number)
    record(tmp_path / "in" / "long.flac", "tone", "hum", "siren", seconds=40)
    (tmp_path / "in" / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    assert classify(tmp_path / "in", tmp_path / "local")[0] == 0

    options = ClassifyOptions(
        input=(str(tmp_path / "in"),), output=str(tmp_path / "out"), model="builtin", span_s=60
    )
    run = prepare(options, [])
    threads = PipelineOptions(direct_num_workers=2, direct_running_mode="multi_threading")
    with beam.Pipeline(local_runner(), options=threads) as pipeline:
        _ = pipeline | ClassifyArchive(
            Hearing(run.options, run.load, run.made_by), {"note": "kept"}
        )

    for table, columns in {
        "detections": "*",
        "events": "*",
        "clips": "* exclude run_id",
        "failures": "* exclude run_id",
    }.items():
        expected = sorted(map(str, rows(tmp_path / "local", table, columns)))
        assert sorted(map(str, rows(tmp_path / "out", table, columns))) == expected
    (record_file,) = Path(tmp_path / "out" / "_runs").iterdir()
    said = json.loads(record_file.read_text())
    assert (said["note"], said["rounds"], said["listed"]["objects"]) == ("kept", 1, 8)
