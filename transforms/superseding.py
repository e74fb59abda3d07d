"""Taking rows of objects that were heard anew out of the files that hold their old ones."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterator

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


def parts_without(path: str, uris: Collection[str]) -> Iterator[pa.Table]:
    """The rows of a Parquet file but for those of some clips, part by part, at least one."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        file = pq.ParquetFile(source)
        yield file.schema_arrow.remove_metadata().empty_table()
        for index in range(file.num_row_groups):
            rows = file.read_row_group(index).replace_schema_metadata()
            is_left = pc.invert(pc.is_in(rows["clip"], pa.array(sorted(uris), pa.string())))
            yield rows.filter(is_left)


def read_metadata(path: str) -> dict[str, str]:
    """What a Parquet file says of itself, by key; Arrow's own schema is left out."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as source:
        said = pq.ParquetFile(source).metadata.metadata or {}
    return {k.decode(): v.decode() for k, v in said.items() if k != b"ARROW:schema"}


def name_without(name: str, reason: str) -> str:
    """What a file is called that is written anew: follows from its name and from what for."""
    return _ENDING.sub(f"-less-{zlib.crc32(reason.encode()):08x}.parquet", name)
