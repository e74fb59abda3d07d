"""Runs on other engines, with Beam's local one in the place of theirs: the rows of a local run."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from typing import ClassVar

import pytest
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.runners.runner import PipelineRunner

from earmark.pipelines.cli import main
from earmark.pipelines.engines import remote
from earmark.pipelines.engines.local import local_runner
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options.model import ClassifyOptions
from earmark.pipelines.runs import execute, holding_output, prepare

TABLES = {
    "detections": "*",
    "events": "*",
    "clips": "* exclude run_id",
    "failures": "* exclude run_id",
}


class ElsewhereRunner(PipelineRunner):
    """An engine that isn't the local one by its name."""

    def run_pipeline(self, pipeline, options):
        direct = options.view_as(DirectOptions)
        direct.direct_num_workers, direct.direct_running_mode = 2, "in_memory"
        return local_runner().run_pipeline(pipeline, options)


class TemplateRunner(PipelineRunner):
    """An engine that writes jobs down, to be run later."""

    written: ClassVar[list] = []

    def run_pipeline(self, pipeline, options):
        self.written.append((pipeline, options))


@pytest.fixture(scope="module")
def archive(tmp_path_factory, record) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "in"
    for number in range(6):
        record(folder / f"{number}.wav", "tone", "hum", seconds=2 + number)
    record(folder / "long.flac", "tone", "hum", "siren", seconds=40)
    (folder / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    return folder


@pytest.fixture(scope="module")
def local_rows(archive, rows) -> dict[str, list[str]]:
    """What a local run gives for the archive."""
    output = archive.parent / "local"
    arguments = ["--input", str(archive), "--output", str(output), "--model", "builtin"]
    assert main(["classify", *arguments]) == 0
    return all_rows(rows, output)


def classify_elsewhere(
    archive: Path, output: Path, runner=ElsewhereRunner, flags=(), **options
) -> dict | None:
    how = ClassifyOptions(
        input=(str(archive),), output=str(output), model="builtin", span_s=60, **options
    )
    run = prepare(how, ["--runner", f"{__name__}.{runner.__name__}", *flags])
    with holding_output(run):
        return execute(run).record


def all_rows(rows, output: Path) -> dict[str, list[str]]:
    return {
        table: sorted(map(str, rows(output, table, columns))) for table, columns in TABLES.items()
    }


def test_a_run_elsewhere_gives_the_rows_of_a_local_run(tmp_path, archive, local_rows, rows):
    said = classify_elsewhere(archive, tmp_path / "out")
    assert all_rows(rows, tmp_path / "out") == local_rows
    assert (said["rounds"], said["listed"]["objects"]) == (1, 8)
    (record_file,) = Path(tmp_path / "out" / "_runs").iterdir()
    assert json.loads(record_file.read_text()) == said
    assert not list(Path(tmp_path / "out").glob("_staging*"))


def test_a_run_elsewhere_goes_on_from_what_is_there(tmp_path, archive, classify, rows, record):
    archive, output = copytree(archive, tmp_path / "in"), tmp_path / "out"
    assert classify(archive, output)[0] == 0
    assert classify_elsewhere(archive, output) is None
    record(archive / "0.wav", "siren", seconds=9)
    record(archive / "new.wav", "hum", seconds=3)
    assert classify_elsewhere(archive, output)["totals"]["clips"] == 2

    assert classify(archive, tmp_path / "anew")[0] == 0
    assert all_rows(rows, output) == all_rows(rows, tmp_path / "anew")


@pytest.mark.parametrize(("commit_every_s", "expected"), [(1e6, 2), (1e-6, 6)])
def test_rounds_elsewhere_are_as_large_as_their_time_allows(
    tmp_path, archive, local_rows, rows, monkeypatch, commit_every_s, expected
):
    monkeypatch.setattr(remote, "FIRST_OBJECTS", 3)
    said = classify_elsewhere(archive, tmp_path / "out", commit_every_s=commit_every_s)
    assert (said["rounds"], said["listed"]["objects"]) == (expected, 8)
    assert all_rows(rows, tmp_path / "out") == local_rows


def test_a_job_that_is_written_down_ends_the_run_by_itself_when_it_is_run(
    tmp_path, archive, local_rows, rows
):
    output, template = tmp_path / "out", "--template_location=gs://nowhere/at/all"
    assert classify_elsewhere(archive, output, TemplateRunner, [template]) is None
    assert not (output / "clips").exists()
    with pytest.raises(UsageError, match="was left to an engine, which may be writing to it"):
        classify_elsewhere(archive, output)

    ((pipeline, options),) = TemplateRunner.written
    ElsewhereRunner().run_pipeline(pipeline, options).wait_until_finish()
    assert all_rows(rows, output) == local_rows
    (record_file,) = (output / "_runs").glob("*.json")
    assert json.loads(record_file.read_text())["totals"]["clips"] == 7
    assert not list(output.glob("_locks/*")) + list(output.glob("_staging*"))
    assert classify_elsewhere(archive, output) is None
