"""Writing what was heard to Parquet.

Rows are written aside, then moved into place by committing.py, so that nobody reads half a run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.elements import ClipResult, HeardClip
from transforms.stores import persisting
from transforms.tables import TABLES, Provenance, Table

ROWS_PER_FILE = 1_000_000
"""About so many detections in a file, where the number of files isn't given."""

ROWS_PER_GROUP = 65_536
"""Small enough that a look-up of one label skips nearly everything."""


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
      audio_s: seconds of audio that were heard.
      labels: by label.
    """

    clips: int = 0
    partial: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    detections: int = 0
    events: int = 0
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

    def count(self, result: ClipResult) -> None:
        """Count one clip in."""
        if not isinstance(result, HeardClip):
            _add_counts(self.failures, {result.trouble.reason: 1})
            return
        self.clips += 1
        self.audio_s += result.duration_s
        if result.reason:
            _add_counts(self.partial, {result.reason: 1})
        for label in result.labels:
            self._label(label.label).add(LabelTotal(1, label.seconds, label.max_score))

    def add(self, other: Totals) -> None:
        """Count in the totals of other rows."""
        self.clips += other.clips
        _add_counts(self.partial, other.partial)
        _add_counts(self.failures, other.failures)
        self.detections += other.detections
        self.events += other.events
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
    files = [_write(folder, table, name, ordered, made_by) for table in TABLES]
    return WrittenShard(tuple(files), _totals(ordered, files))


def write_table(path: str, table: Table, rows: pa.Table, metadata: Mapping[str, str]) -> None:
    """Write one Parquet file to any filesystem that Beam knows.

    Args:
      path: where; what is there is replaced.
      table: which table it belongs to.
      rows: its rows, sorted.
      metadata: what the file is to say of itself, by key.
    """
    for attempt in persisting(path):
        with attempt:
            _write_once(path, table, rows, metadata)


def _write_once(path: str, table: Table, rows: pa.Table, metadata: Mapping[str, str]) -> None:
    order = [pq.SortingColumn(rows.schema.get_field_index(name)) for name in table.sorted_by]
    uncompressed = CompressionTypes.UNCOMPRESSED
    with (
        FileSystems.create(path, compression_type=uncompressed) as sink,
        pq.ParquetWriter(
            sink,
            rows.schema,
            compression="zstd",
            write_page_index=True,
            store_schema=False,  # else dictionary-encoded strings come back as categories
            sorting_columns=order,
        ) as writer,
    ):
        writer.write_table(rows, row_group_size=ROWS_PER_GROUP)
        writer.add_key_value_metadata(dict(metadata))


def _add_counts(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _shard_count(results: beam.PCollection[ClipResult]) -> beam.PCollection[int]:
    return (
        results
        | "Rows" >> beam.Map(_detections)
        | "AllRows" >> beam.CombineGlobally(sum)
        | "Count" >> beam.Map(lambda rows: max(1, -(-rows // ROWS_PER_FILE)))
    )


def _with_shard(result: ClipResult, shards: int) -> tuple[int, ClipResult]:
    return shard_of(result.clip.uri, shards), result


def _detections(result: ClipResult) -> int:
    return len(result.detections.score) if isinstance(result, HeardClip) else 0


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
    rows = table.rows(results, made_by)
    write_table(FileSystems.join(folder, table.name, name), table, rows, made_by.metadata())
    return WrittenFile(table.name, name, rows.num_rows)


def _totals(results: Iterable[ClipResult], files: Iterable[WrittenFile]) -> Totals:
    rows = {file.table: file.rows for file in files}
    totals = Totals(detections=rows["detections"], events=rows["events"])
    for result in results:
        totals.count(result)
    return totals
