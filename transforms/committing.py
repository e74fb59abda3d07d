"""Moving files into place, once all that was listed is accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.elements import Listed
from transforms.local_copies import read_uri
from transforms.output_folder import (
    discard,
    is_taken,
    round_file,
    round_files,
    run_file,
    staging_folder,
)
from transforms.tables import TABLES
from transforms.writing import Totals, WrittenFile, WrittenShard


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
      number: of the round in it.
      listed: how much was listed, a PCollection of one.
    """

    output: str
    run_id: str
    number: int
    listed: beam.PCollection[Listed]

    def expand(self, shards: beam.PCollection[WrittenShard]) -> beam.PCollection[str]:
        """Apply the transform; gives the path of the round's file, once it is written."""
        return (
            shards.pipeline
            | beam.Impulse()
            | "Commit"
            >> beam.Map(
                _commit,
                beam.pvalue.AsList(shards),
                beam.pvalue.AsSingleton(self.listed),
                self.output,
                self.run_id,
                self.number,
            )
        )


@dataclass
class ConcludeRun(beam.PTransform):  # type: ignore[misc]
    """Write the run's file when its only round is committed; gives its path.

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
            lambda _: conclude(self.output, self.run_id, self.record)
        )


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
    if not FileSystems.exists(path):  # else this was done before, and not known to be
        rounds = [json.loads(read_uri(each)) for each in round_files(output, run_id)]
        _write_whole(path, _as_json(_run_record(record, rounds)))
    discard(output, run_id)
    return path


def reconcile(listed: Listed, totals: Totals) -> None:
    """Check that each listed object has exactly one row.

    Raises:
      ReconcileError: it hasn't.
    """
    if listed.objects != totals.objects:
        raise ReconcileError(
            f"{listed.objects} objects were listed, but {totals.clips} have a row in clips/ and "
            f"{totals.objects - totals.clips} in failures/; nothing was committed"
        )


def _commit(
    _: bytes,
    shards: Sequence[WrittenShard],
    listed: Listed,
    output: str,
    run_id: str,
    number: int,
) -> str:
    totals = Totals()
    for shard in shards:
        totals.add(shard.totals)
    reconcile(listed, totals)
    path = round_file(output, run_id, number)
    if FileSystems.exists(path):  # this was done before, and not known to be
        return path
    if is_taken(output, by_other_than=run_id):
        raise OutputTakenError(f"another run has written to {output} in the meantime")
    files = sorted(file for shard in shards for file in shard.files)
    _move_into_place(files, output, run_id)
    paths = [f"{file.table}/{file.name}" for file in files]
    _write_whole(
        path, _as_json({"listed": asdict(listed), "totals": asdict(totals), "files": paths})
    )
    return path


def _move_into_place(files: Sequence[WrittenFile], output: str, run_id: str) -> None:
    """Move each table's files; what an earlier attempt has moved already stays where it is."""
    staging = staging_folder(output, run_id)
    for table in TABLES:
        folder = FileSystems.join(output, table.name)
        _make_folder(folder)
        names = [file.name for file in files if file.table == table.name]
        moves = [
            (FileSystems.join(staging, table.name, name), FileSystems.join(folder, name))
            for name in names
        ]
        waiting = [move for move in moves if FileSystems.exists(move[0])]
        _check_moved(destination for source, destination in set(moves) - set(waiting))
        if waiting:
            FileSystems.rename(*(list(paths) for paths in zip(*waiting, strict=True)))


def _check_moved(destinations: Iterable[str]) -> None:
    for destination in destinations:
        if not FileSystems.exists(destination):
            raise ReconcileError(f"{destination} was written, but is not there")


def _make_folder(folder: str) -> None:
    if not FileSystems.exists(folder):
        FileSystems.mkdirs(folder)


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


def _write_whole(path: str, text: str) -> None:
    """Write a file that is there whole or not at all."""
    aside = f"{path}.part"
    _make_folder(FileSystems.split(path)[0])
    with FileSystems.create(aside, compression_type=CompressionTypes.UNCOMPRESSED) as sink:
        sink.write(text.encode("utf-8", "backslashreplace"))  # which is how JSON escapes, too
    FileSystems.rename([aside], [path])
