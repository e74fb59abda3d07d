"""Writing what was heard to Parquet.

Rows are written aside, then moved into place by committing.py, so that nobody reads half a run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from earmark.transforms.detecting import rows_of
from earmark.transforms.elements import ClipResult, HeardClip
from earmark.transforms.output.provenance import Provenance
from earmark.transforms.output.tables import TABLES, Table
from earmark.transforms.storage import create_file, join, persisting

ROWS_PER_FILE = 1_000_000
"""About so many detections in a file, where the number of files isn't given."""

_ROWS_FOR_AN_EMBEDDING = 16
"""So many detections take about as many bytes as an embedding."""


class WrittenFile(NamedTuple):
    """A Parquet file: the table it belongs to, its name in the table's folder, its rows."""

    table: str
    name: str
    rows: int


@dataclass
class LabelTotal:
    """How often a label was heard: in how many clips, for how long, and its best score."""

    clips: int = 0
    seconds: float = 0.0
    max_score: float = 0.0

    def add(self, other: LabelTotal) -> None:
        """Count in another total of the same label."""
        self.clips += other.clips
        self.seconds += other.seconds
        self.max_score = max(self.max_score, other.max_score)


@dataclass
class Totals:
    """What rows say in sum.

    Attributes:
      clips: rows in clips/.
      partial: of them, how many are partial, by reason.
      failures: rows in failures/, by reason.
      detections: rows in detections/.
      events: rows in events/.
      embeddings: rows in embeddings/.
      audio_s: seconds of audio that were heard.
      labels: by label.
    """

    clips: int = 0
    partial: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    detections: int = 0
    events: int = 0
    embeddings: int = 0
    audio_s: float = 0.0
    labels: dict[str, LabelTotal] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Totals:
        """From what `asdict` made of them."""
        labels = {name: LabelTotal(**total) for name, total in record["labels"].items()}
        return cls(**{**record, "labels": labels})

    @property
    def objects(self) -> int:
        """How many objects have a row, in clips/ or in failures/."""
        return self.clips + sum(self.failures.values())

    def count(self, result: ClipResult, names_heads: bool = False) -> None:
        """Count one clip in; names_heads tells labels of several heads apart."""
        if not isinstance(result, HeardClip):
            _add_counts(self.failures, {result.trouble.reason: 1})
            return
        self.clips += 1
        self.audio_s += result.duration_s
        if result.reason:
            _add_counts(self.partial, {result.reason: 1})
        names: set[str] = set()
        for label in result.labels:
            name = f"{label.head}: {label.label}" if names_heads else label.label
            clips = int(name not in names)  # of two labels of one name, the clip counts once
            self._label(name).add(LabelTotal(clips, label.seconds, label.max_score))
            names.add(name)

    def add(self, other: Totals) -> None:
        """Count in the totals of other rows."""
        self.clips += other.clips
        _add_counts(self.partial, other.partial)
        _add_counts(self.failures, other.failures)
        self.detections += other.detections
        self.events += other.events
        self.embeddings += other.embeddings
        self.audio_s += other.audio_s
        for name, total in other.labels.items():
            self._label(name).add(total)

    def _label(self, name: str) -> LabelTotal:
        return self.labels.setdefault(name, LabelTotal())


@dataclass(frozen=True)
class WrittenShard:
    """The files of one shard, a file for each table, and what they hold in sum."""

    files: tuple[WrittenFile, ...]
    totals: Totals


@dataclass
class WriteParquet(beam.PTransform):  # type: ignore[misc]
    """Write results aside as Parquet: ClipResult to WrittenShard.

    A shard holds whole clips, and has one file in each table's folder, even where it has no rows,
    so that every table can be read after any run.

    Attributes:
      folder: where the tables' folders are to be.
      name: what the names of files begin with.
      made_by: goes into every file.
      num_shards: how many files each table gets; None for as many as suits the number of rows.
    """

    folder: str
    name: str
    made_by: Provenance
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
            | "Write" >> beam.Map(_write_shard, shards, self.folder, self.name, self.made_by)
        )


def shard_of(uri: str, shards: int) -> int:
    """The shard that a clip belongs to: the same in every process and every run."""
    return zlib.crc32(uri.encode("utf-8")) % shards


def file_name(beginning: str, shard: int, shards: int) -> str:
    """The name of a shard's file, in each table's folder."""
    return f"{beginning}-{shard:05d}-of-{shards:05d}.parquet"


def write_shard(
    results: Iterable[ClipResult], folder: str, name: str, made_by: Provenance
) -> WrittenShard:
    """Write what came of clips to a file for each table.

    Args:
      results: one for each clip, in any order.
      folder: where the tables' folders are to be.
      name: of the file in each of them; what is there is replaced.
      made_by: goes into every file.
    """
    ordered = sorted(results, key=lambda result: result.clip.uri)
    tables = [table for table in TABLES if table.name in made_by.tables]
    files = [_write(folder, table, name, ordered, made_by) for table in tables]
    totals = _totals(ordered, files, names_heads=len(made_by.heads) > 1)
    return WrittenShard(tuple(files), totals)


def write_table(
    path: str,
    table: Table,
    parts: Callable[[], Iterable[pa.Table]],
    metadata: Mapping[str, str],
) -> int:
    """Write one Parquet file to any filesystem that Beam knows.

    Args:
      path: where; what is there is replaced.
      table: which table it belongs to.
      parts: gives its rows, sorted, in one part or more; called once for each attempt.
      metadata: what the file is to say of itself, by key.

    Returns:
      How many rows it has.
    """
    rows = 0
    for attempt in persisting(path):
        with attempt:
            rows = _write_once(path, table, parts(), metadata)
    return rows


def _write_once(
    path: str, table: Table, parts: Iterable[pa.Table], metadata: Mapping[str, str]
) -> int:
    groups = _in_groups(parts, table.rows_per_group)
    first = next(groups)
    order = [pq.SortingColumn(first.schema.get_field_index(name)) for name in table.sorted_by]
    rows = 0
    with (
        create_file(path) as sink,
        pq.ParquetWriter(
            sink,
            first.schema,
            compression="zstd",
            write_page_index=True,
            store_schema=table.keeps_schema,  # dictionary-encoded strings would be categories
            sorting_columns=order,
        ) as writer,
    ):
        for group in chain([first], groups):
            writer.write_table(group, row_group_size=table.rows_per_group)
            rows += group.num_rows
        writer.add_key_value_metadata(dict(metadata))
    return rows


def _in_groups(parts: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Parts put together to tables of whole groups, but for the last; at least one table."""
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


def _add_counts(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


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
    if not isinstance(result, HeardClip):
        return 0
    embeddings = sum(map(rows_of, result.embeddings))
    return len(result.detections.score) + _ROWS_FOR_AN_EMBEDDING * embeddings


def _write_shard(
    shard: tuple[int, Iterable[ClipResult | None]],
    shards: int,
    folder: str,
    beginning: str,
    made_by: Provenance,
) -> WrittenShard:
    index, members = shard
    results = (result for result in members if result is not None)
    return write_shard(results, folder, file_name(beginning, index, shards), made_by)


def _write(
    folder: str, table: Table, name: str, results: Sequence[ClipResult], made_by: Provenance
) -> WrittenFile:
    path = join(folder, table.name, name)
    parts = partial(table.parts, results, made_by)
    return WrittenFile(table.name, name, write_table(path, table, parts, made_by.metadata()))


def _totals(
    results: Iterable[ClipResult], files: Iterable[WrittenFile], names_heads: bool
) -> Totals:
    rows = {file.table: file.rows for file in files}
    totals = Totals(
        detections=rows.get("detections", 0),
        events=rows.get("events", 0),
        embeddings=rows.get("embeddings", 0),
    )
    for result in results:
        totals.count(result, names_heads)
    return totals
