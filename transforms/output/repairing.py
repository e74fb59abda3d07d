"""Setting aside the unusable files of an output, so that runs can continue from the rest.

A round's rows lie in files of one name, one in each table's folder. If one of them is missing or
broken, all are set aside: the recordings in them then have no row, and the next run processes them
like new ones. No file of a table is deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import NamedTuple

from earmark.transforms.output.committing import ReconcileError, finish, is_begun, lost_file
from earmark.transforms.output.folder import (
    SET_ASIDE,
    discard_staging,
    remove_empty_folders,
    staged_journals,
    table_files,
)
from earmark.transforms.output.journal import JournalError, read_journal
from earmark.transforms.output.provenance import PREFIX
from earmark.transforms.output.rows import BrokenTableError, open_table, said_of_itself
from earmark.transforms.output.tables import Table
from earmark.transforms.storage import join, move_whole, shown


class Damage(NamedTuple):
    """Files that cannot be used.

    Attributes:
      files: TABLE/NAME each, or the journal of a commit; relative to the output.
      why: what is wrong with one of them, in a line.
      clips: the recordings that have a row in them, as far as that can be read.
    """

    files: tuple[str, ...]
    why: str
    clips: frozenset[str] = frozenset()


def find_damage(output: str) -> Iterator[Damage]:
    """Find unusable files of an output. Every file is read in full; commits are left alone.

    Args:
      output: the folder that holds the tables' folders.

    Raises:
      OSError: a store failed.
    """
    suspects: dict[str, str] = {}
    for path in staged_journals(output):
        why, files = _trouble_of_commit(output, path)
        if why is not None:
            suspects |= dict.fromkeys((PurePath(file).name for file in files), why)
            yield Damage((path.removeprefix(output.rstrip("/"))[1:],), why)
    yield from _damaged_rounds(output, suspects)


def repair(output: str, run_id: str) -> list[Damage]:
    """Finish the commits that can be finished, and set aside unusable files.

    The caller must hold the output's lock.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names the folder below `_set_aside/` for these files.

    Returns:
      The files that were set aside.

    Raises:
      OSError: a file cannot be moved.
    """
    for path in staged_journals(output):
        with suppress(JournalError, ReconcileError):  # which are found below
            finish(output, path)
    found = list(find_damage(output))
    for damage in found:
        _set_aside(output, run_id, damage)
    discard_staging(output)
    remove_empty_folders(output)
    return found


def _trouble_of_commit(output: str, path: str) -> tuple[str | None, list[str]]:
    """What keeps a commit from being finished, in a line, and the files that its journal names."""
    try:
        journal = read_journal(path)
    except JournalError as error:
        return _why(error), []
    if journal is None or not is_begun(output, journal):
        return None, []
    lost = lost_file(output, journal)
    return None if lost is None else f"{lost} is missing", journal.files


def _damaged_rounds(output: str, suspects: dict[str, str]) -> Iterator[Damage]:
    """The files of rounds of which one is broken or missing, or is suspected by its name."""
    tables: dict[str, list[Table]] = {}
    for table, path in table_files(output):
        tables.setdefault(PurePath(path).name, []).append(table)
    for name, there in sorted(tables.items()):
        checked = _Round(output, name, there)
        if why := suspects.get(name) or checked.trouble:
            files = tuple(f"{table.name}/{name}" for table in there)
            yield Damage(files, why, frozenset(checked.clips))


class _Round:
    """The files of one name, read whole.

    Attributes:
      trouble: what is wrong with them, in a line; None if nothing is.
      clips: the recordings that have a row in a table of objects.
    """

    def __init__(self, output: str, name: str, tables: Sequence[Table]) -> None:
        self.clips: set[str] = set()
        self.trouble: str | None = None
        self._expected: set[str] = set()
        self._has_rows = False
        for table in sorted(tables, key=lambda table: not table.is_of_objects):
            self._read(join(output, table.name, name), table)
        there = {table.name for table in tables}
        for missing in sorted(self._expected - there if self._has_rows else ()):
            self._note(f"{missing}/{name} is missing")

    def _read(self, path: str, table: Table) -> None:
        try:
            with open_table(path) as file:
                said = said_of_itself(file.metadata)
                self._expected |= set(filter(None, said.get(f"{PREFIX}tables", "").split(", ")))
                for batch in file.iter_batches():
                    self._has_rows |= batch.num_rows > 0
                    self._compare(path, table, set(batch.column("clip").unique().to_pylist()))
        except BrokenTableError as error:
            self._note(_why(error))
        except KeyError:
            self._note(f"{shown(path)} has no column clip")

    def _compare(self, path: str, table: Table, clips: set[str]) -> None:
        if table.is_of_objects:
            self.clips |= clips
        elif self.trouble is None and not clips <= self.clips:
            self._note(f"{shown(path)} has rows of recordings that have none in clips/")

    def _note(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble


def _set_aside(output: str, run_id: str, damage: Damage) -> None:
    for file in damage.files:
        folder, _, name = file.rpartition("/")
        move_whole(join(output, folder), join(output, SET_ASIDE, run_id, folder), [name])


def _why(error: Exception) -> str:
    """An error's message without the advice to run `earmark repair`."""
    return str(error).partition("; `earmark repair`")[0]
