"""The tables that come out: their schemas, and rows put into them.

docs/output.md is the reference for readers. A change of a column changes SCHEMA_VERSION.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.aggregation import merge_events
from transforms.elements import ClipResult, FailedClip, HeardClip
from transforms.framing import FrameGrid

SCHEMA_VERSION = "1"

PREFIX = "earmark."
"""Of the keys in a file's metadata."""

_T = TypeVar("_T", bound=np.generic)

_MOMENT = pa.timestamp("ms", tz="UTC")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


DETECTIONS = _schema(
    clip=pa.string(),
    start_s=pa.float64(),
    end_s=pa.float64(),
    start_time=_MOMENT,
    label=pa.string(),
    label_index=pa.int32(),
    score=pa.float32(),
)

EVENTS = _schema(
    clip=pa.string(),
    start_s=pa.float64(),
    end_s=pa.float64(),
    start_time=_MOMENT,
    label=pa.string(),
    label_index=pa.int32(),
    max_score=pa.float32(),
    mean_score=pa.float32(),
    frames=pa.int32(),
)

_LABEL = pa.struct(
    {
        "label": pa.string(),
        "max_score": pa.float32(),
        "mean_score": pa.float32(),
        "seconds": pa.float64(),
    }
)

CLIPS = _schema(
    clip=pa.string(),
    version=pa.string(),
    size_bytes=pa.int64(),
    status=pa.string(),
    reason=pa.string(),
    message=pa.string(),
    format=pa.string(),
    codec=pa.string(),
    sample_rate_hz=pa.int32(),
    channels=pa.int32(),
    duration_s=pa.float64(),
    frames=pa.int64(),
    recorded_at=_MOMENT,
    recorded_at_source=pa.string(),
    rms_dbfs=pa.float32(),
    peak_dbfs=pa.float32(),
    clipped_fraction=pa.float32(),
    silent_fraction=pa.float32(),
    labels=pa.list_(_LABEL),
    run_id=pa.string(),
    model_sha256=pa.string(),
)

FAILURES = _schema(
    clip=pa.string(),
    version=pa.string(),
    size_bytes=pa.int64(),
    stage=pa.string(),
    reason=pa.string(),
    message=pa.string(),
    run_id=pa.string(),
)


@dataclass(frozen=True)
class Provenance:
    """What made the rows; stored in every file's key-value metadata.

    Attributes:
      run_id: names the run.
      earmark_version: the version of earmark.
      model_name: what the model calls itself.
      model_sha256: of the model file.
      labels: the model's name of each class.
      sample_rate_hz: of the samples that were scored.
      frame_samples: a frame's length.
      hop_samples: from the start of a frame to the start of the next.
      min_score: a detection's score is this or more.
      top_k: at most so many detections in a frame; None for all.
      events_gap_s: detections of a label this far apart or less are one event.
      time_pattern: of names that tell when a recording began; None for the usual ones.
      time_zone: of times of recording that name none.
    """

    run_id: str
    earmark_version: str
    model_name: str
    model_sha256: str
    labels: tuple[str, ...]
    sample_rate_hz: int
    frame_samples: int
    hop_samples: int
    min_score: float
    top_k: int | None
    events_gap_s: float
    time_pattern: str | None = None
    time_zone: str = "UTC"

    @property
    def grid(self) -> FrameGrid:
        """Where frames lie in a clip."""
        return FrameGrid(self.sample_rate_hz, self.frame_samples, self.hop_samples)

    def settings(self) -> dict[str, str]:
        """All that rows depend on besides the recordings; earmark's version is not among it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model_sha256": self.model_sha256,
            "labels_sha256": hashlib.sha256("\n".join(self.labels).encode()).hexdigest(),
            "sample_rate_hz": str(self.sample_rate_hz),
            "frame_samples": str(self.frame_samples),
            "hop_samples": str(self.hop_samples),
            "min_score": str(self.min_score),
            "top_k": str(self.top_k or "all"),
            "events_gap_s": str(self.events_gap_s),
            "time_pattern": self.time_pattern or "",
            "time_zone": self.time_zone,
        }

    def metadata(self) -> dict[str, str]:
        """Key-value metadata for a Parquet file."""
        made_by = {
            "version": self.earmark_version,
            "run_id": self.run_id,
            "model_name": self.model_name,
        }
        return {f"{PREFIX}{key}": value for key, value in {**made_by, **self.settings()}.items()}


@dataclass(frozen=True)
class Table:
    """One of the tables of the output.

    Attributes:
      name: of the table, and of its folder.
      schema: its columns.
      sorted_by: the columns by which its rows lie sorted in a file.
      rows: makes the table of clips' results.
    """

    name: str
    schema: pa.Schema
    sorted_by: tuple[str, ...]
    rows: Callable[[Sequence[ClipResult], Provenance], pa.Table]


def _detection_rows(results: Sequence[ClipResult], made_by: Provenance) -> pa.Table:
    clips = _heard(results)
    parts = [clip.detections for clip in clips]
    start_s = [made_by.grid.start_s(clip.detections.frame) for clip in clips]
    end_s = [made_by.grid.end_s(clip.detections.frame, clip.duration_s) for clip in clips]
    label_index = _stacked(parts, "label_index", np.int32)
    columns, order = _common_columns(clips, start_s, end_s, label_index, made_by.labels)
    columns["score"] = _stacked(parts, "score", np.float32)
    return _table(columns, DETECTIONS, order)


def _event_rows(results: Sequence[ClipResult], made_by: Provenance) -> pa.Table:
    clips = _heard(results)
    parts = [
        merge_events(clip.detections, made_by.grid, made_by.events_gap_s, clip.duration_s)
        for clip in clips
    ]
    start_s, end_s = [part.start_s for part in parts], [part.end_s for part in parts]
    label_index = _stacked(parts, "label_index", np.int32)
    columns, order = _common_columns(clips, start_s, end_s, label_index, made_by.labels)
    columns["max_score"] = _stacked(parts, "max_score", np.float32)
    columns["mean_score"] = _stacked(parts, "mean_score", np.float32)
    columns["frames"] = _stacked(parts, "frames", np.int32)
    return _table(columns, EVENTS, order)


def _clip_rows(results: Sequence[ClipResult], made_by: Provenance) -> pa.Table:
    return pa.Table.from_pylist([_clip_row(clip, made_by) for clip in _heard(results)], CLIPS)


def _failure_rows(results: Sequence[ClipResult], made_by: Provenance) -> pa.Table:
    failed = [result for result in results if isinstance(result, FailedClip)]
    rows = [
        {**_object_columns(result), **result.trouble._asdict(), "run_id": made_by.run_id}
        for result in sorted(failed, key=lambda result: result.clip.uri)
    ]
    return pa.Table.from_pylist(rows, FAILURES)


TABLES = (
    Table("detections", DETECTIONS, ("label", "clip", "start_s"), _detection_rows),
    Table("events", EVENTS, ("label", "clip", "start_s"), _event_rows),
    Table("clips", CLIPS, ("clip",), _clip_rows),
    Table("failures", FAILURES, ("clip",), _failure_rows),
)
"""All tables, clips and failures last: they say that a clip's other rows are there."""


def _clip_row(clip: HeardClip, made_by: Provenance) -> dict[str, object]:
    return {
        **_object_columns(clip),
        "status": clip.status,
        "reason": clip.reason,
        "message": clip.message,
        "format": clip.header.format,
        "codec": clip.header.codec,
        "sample_rate_hz": clip.header.sample_rate_hz,
        "channels": clip.header.channels,
        "duration_s": clip.duration_s,
        "frames": clip.frames,
        "recorded_at": clip.recorded_at,
        "recorded_at_source": clip.recorded_at_source,
        "rms_dbfs": _rounded(clip.level.rms_dbfs),
        "peak_dbfs": _rounded(clip.level.peak_dbfs),
        "clipped_fraction": clip.level.clipped_fraction,
        "silent_fraction": clip.level.silent_fraction,
        "labels": [label._asdict() for label in clip.labels],
        "run_id": made_by.run_id,
        "model_sha256": made_by.model_sha256,
    }


def _rounded(level_dbfs: float | None) -> float | None:
    return None if level_dbfs is None else round(level_dbfs, 2)


def _object_columns(result: ClipResult) -> dict[str, object]:
    clip = result.clip
    return {"clip": clip.uri, "version": clip.version, "size_bytes": clip.size_bytes}


def _heard(results: Sequence[ClipResult]) -> list[HeardClip]:
    heard = [result for result in results if isinstance(result, HeardClip)]
    return sorted(heard, key=lambda clip: clip.clip.uri)


def _common_columns(
    clips: Sequence[HeardClip],
    starts_s: Sequence[NDArray[np.float64]],
    ends_s: Sequence[NDArray[np.float64]],
    label_index: NDArray[np.int32],
    labels: Sequence[str],
) -> tuple[dict[str, pa.Array], NDArray[np.intp]]:
    """The columns that detections and events share, and the order in which rows are to lie.

    Clips come sorted by URI, so their position stands for it when rows are sorted.
    """
    lengths = [len(start_s) for start_s in starts_s]
    clip = np.repeat(np.arange(len(clips), dtype=np.int32), lengths)
    start_s = np.concatenate([np.empty(0), *starts_s])
    columns = {
        "clip": pa.DictionaryArray.from_arrays(clip, pa.array(_uris(clips), pa.string())),
        "start_s": start_s,
        "end_s": np.concatenate([np.empty(0), *ends_s]),
        "start_time": _moments(np.repeat(_began_ms(clips), lengths), start_s),
        "label": pa.DictionaryArray.from_arrays(label_index, pa.array(labels, pa.string())),
        "label_index": label_index,
    }
    order = np.lexsort((label_index, start_s, clip, _alphabetical_rank(labels)[label_index]))
    return columns, order


def _stacked(parts: Sequence[object], column: str, dtype: type[_T]) -> NDArray[_T]:
    return np.concatenate([np.empty(0, dtype), *(getattr(part, column) for part in parts)])


def _uris(clips: Iterable[HeardClip]) -> list[str]:
    return [clip.clip.uri for clip in clips]


def _alphabetical_rank(labels: Sequence[str]) -> NDArray[np.int64]:
    """Each label's place among all, sorted; the same for labels of the same name."""
    places = {label: place for place, label in enumerate(sorted(set(labels)))}
    return np.array([places[label] for label in labels], np.int64)


def _began_ms(clips: Iterable[HeardClip]) -> NDArray[np.float64]:
    return np.array([_epoch_ms(clip.recorded_at) for clip in clips], np.float64)


def _epoch_ms(moment: datetime | None) -> float:
    return np.nan if moment is None else round(moment.timestamp() * 1000)


def _moments(began_ms: NDArray[np.float64], start_s: NDArray[np.generic]) -> pa.Array:
    moments_ms = began_ms + np.asarray(start_s, np.float64) * 1000
    known = np.isfinite(moments_ms)
    rounded = np.rint(np.where(known, moments_ms, 0)).astype(np.int64)
    return pa.array(rounded, mask=~known, type=pa.int64()).cast(_MOMENT)


def _table(columns: dict[str, object], schema: pa.Schema, order: NDArray[np.intp]) -> pa.Table:
    """A table with the columns in the schema's order; strings may stay dictionary-encoded."""
    return pa.table({name: columns[name] for name in schema.names}).take(order)
