"""Manifests, which list recordings: CSV, JSON lines or Parquet with a column uri."""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
import stat
from collections.abc import Iterator
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
    shown,
    without_signature,
)
from earmark.transforms.text import printable

_BATCH_ROWS = 4096
_LONGEST_LINE = 1_000_000


def is_manifest(pattern: str) -> bool:
    """Whether a pattern is a single file that is a manifest by its name."""
    pattern, _ = without_signature(pattern)
    if file_kind(pattern) not in _ROWS:
        return False
    path = local_path(pattern)
    if path is not None and os.path.lexists(path):
        return not os.path.isdir(path)
    return not is_glob(pattern)


def read_manifest(manifest: str) -> Iterator[str]:
    """The URIs that a manifest names, in its order.

    The kind of file is detected by its extension, otherwise by its content. Only the column uri is
    read, a part at a time. Relative URIs are relative to the manifest's folder. Entries are never
    patterns.

    Raises:
      ListingError: the manifest cannot be read, has no column uri, or a row where it is blank.
    """
    try:
        for row, uri in _rows(manifest):
            if not isinstance(uri, str) or not uri.strip():
                raise ListingError(f"manifest {shown(manifest)}: {row} has no uri")
            yield _against(manifest, uri)
    except ListingError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        said = printable(str(error).partition("\n")[0])
        raise ListingError(f"manifest {shown(manifest)} cannot be read: {said}") from error


def _rows(manifest: str) -> Iterator[tuple[str, Any]]:
    """Each row's name and the value of its column uri."""
    kind = file_kind(without_signature(manifest)[0])
    if kind not in _ROWS:
        with _open(manifest) as file:
            kind = _kind_by_content(file.read(64))
    with _open(manifest) as file:
        yield from _ROWS[kind](file, manifest)


def _open(manifest: str) -> BinaryIO:
    path = local_path(manifest)
    if path is not None and not stat.S_ISREG(os.stat(path).st_mode):
        raise ListingError(f"manifest {shown(manifest)} is not a regular file")  # a pipe would wait
    return open_file(manifest if path is None else path)


def _kind_by_content(start: bytes) -> str:
    if start.startswith(b"PAR1"):
        return ".parquet"
    return ".jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else ".csv"


def _csv_rows(file: BinaryIO, manifest: str) -> Iterator[tuple[str, Any]]:
    reader = csv.reader(_text(file), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        column = _uri_column(columns, manifest)
        for row in reader:
            if row:
                yield f"line {reader.line_num}", row[column] if column < len(row) else None
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _json_rows(file: BinaryIO, manifest: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_text(file), 1):
        if line.strip():
            row = _json(line, number)
            yield f"line {number}", row.get("uri") if isinstance(row, dict) else None


def _json(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {getattr(error, 'msg', error)}") from error


def _parquet_rows(file: BinaryIO, manifest: str) -> Iterator[tuple[str, Any]]:
    parquet = pq.ParquetFile(file)
    _uri_column(parquet.schema_arrow.names, manifest)
    number = 0
    for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=["uri"]):
        for uri in batch.column(0).to_pylist():
            number += 1
            yield f"row {number}", uri


_ROWS = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".parquet": _parquet_rows,
}


def _text(file: BinaryIO) -> Iterator[str]:
    """The lines of a text; a line too long for a manifest is an error."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"line {number} is longer than {_LONGEST_LINE:,} characters")
        yield line


def _uri_column(columns: list[str], manifest: str) -> int:
    if "uri" in columns:
        return columns.index("uri")
    there = ", ".join(map(shown, columns)) or "none"
    raise ListingError(f"manifest {shown(manifest)} has no column uri; its columns: {there:.200}")


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
