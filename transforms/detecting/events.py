"""Consecutive detections of a label, merged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.elements import Detections, Events
from earmark.transforms.settings import FrameGrid


def merge_events(
    detections: Detections, grid: FrameGrid, gap_s: float, duration_s: float
) -> Events:
    """Merge consecutive detections of a label, in each channel separately.

    Args:
      detections: of a clip, sorted by label_index, then channel, then frame.
      grid: where the frames lie.
      gap_s: detections of a label merge when what lies between them is this or less; those of
        frames that follow each other always do.
      duration_s: the clip's length, past which no event ends.
    """
    frame, label_index, score = detections.frame, detections.label_index, detections.score
    steps = np.diff(frame.astype(np.int64))
    between = steps * grid.hop_samples - grid.heard_samples
    apart = (between > round(gap_s * grid.sample_rate_hz)) & (steps > 1)
    others = (np.diff(label_index) != 0) | (np.diff(detections.channel) != 0)
    begins = run_starts(apart | others, len(frame))
    ends = np.append(begins[1:], len(frame))[: len(begins)]
    frames = ends - begins
    return Events(
        start_s=grid.start_s(frame[begins]),
        end_s=grid.end_s(frame[ends - 1], duration_s),
        label_index=label_index[begins],
        max_score=each_run(np.maximum, score, begins).astype(np.float32),
        mean_score=(each_run(np.add, score, begins) / frames).astype(np.float32),
        frames=frames.astype(np.int32),
        channel=detections.channel[begins],
    )


def run_starts(changes: NDArray[np.bool_], length: int) -> NDArray[np.intp]:
    """Where runs begin, given where neighbours differ, bool [length - 1]."""
    return np.flatnonzero(np.append(True, changes)[:length])


def each_run(
    ufunc: np.ufunc, values: NDArray[np.floating], begins: NDArray[np.intp]
) -> NDArray[np.float64]:
    """A ufunc over each run of values, in float64."""
    if not len(begins):
        return np.empty(0, np.float64)
    reduced: NDArray[np.float64] = ufunc.reduceat(values.astype(np.float64), begins)
    return reduced
