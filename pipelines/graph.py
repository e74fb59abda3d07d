"""The graph: from recordings to a committed round of a run. Composition only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import apache_beam as beam

from models.classifier import AudioClassifier
from pipelines.options import ClassifyOptions
from transforms.aggregation import AggregateClips, Detecting
from transforms.committing import CommitRound, ConcludeRun
from transforms.decoder_messages import Clock
from transforms.decoding import DecodeFrames
from transforms.elements import AudioObject, Listed
from transforms.listing import ListAudio
from transforms.output_folder import round_id, staging_folder
from transforms.scoring import ScoreFrames
from transforms.sharing import ShareAmongThreads
from transforms.splitting import SplitLongClips
from transforms.tables import Provenance
from transforms.writing import WriteParquet


@dataclass(frozen=True)
class Hearing:
    """How recordings are heard.

    Attributes:
      options: what counts as heard, and where it goes.
      load: gives the classifier, in each worker.
      made_by: the run, and the model that load gives.
    """

    options: ClassifyOptions
    load: Callable[[], AudioClassifier]
    made_by: Provenance


@dataclass
class ClassifyArchive(beam.PTransform):  # type: ignore[misc]
    """The whole job on any engine, from patterns to a committed run; gives the run's file.

    Attributes:
      hearing: how recordings are heard.
      record: what the run's file is to say beside counts and times; JSON values.
    """

    hearing: Hearing
    record: Mapping[str, Any]

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        options, run_id = self.hearing.options, self.hearing.made_by.run_id
        listing = root | ListAudio(options.input, all_files=options.all_files)
        return (
            listing.objects
            | SplitLongClips(options.span_s)
            | "Spread" >> beam.Reshuffle()
            | _ClassifySpans(self.hearing, 1, listing.summary, options.num_shards)
            | ConcludeRun(options.output, run_id, self.record)
        )


@dataclass
class ClassifyRound(beam.PTransform):  # type: ignore[misc]
    """A round of a run whose workers are threads of this process; gives the round's file.

    Attributes:
      hearing: how recordings are heard.
      number: of the round in the run, from 1 on.
      objects: what is to be heard.
      skipped: what the listing left out, to be said in this round's file.
      superseded: see CommitRound.
    """

    hearing: Hearing
    number: int
    objects: tuple[AudioObject, ...]
    skipped: Mapping[str, int]
    superseded: Mapping[str, Sequence[str]]

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        options = self.hearing.options
        shared = (
            root
            | "Objects" >> beam.Create(self.objects)
            | SplitLongClips(options.span_s)
            | ShareAmongThreads(self.hearing.made_by.run_id)
        )
        listed = (
            shared.clips
            | "CountClips" >> beam.CombineGlobally(sum)
            | "Listed" >> beam.Map(Listed, self.skipped)
        )
        shards = options.num_shards or 1
        return shared.spans | _ClassifySpans(
            self.hearing, self.number, listed, shards, self.superseded
        )


@dataclass
class _ClassifySpans(beam.PTransform):  # type: ignore[misc]
    """From spans to a committed round; gives the round's file."""

    hearing: Hearing
    number: int
    listed: beam.PCollection[Listed]
    num_shards: int | None
    superseded: Mapping[str, Sequence[str]] | None = None

    def expand(self, spans: beam.PCollection) -> beam.PCollection[str]:
        """Apply the transform."""
        options, made_by = self.hearing.options, self.hearing.made_by
        clock = Clock(options.time_pattern, ZoneInfo(options.time_zone))
        detecting = Detecting(made_by.grid, made_by.labels, options.min_score, options.top_k)
        this_round = round_id(made_by.run_id, self.number)
        staging = staging_folder(options.output, made_by.run_id)
        return (
            spans
            | DecodeFrames(made_by.grid, clock, made_by.run_id)
            | ScoreFrames(self.hearing.load)
            | AggregateClips(detecting)
            | WriteParquet(staging, this_round, made_by, self.num_shards)
            | CommitRound(options.output, made_by.run_id, self.number, self.listed, self.superseded)
        )
