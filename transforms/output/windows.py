"""A stream's windows: the results of the objects that came in one are committed once."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.transforms.window import IntervalWindow

from earmark.transforms.detecting import EmbeddingSpool
from earmark.transforms.elements import ClipResult, Listed, PlannedObject
from earmark.transforms.output.committing import ReconcileError, commit_round, finish_commits
from earmark.transforms.output.folder import (
    STREAM,
    aside_folder,
    discard_folder,
    round_id,
    staging_folder,
)
from earmark.transforms.output.history import read_history
from earmark.transforms.output.provenance import provenance_of
from earmark.transforms.output.superseding import is_since_planned, superseded
from earmark.transforms.output.writing import file_name, write_shard
from earmark.transforms.settings import Settings
from earmark.transforms.workers import marking


@dataclass
class CommitWindows(beam.PTransform):  # type: ignore[misc]
    """Write a window's results, and move them into place: ClipResult to the round's file.

    An engine that has returned to a snapshot may replay what has been committed since, in the same
    window, with or without its other objects. So objects that are there already, in this version or
    a later one, are left out; and a round's name is derived from the window and its content.

    Attributes:
      settings: of the run; every file says which.
      planned: what was to be processed, in the same windows.
    """

    settings: Settings
    planned: beam.PCollection[PlannedObject]

    def expand(self, results: beam.PCollection[ClipResult]) -> beam.PCollection[str]:
        """Apply the transform."""
        return (
            (results, self.planned | "Unsigned" >> beam.Map(PlannedObject.without_address))
            | beam.Flatten()
            | "Together" >> beam.WithKeys(None)
            | "Group" >> beam.GroupByKey()
            | "Commit" >> beam.FlatMap(_commit_together, self.settings)
        )


def commit_window(
    planned: list[PlannedObject],
    results: list[ClipResult],
    window: IntervalWindow,
    settings: Settings,
) -> Iterator[str]:
    """Commit the results of a window's objects, except those committed already.

    Yields:
      The path of the round's file, if there was anything to commit.

    Raises:
      ReconcileError: an object has no result, or more than one.
      OutputTakenError: another run has taken the folder over.
    """
    if Counter(each.object for each in planned) != Counter(each.clip for each in results):
        raise ReconcileError(
            f"in the window from {window.start.to_utc_datetime()} {len(planned)} objects were"
            f" planned, but there are {len(results)} results, not one for each; they are not"
            " committed"
        )
    output, run_id = settings.output, settings.run_id
    finish_commits(output, run_id)  # of this window, perhaps, with others in it
    since = window.start.to_utc_datetime(has_tz=True)
    history = read_history(output, provenance_of(settings), since=since)
    there = {each.uri: each.file for each in history}
    new = {each.object: each for each in planned if not _is_done(each, there)}
    left = [each for each in results if each.clip in new]
    spool = EmbeddingSpool(aside_folder(output, run_id, STREAM), "")
    aside = spool.of_window(window).folder
    if not left:
        discard_folder(aside)
        return
    name = _round_name(window, left)
    staging = staging_folder(output, run_id)
    shard = write_shard(left, staging, file_name(round_id(run_id, name), 0, 1), settings)
    obsolete = [each for one in new.values() for each in superseded(one)]
    path = commit_round([shard], Listed(len(left), {}), obsolete, output, run_id, name)
    discard_folder(aside)
    yield path


@marking
def _commit_together(
    together: tuple[None, Iterable[PlannedObject | ClipResult]],
    settings: Settings,
    window: IntervalWindow = beam.DoFn.WindowParam,
) -> Iterator[str]:
    every = list(together[1])
    planned = [each for each in every if isinstance(each, PlannedObject)]
    results = [each for each in every if not isinstance(each, PlannedObject)]
    yield from commit_window(planned, results, window, settings)


def _is_done(planned: PlannedObject, there: Mapping[str, str]) -> bool:
    """Whether the output has rows of this version of an object, or of a later one.

    A window may hold two versions: one that the engine has replayed from a snapshot though its rows
    are committed, and one that was planned after the stream had seen these rows.

    Args:
      planned: the object.
      there: the names of files with rows, by their objects' URIs.
    """
    file = there.get(planned.object.uri)
    return file is not None and is_since_planned(file, planned.old_file)


def _round_name(window: IntervalWindow, results: Iterable[ClipResult]) -> str:
    """When the window began, in seconds since 1970, and a number that follows from what is in it.

    The history goes by the former: see read_history.
    """
    members = sorted(f"{each.clip.uri} {each.clip.version}" for each in results)
    number = zlib.crc32("\n".join(members).encode("utf-8", "surrogateescape"))
    return f"{window.start.micros // 1_000_000:010d}-{number:08x}"
