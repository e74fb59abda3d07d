"""What the rows in an output folder say of earlier runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.output_folder import matching
from transforms.tables import PREFIX


class OtherSettingsError(Exception):
    """A folder holds rows that were made in another way; the message is one line."""


class Heard(NamedTuple):
    """An object that has a row.

    Attributes:
      uri: where it was.
      version: its version then.
      reason: why it could not be heard, or not to its end; None if it was.
      file: the name of the file in each table's folder that holds its rows.
    """

    uri: str
    version: str
    reason: str | None
    file: str


def read_history(output: str, settings: Mapping[str, str]) -> Iterator[Heard]:
    """What has been heard, a folder's files one after another.

    Args:
      output: the folder that holds the tables' folders.
      settings: how rows are to have been made: see `Provenance.settings`.

    Raises:
      OtherSettingsError: some were made otherwise, or not by earmark.
    """
    for table in ("clips", "failures"):
        for path in matching(output, table, "*.parquet"):
            yield from _rows(path, settings)


def check_history(output: str, settings: Mapping[str, str]) -> None:
    """Check that all that has been heard was heard in the same way.

    Raises:
      OtherSettingsError: some of it was not.
    """
    for path in matching(output, "clips", "*.parquet"):
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
            _check(path, pq.read_metadata(source), settings)


def _rows(path: str, settings: Mapping[str, str]) -> Iterator[Heard]:
    name = PurePath(path).name
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        file = pq.ParquetFile(source)
        _check(path, file.metadata, settings)
        for batch in file.iter_batches(columns=["clip", "version", "reason"]):
            for row in batch.to_pylist():
                yield Heard(row["clip"], row["version"], row["reason"], name)


def _check(path: str, metadata: pq.FileMetaData, settings: Mapping[str, str]) -> None:
    said = {k.decode(): v.decode() for k, v in (metadata.metadata or {}).items()}
    if f"{PREFIX}run_id" not in said:
        raise OtherSettingsError(f"{path} was not written by earmark")
    for key, value in settings.items():
        there = said.get(f"{PREFIX}{key}")
        if there != value:
            raise OtherSettingsError(f"holds rows made with {key} {there}, not {value}")
