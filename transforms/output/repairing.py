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
    clear_away,
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
    clear_away(output)
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
        trouble, clips = _read_round(output, name, there)
        if why := suspects.get(name) or trouble:
            yield Damage(tuple(f"{table.name}/{name}" for table in there), why, frozenset(clips))


def _read_round(output: str, name: str, tables: Sequence[Table]) -> tuple[str | None, set[str]]:
    """What is wrong with the files of one name, in a line, and the objects that have a row."""
    clips: set[str] = set()
    with_rows: set[str] = set()
    expected: set[str] = set()
    troubles: list[str] = []
    for table in sorted(tables, key=lambda table: not table.is_of_objects):
        path = join(output, table.name, name)
        there = clips if table.is_of_objects else set[str]()
        try:
            with open_table(path) as file:
                said = said_of_itself(file.metadata)
                expected |= set(filter(None, said.get(f"{PREFIX}tables", "").split(", ")))
                for batch in file.iter_batches():
                    there |= set(batch.column("clip").unique().to_pylist())
        except BrokenTableError as error:
            troubles.append(_why(error))
        except KeyError:
            troubles.append(f"{shown(path)} has no column clip")
        if not there <= clips:
            troubles.append(f"{shown(path)} has rows of recordings that have none in clips/")
        with_rows |= there
    missing = expected - {table.name for table in tables} if with_rows else set()
    troubles += [f"{table}/{name} is missing" for table in sorted(missing)]
    return next(iter(troubles), None), clips


def _set_aside(output: str, run_id: str, damage: Damage) -> None:
    for file in damage.files:
        folder, _, name = file.rpartition("/")
        move_whole(join(output, folder), join(output, SET_ASIDE, run_id, folder), [name])


def _why(error: Exception) -> str:
    """An error's message without the advice to run `earmark repair`."""
    return str(error).partition("; `earmark repair`")[0]
