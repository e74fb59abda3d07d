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

import errno
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any

import apache_beam as beam

from earmark.transforms.elements import Listed, Superseded
from earmark.transforms.output.folder import (
    RUNS,
    delete,
    discard_staging,
    journal_file,
    link_in,
    matching,
    remove_empty_folders,
    remove_parts,
    round_file,
    run_file,
    staged_journals,
    staging_folder,
)
from earmark.transforms.output.journal import (
    Journal,
    JournalError,
    ListedObjects,
    RoundRecord,
    read_journal,
    read_round_file,
)
from earmark.transforms.output.lock import is_held, release
from earmark.transforms.output.superseding import parts_without, read_metadata, read_uris
from earmark.transforms.output.tables import TABLES
from earmark.transforms.output.writing import Totals, WrittenFile, WrittenShard, write_table
from earmark.transforms.storage import (
    exists,
    join,
    local_path,
    make_folder,
    move_whole,
    persisting,
    rename,
    shown,
    sync,
    write_whole,
)

_FATES = ("clips", "failures")
"""The tables that have a row for each object."""


class ReconcileError(RuntimeError):
    """Not every listed object came out exactly once."""


class OutputTakenError(RuntimeError):
    """Another run has committed to the same folder."""


@dataclass
class CommitRound(beam.PTransform):  # type: ignore[misc]
    """Check that every listed object has its row, and move the files into place.

    Attributes:
      output: the folder that holds the tables' folders.
      run_id: names the run.
      name: of the round in it.
      listed: how much was listed, a PCollection of one.
      superseded: objects that were to be heard anew.
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


@dataclass
class ConcludeRun(beam.PTransform):  # type: ignore[misc]
    """Write the run's file when its only round is committed, and give the folder back.

    For a run that was left to an engine. Gives the path of the run's file.

    Attributes:
      output: the folder that holds the tables' folders.
      run_id: names the run.
      record: what the run's file is to say beside counts and times; JSON values.
    """

    output: str
    run_id: str
    record: Mapping[str, Any]

    def expand(self, rounds: beam.PCollection[str]) -> beam.PCollection[str]:
        """Apply the transform."""
        return rounds | "Conclude" >> beam.Map(
            _conclude_and_release, self.output, self.run_id, self.record
        )


def _conclude_and_release(_: str, output: str, run_id: str, record: Mapping[str, Any]) -> str:
    path = conclude(output, run_id, record)
    release(output, run_id)
    return path


def conclude(output: str, run_id: str, record: Mapping[str, Any]) -> str:
    """Write the run's file, and clear away what rounds have left.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names the run.
      record: what the run's file is to say beside counts and times; JSON values.

    Returns:
      The path of the run's file.
    """
    path = run_file(output, run_id)
    rounds = list(matching(output, f"{RUNS}/{run_id}", "*.json"))
    if not exists(path):  # else this was done before, and not known to be
        write_whole(path, _as_json(_run_record(record, list(map(read_round_file, rounds)))))
    delete(output, rounds)
    discard_staging(output, run_id)
    remove_empty_folders(output)
    return path


def committed_objects(output: str, run_id: str) -> int:
    """How many objects a run has committed that did not come to its end."""
    rounds = map(read_round_file, matching(output, f"{RUNS}/{run_id}", "*.json"))
    return sum(each.listed.objects for each in rounds)


def recover(output: str, run_id: str | None = None) -> int:
    """Finish the commits that were begun, and undo what was not; gives how many were finished.

    Nobody may be writing to the output meanwhile, or, where one run is named, nobody of that run.

    Raises:
      ReconcileError: a file that was to be committed is gone.
      JournalError: what lies where a journal should was not written by a run.
    """
    finished = 0
    for path in staged_journals(output, run_id):
        journal = read_journal(path)
        if journal is not None and is_begun(output, journal):
            carry_out(output, path)
            finished += 1
    discard_staging(output, run_id)
    remove_parts(output)
    remove_empty_folders(output)
    return finished


def reconcile(listed: Listed, totals: Totals) -> None:
    """Check that each listed object has exactly one row.

    Raises:
      ReconcileError: it hasn't.
    """
    if listed.objects != totals.objects:
        raise ReconcileError(
            f"{listed.objects} objects were listed, but {totals.clips} have a row in clips/ and "
            f"{totals.objects - totals.clips} in failures/; they are not committed"
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
      superseded: objects that were to be heard anew.
      output: the folder that holds the tables' folders.
      run_id: names the run.
      name: of the round in it.

    Returns:
      The path of the round's file.

    Raises:
      ReconcileError: an object has no row, or more than one.
      OutputTakenError: another run has taken the folder over.
    """
    totals = Totals()
    for shard in shards:
        totals.add(shard.totals)
    reconcile(listed, totals)
    path = round_file(output, run_id, name)
    # this was done before, and not known to be; a run that is whole has no such files any more
    if exists(path) or exists(run_file(output, run_id)):
        return path
    _check_held(output, run_id)
    journal = journal_file(output, run_id, name)
    if not exists(journal):
        staging = staging_folder(output, run_id)
        # a run that is stopped before it has begun a clip leaves no empty files
        files = [file for shard in shards for file in shard.files if totals.objects]
        new = sorted(f"{file.table}/{file.name}" for file in files)
        replaced: list[str] = []
        if superseded:
            replaced = _write_anew(output, staging, _heard_anew(superseded, staging, files))
        staged = os.path.basename(staging)
        sync(output, [f"{staged}/{file}" for file in new + replaced])
        there = ListedObjects(objects=listed.objects, skipped=dict(listed.skipped))
        done = RoundRecord(listed=there, totals=totals, files=new)
        begun = Journal(run_id=run_id, name=name, replaced=replaced, round=done)
        write_whole(journal, begun.model_dump_json(indent=2))
        _check_held(output, run_id)  # else whoever has the folder now may not have seen the journal
    carry_out(output, journal)
    return path


def finish_commits(output: str, run_id: str) -> None:
    """Finish what a run has begun to commit, as a worker of it that died may have left it.

    Raises:
      ReconcileError: a file that was to be committed is gone.
      OutputTakenError: another run has taken the folder over.
    """
    journals = staged_journals(output, run_id)
    if journals:
        _check_held(output, run_id)
    for journal in journals:
        carry_out(output, journal)


def _check_held(output: str, run_id: str) -> None:
    if not is_held(output, run_id):
        raise OutputTakenError(f"{output} is not locked by this run any more: was it suspended?")


def _commit_together(
    parts: tuple[None, Iterable[WrittenShard | Listed | Superseded]],
    output: str,
    run_id: str,
    name: str,
) -> str:
    every = list(parts[1])
    shards = [part for part in every if isinstance(part, WrittenShard)]
    superseded = [part for part in every if isinstance(part, Superseded)]
    (listed,) = (part for part in every if isinstance(part, Listed))
    return commit_round(shards, listed, superseded, output, run_id, name)


def _write_anew(output: str, staging: str, superseded: Mapping[str, Collection[str]]) -> list[str]:
    """Write files aside without superseded rows, under the same names; gives what they replace.

    One of which no row is left stays as a file without rows: a reader may have seen its name.
    """
    replaced = []
    for name, uris in sorted(superseded.items()):
        for table in TABLES:
            path = join(output, table.name, name)
            if exists(path):
                rows = partial(parts_without, path, uris)
                write_table(join(staging, table.name, name), table, rows, read_metadata(path))
                replaced.append(f"{table.name}/{name}")
    return replaced


def _heard_anew(
    superseded: Iterable[Superseded], staging: str, files: Iterable[WrittenFile]
) -> dict[str, set[str]]:
    """What is superseded of the objects that these files have a row for, by the old file's name."""
    paths = [join(staging, file.table, file.name) for file in files if file.table in _FATES]
    heard = {uri for path in paths for uri in read_uris(path)}
    anew: dict[str, set[str]] = {}
    for each in superseded:
        if each.uri in heard:
            anew.setdefault(each.file, set()).add(each.uri)
    return anew


def carry_out(output: str, journal: str) -> None:
    """Do what a journal says, or what of it is left to do.

    Raises:
      ReconcileError: a file that was to be committed is gone.
      JournalError: it is none that a run has written.
    """
    for attempt in persisting(output):
        with attempt:
            _do_what_is_left(output, journal)


def _do_what_is_left(output: str, path: str) -> None:
    journal = read_journal(path)
    if journal is None:
        raise JournalError(f"{shown(path)} was not written to its end")
    if link := link_in(output):
        raise JournalError(f"{shown(link)} is a link, which no run has made; delete it")
    for table in reversed(TABLES):
        _move(output, journal.run_id, table.name, journal.replaced)
    for table in TABLES:
        _move(output, journal.run_id, table.name, journal.round.files)
    done = journal.round.model_dump_json(indent=2)
    write_whole(round_file(output, journal.run_id, journal.name), done)
    delete(output, [path])


def is_begun(output: str, journal: Journal) -> bool:
    """Whether any of a journal's files is left, aside or in its place.

    None is if it was written by a worker that went on after its run had been ended, and what was
    written aside had been cleared away: of that nothing was begun.
    """
    staging, new = staging_folder(output, journal.run_id), journal.round.files
    files = [(staging, file) for file in (*new, *journal.replaced)] + [(output, f) for f in new]
    return not files or any(exists(join(folder, *file.split("/"))) for folder, file in files)


def _move(output: str, run_id: str, table: str, files: Iterable[str]) -> None:
    """Move files of a table into place; what an earlier attempt has moved stays where it is."""
    names = [file.split("/")[1] for file in files if file.startswith(f"{table}/")]
    if not names:
        return
    source, target = join(staging_folder(output, run_id), table), join(output, table)
    make_folder(target)
    try:
        (_move_elsewhere if local_path(output) is None else move_whole)(source, target, names)
    except FileNotFoundError as error:
        raise ReconcileError(
            f"{shown(str(error.filename))} was written, but is not there; `earmark repair` sets "
            "aside what is left of its round"
        ) from error


def _move_elsewhere(source: str, target: str, names: Iterable[str]) -> None:
    moves = [(join(source, name), join(target, name)) for name in names]
    waiting = [move for move in moves if exists(move[0])]
    for _, there in set(moves) - set(waiting):
        _check_there(there)
    if waiting:
        try:
            rename(waiting)
        except OSError:  # unless another does the same at once, as when a run ends in a commit
            if not all(map(_is_moved, waiting)):
                raise


def _is_moved(move: tuple[str, str]) -> bool:
    source, there = move
    return not exists(source) and exists(there)


def _check_there(path: str) -> None:
    if not exists(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _run_record(record: Mapping[str, Any], rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    objects, skipped, totals = 0, Counter[str](), Totals()
    for each in rounds:
        objects += each.listed.objects
        skipped.update(each.listed.skipped)
        totals.add(each.totals)
    return {
        **record,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": len(rounds),
        "listed": {"objects": objects, "skipped": dict(skipped)},
        "totals": asdict(totals),
        "files": [file for each in rounds for file in each.files],
    }


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False)
