"""The one reader of what runs have written, on any filesystem.

`read` hands the tables of an output to DuckDB, pandas, polars and Arrow. What the rest of earmark
asks of an output it reads through the functions below, which name a file that is broken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from errno import EIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from earmark.transforms.errors import ExpectedError
from earmark.transforms.output.folder import RUNS, matching
from earmark.transforms.output.provenance import PREFIX
from earmark.transforms.output.tables import TABLES
from earmark.transforms.storage import (
    StoreError,
    check_known,
    check_reachable,
    is_run_id,
    local_path,
    normal_path,
    open_file,
    read_uri,
    shown,
)

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_FOOTER_THREADS = 8


class BrokenTableError(ExpectedError):
    """A file of a table that cannot be read; the message names it, in a line."""


class NoSuchTableError(KeyError):
    """An output has no rows of a table; the message is one line."""

    def __str__(self) -> str:
        return str(self.args[0])


class NoSuchColumnError(NoSuchTableError):
    """A table has no such column; the message is one line."""


@dataclass(frozen=True, repr=False)
class Rows:
    """The rows of a table, none of which is loaded before it is asked for.

    DuckDB and polars take it as it is: `duckdb.sql("select * from detections")` where it is a
    variable, and `polars.scan_pyarrow_dataset(detections.dataset)`.

    Attributes:
      name: of the table.
      dataset: its files, for Arrow and whatever knows Arrow.
    """

    name: str
    dataset: ds.Dataset

    def __repr__(self) -> str:
        return f"<rows of {self.name}: {', '.join(self.dataset.schema.names)}>"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.dataset.scanner().to_reader().__arrow_c_stream__(requested_schema)

    def count(self) -> int:
        """How many rows there are, by the footers of the files; raises as `arrow` does."""
        with _naming_broken(self.dataset.files):
            return int(self.dataset.count_rows())

    def arrow(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> pa.Table:
        """Load rows as an Arrow table.

        Args:
          columns: those that are wanted; None for all.
          where: which rows, such as `pyarrow.compute.field("score") > 0.5`; None for all.

        Raises:
          BrokenTableError: a file is broken; one line names it.
          NoSuchColumnError: there is no such column.
        """
        columns = [columns] if isinstance(columns, str) else columns
        columns = None if columns is None else list(columns)
        there = self.dataset.schema.names
        if missing := [each for each in columns or () if each not in there]:
            raise NoSuchColumnError(
                f"{self.name} has no column {missing[0]!r}; it has {', '.join(there)}"
            )
        with _naming_broken(self.dataset.files):
            return self.dataset.to_table(columns=columns, filter=where)

    def to_pandas(
        self, columns: Sequence[str] | None = None, where: pc.Expression | None = None
    ) -> Any:
        """Load rows as a pandas.DataFrame; takes what `arrow` takes, and needs pandas."""
        return self.arrow(columns, where).to_pandas()


class Tables(Mapping[str, Rows]):
    """The tables of an output, by name, as docs/output.md describes them.

    A table is looked up in the folder when it is asked for, so what is committed meanwhile is seen.
    """

    def __init__(self, output: str) -> None:
        self._output = output

    def __getitem__(self, name: str) -> Rows:
        if paths := self._paths(name):
            return Rows(name, _dataset(paths))
        there = ", ".join(self) or "no table at all"
        raise NoSuchTableError(f"{shown(self._output)} has no table {name!r}; it has {there}")

    def __iter__(self) -> Iterator[str]:
        return (table.name for table in TABLES if self._paths(table.name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<tables in {shown(self._output)}: {', '.join(self)}>"

    def settings(self) -> dict[str, str]:
        """What all rows were made with, by name: the model, its frames, thresholds and so on."""
        said = said_of_itself(read_footer(self._paths(next(iter(self)))[0]))
        own = (f"{PREFIX}run_id", f"{PREFIX}version")
        return {key.removeprefix(PREFIX): said[key] for key in said if key not in own}

    def runs(self) -> list[dict[str, Any]]:
        """What the files of the runs that are whole say, the first run first.

        Raises:
          BrokenTableError: one is no file of a run; one line names it.
        """
        paths = matching(self._output, RUNS, "*.json")
        return [_run_record(path) for path in paths if is_run_id(PurePath(path).stem)]

    def _paths(self, name: str) -> list[str]:
        is_known = name in (table.name for table in TABLES)
        return list(matching(self._output, name, "*.parquet")) if is_known else []


def read(output: str | os.PathLike[str]) -> Tables:
    """Read what runs have written to a folder.

    For example, `read("labels")["detections"].to_pandas()`.

    Args:
      output: the folder, or its URI in any store that runs write to.

    Raises:
      FileNotFoundError: no run has written rows there.
      ValueError: the URI is of a store that is not known or does not answer.
    """
    uri = os.fsdecode(output)
    path = local_path(uri)
    if path is None:
        check_known(uri)
        check_reachable(uri)
    tables = Tables(uri if path is None else normal_path(path))
    if not tables:
        raise FileNotFoundError(f"{shown(uri)}: no run has written rows to it")
    return tables


@contextmanager
def open_table(path: str) -> Iterator[pq.ParquetFile]:
    """A Parquet file of the output, open for reading.

    Raises:
      BrokenTableError: it, or what is read of it in the context, is no Parquet.
      OSError: it cannot be opened, or a store failed.
    """
    with (
        _told_with(path),
        _opened(path) as source,
        pq.ParquetFile(source, page_checksum_verification=True) as file,
    ):
        yield file


def read_footer(path: str) -> pq.FileMetaData:
    """What a Parquet file says of itself and its rows; raises as `open_table` does."""
    with open_table(path) as file:
        return file.metadata


def read_footers(paths: Sequence[str]) -> Iterator[pq.FileMetaData]:
    """The footers of many files, in their order."""
    if not paths or local_path(paths[0]) is not None:  # threads would only wait for each other
        yield from map(read_footer, paths)
        return
    with ThreadPoolExecutor(_FOOTER_THREADS) as threads:
        yield from threads.map(read_footer, paths)


def said_of_itself(metadata: pq.FileMetaData) -> dict[str, str]:
    """The key-value metadata of a Parquet file, but for Arrow's own schema."""
    said = metadata.metadata or {}
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in said.items()
        if key != b"ARROW:schema"
    }


def read_uris(path: str) -> list[str]:
    """The clips that a Parquet file has rows of, once for each row; raises as `open_table` does."""
    with open_table(path) as file:
        uris: list[str] = file.read(columns=["clip"])["clip"].to_pylist()
    return uris


def read_groups(path: str) -> Iterator[pa.Table]:
    """The rows of a Parquet file, one row group after another; raises as `open_table` does."""
    with open_table(path) as file:
        for index in range(file.num_row_groups):
            yield file.read_row_group(index).replace_schema_metadata()


def read_without(path: str, uris: Collection[str]) -> Iterator[pa.Table]:
    """The rows of a Parquet file but for those of some clips; raises as `open_table` does."""
    for rows in read_groups(path):
        is_left = pc.invert(pc.is_in(rows["clip"], pa.array(sorted(uris), pa.string())))
        yield rows.filter(is_left)


def _dataset(paths: Sequence[str]) -> ds.Dataset:
    import pyarrow.dataset as ds  # only `read` needs it, and it is slow to import

    is_local = local_path(paths[0]) is not None
    filesystem = fs.LocalFileSystem() if is_local else fs.PyFileSystem(_StoreFiles())
    schema = _schema(sorted({paths[0], paths[-1]}))
    verifying = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=verifying)
    fragments = [parquet.make_fragment(path, filesystem) for path in paths]
    return ds.FileSystemDataset(fragments, schema, parquet, filesystem)


def _schema(paths: Sequence[str]) -> pa.Schema:
    """The columns of the first file and the last, between which earmark may have got newer."""
    schemas = [read_footer(each).schema.to_arrow_schema().remove_metadata() for each in paths]
    for path, schema in zip(paths, schemas, strict=True):
        if "clip" not in schema.names:
            raise BrokenTableError(f"{shown(path)} has no column clip: no run has written it")
    try:
        return pa.unify_schemas(schemas)
    except pa.ArrowException as error:
        said = " ".join(str(error).split())
        raise BrokenTableError(f"{shown(paths[-1])} has other columns: {said}") from error


@contextmanager
def _naming_broken(paths: Sequence[str]) -> Iterator[None]:
    """Have an error of Arrow's that a file is to blame for name that file."""
    try:
        yield
    except OSError:  # of a page: only reading all tells of which file
        for path in paths:
            with open_table(path) as file:
                for _ in file.iter_batches():
                    pass
        raise
    except pa.ArrowException:
        for _ in read_footers(paths):
            pass
        raise


def _run_record(path: str) -> dict[str, Any]:
    try:
        record = json.loads(read_uri(path))
    except (ValueError, RecursionError) as error:
        raise BrokenTableError(f"{shown(path)} cannot be read: it is not JSON") from error
    if not isinstance(record, dict):
        raise BrokenTableError(f"{shown(path)} cannot be read: it is no record of a run")
    return record


class _StoreFiles(fs.FileSystemHandler):  # type: ignore[misc]
    """Files in stores as Arrow reads them: by the way that all of earmark reads them."""

    def get_type_name(self) -> str:
        return "earmark"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return [fs.FileInfo(path, fs.FileType.File) for path in paths]

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_opened(path), mode="r")

    open_input_stream = open_input_file

    def _refuse(self, *_: object) -> None:
        raise PermissionError("what runs have written is only read")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _refuse
    delete_root_dir_contents = delete_file = move = copy_file = _refuse
    open_output_stream = open_append_stream = _refuse


def _opened(path: str) -> AbstractContextManager[pa.NativeFile | BinaryIO]:
    """A file, opened by Arrow itself where it can: by way of Python each read takes its time."""
    local = local_path(path)
    if local is not None:
        return pa.OSFile(local)  # type: ignore[no-any-return]
    return open_file(path)


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
