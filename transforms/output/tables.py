"""The tables of the output: an entry in TABLES is all that the code is told of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from earmark.transforms.elements import ClipResult
from earmark.transforms.output.columns import (
    CLIPS,
    DETECTIONS,
    EVENTS,
    FAILURES,
    clip_rows,
    detection_rows,
    embedding_rows,
    embeddings_schema,
    event_rows,
    failure_rows,
)
from earmark.transforms.settings import Settings

ROWS_PER_GROUP = 65_536
"""Small enough that a look-up of one label skips nearly everything."""

EMBEDDINGS_PER_GROUP = 4096
"""16 MB of YAMNet's."""


@dataclass(frozen=True)
class Table:
    """One of the tables of the output.

    Attributes:
      name: of the table, and of its folder.
      sorted_by: the columns by which its rows lie sorted in a file.
      schema: its columns in a run's files.
      rows: makes rows of clips' results, part by part.
      is_made: whether a run makes the table.
      is_of_objects: whether its rows are of objects, with their `version` and a `reason`. Each
        object has one row in one of these tables. They are moved into place after the others.
      glance: a query that gives a first look at it, {files} being its files; that of the first
        table that has one is shown at the end of a run.
      rows_per_group: in a file.
      keeps_schema: whether readers that know Arrow are told its types, beyond Parquet's.
    """

    name: str
    sorted_by: tuple[str, ...]
    schema: Callable[[Settings], pa.Schema]
    rows: Callable[[Sequence[ClipResult], Settings], Iterable[pa.Table]]
    is_made: Callable[[Settings], bool] = lambda _: True
    is_of_objects: bool = False
    glance: str | None = None
    rows_per_group: int = ROWS_PER_GROUP
    keeps_schema: bool = False


def made_tables(settings: Settings) -> list[Table]:
    """The tables that a run makes."""
    return [table for table in TABLES if table.is_made(settings)]


def written_tables(files: Iterable[str]) -> list[Table]:
    """The tables that some files are of, by their paths in the output: TABLE/NAME."""
    names = {file.partition("/")[0] for file in files}
    return [table for table in TABLES if table.name in names]


def _has_scores(settings: Settings) -> bool:
    return bool(settings.heads)


def _has_embeddings(settings: Settings) -> bool:
    return settings.embeddings is not None


TABLES: tuple[Table, ...] = (
    Table(
        "detections",
        ("label", "clip", "start_s"),
        schema=lambda _: DETECTIONS,
        rows=detection_rows,
        is_made=_has_scores,
    ),
    Table(
        "events",
        ("label", "clip", "start_s"),
        schema=lambda _: EVENTS,
        rows=event_rows,
        is_made=_has_scores,
        glance="select label, clip, start_s, end_s, max_score\n"
        "from '{files}' order by max_score desc limit 20",
    ),
    Table(
        "embeddings",
        ("clip", "start_s"),
        schema=embeddings_schema,
        rows=embedding_rows,
        is_made=_has_embeddings,
        glance="select clip, start_s, end_s, embedding\n"
        "from '{files}' order by clip, start_s limit 20",
        rows_per_group=EMBEDDINGS_PER_GROUP,
        keeps_schema=True,
    ),
    Table("clips", ("clip",), lambda _: CLIPS, clip_rows, is_of_objects=True),
    Table("failures", ("clip",), lambda _: FAILURES, failure_rows, is_of_objects=True),
)
"""All tables, in the order in which their files are moved into place.

Those of objects are last: they say that an object's other rows are there.
"""
