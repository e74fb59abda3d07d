"""Committing: moving files into place, once all that was listed is accounted for.

A commit is written down before it is begun: the journal names the files that are new, and those of
earlier rounds that were written anew without the rows that the new ones supersede. Whoever finds it
can finish the commit, as often as it takes: each step may be done twice.

Readers of the tables' folders are not asked to wait. So no name ever goes from a folder, a file is
replaced by another in one moment, and superseded rows go before those come that take their place:
meanwhile a reader may find too few rows, never too many. (One that opens a file twice in that
moment, for its footer and for its rows, may find that they don't fit, and fails.) New rows of
detections come before those of clips, which say that the others are there; superseded ones go after
them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam

from earmark.transforms.elements import Listed, Superseded
from earmark.transforms.errors import ExpectedError
from earmark.transforms.output.folder import (
    clear_away,
    journal_file,
    refuse_links,
    round_file,
    run_file,
    staged_journals,
    staging_folder,
)
from earmark.transforms.output.journal import Journal, RoundRecord, read_journal
from earmark.transforms.output.lock import is_held
from earmark.transforms.output.superseding import write_anew
from earmark.transforms.output.tables import TABLES, Table
from earmark.transforms.output.totals import Totals
from earmark.transforms.output.writing import WrittenShard
from earmark.transforms.storage import (
    delete_files,
    exists,
    join,
    move_whole,
    persisting,
    shown,
    sync,
    write_whole,
)
from earmark.transforms.workers import marking


class ReconcileError(ExpectedError):
    """Not every listed object came out exactly once."""


class OutputTakenError(ExpectedError):
    """Another run has committed to the same folder."""


@dataclass
class CommitRound(beam.PTransform):  # type: ignore[misc]
    """Check that every listed object has its row, and move the files into place.

    Attributes:
      output: the folder that holds the tables' folders.
      run_id: names the run.
      name: of the round in it.
      listed: how much was listed, in parts that add up; each says all that was skipped.
      superseded: objects that were to be processed anew.
    """

    output: str
    run_id: str
    name: str
    listed: beam.PCollection[Listed]
    superseded: beam.PCollection[Superseded]

    def expand(self, shards: beam.PCollection[WrittenShard]) -> beam.PCollection[str]:
        """Apply the transform; gives the path of the round's file, once it is written."""
        return (
            (shards, self.listed, self.superseded)
            | beam.Flatten()
            | "Together" >> beam.WithKeys(None)
            | "Group" >> beam.GroupByKey()
            | "Commit" >> beam.Map(_commit_together, self.output, self.run_id, self.name)
        )


def commit_round(
    shards: Sequence[WrittenShard],
    listed: Listed,
    superseded: Collection[Superseded],
    output: str,
    run_id: str,
    name: str,
) -> str:
    """Check that every listed object has its row, and move the files into place.

    Args:
      shards: what has been written aside.
      listed: how much was listed.
      superseded: objects that were to be processed anew.
      output: the folder that holds the tables' folders.
      run_id: names the run.
      name: of the round in it.

    Returns:
      The path of the round's file.

    Raises:
      ReconcileError: an object has no row, or more than one.
      OutputTakenError: another run has taken the folder over.
    """
    totals = Totals().add(shard.totals for shard in shards)
    reconcile(listed, totals)
    path = round_file(output, run_id, name)
    # this was done before, and not known to be; a run that is whole has no such files any more
    if exists(path) or exists(run_file(output, run_id)):
        return path
    _check_held(output, run_id)
    # a run that is stopped before it has begun a clip leaves no empty files
    files = sorted(file for shard in shards for file in shard.files if totals.objects)
    done = RoundRecord(listed=listed, totals=totals, files=files)
    carry_out(output, _written_down(output, run_id, name, done, superseded))
    return path


def commit_rewritten(output: str, run_id: str, files: Sequence[str]) -> None:
    """Replace files of earlier rounds by those of the same names that have been written aside.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names who wrote them.
      files: TABLE/NAME each.

    Raises:
      OutputTakenError: another run has taken the folder over.
    """
    _check_held(output, run_id)
    journal = Journal(run_id=run_id, name=_REWRITING, replaced=list(files))
    _write_down(output, journal)
    carry_out(output, journal)


_REWRITING = "00000"
"""Names a commit that is of no round; rounds are counted from 1."""


def finish_commits(output: str, run_id: str) -> None:
    """Finish what a run has begun to commit, as a worker of it that died may have left it.

    Raises:
      ReconcileError: a file that was to be committed is gone.
      OutputTakenError: another run has taken the folder over.
    """
    journals = staged_journals(output, run_id)
    if journals:
        _check_held(output, run_id)
    for path in journals:
        finish(output, path)


def recover(output: str, run_id: str | None = None) -> int:
    """Finish the commits that were begun, and undo what was not; gives how many were finished.

    Nobody may be writing to the output meanwhile, or, where one run is named, nobody of that run.

    Raises:
      ReconcileError: a file that was to be committed is gone.
      JournalError: what lies where a journal should was not written by a run.
      LinkedFolderError: a folder of the output is a link.
    """
    finished = sum(finish(output, path) for path in staged_journals(output, run_id))
    clear_away(output, run_id)
    return finished


def finish(output: str, path: str) -> bool:
    """Finish the commit that a journal is of, and say whether it was begun; raises as recover."""
    journal = read_journal(path)
    if journal is None or not is_begun(output, journal):
        return False
    carry_out(output, journal)
    return True


def carry_out(output: str, journal: Journal) -> None:
    """Do what a journal says, or what of it is left to do; raises as recover."""
    for attempt in persisting(output):
        with attempt:
            refuse_links(output)
            for table, names in _by_table(journal.replaced, reversed(TABLES)):
                _move(output, journal.run_id, table, names)
            for table, names in _by_table(journal.new_files, TABLES):
                _move(output, journal.run_id, table, names)
            if journal.round is not None:
                done = journal.round.model_dump_json(indent=2)
                write_whole(round_file(output, journal.run_id, journal.name), done)
            delete_files([journal_file(output, journal.run_id, journal.name)])


def is_begun(output: str, journal: Journal) -> bool:
    """Whether any of a journal's files is left, aside or in its place.

    None is if it was written by a worker that went on after its run had been ended, and what was
    written aside had been cleared away: of that nothing was begun.
    """
    staging, new = staging_folder(output, journal.run_id), journal.new_files
    places = [(staging, file) for file in journal.files] + [(output, file) for file in new]
    return not journal.files or any(_is_in(folder, file) for folder, file in places)


def lost_file(output: str, journal: Journal) -> str | None:
    """A file that a journal is to move, and that is neither aside nor in its place."""
    places = (staging_folder(output, journal.run_id), output)
    lost = (f for f in journal.files if not any(_is_in(folder, f) for folder in places))
    return next(lost, None)


def reconcile(listed: Listed, totals: Totals) -> None:
    """Check that each listed object has exactly one row.

    Raises:
      ReconcileError: it hasn't.
    """
    if listed.objects != totals.objects:
        there = " and ".join(f"{rows} in {name}/" for name, rows in totals.rows_of_objects.items())
        there = there.replace(" in ", " have a row in ", 1)
        raise ReconcileError(
            f"{listed.objects} objects were listed, but {there}; they are not committed"
        )


@marking
def _commit_together(
    parts: tuple[None, Iterable[WrittenShard | Listed | Superseded]],
    output: str,
    run_id: str,
    name: str,
) -> str:
    every = list(parts[1])
    shards = [part for part in every if isinstance(part, WrittenShard)]
    superseded = [part for part in every if isinstance(part, Superseded)]
    listed = [part for part in every if isinstance(part, Listed)]
    whole = Listed(sum(part.objects for part in listed), listed[0].skipped)
    return commit_round(shards, whole, superseded, output, run_id, name)


def _check_held(output: str, run_id: str) -> None:
    if not is_held(output, run_id):
        raise OutputTakenError(f"{output} is no longer locked by this run: was it suspended?")


def _written_down(
    output: str, run_id: str, name: str, done: RoundRecord, superseded: Collection[Superseded]
) -> Journal:
    """The journal of a commit: that of an earlier attempt, or a new one, once all is on the disk.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names the run.
      name: of the round in it.
      done: what the round's file is to say.
      superseded: objects that were to be processed anew.
    """
    path, staging = journal_file(output, run_id, name), staging_folder(output, run_id)
    earlier = read_journal(path) if exists(path) else None
    if earlier is not None:
        return earlier
    replaced = write_anew(output, staging, superseded, done.files)
    journal = Journal(run_id=run_id, name=name, replaced=replaced, round=done)
    _write_down(output, journal)
    return journal


def _write_down(output: str, journal: Journal) -> None:
    staging = staging_folder(output, journal.run_id)
    sync(output, [f"{os.path.basename(staging)}/{file}" for file in journal.files])
    path = journal_file(output, journal.run_id, journal.name)
    write_whole(path, journal.model_dump_json(indent=2))
    # else whoever has the folder now may not have seen the journal
    _check_held(output, journal.run_id)


def _by_table(files: Iterable[str], tables: Iterable[Table]) -> Iterator[tuple[str, list[str]]]:
    """The names of TABLE/NAME files, one table after another."""
    for table in tables:
        beginning = f"{table.name}/"
        names = [file.removeprefix(beginning) for file in files if file.startswith(beginning)]
        if names:
            yield table.name, names


def _move(output: str, run_id: str, table: str, names: Iterable[str]) -> None:
    """Move files of a table into place; what an earlier attempt has moved stays where it is."""
    try:
        move_whole(join(staging_folder(output, run_id), table), join(output, table), names)
    except FileNotFoundError as error:
        raise ReconcileError(
            f"{shown(str(error.filename))} was written, but is not there; `earmark repair` sets "
            "aside what is left of its round"
        ) from error


def _is_in(folder: str, file: str) -> bool:
    return exists(join(folder, *file.split("/")))
