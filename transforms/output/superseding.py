"""Rows of objects that are processed anew: which do not count any more, and taking them out."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from earmark.transforms.elements import PlannedObject, Superseded
from earmark.transforms.output.parquet_files import open_table, said_of_itself


def superseded(planned: PlannedObject) -> Iterator[Superseded]:
    """What does not count any more once an object is processed: nothing, for a new one."""
    if planned.old_file is not None:
        yield Superseded(planned.object.uri, planned.old_file)


def is_since_planned(file: str, old_file: str | None) -> bool:
    """Whether an object's rows in a file are later than its plan, which knew of those in another.

    Args:
      file: the name of the file.
      old_file: the same of the file that the plan knew of, None for an object without rows.
    """
    return file != old_file


def read_uris(path: str) -> list[str]:
    """The clips that a Parquet file of any table has rows of, once for each row.

    Raises:
      BrokenTableError: it cannot be read.
    """
    with open_table(path) as file:
        uris: list[str] = file.read(columns=["clip"])["clip"].to_pylist()
    return uris


def parts_without(path: str, uris: Collection[str]) -> Iterator[pa.Table]:
    """The rows of a Parquet file but for those of some clips, part by part, at least one.

    Raises:
      BrokenTableError: it cannot be read.
    """
    with open_table(path) as file:
        yield file.schema_arrow.remove_metadata().empty_table()
        for index in range(file.num_row_groups):
            rows = file.read_row_group(index).replace_schema_metadata()
            is_left = pc.invert(pc.is_in(rows["clip"], pa.array(sorted(uris), pa.string())))
            yield rows.filter(is_left)


def read_metadata(path: str) -> dict[str, str]:
    """What a Parquet file says of itself, by key; Arrow's own schema is left out.

    Raises:
      BrokenTableError: it cannot be read.
    """
    with open_table(path) as file:
        return said_of_itself(file.metadata)
