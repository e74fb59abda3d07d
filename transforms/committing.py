"""Committing: moving files into place, once all that was listed is accounted for.

A commit is written down before it is begun: the journal names the files that are to be moved and
those that they replace. Whoever finds it can finish the commit, as often as it takes: each step may
be done twice. Rows of detections come before those of clips, which say that the others are there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import PurePath
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from transforms.elements import Listed, Superseded
from transforms.local_copies import read_uri
from transforms.output_folder import (
    RUNS,
    delete,
    discard_staging,
    journal_file,
    matching,
    remove_empty_folders,
    round_file,
    round_id,
    run_file,
    staged_journals,
    staging_folder,
)
from transforms.output_lock import is_held, release
from transforms.stores import persisting
from transforms.superseding import (
    name_without,
    original,
    parts_without,
    read_metadata,
    read_uris,
)
from transforms.tables import TABLES
from transforms.whole_files import join, make_folder, sync, write_whole
from transforms.writing import Totals, WrittenFile, WrittenShard, write_table

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
    if not FileSystems.exists(path):  # else this was done before, and not known to be
        write_whole(path, _as_json(_run_record(record, list(map(_read, rounds)))))
    delete(output, rounds)
    discard_staging(output, run_id)
    remove_empty_folders(output)
    return path


def read_round(output: str, run_id: str, name: str) -> dict[str, Any]:
    """The content of a committed round's file."""
    return _read(round_file(output, run_id, name))


def committed_objects(output: str, run_id: str) -> int:
    """How many objects a run has committed that did not come to its end."""
    rounds = map(_read, matching(output, f"{RUNS}/{run_id}", "*.json"))
    return sum(each["listed"]["objects"] for each in rounds)


def recover(output: str) -> int:
    """Finish the commits that were begun, and undo what was not; gives how many were finished.

    Nobody may be writing to the output meanwhile.

    Raises:
      ReconcileError: a file that was to be committed is gone.
    """
    finished = 0
    for journal in staged_journals(output):
        with suppress(json.JSONDecodeError):  # it was not written to its end: nothing was begun
            if _has_files(output, journal):
                _carry_out(output, journal)
                finished += 1
    discard_staging(output)
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
    if FileSystems.exists(path) or FileSystems.exists(run_file(output, run_id)):
        return path
    _check_held(output, run_id)
    journal = journal_file(output, run_id, name)
    if not FileSystems.exists(journal):
        staging = staging_folder(output, run_id)
        # a run that is stopped before it has begun a clip leaves no empty files
        files = [file for shard in shards for file in shard.files if totals.objects]
        moves = [f"{file.table}/{file.name}" for file in files]
        obsolete: list[str] = []
        if superseded:
            anew = _heard_anew(superseded, staging, files)
            less, obsolete = _replacements(output, round_id(run_id, name), staging, anew)
            moves += less
        sync(join(staging, *move.split("/")) for move in moves)
        done = {"listed": asdict(listed), "totals": asdict(totals), "files": sorted(moves)}
        content = {"run_id": run_id, "name": name, "obsolete": obsolete, "round": done}
        write_whole(journal, _as_json(content))
        _check_held(output, run_id)  # else whoever has the folder now may not have seen the journal
    _carry_out(output, journal)
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
        _carry_out(output, journal)


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


def _replacements(
    output: str, this_round: str, staging: str, superseded: Mapping[str, Collection[str]]
) -> tuple[list[str], list[str]]:
    """Write files with superseded rows anew; gives those to be moved, and those to be deleted."""
    moves: list[str] = []
    obsolete: list[str] = []
    for path in matching(output, "clips", "*.parquet"):
        old = PurePath(path).name
        uris = superseded.get(original(old))
        if uris is None:
            continue
        there = {
            table: file
            for table in TABLES
            if FileSystems.exists(file := join(output, table.name, old))
        }
        obsolete += [f"{table.name}/{old}" for table in there]
        left = {uri for name in _FATES for uri in read_uris(join(output, name, old))} - set(uris)
        if left:
            new = name_without(old, this_round)
            moves += [f"{table.name}/{new}" for table in there]
            for table, file in there.items():
                rows = partial(parts_without, file, uris)
                write_table(join(staging, table.name, new), table, rows, read_metadata(file))
    return moves, obsolete


def _heard_anew(
    superseded: Iterable[Superseded], staging: str, files: Iterable[WrittenFile]
) -> dict[str, set[str]]:
    """What is superseded of the objects that these files have a row for, by the original name."""
    paths = [join(staging, file.table, file.name) for file in files if file.table in _FATES]
    heard = {uri for path in paths for uri in read_uris(path)}
    anew: dict[str, set[str]] = {}
    for each in superseded:
        if each.uri in heard:  # in a file that an earlier round may have written anew
            anew.setdefault(original(each.file), set()).add(each.uri)
    return anew


def _carry_out(output: str, journal: str) -> None:
    """Do what a journal says, or what of it is left to do."""
    for attempt in persisting(output):
        with attempt:
            _do_what_is_left(output, journal)


def _do_what_is_left(output: str, journal: str) -> None:
    said = _read(journal)
    if not _is_journal(said):
        raise ReconcileError(f"{journal} is no journal of a commit; delete it")
    run_id, name, done = said["run_id"], said["name"], said["round"]
    staging = staging_folder(output, run_id)
    for table in TABLES:
        folder = join(output, table.name)
        names = [file.split("/")[1] for file in done["files"] if file.startswith(f"{table.name}/")]
        if names:
            make_folder(folder)
        _move(join(staging, table.name), folder, names)
    delete(output, (join(output, *file.split("/")) for file in said["obsolete"]))
    write_whole(round_file(output, run_id, name), _as_json(done))
    delete(output, [journal])


def _has_files(output: str, journal: str) -> bool:
    """Whether any of a journal's files is left.

    None is if it was written by a worker that went on after its run had been ended, and what was
    written aside had been cleared away: of that nothing was begun.
    """
    said = _read(journal)
    files = said["round"]["files"] if _is_journal(said) else []
    staging = FileSystems.split(journal)[0]
    return not files or any(
        FileSystems.exists(join(folder, *file.split("/")))
        for file in files
        for folder in (staging, output)
    )


def _is_journal(said: object) -> bool:
    return isinstance(said, dict) and set(said) == {"run_id", "name", "obsolete", "round"}


def _move(source: str, target: str, names: Iterable[str]) -> None:
    """Move files; what an earlier attempt has moved already stays where it is."""
    moves = [(join(source, name), join(target, name)) for name in names]
    waiting = [move for move in moves if FileSystems.exists(move[0])]
    for _, destination in set(moves) - set(waiting):
        if not FileSystems.exists(destination):
            raise ReconcileError(f"{destination} was written, but is not there")
    if not waiting:
        return
    try:
        FileSystems.rename(*(list(paths) for paths in zip(*waiting, strict=True)))
    except BeamIOError:  # unless another does the same at once, as when a run ends in a commit
        if not all(FileSystems.exists(destination) for _, destination in waiting):
            raise


def _run_record(record: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    objects, skipped, totals = 0, Counter[str](), Totals()
    for each in rounds:
        objects += each["listed"]["objects"]
        skipped.update(each["listed"]["skipped"])
        totals.add(Totals.of(each["totals"]))
    return {
        **record,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": len(rounds),
        "listed": {"objects": objects, "skipped": dict(skipped)},
        "totals": asdict(totals),
        "files": [file for each in rounds for file in each["files"]],
    }


def _as_json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False)


def _read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(read_uri(path))
    return content
