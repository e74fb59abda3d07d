"""Classifying recordings in somebody's own Beam pipeline. Composition only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from earmark.models.classifier import AudioClassifier
from earmark.pipelines.library.notebooks import keep_labels
from earmark.pipelines.library.options import MODEL, URIS
from earmark.pipelines.options import ModelKeywords, UriKeywords, parse_keywords
from earmark.pipelines.runs import Process, configure
from earmark.transforms.decoding.splitting import SplitLongClips
from earmark.transforms.detecting import loaded
from earmark.transforms.elements import (
    AudioHeader,
    AudioObject,
    ClipResult,
    GapInClip,
    LabelSummary,
    Place,
    ScoredClip,
    SignalLevel,
)
from earmark.transforms.listing import anywhere, look_up_with_members
from earmark.transforms.output import made_tables
from earmark.transforms.settings import Settings
from earmark.transforms.workers.spreading import SpreadObjects

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Detection(NamedTuple):
    """A label in a frame of a recording: a row of detections/, see docs/output.md."""

    clip: str
    channel: int | None
    start_s: float
    end_s: float
    start_time: datetime | None
    head: str
    label: str
    display_name: str | None
    label_index: int
    score: float
    score_raw: float | None


class Event(NamedTuple):
    """Consecutive detections of a label, merged: a row of events/, see docs/output.md."""

    clip: str
    channel: int | None
    start_s: float
    end_s: float
    start_time: datetime | None
    head: str
    label: str
    display_name: str | None
    label_index: int
    max_score: float
    mean_score: float
    frames: int


class ClipEmbeddings(NamedTuple):
    """The embeddings of a recording's frames, by frame, then by channel.

    Attributes:
      start_s: float64 [n], of each frame, seconds from the recording's start.
      channel: int32 [n], 0 where channels are mixed.
      values: float32 or float16 [n, embedding_size].
    """

    start_s: NDArray[np.float64]
    channel: NDArray[np.int32]
    values: NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ClassifiedClip:
    """The result for a recording.

    Attributes:
      uri: an absolute path, a URI, or the name of a member of an archive.
      status: scored; partial, where a part of it could not be decoded or scored; or failed.
      reason: why it is partial or failed, as a code that docs/output.md lists; else None.
      message: the reason in words.
      header: its format, rate and channels; None if it failed.
      level: its loudness and clipping; None if it failed.
      recorded_at: when the recording began, UTC; None if unknown, or if it failed.
      duration_s: how long it is, including gaps.
      heard_s: how long it is without them.
      gaps: where it has no sound, and why: see clips/ in docs/output.md.
      labels: a summary of its detections by label, best first.
      detections: the labels of each frame, sorted by label, then by time.
      events: consecutive detections of a label, merged.
      embeddings: None if they were not requested, or if it failed.
      place: where it was made, a latitude and a longitude; None if unknown, or if it failed.
    """

    uri: str
    status: str
    reason: str | None
    message: str | None
    header: AudioHeader | None = None
    level: SignalLevel | None = None
    recorded_at: datetime | None = None
    duration_s: float = 0.0
    heard_s: float = 0.0
    gaps: tuple[GapInClip, ...] = ()
    labels: tuple[LabelSummary, ...] = ()
    detections: tuple[Detection, ...] = ()
    events: tuple[Event, ...] = ()
    embeddings: ClipEmbeddings | None = None
    place: Place | None = None


class Classify(beam.PTransform):  # type: ignore[misc]
    """Classifies recordings: from their paths or URIs (str) to a ClassifiedClip for each.

    An archive (tar, tar.gz, zip) gives a result for each of its members. A URI that occurs several
    times gives one. Nothing is written, so all embeddings of a recording, if requested, are in
    memory at once.
    """

    def __init__(
        self, model: str | os.PathLike[str] = "yamnet", **options: Unpack[UriKeywords]
    ) -> None:
        """Load the model, and check the options.

        Args:
          model: yamnet, builtin, or the path or URI of a .tflite file. Workers load it themselves:
            for workers on other machines, give a name, a URI, or a path that exists there.
          options: those of `earmark classify`, by name, except those of a run.

        Raises:
          UsageError: an option is unknown or invalid, or the model cannot be used.
        """
        super().__init__()
        keep_labels()
        self._options, _ = parse_keywords({"model": model, **options}, {}, URIS)
        self._settings, self._load, _ = configure(self._options)

    def expand(self, uris: beam.PCollection[str]) -> beam.PCollection[ClassifiedClip]:
        """Apply the transform."""
        settings = self._settings
        return (
            uris
            | "LookUp" >> beam.FlatMap(_objects, settings.all_files)
            | SpreadObjects()
            | SplitLongClips(self._options.span_s)
            | "SpreadSpans" >> beam.Reshuffle()
            | Process(settings, self._load, None)
            | "Rows" >> beam.Map(classified, settings).with_output_types(ClassifiedClip)
        )


def load_classifier(
    model: str | os.PathLike[str] = "yamnet", **options: Unpack[ModelKeywords]
) -> AudioClassifier:
    """Load a model; the same model with the same options is loaded once per process.

    Args:
      model: yamnet, builtin, or the path or URI of a .tflite file.
      options: those of `earmark classify` that control how a model is used, by name.

    Raises:
      UsageError: an option is unknown or invalid, or the model cannot be used.
    """
    checked, _ = parse_keywords({"model": model, **options}, {}, MODEL)
    return configure(checked)[-1]


def classified(result: ClipResult, settings: Settings) -> ClassifiedClip:
    """A clip's result in the rows that a run would write of it."""
    if not isinstance(result, ScoredClip):
        return ClassifiedClip(
            result.clip.uri, "failed", result.trouble.reason, result.trouble.message
        )
    rows = {
        table.name: [row for part in table.rows([result], settings) for row in part.to_pylist()]
        for table in made_tables(settings)
        if table.name in ("detections", "events")
    }
    return ClassifiedClip(
        result.clip.uri,
        result.status,
        result.reason,
        result.message,
        result.header,
        result.level,
        result.recorded_at,
        result.duration_s,
        result.heard_s,
        result.gaps,
        result.labels,
        tuple(Detection(**row) for row in rows.get("detections", ())),
        tuple(Event(**row) for row in rows.get("events", ())),
        _embeddings(result, settings),
        result.place,
    )


def _embeddings(result: ScoredClip, settings: Settings) -> ClipEmbeddings | None:
    if settings.embedding_size is None:
        return None
    parts = list(loaded(result.embeddings))
    frame = np.concatenate([np.empty(0, np.int32), *(part.frame for part in parts)])
    channel = np.concatenate([np.empty(0, np.int32), *(part.channel for part in parts)])
    none = np.empty((0, settings.embedding_size), settings.embeddings)
    values = np.concatenate([none, *(part.values for part in parts)])
    return ClipEmbeddings(settings.grid.start_s(frame), channel, values)


def _objects(uri: str, all_files: bool) -> Iterator[AudioObject]:
    """What a URI means: one object, or of an archive each member that can be audio by name."""
    for found in look_up_with_members(anywhere(os.fsdecode(uri)), all_files):
        if found.skipped_as is None:
            yield found.object
