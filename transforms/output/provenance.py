"""The provenance of rows, stored in every file's metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from earmark.transforms.elements import HeadLabels, all_labels
from earmark.transforms.frames import MIXED, ChannelUse, FrameGrid
from earmark.transforms.output.tables import made_tables

SCHEMA_VERSION = "3"

PREFIX = "earmark."
"""The prefix of keys in a file's metadata."""


@dataclass(frozen=True)
class Provenance:
    """How rows are made; stored in every file's key-value metadata.

    Attributes:
      run_id: names the run.
      earmark_version: the version of earmark.
      model_name: the model's name.
      model_sha256: the sha256 of the model file.
      heads: the names of the classes of each output; empty if scores are not requested.
      grid: where the frames lie that were scored.
      min_score: the lowest score of a detection; None for the thresholds in the model.
      top_k: at most so many detections in a frame, of each head; None for all.
      events_gap_s: detections of a label this far apart or less are one event.
      time_pattern: the format of times in names; None for the usual ones.
      time_zone: the zone of recording times that name none.
      channels: how the channels of a recording are used.
      embedding_size: how many values an embedding has; None where there are none.
      embedding_dtype: float32 or float16.
      scoring: what else scores depend on, by name; brief.
    """

    run_id: str
    earmark_version: str
    model_name: str
    model_sha256: str
    heads: tuple[HeadLabels, ...]
    grid: FrameGrid
    min_score: float | None
    top_k: int | None
    events_gap_s: float
    time_pattern: str | None = None
    time_zone: str = "UTC"
    channels: ChannelUse = MIXED
    embedding_size: int | None = None
    embedding_dtype: str = "float32"
    scoring: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all heads, one after another."""
        return all_labels(self.heads)

    def settings(self) -> dict[str, str]:
        """All that rows depend on besides the recordings; earmark's version is not among it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tables": ", ".join(table.name for table in made_tables(self)),
            "model_sha256": self.model_sha256,
            "heads": ", ".join(head.name for head in self.heads),
            "labels_sha256": hashlib.sha256("\n".join(self.labels).encode()).hexdigest(),
            "sample_rate_hz": str(self.grid.sample_rate_hz),
            "frame_samples": str(self.grid.frame_samples),
            "window_samples": str(self.grid.heard_samples),
            "hop_samples": str(self.grid.hop_samples),
            "channels": self._channels(),
            "min_score": "of the model" if self.min_score is None else str(self.min_score),
            "top_k": str(self.top_k or "all"),
            **self.scoring,
            "embeddings": "none" if self.embedding_size is None else self.embedding_dtype,
            "events_gap_s": str(self.events_gap_s),
            "time_pattern": self.time_pattern or "",
            "time_zone": self.time_zone,
        }

    def _channels(self) -> str:
        if self.channels.each:
            return "each"
        return "mix" if self.channels.in_frame == 1 else f"{self.channels.in_frame} at once"

    def metadata(self) -> dict[str, str]:
        """Key-value metadata for a Parquet file."""
        made_by = {
            "version": self.earmark_version,
            "run_id": self.run_id,
            "model_name": self.model_name,
        }
        return {f"{PREFIX}{key}": value for key, value in {**made_by, **self.settings()}.items()}
