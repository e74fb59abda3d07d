"""The folder that a run writes to: what lies where in it, and cleaning up in it.

Beam takes signs like `[` in a path for a pattern when it matches or deletes. Local paths may hold
any sign, so for them this goes past Beam.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.patterns import STAGING_PREFIX, local_path
from transforms.stores import persisting
from transforms.tables import TABLES

RUNS = "_runs"
LOCKS = "_locks"


def staging_folder(output: str, run_id: str) -> str:
    """Where a run's files are written before they are moved into place."""
    return join(output, f"{STAGING_PREFIX}{run_id}")


def round_id(run_id: str, name: str) -> str:
    """What the names of a round's files begin with."""
    return f"{run_id}-{name}"


def journal_file(output: str, run_id: str, name: str) -> str:
    """The file that says what is to be done to commit a round; gone when it is done."""
    return join(staging_folder(output, run_id), f"{name}.json")


def round_file(output: str, run_id: str, name: str) -> str:
    """The file whose presence says that a round is whole, until the run is."""
    return join(output, RUNS, run_id, f"{name}.json")


def run_file(output: str, run_id: str) -> str:
    """The file whose presence says that a run is whole."""
    return join(output, RUNS, f"{run_id}.json")


def join(*parts: str) -> str:
    """A path, or a URI, of its parts."""
    return str(FileSystems.join(*parts))


def is_written_by_runs(uri: str, output: str) -> bool:
    """Whether an object is one that runs have written to their output."""
    path = local_path(output)
    folder = output if path is None else os.path.abspath(path)
    if not uri.startswith(folder.rstrip("/") + "/"):
        return False
    within = uri[len(folder.rstrip("/")) + 1 :].split("/")[0]
    return within in (RUNS, LOCKS, *(table.name for table in TABLES))


def matching(output: str, folder: str, name: str) -> Iterator[str]:
    """The files in a folder of the output whose names match; sorted."""
    where = join(output, folder)
    if local_path(output) is not None:
        yield from sorted(str(path) for path in Path(where).glob(name) if path.is_file())
        return
    for result in FileSystems.match([join(where, name)]):
        yield from sorted(found.path for found in result.metadata_list)


def staged_journals(output: str, run_id: str = "*") -> list[str]:
    """The journals of rounds, of a run or any, that were to be committed and may not be."""
    if local_path(output) is not None:
        return sorted(map(str, Path(output).glob(f"{STAGING_PREFIX}{run_id}/*.json")))
    return list(matching(output, f"{STAGING_PREFIX}{run_id}", "*.json"))


def discard_staging(output: str, run_id: str = "*") -> None:
    """Delete what a run, or any, has left aside."""
    if local_path(output) is None:
        delete(output, matching(output, f"{STAGING_PREFIX}{run_id}", "**"))
        return
    for folder in Path(output).glob(f"{STAGING_PREFIX}{run_id}"):
        shutil.rmtree(folder, ignore_errors=True)


def delete(output: str, files: Iterable[str]) -> None:
    """Delete files of the output, those that are there."""
    if local_path(output) is None:
        there = [path for path in files if FileSystems.exists(path)]
        if there:
            FileSystems.delete(there)
        return
    for file in files:
        Path(file).unlink(missing_ok=True)


def remove_empty_folders(output: str) -> None:
    """Remove the folders of a local output that hold nothing, and the output if all are gone."""
    if local_path(output) is None:
        return
    folder = Path(output)
    tables = (folder / table.name for table in TABLES)
    for each in (*tables, *folder.glob(f"{RUNS}/*/"), folder / RUNS, folder / LOCKS, folder):
        with suppress(OSError):  # it holds other things, or was never made
            each.rmdir()


def make_folder(folder: str) -> None:
    """Make a folder, where the filesystem has such things, unless it is there."""
    if local_path(folder) is not None:
        os.makedirs(folder, exist_ok=True)
    elif not FileSystems.exists(folder):
        FileSystems.mkdirs(folder)


def write_whole(path: str, text: str) -> None:
    """Write a file that is there whole or not at all; a file of that name is replaced."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # which is how JSON escapes, too


def write_bytes(path: str, content: bytes) -> None:
    """The same, for a file that is no text."""
    make_folder(FileSystems.split(path)[0])
    if local_path(path) is not None:
        _write_locally(path, content)
        return
    # an object is there once it has been written whole
    for attempt in persisting(path):
        with (
            attempt,
            FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as sink,
        ):
            sink.write(content)


def _write_locally(path: str, content: bytes) -> None:
    aside = f"{path}.part"
    with open(aside, "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    os.replace(aside, path)


def sync(paths: Iterable[str]) -> None:
    """See that local files outlive a loss of power."""
    for path in paths:
        if local_path(path) is not None:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
