"""Rewriting an output: files replaced under their names, all of them in one commit.

New files are written aside, one after another, so memory is bounded by one file's rows. Then a
journal is written, and carried out as that of any commit: whoever finds it finishes the commit, and
without one everything is as it was. Each row lies in one file, which is replaced in one moment: no
reader sees it in both forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from earmark.transforms.output.committing import commit_rewritten
from earmark.transforms.output.folder import clear_away, staging_folder, table_files
from earmark.transforms.output.rows import read_footer, read_groups, said_of_itself
from earmark.transforms.output.tables import Table
from earmark.transforms.output.writing import write_table
from earmark.transforms.storage import join


class NewFile(NamedTuple):
    """What a file of a table is to be replaced by.

    Attributes:
      table: which it belongs to.
      schema: its columns.
      parts: gives its rows, sorted as the table's, part by part; called once for each attempt.
      metadata: its key-value metadata.
    """

    table: Table
    schema: pa.Schema
    parts: Callable[[], Iterable[pa.Table]]
    metadata: Mapping[str, str]

    @classmethod
    def of(
        cls,
        table: Table,
        path: str,
        change: Callable[[pa.Table], pa.Table],
        said: Mapping[str, str] | None = None,
        *,
        sort: bool = False,
    ) -> NewFile:
        """A file with some of its rows or columns changed.

        Args:
          table: which it belongs to.
          path: of the file that is there.
          change: gives the new rows for some of the old ones, in their order.
          said: its new key-value metadata; None for what is there.
          sort: whether the new rows have to be sorted anew, for which they are held in memory.
        """
        footer = read_footer(path)
        schema = footer.schema.to_arrow_schema().remove_metadata()

        def parts() -> Iterator[pa.Table]:
            changed = (change(rows) for rows in read_groups(path))
            return iter([_sorted(table, schema, changed)]) if sort else changed

        return cls(table, schema, parts, said_of_itself(footer) if said is None else said)


def _sorted(table: Table, schema: pa.Schema, parts: Iterable[pa.Table]) -> pa.Table:
    rows = pa.concat_tables([schema.empty_table(), *parts])
    return rows.take(pc.sort_indices(rows, [(name, "ascending") for name in table.sorted_by]))


Shard = Mapping[Table, str]
"""The files of one name, which hold all rows of some clips: their paths by their tables."""


def shards_of(output: str) -> Iterator[Shard]:
    """All files of an output, those of one name together."""
    shards: dict[str, dict[Table, str]] = {}
    for table, path in table_files(output):
        shards.setdefault(PurePath(path).name, {})[table] = path
    yield from (shards[name] for name in sorted(shards))


def rewrite(output: str, run_id: str, anew: Callable[[Shard], Iterable[NewFile]]) -> int:
    """Replace files of an output by others, all at once; the caller must hold the output's lock.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names who does it.
      anew: gives what is to replace files of a shard; files that it doesn't give stay.

    Returns:
      How many files were replaced.

    Raises:
      BrokenTableError: a file cannot be read.
      OutputTakenError: another run has taken the folder over.
      OSError: there is no room, or a store failed; all is as it was, or the next run finishes it.
    """
    try:
        replaced = list(_written(output, staging_folder(output, run_id), anew))
    except Exception:
        clear_away(output, run_id)
        raise
    if replaced:
        commit_rewritten(output, run_id, replaced)
        clear_away(output, run_id)
    return len(replaced)


def _written(
    output: str, staging: str, anew: Callable[[Shard], Iterable[NewFile]]
) -> Iterator[str]:
    """The files that are to be replaced, TABLE/NAME each, once the others are written aside."""
    for shard in shards_of(output):
        for table, schema, parts, metadata in anew(shard):
            name = PurePath(shard[table]).name
            write_table(join(staging, table.name, name), table, schema, parts, metadata)
            yield f"{table.name}/{name}"
