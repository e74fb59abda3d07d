"""The graphs: from recordings to committed rows. Composition only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.periodicsequence import PeriodicImpulse
from apache_beam.transforms.window import FixedWindows
from apache_beam.utils.timestamp import Timestamp

from earmark.pipelines.options import look_every_s
from earmark.pipelines.resolving import ModelLoader
from earmark.pipelines.runs.preparing import Run
from earmark.transforms.decoding.splitting import SplitLongClips
from earmark.transforms.decoding.stage import DecodeFrames
from earmark.transforms.detecting import AggregateClips, EmbeddingSpool, ScoreFrames
from earmark.transforms.elements import ClipResult, Span
from earmark.transforms.output import (
    STREAM,
    CommitRound,
    CommitWindows,
    ConcludeRun,
    WriteParquet,
    aside_folder,
    round_id,
    staging_folder,
    superseded,
)
from earmark.transforms.planning import ReadNotifications, WatchAudio
from earmark.transforms.settings import Settings
from earmark.transforms.sources import parse_source


@dataclass
class ClassifyRound(beam.PTransform):  # type: ignore[misc]
    """A round of a run; gives the path of the round's file.

    Attributes:
      run: the run.
      name: of the round in it.
      deal: deals the round out to workers; a transform that gives Dealt.
      num_shards: into how many files each table is written; None for as many as suit its size.
      record: what the run's file is to say beside counts and times, if the round ends the run: JSON
        values. Then the path is that of the run's file.
    """

    run: Run
    name: str
    deal: beam.PTransform
    num_shards: int | None = None
    record: Mapping[str, Any] | None = None

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        settings = self.run.settings
        output, run_id = settings.output, settings.run_id
        staging, number = staging_folder(output, run_id), round_id(run_id, self.name)
        planned, spans, listed = root | "Deal" >> self.deal
        obsolete = planned | "Superseded" >> beam.FlatMap(superseded)
        committed = (
            spans
            | Process(settings, self.run.load, self.name)
            | WriteParquet(staging, number, settings, self.num_shards)
            | CommitRound(output, run_id, self.name, listed, obsolete)
        )
        if self.record is None:
            return committed
        return committed | ConcludeRun(output, run_id, self.record)


@dataclass
class ClassifyStream(beam.PTransform):  # type: ignore[misc]
    """A run that never ends: looks for new recordings, and commits what it hears by windows.

    Attributes:
      run: the run.
    """

    run: Run

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform; gives the paths of the rounds' files."""
        options, settings = self.run.options, self.run.settings
        is_notified = options.notifications is not None
        planned = (
            self._occasions(root)
            | WatchAudio(settings, look_every_s(options), is_notified)
            | "Window" >> beam.WindowInto(FixedWindows(options.window_s))
        )
        return (
            planned
            | "Objects" >> beam.Map(lambda each: each.object)
            | SplitLongClips(options.span_s)
            | "SpreadSpans" >> beam.Reshuffle()
            | Process(settings, self.run.load, STREAM)
            | CommitWindows(settings, planned)
        )

    def _occasions(self, root: beam.pvalue.PBegin) -> beam.PCollection[str | None]:
        """Ticks, and URIs of what is new: what WatchAudio takes."""
        options = self.run.options
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
            | ReadNotifications(source, self.run.settings)
            # of the same type as ticks, since not every engine flattens two encodings
            | "Notified" >> beam.Map(lambda uri: uri).with_output_types(str | None)
        )
        return (ticks, notified) | "Occasions" >> beam.Flatten()


@dataclass
class Process(beam.PTransform):  # type: ignore[misc]
    """From spans to the result of each clip.

    Attributes:
      settings: what the stages go by.
      load: gives the model.
      name: of the round in the run; None where nothing is written, and embeddings stay in memory.
    """

    settings: Settings
    load: ModelLoader
    name: str | None

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[ClipResult]:
        """Apply the transform."""
        settings, spool = self.settings, None
        if settings.embeddings is not None:
            output, run_id, name = settings.output, settings.run_id, self.name
            folder = "" if name is None else aside_folder(output, run_id, name)
            spool = EmbeddingSpool(folder, settings.embeddings)
        return (
            spans
            | DecodeFrames(settings.decoding, settings.run_id)
            | ScoreFrames(self.load.in_worker)
            | AggregateClips(settings, spool, self.load.places)
        )
