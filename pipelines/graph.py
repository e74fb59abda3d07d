"""The graph: from an archive of recordings to a committed run. Composition only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import apache_beam as beam

from models.classifier import AudioClassifier
from pipelines.options import ClassifyOptions
from transforms.aggregation import AggregateClips, Detecting
from transforms.committing import CommitRun
from transforms.decoding import Clock, DecodeFrames
from transforms.framing import FrameGrid
from transforms.listing import ListAudio
from transforms.output_folder import staging_folder
from transforms.scoring import ScoreFrames
from transforms.tables import Provenance
from transforms.writing import WriteParquet


@dataclass
class Classify(beam.PTransform):  # type: ignore[misc]
    """The whole job, from patterns to a committed run; gives the path of the run's file.

    Attributes:
      options: what to hear, and what counts as heard.
      load: gives the classifier, in each worker.
      made_by: the run, and the model that load gives.
      record: what the run's file is to say beside counts and times; JSON values.
    """

    options: ClassifyOptions
    load: Callable[[], AudioClassifier]
    made_by: Provenance
    record: Mapping[str, Any]

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        options, made_by, run_id = self.options, self.made_by, self.made_by.run_id
        grid = FrameGrid(made_by.sample_rate_hz, made_by.frame_samples, made_by.hop_samples)
        clock = Clock(options.time_pattern, ZoneInfo(options.time_zone))
        detecting = Detecting(
            grid, made_by.labels, options.min_score, options.top_k, options.events_gap_s
        )
        staging = staging_folder(options.output, run_id)

        listing = root | ListAudio(options.input, all_files=options.all_files, run_id=run_id)
        return (
            listing.objects
            | DecodeFrames(grid, clock, run_id)
            | ScoreFrames(self.load)
            | AggregateClips(detecting)
            | WriteParquet(staging, made_by, options.num_shards)
            | CommitRun(options.output, run_id, self.record, listing.summary)
        )
