"""The output folder: the paths of its files, and cleaning up in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from earmark.transforms.elements import Found
from earmark.transforms.errors import ExpectedError
from earmark.transforms.output.tables import TABLES, Table
from earmark.transforms.storage import (
    ROUND,
    RUN_ID,
    STAGING_PREFIX,
    TABLE_FILE,
    delete_files,
    is_round,
    is_staging_folder,
    join,
    list_below,
    local_path,
    shown,
)

RUNS = "_runs"
LOCKS = "_locks"
TURN = "turn"
"""Beside the locks in a store: whose turn it is to look for them."""

SET_ASIDE = "_set_aside"
"""The folder for files that a repair has set aside."""

OWN_FILE = "written by earmark"
"""The kind of files that a listing skips because runs have written them."""

STREAM = "stream"
"""Replaces a round's name in the path where a stream's embeddings wait."""


class LinkedFolderError(ExpectedError):
    """A folder of an output is a link; the message is a line."""


def staging_folder(output: str, run_id: str) -> str:
    """Where a run's files are written before they are moved into place."""
    return join(output, f"{STAGING_PREFIX}{run_id}")


def aside_folder(output: str, run_id: str, name: str) -> str:
    """Where a round's embeddings wait until its rows are written."""
    return join(staging_folder(output, run_id), f"{name}.embeddings")


def round_id(run_id: str, name: str) -> str:
    """The prefix of the names of a round's files."""
    return f"{run_id}-{name}"


def journal_file(output: str, run_id: str, name: str) -> str:
    """The journal of a round's commit; deleted when the commit is done."""
    return join(staging_folder(output, run_id), f"{name}.json")


def round_file(output: str, run_id: str, name: str) -> str:
    """The file that marks a round as complete, until the run is."""
    return join(output, RUNS, run_id, f"{name}.json")


def run_file(output: str, run_id: str) -> str:
    """The file that marks a run as complete."""
    return join(output, RUNS, f"{run_id}.json")


def without_own_files(found: Iterable[Found], output: str) -> Iterator[Found]:
    """Listed files, with those that runs have written to their output marked as skipped."""
    for each in found:
        is_own = is_written_by_runs(each.object.uri, output)
        yield each._replace(skipped_as=OWN_FILE) if is_own else each


def is_written_by_runs(uri: str, output: str) -> bool:
    """Whether an object's name is one that runs give to files in their output."""
    path = local_path(output)
    folder = (output if path is None else os.path.abspath(path)).rstrip("/") + "/"
    if not uri.startswith(folder):
        return False
    found = _WRITTEN_BY_RUNS.fullmatch(uri, len(folder))
    return found is not None and found["table"] in (None, *(table.name for table in TABLES))


_WRITTEN_BY_RUNS = re.compile(
    rf"(?:{SET_ASIDE}/{RUN_ID}/)?(?:(?P<table>\w+)/{TABLE_FILE}|{STAGING_PREFIX}{RUN_ID}/{ROUND}\.json)"
    rf"|{RUNS}/{RUN_ID}(?:/{ROUND})?\.json"
    rf"|{LOCKS}/(?:{RUN_ID}\.json|{TURN})"
)


def matching(output: str, folder: str, name: str) -> Iterator[str]:
    """The files in a folder of the output whose names match; sorted."""
    where = join(output, folder)
    if local_path(output) is not None:
        there = (path.name for path in Path(where).glob(name) if path.is_file())
        yield from (join(where, each) for each in sorted(there))
        return
    beginning = f"{where}/{name.partition('*')[0]}"
    with suppress(FileNotFoundError):  # a filesystem that has folders
        yield from sorted(
            each.uri
            for each in list_below(beginning)
            if _is_named(each.uri[len(where) + 1 :], name)
        )


def _is_named(path: str, pattern: str) -> bool:
    """Whether a path in a folder matches: * stands for any signs of a name, ** for any at all."""
    return ("**" in pattern or "/" not in path) and fnmatchcase(path, pattern.replace("**", "*"))


def has_tables(output: str) -> bool:
    """Whether a folder contains a file of any table, or traces of a run."""
    folders = (*(table.name for table in TABLES), RUNS)
    files = (path for folder in folders for path in matching(output, folder, "*.*"))
    return next(files, None) is not None or bool(staging_folders(output))


def table_files(output: str, tables: Iterable[Table] | None = None) -> Iterator[tuple[Table, str]]:
    """The files of some tables or all, sorted by table and name."""
    for table in TABLES if tables is None else tables:
        for path in matching(output, table.name, "*.parquet"):
            yield table, path


def staged_journals(output: str, run_id: str | None = None) -> list[str]:
    """The journals of commits, of one run or any, that may be unfinished."""
    folders = staging_folders(output, run_id)
    files = (path for folder in folders for path in matching(folder, "", "*.json"))
    return [path for path in files if is_round(PurePath(path).stem)]


def staging_folders(output: str, run_id: str | None = None) -> list[str]:
    """The folders of unfinished output, of a run or any; links are none."""
    if run_id is not None:
        return [staging_folder(output, run_id)]
    if local_path(output) is not None:
        there = sorted(Path(output).glob(f"{STAGING_PREFIX}*"))
        names = [each.name for each in there if each.is_dir() and not each.is_symlink()]
    else:
        files = matching(output, "", f"{STAGING_PREFIX}**")
        names = sorted({path[len(output.rstrip("/")) + 1 :].split("/")[0] for path in files})
    return [join(output, name) for name in names if is_staging_folder(name)]


def clear_away(output: str, run_id: str | None = None) -> None:
    """Delete what a run, or any, has left unfinished, and the folders that hold nothing then."""
    for folder in staging_folders(output, run_id):
        discard_folder(folder)
    if local_path(output) is not None:
        for part in Path(output).glob(f"{RUNS}/**/.*.part"):  # of a small file, when cut off
            part.unlink(missing_ok=True)
    remove_empty_folders(output)


def discard_folder(folder: str) -> None:
    """Delete a folder with all that is in it."""
    if local_path(folder) is None:
        delete_files(matching(folder, "", "**"))
    else:
        shutil.rmtree(folder, ignore_errors=True)


def remove_empty_folders(output: str) -> None:
    """Remove empty folders of a local output, and the output itself if nothing is left."""
    if local_path(output) is None:
        return
    for each in (*_own_folders(output), Path(output)):
        if not each.is_symlink():
            with suppress(OSError):  # it holds other things, or was never made
                each.rmdir()


def refuse_links(output: str) -> None:
    """Check that no folder of a local output is a link, which leads where no run has written.

    Somebody else may have left it in a shared output, to have files elsewhere replaced.

    Raises:
      LinkedFolderError: one is.
    """
    if local_path(output) is None:
        return
    there = Path(output).glob(f"{STAGING_PREFIX}*")
    staging = [each for each in there if is_staging_folder(each.name)]
    inner = [each / table.name for each in staging for table in TABLES]
    for each in (*_own_folders(output), *staging, *inner):
        if each.is_symlink():
            raise LinkedFolderError(
                f"{shown(str(each))} is a link, which no run has made; delete it"
            )


def _own_folders(output: str) -> list[Path]:
    """The folders that runs make in their output, inner ones first."""
    folder = Path(output)
    tables = [folder / table.name for table in TABLES]
    aside = [folder / SET_ASIDE, *folder.glob(f"{SET_ASIDE}/*"), *folder.glob(f"{SET_ASIDE}/*/*")]
    runs = [each for each in folder.glob(f"{RUNS}/*") if each.is_dir() or each.is_symlink()]
    return [*tables, *runs, folder / RUNS, folder / LOCKS, *reversed(aside)]
