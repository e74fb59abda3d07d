"""Taking rows of objects that were heard anew out of the files that hold their old ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from errno import EIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.patterns import shown


class BrokenTableError(Exception):
    """A file of a table that cannot be read; the message names it, in a line."""


def read_uris(path: str) -> list[str]:
    """The clips that a Parquet file of any table has rows of, once for each row.

    Raises:
      BrokenTableError: it cannot be read.
    """
    with _opened(path) as file:
        uris: list[str] = file.read(columns=["clip"])["clip"].to_pylist()
    return uris


def parts_without(path: str, uris: Collection[str]) -> Iterator[pa.Table]:
    """The rows of a Parquet file but for those of some clips, part by part, at least one.

    Raises:
      BrokenTableError: it cannot be read.
    """
    with _opened(path) as file:
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
    with _opened(path) as file:
        said = file.metadata.metadata or {}
    return {k.decode(): v.decode() for k, v in said.items() if k != b"ARROW:schema"}


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    uncompressed = CompressionTypes.UNCOMPRESSED
    with told_with_name(path), FileSystems.open(path, compression_type=uncompressed) as source:
        yield pq.ParquetFile(source)


@contextmanager
def told_with_name(path: str) -> Iterator[None]:
    """Have a file's name told with what Arrow cannot read in it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, BeamIOError) or getattr(error, "errno", None) not in (None, EIO):
            raise
        said = " ".join(str(error).split())
        raise BrokenTableError(
            f"{shown(path)} cannot be read: {said}; `earmark repair` sets it aside"
        ) from error
