"""Manifests, which list recordings: CSV, JSON lines or Parquet with a column of URIs."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from earmark.transforms.listing.globs import is_glob
from earmark.transforms.storage import (
    ListingError,
    file_kind,
    local_path,
    local_uri,
    open_file,
    reason,
    shown,
    without_signature,
)

_BATCH_ROWS = 4096
_LONGEST_LINE = 1_000_000

URI_COLUMN = "uri"
"""The column that is read unless another is named."""

_SPREADSHEETS = {".xlsx", ".xls", ".xlsm", ".ods", ".numbers"}
_SEPARATORS = ",;\t"


def is_manifest(pattern: str) -> bool:
    """Whether a pattern is a single file that is a manifest by its name."""
    pattern, _ = without_signature(pattern)
    if file_kind(pattern) not in _ROWS:
        return False
    path = local_path(pattern)
    if path is not None and os.path.lexists(path):
        return not os.path.isdir(path)
    return not is_glob(pattern)


def check_is_no_spreadsheet(pattern: str) -> None:
    """Raise a ListingError if a pattern is a single file that is a spreadsheet by its name."""
    if file_kind(pattern) in _SPREADSHEETS and not is_glob(pattern):
        raise ListingError(
            f"{shown(pattern)} is a spreadsheet: save the sheet as CSV, with a column {URI_COLUMN}"
        )


def read_manifest(manifest: str, column: str = URI_COLUMN) -> Iterator[str]:
    """The URIs that a manifest names, in its order.

    The kind of file is detected by its extension, otherwise by its content. Only the column of URIs
    is read, a part at a time; a name in capitals is the same column. CSV may be separated by
    commas, semicolons or tabs, and encoded in UTF-8 or UTF-16. Relative URIs are relative to the
    manifest's folder. Entries are never patterns.

    Args:
      manifest: its path or URI.
      column: the column that holds the URIs.

    Raises:
      ListingError: the manifest cannot be read, has no such column, or a row where it is blank.
    """
    try:
        for row, uri in _rows(manifest, column):
            if not isinstance(uri, str) or not uri.strip():
                raise ListingError(f"manifest {shown(manifest)}: {row} has no {shown(column)}")
            yield _against(manifest, uri)
    except ListingError:
        raise
    except UnicodeDecodeError as error:
        raise ListingError(
            f"manifest {shown(manifest)} is neither UTF-8 nor UTF-16: save it as CSV UTF-8"
        ) from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ListingError(f"manifest {shown(manifest)} cannot be read: {reason(error)}") from error


def _rows(manifest: str, column: str) -> Iterator[tuple[str, Any]]:
    """Each row's name and its value in a column."""
    kind = file_kind(without_signature(manifest)[0])
    if kind not in _ROWS:
        with _open(manifest) as file:
            kind = _kind_by_content(file.read(64))
    with _open(manifest) as file:
        yield from _ROWS[kind](file, manifest, column)


def _open(manifest: str) -> BinaryIO:
    path = local_path(manifest)
    if path is not None and not stat.S_ISREG(os.stat(path).st_mode):
        raise ListingError(f"manifest {shown(manifest)} is not a regular file")  # a pipe would wait
    return open_file(manifest if path is None else path)


def _kind_by_content(start: bytes) -> str:
    if start.startswith(b"PAR1"):
        return ".parquet"
    return ".jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else ".csv"


def _csv_rows(file: BinaryIO, manifest: str, column: str) -> Iterator[tuple[str, Any]]:
    lines = _text(file)
    first = next(lines, "")
    separator = _separator(first)
    says_separator = first.strip().lower() == f"sep={separator}"
    lines = lines if says_separator else chain([first], lines)
    reader = csv.reader(lines, strict=True, delimiter=separator)
    try:
        columns = [name.strip() for name in next(reader, [])]
        place = columns.index(_column(columns, column, manifest))
        for row in reader:
            if row:
                number = reader.line_num + says_separator
                yield f"line {number}", row[place] if place < len(row) else None
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num + says_separator}: {error}") from error


def _separator(first: str) -> str:
    """What separates columns, by the first line: `sep=;`, as Excel has it, or the header."""
    said = first.strip().lower().removeprefix("sep=")
    if len(said) == 1 and said in _SEPARATORS:
        return said
    return max(_SEPARATORS, key=first.count)


def _json_rows(file: BinaryIO, manifest: str, column: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_text(file), 1):
        if line.strip():
            row = _json(line, number)
            named = row if isinstance(row, dict) else {}
            alike = (name for name in named if name.casefold() == column.casefold())
            yield f"line {number}", named.get(column, named.get(next(alike, "")))


def _json(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {getattr(error, 'msg', error)}") from error


def _parquet_rows(file: BinaryIO, manifest: str, column: str) -> Iterator[tuple[str, Any]]:
    parquet = pq.ParquetFile(file)
    name = _column(parquet.schema_arrow.names, column, manifest)
    number = 0
    for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=[name]):
        for uri in batch.column(0).to_pylist():
            number += 1
            yield f"row {number}", uri


_ROWS = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".parquet": _parquet_rows,
}


def _text(file: BinaryIO) -> Iterator[str]:
    """The lines of a text; a line too long for a manifest is an error."""
    is_utf_16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    file.seek(0)
    encoding = "utf-16" if is_utf_16 else "utf-8-sig"
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    number = 0
    try:
        while line := text.readline(_LONGEST_LINE):
            number += 1
            if len(line) == _LONGEST_LINE:
                raise ValueError(f"line {number} is longer than {_LONGEST_LINE:,} characters")
            yield line
    finally:
        with suppress(ValueError):  # the file is closed
            text.detach()  # it is not this one's to close


def _column(columns: list[str], wanted: str, manifest: str) -> str:
    """The name of a column, whether or not in capitals."""
    if wanted in columns:
        return wanted
    for name in columns:
        if name.casefold() == wanted.casefold():
            return name
    there = ", ".join(map(shown, columns)) or "none"
    raise ListingError(
        f"manifest {shown(manifest)} has no column {shown(wanted)}; its columns: {there:.200}"
        f" (--uri_column names another)"
    )


def _against(manifest: str, uri: str) -> str:
    """A manifest's entry as an absolute URI."""
    path, folder = local_path(uri), local_path(manifest)
    if path is None:
        return uri
    if folder is not None:
        return local_uri(os.path.join(os.path.dirname(folder), path))
    if path.startswith("/"):
        return local_uri(path)
    return _join_remote(without_signature(manifest)[0], path)


def _join_remote(manifest: str, relative: str) -> str:
    """A path from a manifest's folder; object stores know no '..', so it is taken out here."""
    scheme, _, place = manifest.partition("://")
    joined = posixpath.join(posixpath.dirname(place), relative)
    steps = {".", ".."} & set(relative.split("/"))
    return f"{scheme}://{posixpath.normpath(joined) if steps else joined}"
