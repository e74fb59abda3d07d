"""A table that only TABLES was told of is written, superseded, read and repaired as others are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from earmark.pipelines.cli import main
from earmark.transforms.elements import ClipResult, FailedClip
from earmark.transforms.output import read
from earmark.transforms.output.folder import is_written_by_runs
from earmark.transforms.output.tables import TABLES, Table
from earmark.transforms.settings import Settings


class KilledError(BaseException):
    """Stands for kill -9."""


LENGTHS = pa.schema([("clip", pa.string()), ("length_s", pa.float64())])


def length_rows(results: Sequence[ClipResult], _: Settings) -> Iterator[pa.Table]:
    clips = [result for result in results if not isinstance(result, FailedClip)]
    rows = [{"clip": each.clip.uri, "length_s": each.duration_s} for each in clips]
    yield pa.Table.from_pylist(rows, LENGTHS)


@pytest.fixture(autouse=True)
def _known(monkeypatch) -> None:
    """Adds the table to the list of tables, wherever that was imported."""
    table = Table(
        *("lengths", ("clip",)),
        schema=lambda _: LENGTHS,
        rows=length_rows,
        glance="select clip, length_s\nfrom '{files}'",
    )
    for name, module in list(sys.modules.items()):
        if name.startswith("earmark.transforms.output.") and hasattr(module, "TABLES"):
            monkeypatch.setattr(module, "TABLES", (table, *TABLES))


@pytest.fixture
def output(tmp_path, archive, classify) -> Path:
    assert classify(archive, tmp_path / "out")[0] == 0
    return tmp_path / "out"


def lengths(output: Path) -> dict[str, float]:
    rows = read(output)["lengths"].arrow().to_pylist()
    assert len(rows) == len({row["clip"] for row in rows})
    return {Path(row["clip"]).name: row["length_s"] for row in rows}


def test_its_rows_are_written_and_counted_and_shown(tmp_path, archive, classify):
    status, said, _ = classify(archive, tmp_path / "out")
    assert status == 0
    assert "3 lengths" in said
    assert f"select clip, length_s\n  from '{tmp_path}/out/lengths/*.parquet'" in said
    assert lengths(tmp_path / "out") == {"a.wav": 6, "b.wav": 6, "c.wav": 6}
    (run,) = (tmp_path / "out" / "_runs").glob("*.json")
    assert json.loads(run.read_text())["totals"]["lengths"] == 3
    (file,) = (tmp_path / "out" / "lengths").iterdir()
    assert is_written_by_runs(str(file), str(tmp_path / "out"))


def test_its_rows_are_superseded(output, archive, classify, record):
    record(archive / "b.wav", "tone", seconds=9)
    assert classify(archive, output)[0] == 0
    assert lengths(output) == {"a.wav": 6, "b.wav": 9, "c.wav": 6}


def test_a_commit_of_it_that_was_cut_off_is_finished(tmp_path, archive, classify, monkeypatch):
    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("earmark.transforms.output.committing.carry_out", killed)
        with pytest.raises(RuntimeError, match="KilledError"):
            classify(archive, tmp_path / "out")
    assert list(tmp_path.glob("out/_staging-*/lengths/*.parquet"))
    assert classify(archive, tmp_path / "out")[0] == 0
    assert lengths(tmp_path / "out") == {"a.wav": 6, "b.wav": 6, "c.wav": 6}


def test_a_file_of_it_that_is_broken_is_told_and_repaired(output, archive, classify, capsys):
    (file,) = (output / "lengths").iterdir()
    file.write_bytes(b"")
    status, _, errors = classify(archive, output)
    assert (status, str(file) in errors) == (2, True)
    assert main(["repair", str(output)]) == 0
    assert str(file) in capsys.readouterr().out
    assert classify(archive, output)[0] == 0
    assert lengths(output) == {"a.wav": 6, "b.wav": 6, "c.wav": 6}


def test_an_output_without_it_is_not_added_to(output, archive, classify, monkeypatch):
    monkeypatch.setattr("earmark.transforms.output.tables.TABLES", TABLES)
    status, _, errors = classify(archive, output)
    assert status == 2
    assert "holds the tables lengths, detections," in errors
