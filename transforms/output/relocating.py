"""Giving clips that have moved their new URIs, in all tables, without hearing them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from earmark.transforms.output.columns import place_columns
from earmark.transforms.output.rewriting import NewFile, Shard, rewrite
from earmark.transforms.output.rows import open_table


class Known(NamedTuple):
    """What a row says of an object: its URI, its version, its size and its path from the root."""

    uri: str
    version: str
    size_bytes: int | None
    path: str


def relocate(output: str, run_id: str, moved: Callable[[Known], Known | None]) -> int:
    """Rewrite the places and versions of objects that have moved; the caller holds the lock.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names who does it.
      moved: what the rows of an object are to say; None if it hasn't moved.

    Returns:
      How many objects have moved.

    Raises:
      BrokenTableError: a file cannot be read.
      OSError: there is no room, or a store failed; all is as it was, or the next run finishes it.
    """
    counts = []

    def anew(shard: Shard) -> Iterator[NewFile]:
        before = list(_objects(shard))
        after = {each.uri: there for each in before if (there := moved(each)) is not None}
        counts.append(len(after))
        if after:
            uris = [after[each.uri].uri if each.uri in after else each.uri for each in before]
            change = partial(_changed, _columns(after))
            for table, path in shard.items():
                yield NewFile.of(table, path, change, sort=uris != sorted(uris))

    rewrite(output, run_id, anew)
    return sum(counts)


def _objects(shard: Shard) -> Iterator[Known]:
    """The objects of a shard, sorted by their URIs."""
    found: list[Known] = []
    for table, path in shard.items():
        if table.is_of_objects:
            with open_table(path) as file:
                rows = file.read(columns=["clip", "version", "size_bytes", "path"])
            columns = [rows[name].to_pylist() for name in ("clip", "version", "size_bytes", "path")]
            found += map(Known._make, zip(*columns, strict=True))
    yield from sorted(found, key=lambda each: each.uri)


def _columns(after: Mapping[str, Known]) -> tuple[pa.Array, dict[str, pa.Array]]:
    """URIs, and what columns of their rows are to say."""
    rows = [
        {**place_columns(each.uri, each.path), "version": each.version} for each in after.values()
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    as_arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return pa.array(list(after), pa.string()), as_arrays


def _changed(new: tuple[pa.Array, Mapping[str, pa.Array]], rows: pa.Table) -> pa.Table:
    uris, columns = new
    place = pc.index_in(rows["clip"], uris)
    for name, values in columns.items():
        if name in rows.column_names:
            index = rows.column_names.index(name)
            column = pc.coalesce(values.take(place), rows[name])
            rows = rows.set_column(index, rows.schema.field(name), column)
    return rows
