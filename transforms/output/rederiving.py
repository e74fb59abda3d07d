"""Deriving the rows of other settings from those that are there, without hearing anything again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from earmark.transforms.detecting import label_summaries
from earmark.transforms.elements import Detections
from earmark.transforms.output.columns import event_table, start_times, whole_ms
from earmark.transforms.output.provenance import PREFIX, provenance_of
from earmark.transforms.output.rewriting import NewFile, Shard, rewrite, shards_of
from earmark.transforms.output.rows import open_table, read_footer, read_groups, said_of_itself
from earmark.transforms.output.tables import Table
from earmark.transforms.settings import Settings


class Begun(NamedTuple):
    """When a recording began, as its row says.

    Attributes:
      uri: of the clip.
      version: of the clip.
      recorded_at: in UTC; None where unknown.
      source: what said so; None where nothing did.
    """

    uri: str
    version: str
    recorded_at: datetime | None
    source: str | None


@dataclass(frozen=True)
class Derivation:
    """How rows are derived.

    Attributes:
      before: the settings that the rows were made with.
      after: the settings that they are to be of.
      timed: gives what a row is to say of the beginning; None where all stays as it is.
    """

    before: Settings
    after: Settings
    timed: Callable[[Begun], Begun] | None = None

    @cached_property
    def is_of_scores(self) -> bool:
        """Whether fewer scores are detections than were."""
        return not np.array_equal(self.before.min_scores, self.after.min_scores)

    @property
    def is_of_events(self) -> bool:
        """Whether detections become other events."""
        return self.is_of_scores or self.before.events_gap_s != self.after.events_gap_s


def missing_labels(before: Settings, after: Settings) -> list[str]:
    """The labels of which rows lack scores that would be detections.

    Args:
      before: the settings that the rows were made with.
      after: the settings that they are to be of.
    """
    missing = np.flatnonzero(after.min_scores < before.min_scores)
    return [before.labels[index] for index in missing]


def is_told_by_best(before: Settings, after: Settings) -> bool:
    """Whether the best top_k of all detections tell the best of those that are left.

    Without top_k they always do. With it, a label that no longer counts may have kept another from
    being among the best. That can't be where its threshold is the lowest of all: whatever has
    a better score than a detection is one, too.
    """
    begin = 0
    for head in after.heads if after.top_k is not None else ():
        within = slice(begin, begin + len(head.labels))
        old, new = before.min_scores[within], after.min_scores[within]
        if (new[new > old] > new.min(initial=np.inf)).any():
            return False
        begin = within.stop
    return True


def check_times(output: str, how: Derivation) -> None:
    """Ask for the new times of all clips, so that what is not told is known before it is begun."""
    for shard in shards_of(output) if how.timed is not None else ():
        for table, path in shard.items():
            if table.name == "clips":
                _Clips.read(path, how)


def rederive(output: str, run_id: str, how: Derivation) -> int:
    """Derive all rows of an output anew, by one commit; the caller must hold the output's lock.

    The rows are those that a run with the new settings would write, if it is told by
    `missing_labels` and `is_told_by_best` that they can be derived.

    Args:
      output: the folder that holds the tables' folders.
      run_id: names who does it.
      how: from which settings, and to which.

    Returns:
      How many files were written.

    Raises:
      BrokenTableError: a file cannot be read.
      OSError: there is no room, or a store failed; all is as it was, or the next run finishes it.
    """
    return rewrite(output, run_id, partial(_derived, how))


def _derived(how: Derivation, shard: Shard) -> Iterator[NewFile]:
    paths = {table.name: path for table, path in shard.items()}
    clips = _Clips.read(paths["clips"], how) if "clips" in paths else _Clips.none()
    heard = _heard(how, clips, paths) if how.is_of_events and "detections" in paths else None
    for table, path in shard.items():
        footer = read_footer(path)
        said = {**said_of_itself(footer), **_stated(how.after)}
        if table.name == "events" and heard is not None:
            schema = table.schema(how.after)
            rows = partial(_event_rows, how, clips, heard)
            yield NewFile(table, schema, rows, said)
        else:
            yield NewFile.of(table, path, partial(_changed, how, clips, heard, table), said)


def _stated(settings: Settings) -> dict[str, str]:
    return {f"{PREFIX}{key}": value for key, value in provenance_of(settings).items()}


@dataclass(frozen=True)
class _Clips:
    """The clips of a shard, in the order of their rows; with their new times.

    Attributes:
      uris: of the clips.
      durations_s: how long they are.
      began_ms: float64 [clips], when they began, in milliseconds since 1970, or NaN.
      sources: what said so.
    """

    uris: list[str]
    durations_s: list[float]
    began_ms: NDArray[np.float64]
    sources: list[str | None]

    @classmethod
    def none(cls) -> _Clips:
        return cls([], [], np.empty(0), [])

    @classmethod
    def read(cls, path: str, how: Derivation) -> _Clips:
        names = ["clip", "version", "duration_s", "recorded_at", "recorded_at_source"]
        with open_table(path) as file:
            rows = file.read(columns=names)
        uris, versions, durations_s, times, sources = (rows[name].to_pylist() for name in names)
        begun = list(map(Begun._make, zip(uris, versions, times, sources, strict=True)))
        if how.timed is not None:
            begun = list(map(how.timed, begun))
        began_ms = [
            np.nan if each.recorded_at is None else whole_ms(each.recorded_at) for each in begun
        ]
        return cls(uris, durations_s, np.array(began_ms), [each.source for each in begun])

    def index(self, rows: pa.Table) -> NDArray[np.int64]:
        """Which clip each row is of."""
        found = pc.index_in(rows["clip"], pa.array(self.uris, pa.string()))
        return np.asarray(found.combine_chunks(), np.int64)

    def moments(self) -> pa.Array:
        """The column recorded_at."""
        return start_times(self.began_ms, np.zeros(len(self.uris)))


def _heard(how: Derivation, clips: _Clips, paths: Mapping[str, str]) -> list[Detections]:
    """The detections of each clip that are left."""
    grid = how.after.grid
    parts: list[list[NDArray[np.generic]]] = []
    for rows in read_groups(paths["detections"]):
        left = _left(how, rows)
        start_s = np.asarray(left["start_s"].combine_chunks())
        channel = np.asarray(pc.fill_null(left["channel"], 0).combine_chunks())
        frame = np.rint(start_s * grid.sample_rate_hz / grid.hop_samples).astype(np.int32)
        score = np.asarray(left["score"].combine_chunks())
        parts.append([clips.index(left), _places(how.after, left), channel, frame, score])
    if not parts:
        return [_none() for _ in clips.uris]
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    clip, place, channel, frame, score = columns
    order = np.lexsort((frame, channel, place, clip))
    bounds = np.searchsorted(clip[order], np.arange(len(clips.uris) + 1))
    whole = Detections(frame, place.astype(np.int32), score, channel).take(order)
    return [whole.take(np.arange(begin, end)) for begin, end in pairwise(bounds)]


def _none() -> Detections:
    none = np.empty(0, np.int32)
    return Detections(none, none, np.empty(0, np.float32), none)


def _places(settings: Settings, rows: pa.Table) -> NDArray[np.int64]:
    """The place of each row's label among those of all heads, one after another."""
    begins = np.cumsum([0, *(len(head.labels) for head in settings.heads)])
    heads = pa.array([head.name for head in settings.heads], pa.string())
    head = np.asarray(pc.index_in(rows["head"], heads).combine_chunks(), np.int64)
    return np.asarray(begins[head] + np.asarray(rows["label_index"].combine_chunks()))


def _left(how: Derivation, rows: pa.Table) -> pa.Table:
    """The detections that are left."""
    if not how.is_of_scores:
        return rows
    score = np.asarray(rows["score"].combine_chunks())
    return rows.filter(pa.array(score >= how.after.min_scores[_places(how.after, rows)]))


def _event_rows(how: Derivation, clips: _Clips, heard: Sequence[Detections]) -> Iterator[pa.Table]:
    yield event_table(clips.uris, clips.began_ms, heard, clips.durations_s, how.after)


def _changed(
    how: Derivation,
    clips: _Clips,
    heard: Sequence[Detections] | None,
    table: Table,
    rows: pa.Table,
) -> pa.Table:
    """The new rows for some rows of a table."""
    if table.name == "detections":
        rows = _left(how, rows)
    if table.name == "clips":
        return _new_clips(how, clips, heard, rows)
    if how.timed is None or "start_time" not in rows.column_names:
        return rows
    began_ms = clips.began_ms[clips.index(rows)]
    return _with(rows, "start_time", start_times(began_ms, np.asarray(rows["start_s"])))


def _new_clips(
    how: Derivation, clips: _Clips, heard: Sequence[Detections] | None, rows: pa.Table
) -> pa.Table:
    index = clips.index(rows)
    if how.timed is not None:
        sources = pa.array([clips.sources[i] for i in index], pa.string())
        rows = _with(rows, "recorded_at", clips.moments().take(pa.array(index)))
        rows = _with(rows, "recorded_at_source", sources)
    if how.is_of_scores and heard is not None:
        summaries = [label_summaries(heard[i], how.after, clips.durations_s[i]) for i in index]
        labels = [[label._asdict() for label in labels] for labels in summaries]
        rows = _with(rows, "labels", pa.array(labels, rows.schema.field("labels").type))
    return rows


def _with(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    index = rows.column_names.index(name)
    return rows.set_column(index, rows.schema.field(name), column)
