"""Setting aside what of an output cannot be used, so that runs can go on from the rest.

A round's rows lie in files of one name, one in each table's folder. If one of them is missing or
broken, all are set aside: the recordings in them then have no row, and the next run processes them
like new ones. No file of a table is deleted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePath
from typing import NamedTuple

from earmark.transforms.output.committing import ReconcileError, carry_out, is_begun
from earmark.transforms.output.folder import (
    SET_ASIDE,
    discard_staging,
    matching,
    remove_empty_folders,
    staged_journals,
)
from earmark.transforms.output.journal import Journal, JournalError, read_journal
from earmark.transforms.output.parquet_files import BrokenTableError, open_table, said_of_itself
from earmark.transforms.output.provenance import PREFIX
from earmark.transforms.output.tables import TABLES
from earmark.transforms.storage import (
    exists,
    join,
    local_path,
    make_folder,
    move_whole,
    rename,
    shown,
)

_FATES = ("clips", "failures")


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
    """What of an output cannot be used. Every file is read whole; commits are left as they are.

    Args:
      output: the folder that holds the tables' folders.

    Raises:
      OSError: a store failed.
    """
    suspects: dict[str, str] = {}
    for path in staged_journals(output):
        try:
            journal = read_journal(path)
        except JournalError as error:
            yield Damage((_relative(output, path),), _why(error))
            continue
        if journal is not None and (missing := _missing(output, path, journal)):
            suspects |= dict.fromkeys(_names(journal), f"{missing} is missing")
            yield Damage((_relative(output, path),), f"{missing} is missing")
    yield from _damaged_rounds(output, suspects)


def repair(output: str, run_id: str) -> list[Damage]:
    """Finish the commits that can be finished, and set aside what cannot be used.

    Nobody may be writing to the output meanwhile.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names the folder below `_set_aside/` that it goes to.

    Returns:
      What was set aside.

    Raises:
      OSError: a file cannot be moved.
    """
    suspects: dict[str, str] = {}
    found: list[Damage] = []
    for path in staged_journals(output):
        try:
            _finish(output, path)
        except (JournalError, ReconcileError) as error:
            suspects |= dict.fromkeys(_suspects(path), _why(error))
            found.append(Damage((_relative(output, path),), _why(error)))
            _set_aside(output, run_id, found[-1])
    for damage in list(_damaged_rounds(output, suspects)):
        _set_aside(output, run_id, damage)
        found.append(damage)
    discard_staging(output)
    remove_empty_folders(output)
    return found


# the checks


def _damaged_rounds(output: str, suspects: dict[str, str]) -> Iterator[Damage]:
    """The files of rounds of which one is broken or missing, or is suspected by its name."""
    tables: dict[str, list[str]] = {}
    for table in TABLES:
        for path in matching(output, table.name, "*.parquet"):
            tables.setdefault(PurePath(path).name, []).append(table.name)
    for name, there in sorted(tables.items()):
        checked = _Round(output, name, there)
        if why := suspects.get(name) or checked.trouble:
            files = tuple(f"{table}/{name}" for table in there)
            yield Damage(files, why, frozenset(checked.clips))


class _Round:
    """The files of one name, read whole.

    Attributes:
      trouble: what is wrong with them, in a line; None if nothing is.
      clips: the recordings that have a row in clips/ or failures/.
    """

    def __init__(self, output: str, name: str, tables: list[str]) -> None:
        self.clips: set[str] = set()
        self.trouble: str | None = None
        self._expected: set[str] = set()
        self._has_rows = False
        for table in reversed(TABLES):  # clips and failures first
            if table.name in tables:
                self._read(join(output, table.name, name), table.name)
        for table_name in sorted(self._expected - set(tables) if self._has_rows else ()):
            self._note(f"{table_name}/{name} is missing")

    def _read(self, path: str, table: str) -> None:
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

    def _compare(self, path: str, table: str, clips: set[str]) -> None:
        if table in _FATES:
            self.clips |= clips
        elif self.trouble is None and not clips <= self.clips:
            self._note(f"{shown(path)} has rows of recordings that have none in clips/")

    def _note(self, trouble: str) -> None:
        self.trouble = self.trouble or trouble


def _missing(output: str, path: str, journal: Journal) -> str | None:
    """A file that a journal is to move and that is neither aside nor in its place."""
    staging = os.path.dirname(path)
    if not is_begun(output, journal):
        return None
    for file in (*journal.replaced, *journal.round.files):
        places = (join(folder, *file.split("/")) for folder in (staging, output))
        if not any(map(exists, places)):
            return file
    return None


# setting aside


def _finish(output: str, path: str) -> None:
    journal = read_journal(path)
    if journal is not None and is_begun(output, journal):
        carry_out(output, path)


def _suspects(path: str) -> list[str]:
    with suppress(JournalError):
        journal = read_journal(path)
        return [] if journal is None else _names(journal)
    return []


def _names(journal: Journal) -> list[str]:
    return [PurePath(file).name for file in (*journal.replaced, *journal.round.files)]


def _set_aside(output: str, run_id: str, damage: Damage) -> None:
    for file in damage.files:
        *folders, name = file.split("/")
        source, target = join(output, *folders), join(output, SET_ASIDE, run_id, *folders)
        make_folder(target)
        if local_path(output) is None:
            rename([(join(source, name), join(target, name))])
        else:
            move_whole(source, target, [name])


def _why(error: Exception) -> str:
    """What an error says, without the advice to do what is being done."""
    return str(error).partition("; `earmark repair`")[0]


def _relative(output: str, path: str) -> str:
    return path[len(output.rstrip("/")) + 1 :]
