"""From the scores of frames to what was heard in a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from transforms.elements import (
    ClipResult,
    Detections,
    Ending,
    Events,
    FailedClip,
    FrameScores,
    HeardClip,
    LabelSummary,
    Trouble,
)
from transforms.framing import FrameGrid


@dataclass(frozen=True)
class Detecting:
    """What counts as heard.

    Attributes:
      grid: where the frames lie in a clip.
      labels: the model's name of each class.
      min_score: a detection's score is this or more.
      top_k: at most so many detections in a frame, the best, of equal ones those of lower index;
        None for all.
      events_gap_s: detections of a label merge into one event when what lies between them is this
        or less; those of frames that follow each other always do.
    """

    grid: FrameGrid
    labels: tuple[str, ...]
    min_score: float = 0.1
    top_k: int | None = None
    events_gap_s: float = 0.0


@dataclass
class AggregateClips(beam.PTransform):  # type: ignore[misc]
    """Put together what was heard in each clip: FrameScores to ClipResult, one for each object.

    Detections are picked and summed up before the shuffle, so that only they cross it.
    """

    detecting: Detecting

    def expand(self, scores: beam.PCollection[FrameScores]) -> beam.PCollection[ClipResult]:
        """Apply the transform."""
        return (
            scores
            | "KeyByUri" >> beam.WithKeys(lambda block: block.clip.uri)
            | "Combine" >> beam.CombinePerKey(_ClipFn(self.detecting))
            | "Results" >> beam.Values()
        )


class _ClipFn(beam.CombineFn):  # type: ignore[misc]
    def __init__(self, detecting: Detecting) -> None:
        self._detecting = detecting

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, tally: Tally, block: FrameScores) -> Tally:
        tally.add(block, self._detecting)
        return tally

    def merge_accumulators(self, tallies: Iterable[Tally]) -> Tally:
        merged = Tally()
        for tally in tallies:
            merged.merge(tally)
        return merged

    def compact(self, tally: Tally) -> Tally:
        tally.hits = [_joined(tally.hits)]
        return tally

    def extract_output(self, tally: Tally) -> ClipResult:
        return summarise_clip(tally, self._detecting)


@dataclass(frozen=True)
class Hits:
    """Detections in terms of frames: int64 [n], int32 [n] and float32 [n], in any order."""

    frame: NDArray[np.int64]
    label_index: NDArray[np.int32]
    score: NDArray[np.float32]

    def take(self, order: NDArray[np.intp]) -> Hits:
        """Those at the given indices, [m]."""
        return Hits(self.frame[order], self.label_index[order], self.score[order])


@dataclass
class Tally:
    """What is known so far of a clip, whatever the order in which its blocks come.

    Attributes:
      hits: detections, a part for each block.
      frames: how many frames were scored.
      invalid_samples: how many of them hold samples that are no numbers.
      invalid_scores: how many others got scores that are no numbers.
      ending: how decoding ended, once that is known, and of which object.
    """

    hits: list[Hits] = field(default_factory=list)
    frames: int = 0
    invalid_samples: int = 0
    invalid_scores: int = 0
    ending: tuple[FrameScores, Ending] | None = None

    def add(self, block: FrameScores, detecting: Detecting) -> None:
        """Count a block in."""
        self.frames += len(block.scores)
        self.invalid_samples += block.invalid_samples
        not_scored = int(np.isnan(block.scores).any(axis=1).sum())
        self.invalid_scores += not_scored - block.invalid_samples
        self.hits.append(find_hits(block, detecting.min_score, detecting.top_k))
        if block.ending is not None:
            self.ending = (block, block.ending)

    def merge(self, other: Tally) -> None:
        """Count in what another tally knows of the same clip."""
        self.hits += other.hits
        self.frames += other.frames
        self.invalid_samples += other.invalid_samples
        self.invalid_scores += other.invalid_scores
        self.ending = self.ending or other.ending


def find_hits(block: FrameScores, min_score: float, top_k: int | None) -> Hits:
    """The scores of a block that are min_score or more, in each frame the top_k best of them.

    A frame with a score that is no number has none.
    """
    heard = (block.scores >= np.float32(min_score)) & _all_numbers(block.scores)
    if top_k is not None:
        best = np.argsort(-block.scores, axis=1, kind="stable")[:, :top_k]
        among_best = np.zeros_like(heard)
        np.put_along_axis(among_best, best, True, axis=1)
        heard &= among_best
    frame, label_index = np.nonzero(heard)
    return Hits(
        block.first_frame + frame, label_index.astype(np.int32), block.scores[frame, label_index]
    )


def summarise_clip(tally: Tally, detecting: Detecting) -> ClipResult:
    """What was heard in a clip whose blocks have all been counted in.

    Raises:
      RuntimeError: blocks are missing or came twice, which the runner should have prevented.
    """
    last, ending = _checked_ending(tally)
    if ending.header is None or ending.samples == 0:
        nothing = Trouble("decode", "no_samples", "there is not one sample in it")
        return FailedClip(last.clip, ending.trouble or nothing)
    hits = _sorted(_joined(tally.hits))
    detections = _detections(hits, detecting.grid, ending.duration_s)
    reason, message = _shortcoming(tally, ending)
    return HeardClip(
        clip=last.clip,
        status="partial" if reason else "scored",
        reason=reason,
        message=message,
        header=ending.header,
        duration_s=ending.duration_s,
        frames=tally.frames,
        recorded_at=ending.recorded_at,
        recorded_at_source=ending.recorded_at_source,
        level=ending.level,
        labels=_label_summaries(detections, detecting.labels),
        detections=detections,
        events=merge_events(hits, detecting.grid, detecting.events_gap_s, ending.duration_s),
    )


def merge_events(hits: Hits, grid: FrameGrid, gap_s: float, duration_s: float) -> Events:
    """Merge consecutive detections of a label.

    Args:
      hits: sorted by label_index, then frame.
      grid: where the frames lie.
      gap_s: what may lie between two detections that are merged, seconds.
      duration_s: the clip's length, past which no event ends.
    """
    between = np.diff(hits.frame) * grid.hop_samples - grid.frame_samples
    apart = (between > round(gap_s * grid.sample_rate_hz)) & (np.diff(hits.frame) > 1)
    begins = _run_starts(apart | (np.diff(hits.label_index) != 0), len(hits.frame))
    ends = np.append(begins[1:], len(hits.frame))[: len(begins)]
    frames = ends - begins
    return Events(
        start_s=grid.start_s(hits.frame[begins]),
        end_s=grid.end_s(hits.frame[ends - 1], duration_s),
        label_index=hits.label_index[begins],
        max_score=_each_run(np.maximum, hits.score, begins).astype(np.float32),
        mean_score=(_each_run(np.add, hits.score, begins) / frames).astype(np.float32),
        frames=frames.astype(np.int32),
    )


def _checked_ending(tally: Tally) -> tuple[FrameScores, Ending]:
    if tally.ending is None:
        raise RuntimeError(f"{tally.frames} frames of a clip came without its ending")
    last, ending = tally.ending
    if tally.frames != ending.frames:
        raise RuntimeError(
            f"{last.clip.uri}: {ending.frames} frames were decoded, {tally.frames} came"
        )
    return last, ending


def _shortcoming(tally: Tally, ending: Ending) -> tuple[str | None, str | None]:
    """Why a clip is partial: the reason code, and all there is to say in words."""
    found = list(_shortcomings(tally, ending))
    if not found:
        return None, None
    return found[0][0], "; ".join(message for _, message in found)


def _shortcomings(tally: Tally, ending: Ending) -> Iterator[tuple[str, str]]:
    if ending.trouble:
        yield ending.trouble.reason, ending.trouble.message
    if tally.invalid_samples:
        of = f"{tally.invalid_samples} of {tally.frames} frames"
        yield "invalid_samples", f"{of} hold samples that are NaN, infinite or too large"
    if tally.invalid_scores:
        yield "invalid_scores", f"the model gave {tally.invalid_scores} frames a score that is NaN"


def _detections(hits: Hits, grid: FrameGrid, duration_s: float) -> Detections:
    return Detections(
        grid.start_s(hits.frame),
        grid.end_s(hits.frame, duration_s),
        hits.label_index,
        hits.score,
    )


def _label_summaries(detections: Detections, labels: Sequence[str]) -> tuple[LabelSummary, ...]:
    """A summary of each label that was heard, by its best score, then by its index."""
    index = detections.label_index
    begins = _run_starts(np.diff(index) != 0, len(index))
    best = _each_run(np.maximum, detections.score, begins)
    total = _each_run(np.add, detections.score, begins)
    seconds = _each_run(np.add, _new_seconds(detections), begins)
    counts = np.diff(np.append(begins, len(index)))
    return tuple(
        LabelSummary(
            labels[index[begins[i]]],
            float(best[i]),
            float(np.float32(total[i] / counts[i])),
            float(seconds[i]),
        )
        for i in np.argsort(-best, kind="stable")
    )


def _new_seconds(detections: Detections) -> NDArray[np.float64]:
    """The length of each detection without what the one before it, of the same label, covers."""
    begin = detections.start_s.copy()
    same = detections.label_index[1:] == detections.label_index[:-1]
    begin[1:] = np.where(same, np.maximum(begin[1:], detections.end_s[:-1]), begin[1:])
    return np.asarray(np.maximum(detections.end_s - begin, 0.0))


def _sorted(hits: Hits) -> Hits:
    return hits.take(np.lexsort((hits.frame, hits.label_index)))


def _joined(parts: Sequence[Hits]) -> Hits:
    return Hits(
        np.concatenate([np.empty(0, np.int64), *(part.frame for part in parts)]),
        np.concatenate([np.empty(0, np.int32), *(part.label_index for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.score for part in parts)]),
    )


def _all_numbers(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(scores).any(axis=1, keepdims=True))


def _run_starts(changes: NDArray[np.bool_], length: int) -> NDArray[np.intp]:
    """Where runs begin, given where neighbours differ, bool [length - 1]."""
    return np.flatnonzero(np.append(True, changes)[:length])


def _each_run(
    ufunc: np.ufunc, values: NDArray[np.floating], begins: NDArray[np.intp]
) -> NDArray[np.float64]:
    """A ufunc over each run of values, in float64."""
    if not len(begins):
        return np.empty(0, np.float64)
    reduced: NDArray[np.float64] = ufunc.reduceat(values.astype(np.float64), begins)
    return reduced
