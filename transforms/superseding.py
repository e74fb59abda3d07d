"""Taking rows of objects that were heard anew out of the files that hold their old ones."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection
from pathlib import PurePath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.tables import Table
from transforms.writing import write_table

_ENDING = re.compile(r"(-less-[0-9a-f]{8})?\.parquet$")


def original(name: str) -> str:
    """The name that a file was first written under, whatever has been taken out of it since."""
    return _ENDING.sub(".parquet", name)


def read_uris(path: str) -> list[str]:
    """The clips that a Parquet file of any table has rows of, once for each row."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        uris: list[str] = pq.read_table(source, columns=["clip"])["clip"].to_pylist()
    return uris


def write_without(
    path: str, table: Table, uris: Collection[str], folder: str, reason: str
) -> str | None:
    """Write a file anew, without the rows of some clips.

    Args:
      path: a Parquet file.
      table: the table it belongs to.
      uris: the clips whose rows are to be left out.
      folder: where to write.
      reason: what this is done for: the new file's name follows from it and from the old one's.

    Returns:
      The new file's name; None if no row is left.
    """
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        old = pq.ParquetFile(source)
        rows = old.read()
        metadata = {k.decode(): v.decode() for k, v in (old.metadata.metadata or {}).items()}
    left = rows.filter(pc.invert(pc.is_in(rows["clip"], pa.array(sorted(uris), pa.string()))))
    if not left.num_rows:
        return None
    name = _ENDING.sub(f"-less-{zlib.crc32(reason.encode()):08x}.parquet", PurePath(path).name)
    write_table(str(FileSystems.join(folder, name)), table, left, metadata)
    return name
