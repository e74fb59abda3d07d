"""The end of a run: its rounds' records become the run's file, which marks it as complete."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import apache_beam as beam

from earmark.transforms.output.folder import (
    RUNS,
    clear_away,
    matching,
    run_file,
)
from earmark.transforms.output.journal import RoundRecord, read_round_file
from earmark.transforms.output.lock import release
from earmark.transforms.output.totals import Totals
from earmark.transforms.storage import delete_files, exists, write_whole
from earmark.transforms.workers import marking


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
    rounds = _round_files(output, run_id)
    if not exists(path):  # else this was done before, and not known to be
        said = _run_record(record, list(map(read_round_file, rounds)))
        write_whole(path, json.dumps(said, indent=2, ensure_ascii=False))
    delete_files(rounds)
    clear_away(output, run_id)
    return path


def committed_objects(output: str, run_id: str) -> int:
    """How many objects an unfinished run has committed."""
    return sum(read_round_file(path).listed.objects for path in _round_files(output, run_id))


@marking
def _conclude_and_release(_: str, output: str, run_id: str, record: Mapping[str, Any]) -> str:
    path = conclude(output, run_id, record)
    release(output, run_id)
    return path


def _round_files(output: str, run_id: str) -> list[str]:
    return list(matching(output, f"{RUNS}/{run_id}", "*.json"))


def _run_record(record: Mapping[str, Any], rounds: Sequence[RoundRecord]) -> dict[str, Any]:
    skipped = Counter[str]()
    for each in rounds:
        skipped.update(each.listed.skipped)
    objects = sum(each.listed.objects for each in rounds)
    return {
        **record,
        "finished_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": len(rounds),
        "listed": {"objects": objects, "skipped": dict(skipped)},
        "totals": Totals().add(each.totals for each in rounds).as_record(),
        "files": [file for each in rounds for file in each.files],
    }
