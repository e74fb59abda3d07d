"""The folder that a run writes to: whose it is, and cleaning up in it.

Beam takes signs like `[` in a path for a pattern when it matches or deletes. Local paths may hold
any sign, so for them this goes past Beam.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.patterns import STAGING_PREFIX, local_path
from transforms.tables import TABLES

_RUNS = "_runs"


def staging_folder(output: str, run_id: str) -> str:
    """Where a run's files are written before they are moved into place."""
    return str(FileSystems.join(output, f"{STAGING_PREFIX}{run_id}"))


def run_file(output: str, run_id: str) -> str:
    """The file whose presence says that a run is whole."""
    return str(FileSystems.join(output, _RUNS, f"{run_id}.json"))


def round_id(run_id: str, number: int) -> str:
    """What the names of a round's files begin with."""
    return f"{run_id}-{number:05d}"


def round_file(output: str, run_id: str, number: int) -> str:
    """The file whose presence says that a round is whole, until the run is."""
    return str(FileSystems.join(output, _RUNS, run_id, f"{number:05d}.json"))


def round_files(output: str, run_id: str) -> list[str]:
    """The files of a run's rounds, in their order."""
    return sorted(_matching(output, f"{_RUNS}/{run_id}", "*.json"))


def is_taken(output: str, by_other_than: str | None = None) -> bool:
    """Whether a folder holds results, be they of a whole run or of one that was cut off.

    Args:
      output: the folder.
      by_other_than: the run whose own files do not count.
    """
    results = [(_RUNS, "*.json"), *((table.name, "*.parquet") for table in TABLES)]
    found = (path for folder, name in results for path in _matching(output, folder, name))
    names = (PurePath(path).name for path in found)
    return any(by_other_than is None or not name.startswith(by_other_than) for name in names)


def prepare_output(output: str, run_id: str) -> None:
    """Make the folder that a run's files are written to, and see that it can be written to.

    Raises:
      OSError: it can't.
      ValueError: no filesystem is known for it.
    """
    probe = FileSystems.join(staging_folder(output, run_id), "started")
    with FileSystems.create(probe, compression_type=CompressionTypes.UNCOMPRESSED) as sink:
        sink.write(run_id.encode())


def discard(output: str, run_id: str) -> None:
    """Delete what a run has left aside, and, unless it is whole, what it has moved into place."""
    remains = [
        *_matching(output, f"{STAGING_PREFIX}{run_id}", "**"),
        *_matching(output, f"{_RUNS}/{run_id}", "*"),
    ]
    if not FileSystems.exists(run_file(output, run_id)):
        remains += _matching(output, _RUNS, f"{run_id}.json.part")
        for table in TABLES:
            remains += _matching(output, table.name, f"{run_id}-*.parquet")
    if local_path(output) is None:
        FileSystems.delete(remains)
    else:
        _delete_locally(Path(output), run_id, remains)


def _matching(output: str, folder: str, name: str) -> Iterator[str]:
    """The files in a folder of the output whose names match."""
    where = str(FileSystems.join(output, folder))
    if local_path(output) is not None:
        yield from (str(path) for path in Path(where).glob(name) if path.is_file())
        return
    for result in FileSystems.match([str(FileSystems.join(where, name))]):
        yield from (found.path for found in result.metadata_list)


def _delete_locally(output: Path, run_id: str, files: list[str]) -> None:
    for file in files:
        Path(file).unlink(missing_ok=True)
    shutil.rmtree(output / f"{STAGING_PREFIX}{run_id}", ignore_errors=True)
    tables = (output / table.name for table in TABLES)
    for folder in (*tables, output / _RUNS / run_id, output / _RUNS, output):
        with suppress(OSError):  # it holds other things, or was never made
            folder.rmdir()
