"""What the stages of a run go by: made once, before the run begins, and sent to all of them.

Fields that are named like an option of `earmark classify` have its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.elements import HeadLabels, Place, all_labels


@dataclass(frozen=True)
class FrameGrid:
    """Where frames lie in a signal: frame k is the samples from k * hop on, frame_samples of them.

    Attributes:
      sample_rate_hz: of the signal that is cut: the model's.
      frame_samples: a frame's length.
      hop_samples: from the start of a frame to the start of the next. Shorter than a frame, frames
        overlap; longer, what lies between them is not scored.
      window_samples: how much of a frame, from its start, its scores are about; None for all of it.
    """

    sample_rate_hz: int
    frame_samples: int
    hop_samples: int
    window_samples: int | None = None

    @property
    def heard_samples(self) -> int:
        """How much of a frame, from its start, its scores are about."""
        return self.frame_samples if self.window_samples is None else self.window_samples

    @property
    def hop_s(self) -> float:
        """From the start of a frame to the start of the next."""
        return self.hop_samples / self.sample_rate_hz

    def count(self, samples: int) -> int:
        """How many frames a signal has: as many as it takes to reach its end, none beyond it."""
        to_cover = -(-max(samples - self.frame_samples, 0) // self.hop_samples) + 1
        return min(to_cover, -(-samples // self.hop_samples))

    def first_from(self, second: int) -> int:
        """The index of the first frame that begins at a second of the signal, or later."""
        return -(-second * self.sample_rate_hz // self.hop_samples)

    def start_s(self, frame: NDArray[np.int32]) -> NDArray[np.float64]:
        """The start of frames, int32 [n], in seconds, float64 [n]."""
        return frame.astype(np.int64) * self.hop_samples / self.sample_rate_hz

    def end_s(self, frame: NDArray[np.int32], duration_s: float) -> NDArray[np.float64]:
        """The end of frames, int32 [n], in seconds, float64 [n], but never past duration_s."""
        end = (frame.astype(np.int64) * self.hop_samples + self.heard_samples) / self.sample_rate_hz
        return np.minimum(end, duration_s)


class ChannelUse(NamedTuple):
    """How channels become frames.

    Attributes:
      in_frame: how many channels a frame has, interleaved: as many as the model takes. Recordings
        of one channel are repeated in all of them; other numbers of channels are refused.
      each: frames of each channel separately, instead of all of them mixed down. For models of
        one channel.
    """

    in_frame: int = 1
    each: bool = False


MIXED = ChannelUse()
"""All channels are mixed down to one."""


@dataclass(frozen=True)
class Decoding:
    """How recordings become frames.

    Separate from the other settings, since a decoding process is sent these with each span, and the
    others hold the names of all classes.

    Attributes:
      grid: where the frames lie, at the rate of the model.
      use: how channels become frames.
      time_pattern: the format of times in names, as for strptime; None for the usual ones.
      time_zone: the name of the zone of recording times that name none.
    """

    grid: FrameGrid
    use: ChannelUse = MIXED
    time_pattern: str | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True)
class Settings:
    """What the stages of a run go by, beside the model itself.

    Attributes:
      decoding: how recordings become frames.
      heads: the names of the classes of each output; empty if scores are not requested.
      min_scores: float32 [classes], of all heads one after another: a detection's score is this or
        more; infinite for classes that are excluded.
      top_k: at most so many detections in a frame, of each head: the best, of equal ones those of
        lower index; None for all.
      events_gap_s: detections of a label this far apart or less are one event.
      embeddings: float32 or float16, as rows have them; None where there are none.
      embedding_size: how many values an embedding has.
      patterns: what to look for: see `list_audio`.
      roots: what paths are relative to: see `relative_path`.
      all_files: process files of any name.
      uri_column: the column of manifests with the URIs.
      output: the folder that holds the tables' folders.
      run_id: names the run; empty where nothing is written.
      model_name: the model's name.
      model_version: by its metadata; empty where it has none.
      model_sha256: the sha256 of the model file.
      usual_place: where recordings were made that don't say so; None where that isn't known.
      stated: options that rows depend on, by name, as every file states them.
    """

    decoding: Decoding
    heads: tuple[HeadLabels, ...] = ()
    min_scores: NDArray[np.float32] = field(
        default_factory=lambda: np.empty(0, np.float32), compare=False
    )
    top_k: int | None = None
    events_gap_s: float = 0.0
    embeddings: str | None = None
    embedding_size: int | None = None
    patterns: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    all_files: bool = False
    uri_column: str = "uri"
    output: str = ""
    run_id: str = ""
    model_name: str = ""
    model_version: str = ""
    model_sha256: str = ""
    usual_place: Place | None = None
    stated: Mapping[str, str] = field(default_factory=dict)

    @property
    def grid(self) -> FrameGrid:
        """Where the frames lie."""
        return self.decoding.grid

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all heads, one after another."""
        return all_labels(self.heads)

    @cached_property
    def classes(self) -> tuple[tuple[str, str, int], ...]:
        """Each class of all heads, one after another: its label, its head, its column in that."""
        return tuple(
            (label, head.name, column)
            for head in self.heads
            for column, label in enumerate(head.labels)
        )
