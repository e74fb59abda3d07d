"""Taking rows of objects that were heard anew out of the files that hold their old ones."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

_ENDING = re.compile(r"(-less-[0-9a-f]{8})?\.parquet$")


def original(name: str) -> str:
    """The name that a file was first written under, whatever has been taken out of it since."""
    return _ENDING.sub(".parquet", name)


def read_uris(path: str) -> list[str]:
    """The clips that a Parquet file of any table has rows of, once for each row."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        uris: list[str] = pq.read_table(source, columns=["clip"])["clip"].to_pylist()
    return uris


def rows_without(path: str, uris: Collection[str]) -> tuple[pa.Table, dict[str, str]]:
    """The rows of a Parquet file but for those of some clips, and the file's metadata."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        file = pq.ParquetFile(source)
        rows = file.read()
        metadata = {k.decode(): v.decode() for k, v in (file.metadata.metadata or {}).items()}
    is_left = pc.invert(pc.is_in(rows["clip"], pa.array(sorted(uris), pa.string())))
    return rows.filter(is_left), metadata


def name_without(name: str, reason: str) -> str:
    """What a file is called that is written anew: follows from its name and from what for."""
    return _ENDING.sub(f"-less-{zlib.crc32(reason.encode()):08x}.parquet", name)
