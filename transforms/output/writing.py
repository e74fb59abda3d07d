"""Writing the results of clips to Parquet.

Files are written to the staging folder, then moved into place by committing.py, so that nobody
reads half a run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from earmark.transforms.detecting import rows_of
from earmark.transforms.elements import ClipResult, ScoredClip
from earmark.transforms.output.provenance import metadata
from earmark.transforms.output.tables import Table, made_tables
from earmark.transforms.output.totals import Totals
from earmark.transforms.settings import Settings
from earmark.transforms.storage import create_file, join, persisting
from earmark.transforms.workers import marking

ROWS_PER_FILE = 1_000_000
"""About how many detections a file gets, if the number of files isn't given."""

_ROWS_FOR_AN_EMBEDDING = 16
"""How many detections take about as many bytes as one embedding."""


@dataclass(frozen=True)
class WrittenShard:
    """The files of one shard, as TABLE/NAME one for each table, and their totals."""

    files: tuple[str, ...]
    totals: Totals


@dataclass
class WriteParquet(beam.PTransform):  # type: ignore[misc]
    """Write results to the staging folder as Parquet: ClipResult to WrittenShard.

    A shard holds whole clips, and has one file in each table's folder, even where it has no rows,
    so that every table can be read after any run.

    Attributes:
      folder: where the tables' folders are to be.
      name: what the names of files begin with.
      settings: of the run; every file says which.
      num_shards: how many files each table gets; None for as many as suits the number of rows.
    """

    folder: str
    name: str
    settings: Settings
    num_shards: int | None = None

    def expand(self, results: beam.PCollection[ClipResult]) -> beam.PCollection[WrittenShard]:
        """Apply the transform."""
        shards = self.num_shards or beam.pvalue.AsSingleton(_shard_count(results))
        sharded = results | "Shard" >> beam.Map(_with_shard, shards)
        if self.num_shards is not None:  # as many as asked for, even if there are fewer clips
            nothing = [(shard, None) for shard in range(self.num_shards)]
            asked_for = results.pipeline | "AskedFor" >> beam.Create(nothing, reshuffle=False)
            sharded = (sharded, asked_for) | beam.Flatten()
        return (
            sharded
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write_shard, shards, self.folder, self.name, self.settings)
        )


def shard_of(uri: str, shards: int) -> int:
    """The shard that a clip belongs to: the same in every process and every run."""
    return zlib.crc32(uri.encode("utf-8")) % shards


def file_name(beginning: str, shard: int, shards: int) -> str:
    """The name of a shard's file, in each table's folder."""
    return f"{beginning}-{shard:05d}-of-{shards:05d}.parquet"


def write_shard(
    results: Iterable[ClipResult], folder: str, name: str, settings: Settings
) -> WrittenShard:
    """Write the results of clips to one file per table.

    Args:
      results: one for each clip, in any order.
      folder: where the tables' folders are to be.
      name: of the file in each of them; what is there is replaced.
      settings: of the run; every file says which.
    """
    ordered = sorted(results, key=lambda result: result.clip.uri)
    totals = Totals()
    for table in made_tables(settings):
        totals.rows[table.name] = write_table(
            join(folder, table.name, name),
            table,
            table.schema(settings),
            partial(table.rows, ordered, settings),
            metadata(settings),
        )
    for result in ordered:
        totals.count(result, names_heads=len(settings.heads) > 1)
    return WrittenShard(tuple(f"{table}/{name}" for table in totals.rows), totals)


def write_table(
    path: str,
    table: Table,
    schema: pa.Schema,
    parts: Callable[[], Iterable[pa.Table]],
    metadata: Mapping[str, str],
) -> int:
    """Write one Parquet file locally or to a store.

    Args:
      path: where; what is there is replaced.
      table: which table it belongs to.
      schema: its columns.
      parts: gives its rows, sorted, part by part; called once for each attempt.
      metadata: the file's key-value metadata.

    Returns:
      How many rows it has.
    """
    rows = 0
    for attempt in persisting(path):
        with attempt:
            groups = _in_groups(parts(), table.rows_per_group)
            first = next(groups, schema.empty_table())  # whose strings may be dictionary-encoded
            with create_file(path) as sink, _writer(sink, table, first.schema) as writer:
                rows = sum(_write(writer, group, table) for group in chain([first], groups))
                writer.add_key_value_metadata(dict(metadata))
    return rows


def _writer(sink: BinaryIO, table: Table, schema: pa.Schema) -> pq.ParquetWriter:
    order = [pq.SortingColumn(schema.get_field_index(name)) for name in table.sorted_by]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        write_page_index=True,
        write_page_checksum=True,
        store_schema=table.keeps_schema,  # dictionary-encoded strings would be categories
        sorting_columns=order,
    )


def _write(writer: pq.ParquetWriter, group: pa.Table, table: Table) -> int:
    writer.write_table(group, row_group_size=table.rows_per_group)
    return int(group.num_rows)


def _in_groups(parts: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Parts combined into tables of whole row groups, except the last."""
    held: list[pa.Table] = []
    for part in parts:
        held.append(part)
        rows = sum(each.num_rows for each in held)
        if rows >= size:
            together = pa.concat_tables(held)
            whole = rows // size * size
            yield together.slice(0, whole)
            held = [together.slice(whole)] if rows > whole else []
    if held:
        yield pa.concat_tables(held)


def _shard_count(results: beam.PCollection[ClipResult]) -> beam.PCollection[int]:
    return (
        results
        | "Rows" >> beam.Map(_weight)
        | "AllRows" >> beam.CombineGlobally(sum)
        | "Count" >> beam.Map(lambda rows: max(1, -(-rows // ROWS_PER_FILE)))
    )


def _with_shard(result: ClipResult, shards: int) -> tuple[int, ClipResult]:
    return shard_of(result.clip.uri, shards), result


def _weight(result: ClipResult) -> int:
    """How many detections take as many bytes as a clip's rows do."""
    if not isinstance(result, ScoredClip):
        return 0
    embeddings = sum(map(rows_of, result.embeddings))
    return len(result.detections.score) + _ROWS_FOR_AN_EMBEDDING * embeddings


@marking
def _write_shard(
    shard: tuple[int, Iterable[ClipResult | None]],
    shards: int,
    folder: str,
    beginning: str,
    settings: Settings,
) -> WrittenShard:
    index, members = shard
    results = (result for result in members if result is not None)
    return write_shard(results, folder, file_name(beginning, index, shards), settings)
