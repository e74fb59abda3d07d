"""The graphs: from recordings to committed rows. Composition only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import apache_beam as beam
import numpy as np
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp
from numpy.typing import NDArray

from earmark.pipelines.options import ClassifyOptions, ModelLoader, look_every_s
from earmark.transforms.decoding import Clock
from earmark.transforms.decoding.splitting import SplitLongClips
from earmark.transforms.decoding.stage import DecodeFrames
from earmark.transforms.detecting import AggregateClips, Detecting, EmbeddingSpool, ScoreFrames
from earmark.transforms.elements import ClipResult, Span
from earmark.transforms.listing import anywhere
from earmark.transforms.output import (
    STREAM,
    CommitRound,
    CommitWindows,
    ConcludeRun,
    Provenance,
    WriteParquet,
    aside_folder,
    round_id,
    staging_folder,
    superseded,
)
from earmark.transforms.planning import (
    ReadNotifications,
    Scope,
    WatchAudio,
    parse_source,
)


@dataclass(frozen=True)
class RunConfig:
    """How recordings are processed.

    Attributes:
      options: of the run.
      load: gives the classifier, in each worker.
      made_by: the run, and the model that load gives.
      score_thresholds: the lowest score of each class that is a detection, float32 [classes].
    """

    options: ClassifyOptions
    load: ModelLoader
    made_by: Provenance
    score_thresholds: NDArray[np.float32]


def scope(options: ClassifyOptions, made_by: Provenance) -> Scope:
    """What a run is to process."""
    patterns = tuple(map(anywhere, options.input))  # remote workers are in folders of their own
    return Scope(patterns, options.all_files, options.output, made_by.settings())


@dataclass
class ClassifyRound(beam.PTransform):  # type: ignore[misc]
    """A round of a run; gives the path of the round's file.

    Attributes:
      config: how recordings are processed.
      name: of the round in the run.
      deal: deals the round out to workers; a transform that gives Dealt.
      num_shards: into how many files each table is written; None for as many as suit its size.
      record: what the run's file is to say beside counts and times, if the round ends the run: JSON
        values. Then the path is that of the run's file.
    """

    config: RunConfig
    name: str
    deal: beam.PTransform
    num_shards: int | None = None
    record: Mapping[str, Any] | None = None

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        output, made_by = self.config.options.output, self.config.made_by
        staging, number = (
            staging_folder(output, made_by.run_id),
            round_id(made_by.run_id, self.name),
        )
        planned, spans, listed = root | "Deal" >> self.deal
        obsolete = planned | "Superseded" >> beam.FlatMap(superseded)
        committed = (
            spans
            | Process(self.config, self.name)
            | WriteParquet(staging, number, made_by, self.num_shards)
            | CommitRound(output, made_by.run_id, self.name, listed, obsolete)
        )
        if self.record is None:
            return committed
        return committed | ConcludeRun(output, made_by.run_id, self.record)


@dataclass
class ClassifyStream(beam.PTransform):  # type: ignore[misc]
    """A run that never ends: looks for new recordings, and commits what it hears by windows.

    Attributes:
      config: how recordings are processed.
    """

    config: RunConfig

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform; gives the paths of the rounds' files."""
        options, made_by = self.config.options, self.config.made_by
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
            | Process(self.config, STREAM)
            | CommitWindows(options.output, made_by, planned)
        )

    def _occasions(self, root: beam.pvalue.PBegin) -> beam.PCollection[str | None]:
        """Ticks, and URIs of what is new: what WatchAudio takes."""
        options = self.config.options
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
            | ReadNotifications(source, scope(options, self.config.made_by))
            # of the same type as ticks, since not every engine flattens two encodings
            | "Notified" >> beam.Map(lambda uri: uri).with_output_types(str | None)
        )
        return (ticks, notified) | "Occasions" >> beam.Flatten()


@dataclass
class Process(beam.PTransform):  # type: ignore[misc]
    """From spans to the result of each clip.

    Attributes:
      config: how recordings are processed.
      name: of the round in the run; None where nothing is written, and embeddings stay in memory.
    """

    config: RunConfig
    name: str | None

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[ClipResult]:
        """Apply the transform."""
        options, made_by = self.config.options, self.config.made_by
        clock = Clock(options.time_pattern, ZoneInfo(options.time_zone))
        board = "" if self.name is None else made_by.run_id
        spool = None
        if made_by.embedding_size is not None:
            run_id, name = made_by.run_id, self.name
            folder = "" if name is None else aside_folder(options.output, run_id, name)
            spool = EmbeddingSpool(folder, made_by.embedding_dtype)
        thresholds = self.config.score_thresholds
        detecting = Detecting(made_by.grid, made_by.heads, thresholds, options.top_k, spool)
        return (
            spans
            | DecodeFrames(made_by.grid, clock, board, made_by.channels)
            | ScoreFrames(self.config.load.in_worker)
            | AggregateClips(detecting)
        )
