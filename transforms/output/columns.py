"""The columns of each table, and making rows from the results of clips.

docs/output.md is the reference for readers. A change of a column changes SCHEMA_VERSION.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from earmark.transforms.detecting import loaded, mean_embedding, merge_events
from earmark.transforms.elements import (
    ClipResult,
    Detections,
    Embeddings,
    Events,
    FailedClip,
    HeadLabels,
    ScoredClip,
    all_labels,
)
from earmark.transforms.settings import Settings
from earmark.transforms.storage import relative_path

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MOMENT = pa.timestamp("ms", tz="UTC")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns.items()])


_WHERE = {
    "clip": pa.string(),
    "channel": pa.int32(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "start_time": _MOMENT,
}

_WHAT = {
    "head": pa.string(),
    "label": pa.string(),
    "display_name": pa.string(),
    "label_index": pa.int32(),
}

DETECTIONS = _schema(
    **_WHERE,
    **_WHAT,
    score=pa.float32(),
    score_raw=pa.float32(),
)

EVENTS = _schema(
    **_WHERE,
    **_WHAT,
    max_score=pa.float32(),
    mean_score=pa.float32(),
    frames=pa.int32(),
)

_LABEL = pa.struct(
    {
        "label": pa.string(),
        "head": pa.string(),
        "label_index": pa.int32(),
        "max_score": pa.float32(),
        "mean_score": pa.float32(),
        "seconds": pa.float64(),
    }
)

_GAP = pa.struct({"start_s": pa.float64(), "end_s": pa.float64(), "why": pa.string()})

CLIPS = _schema(
    clip=pa.string(),
    path=pa.string(),
    folder=pa.string(),
    version=pa.string(),
    size_bytes=pa.int64(),
    status=pa.string(),
    reason=pa.string(),
    message=pa.string(),
    format=pa.string(),
    codec=pa.string(),
    sample_rate_hz=pa.int32(),
    channels=pa.int32(),
    tracks=pa.int32(),
    duration_s=pa.float64(),
    heard_s=pa.float64(),
    gaps=pa.list_(_GAP),
    frames=pa.int64(),
    recorded_at=_MOMENT,
    recorded_at_source=pa.string(),
    latitude=pa.float64(),
    longitude=pa.float64(),
    rms_dbfs=pa.float32(),
    peak_dbfs=pa.float32(),
    clipped_fraction=pa.float32(),
    silent_fraction=pa.float32(),
    mix_loss_db=pa.float32(),
    labels=pa.list_(_LABEL),
    embedding=pa.list_(pa.float32()),
    run_id=pa.string(),
    model_sha256=pa.string(),
)

FAILURES = _schema(
    clip=pa.string(),
    path=pa.string(),
    folder=pa.string(),
    version=pa.string(),
    size_bytes=pa.int64(),
    stage=pa.string(),
    reason=pa.string(),
    message=pa.string(),
    run_id=pa.string(),
)


def embeddings_schema(settings: Settings) -> pa.Schema:
    """The columns of embeddings/."""
    number = pa.float16() if settings.embeddings == "float16" else pa.float32()
    return _schema(**_WHERE, embedding=pa.list_(number, settings.embedding_size))


def detection_rows(results: Sequence[ClipResult], settings: Settings) -> Iterator[pa.Table]:
    """Rows of detections/, of results sorted by URI, as all of these are."""
    clips, grid = _scored(results), settings.grid
    parts = [clip.detections for clip in clips]
    start_s = [grid.start_s(part.frame) for part in parts]
    end_s = [grid.end_s(clip.detections.frame, clip.duration_s) for clip in clips]
    uris, began_ms = _uris(clips), _began_ms(clips)
    columns, order = _common_columns(uris, began_ms, parts, start_s, end_s, settings)
    columns["score"] = _stacked(parts, "score", np.float32)
    columns["score_raw"] = _raw_scores(parts)
    yield _table(columns, DETECTIONS, order)


def event_rows(results: Sequence[ClipResult], settings: Settings) -> Iterator[pa.Table]:
    """Rows of events/."""
    clips = _scored(results)
    detections, durations_s = [clip.detections for clip in clips], [c.duration_s for c in clips]
    yield event_table(_uris(clips), _began_ms(clips), detections, durations_s, settings)


def event_table(
    uris: Sequence[str],
    began_ms: NDArray[np.float64],
    detections: Sequence[Detections],
    durations_s: Sequence[float],
    settings: Settings,
) -> pa.Table:
    """Rows of events/, made of the detections of clips that are sorted by their URIs.

    Args:
      uris: of the clips.
      began_ms: float64 [clips], when they began, in milliseconds since 1970; NaN where unknown.
      detections: of each clip, sorted as those of a ScoredClip.
      durations_s: how long the clips are.
      settings: of the run.
    """
    parts = [
        merge_events(each, settings.grid, settings.events_gap_s, duration_s)
        for each, duration_s in zip(detections, durations_s, strict=True)
    ]
    start_s, end_s = [part.start_s for part in parts], [part.end_s for part in parts]
    columns, order = _common_columns(uris, began_ms, parts, start_s, end_s, settings)
    columns["max_score"] = _stacked(parts, "max_score", np.float32)
    columns["mean_score"] = _stacked(parts, "mean_score", np.float32)
    columns["frames"] = _stacked(parts, "frames", np.int32)
    return _table(columns, EVENTS, order)


def embedding_rows(results: Sequence[ClipResult], settings: Settings) -> Iterator[pa.Table]:
    """Rows of embeddings/, part by part."""
    for clip in _scored(results):
        for part in loaded(clip.embeddings):
            yield _embedding_part(clip, part, settings)


def _embedding_part(clip: ScoredClip, part: Embeddings, settings: Settings) -> pa.Table:
    rows, size = part.values.shape
    start_s = settings.grid.start_s(part.frame)
    columns = {
        "clip": pa.repeat(pa.scalar(clip.clip.uri, pa.string()), rows),
        "channel": _channels(part.channel, settings),
        "start_s": start_s,
        "end_s": settings.grid.end_s(part.frame, clip.duration_s),
        "start_time": start_times(np.repeat(_began_ms([clip]), rows), start_s),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(part.values.reshape(-1)), size),
    }
    return pa.table(columns, schema=embeddings_schema(settings))


_CLIPS_AT_ONCE = 250
"""A row of clips/ takes many times the memory before it is in a table."""


def clip_rows(results: Sequence[ClipResult], settings: Settings) -> Iterator[pa.Table]:
    """Rows of clips/."""
    clips = iter(_scored(results))
    while part := [_clip_row(clip, settings) for clip in islice(clips, _CLIPS_AT_ONCE)]:
        yield pa.Table.from_pylist(part, CLIPS)


def failure_rows(results: Sequence[ClipResult], settings: Settings) -> Iterator[pa.Table]:
    """Rows of failures/."""
    rows = [
        {**_object_columns(result, settings), **result.trouble._asdict(), "run_id": settings.run_id}
        for result in results
        if isinstance(result, FailedClip)
    ]
    yield pa.Table.from_pylist(rows, FAILURES)


def _clip_row(clip: ScoredClip, settings: Settings) -> dict[str, object]:
    return {
        **_object_columns(clip, settings),
        "status": clip.status,
        "reason": clip.reason,
        "message": clip.message,
        "format": clip.header.format,
        "codec": clip.header.codec,
        "sample_rate_hz": clip.header.sample_rate_hz,
        "channels": clip.header.channels,
        "tracks": clip.header.tracks,
        "duration_s": clip.duration_s,
        "heard_s": clip.heard_s,
        "gaps": [gap._asdict() for gap in clip.gaps],
        "frames": clip.frames,
        "recorded_at": clip.recorded_at,
        "recorded_at_source": clip.recorded_at_source,
        "latitude": clip.place and clip.place.latitude,
        "longitude": clip.place and clip.place.longitude,
        "rms_dbfs": _rounded(clip.level.rms_dbfs),
        "peak_dbfs": _rounded(clip.level.peak_dbfs),
        "clipped_fraction": clip.level.clipped_fraction,
        "silent_fraction": clip.level.silent_fraction,
        "mix_loss_db": _rounded(clip.level.mix_loss_db),
        "labels": [label._asdict() for label in clip.labels],
        "embedding": mean_embedding(clip.embeddings),
        "run_id": settings.run_id,
        "model_sha256": settings.model_sha256,
    }


def _rounded(level_dbfs: float | None) -> float | None:
    return None if level_dbfs is None else round(level_dbfs, 2)


def _object_columns(result: ClipResult, settings: Settings) -> dict[str, object]:
    clip = result.clip
    return {
        **place_columns(clip.uri, relative_path(clip.uri, settings.roots)),
        "version": clip.version,
        "size_bytes": clip.size_bytes,
    }


def place_columns(uri: str, path: str) -> dict[str, str]:
    """The columns that say where an object is, of its URI and its path from the root."""
    return {"clip": uri, "path": path, "folder": path.rpartition("/")[0].removesuffix("!")}


def _scored(results: Sequence[ClipResult]) -> list[ScoredClip]:
    return [result for result in results if isinstance(result, ScoredClip)]


def _uris(clips: Iterable[ScoredClip]) -> list[str]:
    return [each.clip.uri for each in clips]


def _common_columns(
    uris: Sequence[str],
    began_ms: NDArray[np.float64],
    parts: Sequence[Detections] | Sequence[Events],
    starts_s: Sequence[NDArray[np.float64]],
    ends_s: Sequence[NDArray[np.float64]],
    settings: Settings,
) -> tuple[dict[str, pa.Array], NDArray[np.intp]]:
    """The columns that detections and events share, and the order in which rows are to lie.

    Clips come sorted by URI, so their position stands for it when rows are sorted.
    """
    lengths = [len(part.label_index) for part in parts]
    clip = np.repeat(np.arange(len(uris), dtype=np.int32), lengths)
    start_s = np.concatenate([np.empty(0), *starts_s])
    label_index = _stacked(parts, "label_index", np.int32)
    channel = _stacked(parts, "channel", np.int32)
    columns = {
        "clip": _named(clip, uris),
        "channel": _channels(channel, settings),
        "start_s": start_s,
        "end_s": np.concatenate([np.empty(0), *ends_s]),
        "start_time": start_times(np.repeat(began_ms, lengths), start_s),
        **_what_columns(label_index, settings.heads),
    }
    rank = _alphabetical_rank(settings.labels)[label_index]
    return columns, np.lexsort((label_index, channel, start_s, clip, rank))


def _what_columns(
    label_index: NDArray[np.int32], heads: Sequence[HeadLabels]
) -> dict[str, pa.Array]:
    """The columns of labels: label_index is the label's place among those of all heads."""
    sizes = [len(head.labels) for head in heads]
    head = np.repeat(np.arange(len(heads), dtype=np.int32), sizes)
    in_head = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    shown = [name for each in heads for name in each.display_names or [None] * len(each.labels)]
    return {
        "head": _named(head[label_index], [each.name for each in heads]),
        "label": _named(label_index, all_labels(heads)),
        "display_name": _named(label_index, shown),
        "label_index": in_head[label_index],
    }


def _named(index: NDArray[np.int32], names: Sequence[str | None]) -> pa.Array:
    if None in names:  # a dictionary that holds nulls is one that not every reader takes
        return pa.array(names, pa.string()).take(pa.array(index))
    return pa.DictionaryArray.from_arrays(index, pa.array(names, pa.string()))


def _channels(channel: NDArray[np.int32], settings: Settings) -> pa.Array:
    if settings.decoding.use.each:
        return pa.array(channel, pa.int32())
    return pa.nulls(len(channel), pa.int32())


def _raw_scores(parts: Sequence[Detections]) -> pa.Array:
    raw_scores = [part.raw_score for part in parts if part.raw_score is not None]
    rows = sum(len(part.score) for part in parts)
    if sum(map(len, raw_scores)) < rows:
        return pa.nulls(rows, pa.float32())
    return pa.array(np.concatenate([np.empty(0, np.float32), *raw_scores]), pa.float32())


def _stacked(parts: Sequence[object], column: str, dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *(getattr(part, column) for part in parts)])


def _alphabetical_rank(labels: Sequence[str]) -> NDArray[np.int64]:
    """Each label's place among all, sorted; the same for labels of the same name."""
    places = {label: place for place, label in enumerate(sorted(set(labels)))}
    return np.array([places[label] for label in labels], np.int64)


def _began_ms(clips: Iterable[ScoredClip]) -> NDArray[np.float64]:
    began = (clip.recorded_at for clip in clips)
    return np.array([np.nan if at is None else whole_ms(at) for at in began], np.float64)


def whole_ms(at: datetime) -> int:
    """A moment in whole milliseconds since 1970, as columns of moments hold it."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def start_times(began_ms: NDArray[np.float64], start_s: NDArray[np.generic]) -> pa.Array:
    """The column start_time.

    Args:
      began_ms: float64 [rows], when their clips began, in milliseconds since 1970, or NaN.
      start_s: [rows], in seconds from there.
    """
    moments_ms = began_ms + np.asarray(start_s, np.float64) * 1000
    known = np.isfinite(moments_ms)
    rounded = np.rint(np.where(known, moments_ms, 0)).astype(np.int64)
    return pa.array(rounded, mask=~known, type=pa.int64()).cast(_MOMENT)


def _table(columns: dict[str, object], schema: pa.Schema, order: NDArray[np.intp]) -> pa.Table:
    """A table with the columns in the schema's order; strings may stay dictionary-encoded."""
    return pa.table({name: columns[name] for name in schema.names}).take(order)
