"""Reading an output as people do: DuckDB, Arrow, pandas and polars, from folders and stores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from earmark.transforms.output import NoSuchTableError, read
from earmark.transforms.output.rows import BrokenTableError
from earmark.transforms.output.tables import TABLES
from earmark.transforms.output.writing import write_table

RUN = "20261101T120000Z-0123abcd"
SCORES = {"a": [("/x/a.wav", "wind", 0.5), ("/x/b.wav", "wind", 0.25)], "b": [], "c": [
    ("/x/c.wav", "bird", 0.75)
]}  # fmt: skip
ALL = [row for rows in SCORES.values() for row in rows]
SAID = {"earmark.run_id": RUN, "earmark.version": "9.9", "earmark.top_k": "3"}
SCHEMA = pa.schema([("clip", pa.string()), ("label", pa.string()), ("score", pa.float64())])


@pytest.fixture
def output(tmp_path) -> Path:
    """Three files of detections, one of them without rows, and a run's file."""
    output = tmp_path / "o [1]"
    for name, rows in SCORES.items():
        columns = zip(*rows, strict=True) if rows else [[], [], []]
        file = output / "detections" / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(list(map(list, columns)), schema=SCHEMA)
        pq.write_table(table.replace_schema_metadata(SAID), file)
    (output / "_runs").mkdir()
    (output / "_runs" / f"{RUN}.json").write_text(json.dumps({"run_id": RUN}))
    return output


def as_tuples(table: pa.Table) -> list[tuple]:
    return sorted(tuple(row.values()) for row in table.to_pylist())


@pytest.mark.parametrize("named", [str, Path, lambda path: f"file://{path}".replace(" ", "%20")])
def test_arrow_reads_all_files_of_a_table(output, named):
    detections = read(named(output))["detections"]
    assert as_tuples(detections.arrow()) == sorted(ALL)
    assert detections.count() == 3
    assert detections.arrow().schema == SCHEMA


def test_columns_and_rows_are_chosen_before_anything_is_loaded(output):
    loud = read(output)["detections"].arrow(["clip"], pc.field("score") > 0.4)
    assert sorted(row["clip"] for row in loud.to_pylist()) == ["/x/a.wav", "/x/c.wav"]


def test_duckdb_takes_a_table_as_it_is(output):
    detections = read(output)["detections"]
    dataset = detections.dataset  # noqa: F841 (DuckDB finds it by its name)
    for _ in range(2):
        assert duckdb.sql("select max(score) from detections").fetchall() == [(0.75,)]
    query = "select clip from dataset where label = 'bird'"
    assert duckdb.sql(query).fetchall() == [("/x/c.wav",)]


def test_pandas_takes_a_table(output):
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = read(output)["detections"].to_pandas(columns=["score"])
    assert sorted(frame["score"]) == [0.25, 0.5, 0.75]


def test_polars_takes_a_table(output):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    detections = read(output)["detections"]
    assert sorted(polars.from_arrow(detections.arrow())["score"]) == [0.25, 0.5, 0.75]
    assert len(polars.scan_pyarrow_dataset(detections.dataset).collect()) == 3


def test_whatever_takes_arrows_streams_takes_a_table(output):
    reader = pa.RecordBatchReader.from_stream(read(output)["detections"])
    assert as_tuples(reader.read_all()) == sorted(ALL)


def test_nothing_of_a_file_is_read_before_it_is_asked_for(output):
    (output / "detections" / "b.parquet").write_bytes(b"broken")
    tables = read(output)
    detections = tables["detections"]
    for load in (detections.arrow, detections.count):
        with pytest.raises(BrokenTableError, match=r"b\.parquet cannot be read.*earmark repair"):
            load()
    (output / "detections" / "a.parquet").write_bytes(b"")
    with pytest.raises(BrokenTableError, match=r"a\.parquet cannot be read"):
        tables["detections"]


def test_a_changed_byte_of_what_a_run_has_written_is_told_with_its_file(output):
    path = output / "detections" / "b.parquet"
    table = next(each for each in TABLES if each.name == "detections")
    rows = pa.table([["/x/d.wav"] * 9, ["rain"] * 9, list(range(9))], schema=SCHEMA)
    write_table(str(path), replace(table, sorted_by=()), SCHEMA, lambda: [rows], SAID)
    content = path.read_bytes()
    group = pq.ParquetFile(path).metadata.row_group(0)
    for column in (group.column(index) for index in range(3)):
        changed = bytearray(content)
        begin = column.dictionary_page_offset or column.data_page_offset
        changed[begin + column.total_compressed_size - 1] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BrokenTableError, match=r"b\.parquet cannot be read") as told:
            read(output)["detections"].arrow()
        assert "\n" not in str(told.value)


def test_columns_that_came_with_a_version_are_there_whatever_files_are_first(output):
    newer = pa.table({"clip": ["/x/d.wav"], "label": ["rain"], "score": [0.5], "new": [7]})
    for name, new in (("z.parquet", [7]), ("0.parquet", [7, 7])):
        pq.write_table(newer, output / "detections" / name)
        table = read(output)["detections"].arrow()
        assert set(table.column_names) == {*SCHEMA.names, "new"}
        assert sorted(table["new"].to_pylist(), key=str) == [*new, *[None] * len(ALL)]


def test_a_file_of_something_else_is_told(output):
    pq.write_table(pa.table({"a": [1]}), output / "detections" / "z.parquet")
    with pytest.raises(BrokenTableError, match=r"z\.parquet has no column clip"):
        read(output)["detections"]
    other = pa.table({"clip": ["/x/d.wav"], "score": ["high"]})
    pq.write_table(other, output / "detections" / "z.parquet")
    with pytest.raises(BrokenTableError, match=r"z\.parquet has other columns: .*score"):
        read(output)["detections"]


def test_a_column_that_is_not_there_is_told_in_a_line(output):
    with pytest.raises(KeyError) as told:
        read(output)["detections"].arrow(["clip", "scroe"])
    assert str(told.value) == "detections has no column 'scroe'; it has clip, label, score"


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"[" * 100_000])
def test_a_broken_file_of_a_run_is_told(output, content):
    (output / "_runs" / "notes.json").write_text("mine")
    assert read(output).runs() == [{"run_id": RUN}]
    (output / "_runs" / f"{RUN}.json").write_bytes(content)
    with pytest.raises(BrokenTableError, match=rf"{RUN}\.json cannot be read") as told:
        read(output).runs()
    assert "\n" not in str(told.value)


def test_what_is_committed_meanwhile_is_seen(output):
    tables = read(output)
    (output / "clips").mkdir()
    (output / "detections" / "a.parquet").rename(output / "clips" / "a.parquet")
    assert set(tables) == {"clips", "detections"}
    assert tables["detections"].count() == 1


@pytest.mark.parametrize("name", ["embeddings", "_runs", "..", "nonsense"])
def test_a_table_that_is_not_there_is_told_in_a_line(output, name):
    tables = read(output)
    assert name not in tables
    with pytest.raises(NoSuchTableError) as told:
        tables[name]
    assert str(told.value) == f"{output} has no table {name!r}; it has detections"


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_an_output_that_is_none_is_told(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no run has written rows to it"):
        read(tmp_path / name)


def test_a_store_that_is_not_known_is_told():
    with pytest.raises(ValueError, match="no filesystem is known for it"):
        read("nosuch://bucket/out")


def test_what_made_the_rows_is_there(output):
    tables = read(output)
    assert tables.settings() == {"top_k": "3"}
    assert tables.runs() == [{"run_id": RUN}]
    assert list(tables) == ["detections"]
    assert "detections" in repr(tables)
