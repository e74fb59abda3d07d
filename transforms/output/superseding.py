"""Superseded rows, of objects that are processed again: which they are, and removing them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from earmark.transforms.elements import PlannedObject, Superseded
from earmark.transforms.output.rows import read_footer, read_uris, read_without, said_of_itself
from earmark.transforms.output.tables import TABLES
from earmark.transforms.output.writing import write_table
from earmark.transforms.storage import exists, join


def superseded(planned: PlannedObject) -> Iterator[Superseded]:
    """The rows that are superseded once an object is processed; none for a new object."""
    if planned.old_file is not None:
        yield Superseded(planned.object.uri, planned.old_file)


def is_since_planned(file: str, old_file: str | None) -> bool:
    """Whether an object's rows in a file are later than its plan, which knew of those in another.

    Args:
      file: the name of the file.
      old_file: the name of the file that the plan knew of, None for an object without rows.
    """
    return file != old_file


def write_anew(
    output: str, staging: str, superseded: Iterable[Superseded], new_files: Iterable[str]
) -> list[str]:
    """Write files aside, under the same names, without the rows that new ones supersede.

    A file of which no row is left stays as one without rows: a reader may have seen its name.

    Args:
      output: the folder that holds the tables' folders.
      staging: the folder that is to hold those that are written aside.
      superseded: rows that do not count once there are new ones of their object.
      new_files: TABLE/NAME each, in the staging folder, which say of which objects there are.

    Returns:
      The files that are to be replaced, TABLE/NAME each.

    Raises:
      BrokenTableError: a file cannot be read.
    """
    replaced = []
    for name, uris in sorted(_by_file(superseded, staging, new_files).items()):
        for table in TABLES:
            path = join(output, table.name, name)
            if exists(path):
                footer = read_footer(path)
                schema = footer.schema.to_arrow_schema().remove_metadata()
                rows, said = partial(read_without, path, uris), said_of_itself(footer)
                write_table(join(staging, table.name, name), table, schema, rows, said)
                replaced.append(f"{table.name}/{name}")
    return replaced


def _by_file(
    superseded: Iterable[Superseded], staging: str, new_files: Iterable[str]
) -> Mapping[str, set[str]]:
    """The objects that have old rows and new ones, by the name of the old file."""
    old = list(superseded)
    of_objects = {table.name for table in TABLES if table.is_of_objects}
    new = (file.split("/") for file in new_files if old)
    paths = [join(staging, table, name) for table, name in new if table in of_objects]
    uris = {uri for path in paths for uri in read_uris(path)}
    by_file: dict[str, set[str]] = {}
    for each in old:
        if each.uri in uris:
            by_file.setdefault(each.file, set()).add(each.uri)
    return by_file
