"""From the scores of frames to what was heard in a clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.windowed_value import WindowedValue
from numpy.typing import NDArray

from transforms.elements import (
    AudioObject,
    ClipResult,
    Detections,
    Ending,
    Events,
    FailedClip,
    FrameScores,
    HeardClip,
    LabelSummary,
    Span,
    Trouble,
)
from transforms.framing import FrameGrid
from transforms.levels import SignalLevel


@dataclass(frozen=True)
class Detecting:
    """What counts as heard.

    Attributes:
      grid: where the frames lie in a clip.
      labels: the model's name of each class.
      min_score: a detection's score is this or more.
      top_k: at most so many detections in a frame, the best, of equal ones those of lower index;
        None for all.
    """

    grid: FrameGrid
    labels: tuple[str, ...]
    min_score: float = 0.1
    top_k: int | None = None


@dataclass
class AggregateClips(beam.PTransform):  # type: ignore[misc]
    """Put together what was heard in each clip: FrameScores to ClipResult, one for each object.

    A clip ends at the first trouble in it, however it was cut into spans: what was heard in spans
    behind that does not count.

    Detections are picked and put together span by span before the shuffle, so that only they cross
    it. A CombineFn would leave that to the engine, and Flink's does not do it.
    """

    detecting: Detecting

    def expand(self, scores: beam.PCollection[FrameScores]) -> beam.PCollection[ClipResult]:
        """Apply the transform."""
        return (
            scores
            | "Tally" >> beam.ParDo(_TallyFn(self.detecting))
            | "Group" >> beam.GroupByKey()
            | "Summarise" >> beam.Map(_summarise, self.detecting)
        )


class _TallyFn(beam.DoFn):  # type: ignore[misc]
    """A tally for each span, by the clip's URI, as soon as its last block has come."""

    def __init__(self, detecting: Detecting) -> None:
        self._detecting = detecting

    def start_bundle(self) -> None:
        self._unfinished: dict[tuple[BoundedWindow, Span], Tally] = {}

    def process(
        self, block: FrameScores, window: BoundedWindow = beam.DoFn.WindowParam
    ) -> Iterator[tuple[str, Tally]]:
        tally = self._unfinished.setdefault((window, block.span), Tally())
        tally.add(block, self._detecting)
        if block.ending is not None:
            del self._unfinished[window, block.span]
            yield block.span.clip.uri, tally.compacted()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Pass on spans whose blocks came in several bundles, as they do where nothing is fused."""
        for (window, span), tally in self._unfinished.items():
            keyed = span.clip.uri, tally.compacted()
            yield WindowedValue(keyed, window.max_timestamp(), (window,))


def _summarise(of_clip: tuple[str, Iterable[Tally]], detecting: Detecting) -> ClipResult:
    whole = Tally()
    for tally in of_clip[1]:
        whole.merge(tally)
    return summarise_clip(whole, detecting)


@dataclass
class Part:
    """What is known so far of a span, whatever the order in which its blocks come.

    Attributes:
      hits: detections in any order, some for each block.
      frames: how many frames were scored.
      invalid_samples: how many of them hold samples that are no numbers.
      invalid_scores: how many others got scores that are no numbers.
      ending: how decoding ended, once that is known.
    """

    hits: list[Detections] = field(default_factory=list)
    frames: int = 0
    invalid_samples: int = 0
    invalid_scores: int = 0
    ending: Ending | None = None

    def merge(self, other: Part) -> None:
        """Count in what is known elsewhere of the same span, or of the next."""
        self.hits += other.hits
        self.frames += other.frames
        self.invalid_samples += other.invalid_samples
        self.invalid_scores += other.invalid_scores
        self.ending = self.ending or other.ending


@dataclass
class Tally:
    """What is known so far of a clip.

    Attributes:
      last: of its spans, the one seen last.
      parts: what is known of each span, by its index.
    """

    last: Span | None = None
    parts: dict[int, Part] = field(default_factory=dict)

    def add(self, block: FrameScores, detecting: Detecting) -> None:
        """Count a block in."""
        self.last = block.span
        not_scored = int(np.isnan(block.scores).any(axis=1).sum())
        hits = find_hits(block, detecting.min_score, detecting.top_k)
        self._part(block.span.index).merge(
            Part(
                [hits] if len(hits.frame) else [],
                len(block.scores),
                block.invalid_samples,
                not_scored - block.invalid_samples,
                block.ending,
            )
        )

    def merge(self, other: Tally) -> None:
        """Count in what another tally knows of the same clip."""
        self.last = self.last or other.last
        for index, part in other.parts.items():
            self._part(index).merge(part)

    def compacted(self) -> Tally:
        """The same, in one piece for each span, in the order in which that is packed best."""
        for part in self.parts.values():
            part.hits = [_sorted(_joined(part.hits))]
        return self

    def _part(self, index: int) -> Part:
        return self.parts.setdefault(index, Part())


def find_hits(block: FrameScores, min_score: float, top_k: int | None) -> Detections:
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
    return Detections(
        (block.first_frame + frame).astype(np.int32),
        label_index.astype(np.int32),
        block.scores[frame, label_index],
    )


def summarise_clip(tally: Tally, detecting: Detecting) -> ClipResult:
    """What was heard in a clip whose blocks have all been counted in.

    Raises:
      RuntimeError: blocks are missing or came twice, which the runner should have prevented.
    """
    clip, whole, endings = _put_together(tally)
    first, last = endings[0], endings[-1]
    samples = sum(ending.samples for ending in endings)
    if first.header is None or samples == 0:
        nothing = Trouble("decode", "no_samples", "there is not one sample in it")
        return FailedClip(clip, last.trouble or nothing)
    duration_s = samples / first.header.sample_rate_hz
    detections = _sorted(_joined(whole.hits))
    reason, message = _shortcoming(whole, last)
    return HeardClip(
        clip=clip,
        status="partial" if reason else "scored",
        reason=reason,
        message=message,
        header=first.header,
        duration_s=duration_s,
        frames=whole.frames,
        recorded_at=first.recorded_at,
        recorded_at_source=first.recorded_at_source,
        level=sum((ending.level for ending in endings), SignalLevel()),
        labels=_label_summaries(detections, detecting, duration_s),
        detections=detections,
    )


def merge_events(
    detections: Detections, grid: FrameGrid, gap_s: float, duration_s: float
) -> Events:
    """Merge consecutive detections of a label.

    Args:
      detections: of a clip, sorted by label_index, then frame.
      grid: where the frames lie.
      gap_s: detections of a label merge when what lies between them is this or less; those of
        frames that follow each other always do.
      duration_s: the clip's length, past which no event ends.
    """
    frame, label_index, score = detections.frame, detections.label_index, detections.score
    steps = np.diff(frame.astype(np.int64))
    between = steps * grid.hop_samples - grid.frame_samples
    apart = (between > round(gap_s * grid.sample_rate_hz)) & (steps > 1)
    begins = _run_starts(apart | (np.diff(label_index) != 0), len(frame))
    ends = np.append(begins[1:], len(frame))[: len(begins)]
    frames = ends - begins
    return Events(
        start_s=grid.start_s(frame[begins]),
        end_s=grid.end_s(frame[ends - 1], duration_s),
        label_index=label_index[begins],
        max_score=_each_run(np.maximum, score, begins).astype(np.float32),
        mean_score=(_each_run(np.add, score, begins) / frames).astype(np.float32),
        frames=frames.astype(np.int32),
    )


def _put_together(tally: Tally) -> tuple[AudioObject, Part, Sequence[Ending]]:
    """The clip, its spans as one part, and how they ended, up to the first with trouble."""
    if tally.last is None:
        raise RuntimeError("there is nothing of a clip")
    clip, whole = tally.last.clip, Part()
    endings: list[Ending] = []
    for index in range(tally.last.count):
        part = tally.parts.get(index, Part())
        if part.ending is None:
            raise RuntimeError(f"{clip.uri}: {part.frames} frames came without their ending")
        if part.frames != part.ending.frames:
            raise RuntimeError(
                f"{clip.uri}: {part.ending.frames} frames were decoded, {part.frames} came"
            )
        whole.merge(part)
        endings.append(part.ending)
        if part.ending.trouble:
            break
    return clip, whole, endings


def _shortcoming(clip: Part, last: Ending) -> tuple[str | None, str | None]:
    """Why a clip is partial: the reason code, and all there is to say in words."""
    found = list(_shortcomings(clip, last))
    if not found:
        return None, None
    return found[0][0], "; ".join(message for _, message in found)


def _shortcomings(clip: Part, last: Ending) -> Iterator[tuple[str, str]]:
    if last.trouble:
        yield last.trouble.reason, last.trouble.message
    if clip.invalid_samples:
        of = f"{clip.invalid_samples} of {clip.frames} frames"
        yield "invalid_samples", f"{of} hold samples that are NaN, infinite or too large"
    if clip.invalid_scores:
        yield "invalid_scores", f"the model gave {clip.invalid_scores} frames a score that is NaN"


def _label_summaries(
    detections: Detections, detecting: Detecting, duration_s: float
) -> tuple[LabelSummary, ...]:
    """A summary of each label that was heard, by its best score, then by its index."""
    index = detections.label_index
    begins = _run_starts(np.diff(index) != 0, len(index))
    best = _each_run(np.maximum, detections.score, begins)
    total = _each_run(np.add, detections.score, begins)
    seconds = _each_run(np.add, _new_seconds(detections, detecting.grid, duration_s), begins)
    counts = np.diff(np.append(begins, len(index)))
    return tuple(
        LabelSummary(
            detecting.labels[index[begins[i]]],
            float(best[i]),
            float(np.float32(total[i] / counts[i])),
            float(seconds[i]),
        )
        for i in np.argsort(-best, kind="stable")
    )


def _new_seconds(detections: Detections, grid: FrameGrid, duration_s: float) -> NDArray[np.float64]:
    """The length of each detection without what the one before it, of the same label, covers."""
    begin, end = grid.start_s(detections.frame), grid.end_s(detections.frame, duration_s)
    same = detections.label_index[1:] == detections.label_index[:-1]
    begin[1:] = np.where(same, np.maximum(begin[1:], end[:-1]), begin[1:])
    return np.asarray(np.maximum(end - begin, 0.0))


def _sorted(hits: Detections) -> Detections:
    return hits.take(np.lexsort((hits.frame, hits.label_index)))


def _joined(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([np.empty(0, np.int32), *(part.frame for part in parts)]),
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
