"""What earlier runs have processed, by the rows in an output folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import PurePath
from typing import NamedTuple

import pyarrow.parquet as pq

from earmark.transforms.errors import ExpectedError
from earmark.transforms.output.folder import table_files
from earmark.transforms.output.provenance import PREFIX
from earmark.transforms.output.rows import open_table, read_footers, said_of_itself
from earmark.transforms.output.tables import TABLES
from earmark.transforms.storage import shown
from earmark.transforms.text import printable

_NAME = re.compile(r"(?P<run>[0-9]{8}T[0-9]{6}Z)-[0-9a-f]{8}-(?:(?P<window>[0-9]{10})-)?")
_SHOWN = 100
"""Characters of a setting that a message shows."""

_DIGITS = 8
"""Of a sha256, in a message."""

_CLOCKS_DIFFER = timedelta(hours=1)


class HistoryError(ExpectedError):
    """A folder's rows can't be added to: they have other settings or are incomplete; one line."""


class OtherSettingsError(HistoryError):
    """Rows were made with other settings.

    Attributes:
      said: in which, in words.
      there: those that differ, by name, as the rows have them.
    """

    def __init__(self, said: str, there: Mapping[str, str | None]) -> None:
        super().__init__(f"{said}; name another folder")
        self.said, self.there = said, there


class Processed(NamedTuple):
    """An object that has rows.

    Attributes:
      uri: its URI.
      version: its version when it was processed.
      reason: why it could not be decoded, or not to its end; None if it was.
      file: the name of the file in each table's folder that holds its rows.
      size_bytes: its size when it was processed; None where that was unknown.
    """

    uri: str
    version: str
    reason: str | None
    file: str
    size_bytes: int | None = None


def read_history(
    output: str,
    settings: Mapping[str, str],
    known: set[str] | None = None,
    since: datetime | None = None,
) -> Iterator[Processed]:
    """The objects that have been processed, from one file of a folder after another.

    Args:
      output: the folder that holds the tables' folders.
      settings: how rows are to have been made: see `provenance_of`.
      known: paths of files to skip; those that were read are added.
      since: skip what was committed before; what was committed shortly before may be included.

    Raises:
      HistoryError: some rows have other settings, or were not written by earmark.
      BrokenTableError: a file cannot be read.
    """
    for _, path in table_files(output, (table for table in TABLES if table.is_of_objects)):
        is_new = known is None or path not in known
        if is_new and (since is None or _is_since(path, since)):
            yield from _rows(path, settings)
            if known is not None:
                known.add(path)


def check_history(output: str, settings: Mapping[str, str]) -> None:
    """Check that all rows were made in the same way, and that no file is missing.

    The footers of all files of all tables are read, their rows are not.

    Raises:
      HistoryError: some were not, or a file is missing.
      BrokenTableError: a file is broken.
    """
    rows: dict[str, dict[str, int]] = {table: {} for table in settings["tables"].split(", ")}
    files = list(table_files(output))
    footers = read_footers([path for _, path in files])
    for (table, path), footer in zip(files, footers, strict=True):
        _check(path, footer, settings)
        rows.setdefault(table.name, {})[PurePath(path).name] = footer.num_rows
    _check_names(rows)


def _check_names(rows: Mapping[str, Mapping[str, int]]) -> None:
    """Check that each file of a table has its counterparts in the other tables."""
    with_rows = {name for files in rows.values() for name, count in files.items() if count}
    for table, files in rows.items():
        if missing := sorted(with_rows - set(files)):
            raise HistoryError(
                f"{table}/{missing[0]} is missing, though other tables have a file of that name; "
                "put it back, or have `earmark repair` set those aside"
            )


def _is_since(path: str, moment: datetime) -> bool:
    """Whether, by its name, a file may have been committed then or later."""
    found = _NAME.match(PurePath(path).name)
    if found is None:
        return True
    if found["window"] is not None:  # which is when it began, in seconds since 1970
        return int(found["window"]) >= (moment - _CLOCKS_DIFFER).timestamp()
    began = datetime.strptime(found["run"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    return began >= moment - _CLOCKS_DIFFER


_COLUMNS = ["clip", "version", "reason", "size_bytes"]


def _rows(path: str, settings: Mapping[str, str]) -> Iterator[Processed]:
    name = PurePath(path).name
    with open_table(path) as file:
        _check(path, file.metadata, settings)
        for batch in file.iter_batches(columns=_COLUMNS):
            columns = (batch.column(name).to_pylist() for name in _COLUMNS)
            for uri, version, reason, size_bytes in zip(*columns, strict=True):
                yield Processed(uri, version, reason, name, size_bytes)


def _check(path: str, metadata: pq.FileMetaData, settings: Mapping[str, str]) -> None:
    said = said_of_itself(metadata)
    if f"{PREFIX}run_id" not in said:
        raise HistoryError(f"{shown(path)} was not written by earmark")
    other = [key for key, value in settings.items() if said.get(f"{PREFIX}{key}") != value]
    if other:
        there = {key: said.get(f"{PREFIX}{key}") for key in other}
        raise OtherSettingsError(_difference(other, settings, said), there)


def _difference(keys: Sequence[str], settings: Mapping[str, str], said: Mapping[str, str]) -> str:
    """In which settings the rows that are there differ from those to be written."""
    there = {key: _shown(said.get(f"{PREFIX}{key}")) for key in keys}
    values = {key: _shown(settings[key]) for key in keys}
    if "schema_version" in keys:
        keys = ["schema_version"]
    if "tables" in keys:
        return f"holds the tables {there['tables']}, not {values['tables']}"
    if "model_sha256" in keys:
        model, digests = said.get(f"{PREFIX}model_name"), [there, values]
        ours, theirs = (each["model_sha256"] for each in digests)
        return f"holds rows of another model: {model}, sha256 {ours}, not {theirs}"
    if "labels_sha256" in keys:
        return "holds rows made with other labels of the model"
    each = [f"{key} {there[key]}, not {values[key]}" for key in keys]
    return f"holds rows made with {', and '.join(each)}"


def _shown(value: str | None) -> str:
    """A setting as messages show it: not too long, and of a sha256 the first digits."""
    return re.sub(
        rf"\b([0-9a-f]{{{_DIGITS}}})[0-9a-f]{{{64 - _DIGITS}}}\b", r"\1", printable(value, _SHOWN)
    )
