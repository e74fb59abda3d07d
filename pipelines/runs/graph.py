"""The graphs: from recordings to committed rows. Composition only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import apache_beam as beam
import numpy as np
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp
from numpy.typing import NDArray

from earmark.models.classifier import AudioClassifier
from earmark.pipelines.options import ClassifyOptions, look_every_s
from earmark.transforms.decoding import Clock
from earmark.transforms.decoding.splitting import SplitLongClips
from earmark.transforms.decoding.stage import DecodeFrames
from earmark.transforms.detecting import AggregateClips, Aside, Detecting, ScoreFrames
from earmark.transforms.elements import ClipResult, Listed, PlannedObject, Span
from earmark.transforms.listing import anywhere
from earmark.transforms.output import (
    STREAM,
    CommitRound,
    CommitWindows,
    Provenance,
    WriteParquet,
    aside_folder,
    round_id,
    staging_folder,
    superseded,
)
from earmark.transforms.planning import (
    ReadNotifications,
    ReadPlan,
    Scope,
    WatchAudio,
    parse_source,
)
from earmark.transforms.workers import ShareAmongThreads, SpreadObjects


@dataclass(frozen=True)
class Hearing:
    """How recordings are heard.

    Attributes:
      options: what counts as heard, and where it goes.
      load: gives the classifier, in each worker.
      made_by: the run, and the model that load gives.
      score_thresholds: float32 [classes], of all heads one after another: what counts as heard.
    """

    options: ClassifyOptions
    load: Callable[[], AudioClassifier]
    made_by: Provenance
    score_thresholds: NDArray[np.float32]


def scope(options: ClassifyOptions, made_by: Provenance) -> Scope:
    """What a run is to process."""
    patterns = tuple(map(anywhere, options.input))  # workers elsewhere are in folders of their own
    return Scope(patterns, options.all_files, options.output, made_by.settings())


@dataclass
class ClassifyRound(beam.PTransform):  # type: ignore[misc]
    """A round of a run, on any engine; gives the path of the round's file.

    Attributes:
      hearing: how recordings are heard.
      name: of the round in the run.
      plan: the file that says what is to be heard.
      listed: how much that is.
    """

    hearing: Hearing
    name: str
    plan: str
    listed: Listed

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        planned = root | ReadPlan(self.plan)
        spans = (
            planned
            | "Objects" >> beam.Map(lambda each: each.object)
            | SpreadObjects()
            | SplitLongClips(self.hearing.options.span_s)
            | "SpreadSpans" >> beam.Reshuffle()
        )
        listed = root | "Listed" >> beam.Create([self.listed], reshuffle=False)
        shards = self.hearing.options.num_shards
        return spans | _HearAndCommit(self.hearing, self.name, planned, listed, shards)


@dataclass
class ClassifyRoundHere(beam.PTransform):  # type: ignore[misc]
    """A round of a run whose workers are threads of this process; gives the round's file.

    Attributes:
      hearing: how recordings are heard.
      name: of the round in the run.
      planned: what is to be heard.
      skipped: what the listing left out, to be said in this round's file.
    """

    hearing: Hearing
    name: str
    planned: tuple[PlannedObject, ...]
    skipped: Mapping[str, int]

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        planned = root | "Planned" >> beam.Create(self.planned)
        shared = (
            planned
            | "Objects" >> beam.Map(lambda each: each.object)
            | SplitLongClips(self.hearing.options.span_s)
            | ShareAmongThreads(self.hearing.made_by.run_id)
        )
        listed = (
            shared.clips
            | "CountClips" >> beam.CombineGlobally(sum)
            | "Listed" >> beam.Map(Listed, self.skipped)
        )
        shards = self.hearing.options.num_shards or 1
        return shared.spans | _HearAndCommit(self.hearing, self.name, planned, listed, shards)


@dataclass
class ClassifyStream(beam.PTransform):  # type: ignore[misc]
    """A run that never ends: looks for new recordings, and commits what it hears by windows.

    Attributes:
      hearing: how recordings are heard.
    """

    hearing: Hearing

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform; gives the paths of the rounds' files."""
        options, made_by = self.hearing.options, self.hearing.made_by
        is_notified = options.notifications is not None
        planned = (
            self._occasions(root)
            | WatchAudio(scope(options, made_by), look_every_s(options), is_notified)
            | "Window" >> beam.WindowInto(FixedWindows(options.window_s))
        )
        return (
            planned
            | "Objects" >> beam.Map(lambda each: each.object)
            | SplitLongClips(options.span_s)
            | "SpreadSpans" >> beam.Reshuffle()
            | _Hear(self.hearing, STREAM)
            | CommitWindows(options.output, made_by, planned)
        )

    def _occasions(self, root: beam.pvalue.PBegin) -> beam.PCollection[str | None]:
        """Ticks, and URIs of what is new: what WatchAudio takes."""
        options = self.hearing.options
        begin, every_s = Timestamp.of(int(time.time())), look_every_s(options)
        ticks = (
            root
            | "Ticks" >> PeriodicImpulse(begin, fire_interval=every_s)
            | "Tick" >> beam.Map(lambda _: None).with_output_types(str | None)
        )
        if options.notifications is None:
            return ticks
        source = parse_source(options.notifications)
        notified = (
            root
            | ReadNotifications(source, scope(options, self.hearing.made_by))
            # of the same type as ticks, since not every engine flattens two encodings
            | "Notified" >> beam.Map(lambda uri: uri).with_output_types(str | None)
        )
        return (ticks, notified) | "Occasions" >> beam.Flatten()


@dataclass
class _HearAndCommit(beam.PTransform):  # type: ignore[misc]
    """From spans to a committed round; gives the round's file."""

    hearing: Hearing
    name: str
    planned: beam.PCollection[PlannedObject]
    listed: beam.PCollection[Listed]
    num_shards: int | None

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[str]:
        """Apply the transform."""
        output, made_by = self.hearing.options.output, self.hearing.made_by
        staging = staging_folder(output, made_by.run_id)
        obsolete = self.planned | "Superseded" >> beam.FlatMap(superseded)
        return (
            spans
            | _Hear(self.hearing, self.name)
            | WriteParquet(staging, round_id(made_by.run_id, self.name), made_by, self.num_shards)
            | CommitRound(output, made_by.run_id, self.name, self.listed, obsolete)
        )


@dataclass
class _Hear(beam.PTransform):  # type: ignore[misc]
    """From spans to what was heard in each clip.

    Attributes:
      hearing: how recordings are heard.
      name: of the round in the run.
    """

    hearing: Hearing
    name: str

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[ClipResult]:
        """Apply the transform."""
        options, made_by = self.hearing.options, self.hearing.made_by
        clock = Clock(options.time_pattern, ZoneInfo(options.time_zone))
        folder = aside_folder(options.output, made_by.run_id, self.name)
        detecting = Detecting(
            made_by.grid,
            made_by.heads,
            self.hearing.score_thresholds,
            options.top_k,
            None if made_by.embedding_size is None else Aside(folder, made_by.embedding_dtype),
        )
        return (
            spans
            | DecodeFrames(made_by.grid, clock, made_by.run_id, made_by.channels)
            | ScoreFrames(self.hearing.load)
            | AggregateClips(detecting)
        )
