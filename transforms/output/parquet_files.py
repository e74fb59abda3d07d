"""Reading the Parquet files of an output, on any filesystem; what is broken is told by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from errno import EIO
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from earmark.transforms.storage import StoreError, local_path, open_file, shown


class BrokenTableError(Exception):
    """A file of a table that cannot be read; the message names it, in a line."""


@contextmanager
def open_table(path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file of the output, open for reading.

    Raises:
      BrokenTableError: it, or what is read of it in the context, is no Parquet.
      OSError: it cannot be opened, or a store failed.
    """
    with _told_with(path), _source(path) as source, pq.ParquetFile(source) as file:
        yield file


def _source(path: str) -> AbstractContextManager[pa.NativeFile | BinaryIO]:
    """A file, opened by Arrow itself where it can: by way of Python each read takes its time."""
    local = local_path(path)
    if local is not None:
        return pa.OSFile(local)  # type: ignore[no-any-return]
    return open_file(path)


def said_of_itself(metadata: pq.FileMetaData) -> dict[str, str]:
    """The key-value metadata of a Parquet file, but for Arrow's own schema."""
    said = metadata.metadata or {}
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in said.items()
        if key != b"ARROW:schema"
    }


@contextmanager
def _told_with(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if not _is_of_the_content(error):
            raise
        said = " ".join(str(error).split()).partition(". ")[0].rstrip(".")
        raise BrokenTableError(
            f"{shown(path)} cannot be read: {said}; `earmark repair` sets it aside"
        ) from error


def _is_of_the_content(error: Exception) -> bool:
    """Whether a file's content is the trouble; of a damaged page Arrow raises an OSError, too."""
    if isinstance(error, StoreError):
        return False
    return not isinstance(error, OSError) or error.errno in (None, EIO)
