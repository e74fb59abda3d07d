"""From the scores of frames to the results of a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol, TypeAlias

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.windowed_value import WindowedValue
from numpy.typing import NDArray

from earmark.transforms.detecting.embeddings import EmbeddingSpool, first_frame
from earmark.transforms.detecting.events import each_run, run_starts
from earmark.transforms.elements import (
    LOST,
    AudioHeader,
    AudioObject,
    ClipResult,
    Detections,
    EmbeddingPart,
    Ending,
    FailedClip,
    FrameScores,
    Gap,
    GapInClip,
    LabelSummary,
    ScoredClip,
    SignalLevel,
    Span,
    Trouble,
    gaps_with,
)
from earmark.transforms.settings import FrameGrid, Settings
from earmark.transforms.workers import marking


class Places(Protocol):
    """What is plausible where and when; models.places.PlaceModel is one."""

    def plausible(
        self, latitude: float, longitude: float, moment: datetime | None
    ) -> NDArray[np.bool_]:
        """Whether each class is plausible at a place at a time, bool [classes]."""


@dataclass
class AggregateClips(beam.PTransform):  # type: ignore[misc]
    """Combine the results of each clip: FrameScores to ClipResult, one for each object.

    A clip ends at its first error, however it was cut into spans: detections in later spans are
    dropped.

    Detections are selected and combined span by span before the shuffle, so that only they cross
    it. A CombineFn would leave that to the engine, and Flink's does not do it.

    Attributes:
      settings: what counts as a detection.
      spool: where embeddings wait until rows are written; None where there are none.
      load_places: gives what is plausible where, if only that is to be detected; called in each
        worker, so it should cache.
    """

    settings: Settings
    spool: EmbeddingSpool | None = None
    load_places: Callable[[], Places] | None = None

    def expand(self, scores: beam.PCollection[FrameScores]) -> beam.PCollection[ClipResult]:
        """Apply the transform."""
        return (
            scores
            | "Tally" >> beam.ParDo(_TallyFn(self))
            | "Group" >> beam.GroupByKey()
            | "Summarise" >> beam.Map(_summarise, self.settings, self.load_places)
        )


_Key: TypeAlias = tuple[str, str]


class _TallyFn(beam.DoFn):  # type: ignore[misc]
    """A tally for each span, by the version of its clip, as soon as its last block has come.

    A window of a stream may hold two versions of a recording, one replayed from a snapshot.
    """

    def __init__(self, stage: AggregateClips) -> None:
        self._settings, self._spool = stage.settings, stage.spool
        if stage.load_places is not None:  # where a clip was made is known at its end
            self._settings = replace(self._settings, top_k=None)

    def start_bundle(self) -> None:
        self._unfinished: dict[tuple[BoundedWindow, Span], Tally] = {}

    @marking
    def process(
        self, block: FrameScores, window: BoundedWindow = beam.DoFn.WindowParam
    ) -> Iterator[tuple[_Key, Tally]]:
        tally = self._unfinished.setdefault((window, block.span), Tally())
        spool = self._spool_of(window)
        tally.add(block, self._settings, spool)
        if block.ending is not None:
            del self._unfinished[window, block.span]
            yield _key(block.span), tally.compacted(spool)

    @marking
    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Pass on spans whose blocks came in several bundles, as they do where nothing is fused."""
        for (window, span), tally in self._unfinished.items():
            keyed = _key(span), tally.compacted(self._spool_of(window))
            yield WindowedValue(keyed, window.max_timestamp(), (window,))

    def _spool_of(self, window: BoundedWindow) -> EmbeddingSpool | None:
        return self._spool and self._spool.of_window(window)


def _key(span: Span) -> _Key:
    return span.clip.uri, span.clip.version


@marking
def _summarise(
    of_clip: tuple[_Key, Iterable[Tally]],
    settings: Settings,
    load_places: Callable[[], Places] | None,
) -> ClipResult:
    whole = Tally()
    for tally in of_clip[1]:
        whole.merge(tally)
    return summarise_clip(whole, settings, load_places and load_places())


@dataclass
class Part:
    """What is known so far of a span, whatever the order in which its blocks come.

    Attributes:
      hits: detections in any order, some for each block.
      frames: how many frames were scored.
      invalid_samples: how many of them contain samples that are not finite.
      invalid_scores: how many others got scores that are NaN.
      ending: how decoding ended, once that is known.
      embeddings: in any order, some for each block or more.
    """

    hits: list[Detections] = field(default_factory=list)
    frames: int = 0
    invalid_samples: int = 0
    invalid_scores: int = 0
    ending: Ending | None = None
    embeddings: list[EmbeddingPart] = field(default_factory=list)

    def merge(self, other: Part) -> None:
        """Add what another part knows of this span, or of the next."""
        self.hits += other.hits
        self.frames += other.frames
        self.invalid_samples += other.invalid_samples
        self.invalid_scores += other.invalid_scores
        self.ending = self.ending or other.ending
        self.embeddings += other.embeddings


@dataclass
class Tally:
    """What is known so far of a clip.

    Attributes:
      last: of its spans, the one seen last.
      parts: what is known of each span, by its index.
    """

    last: Span | None = None
    parts: dict[int, Part] = field(default_factory=dict)

    def add(
        self, block: FrameScores, settings: Settings, spool: EmbeddingSpool | None = None
    ) -> None:
        """Add a block; its embeddings, where they are wanted, to those that wait in the spool."""
        self.last = block.span
        part = self._part(block.span.index)
        if not len(block.scores):
            part.merge(Part(ending=block.ending))
            return
        scored = _all_numbers(block.scores)
        if block.embeddings is not None:
            scored &= _all_numbers(block.embeddings)
        not_scored = ~scored.reshape(block.channels, -1).all(axis=0)
        hits = find_hits(block, settings)
        part.merge(
            Part(
                [hits] if len(hits.frame) else [],
                len(block.scores) // block.channels,
                block.invalid_samples,
                max(0, int(np.count_nonzero(not_scored)) - block.invalid_samples),
                block.ending,
            )
        )
        if spool is not None and block.embeddings is not None:
            part.embeddings = spool.take(part.embeddings, block)

    def merge(self, other: Tally) -> None:
        """Add what another tally knows of this clip."""
        self.last = self.last or other.last
        for index, part in other.parts.items():
            self._part(index).merge(part)

    def compacted(self, spool: EmbeddingSpool | None = None) -> Tally:
        """This tally in one piece per span, in the order that compresses best.

        Args:
          spool: where embeddings wait if there are more than a few.
        """
        for part in self.parts.values():
            part.hits = [_sorted(_joined(part.hits))]
            if spool is not None and self.last is not None:
                part.embeddings = spool.finish(part.embeddings, self.last)
        return self

    def _part(self, index: int) -> Part:
        return self.parts.setdefault(index, Part())


def find_hits(block: FrameScores, settings: Settings) -> Detections:
    """The scores of a block that are detections: at or above their thresholds, at most top_k.

    A frame with a NaN score has none.
    """
    scores = block.scores
    row, label_index = np.nonzero((scores >= settings.min_scores) & _all_numbers(scores))
    channel, frame = np.divmod(row, max(1, len(scores) // block.channels))
    raw_scores = block.raw_scores
    hits = Detections(
        (block.first_frame + frame).astype(np.int32),
        label_index.astype(np.int32),
        scores[row, label_index],
        channel.astype(np.int32),
        None if raw_scores is None else raw_scores[row, label_index],
    )
    return _best(hits, settings)


def _best(hits: Detections, settings: Settings) -> Detections:
    """At most top_k detections in a frame, of each head."""
    if settings.top_k is None:
        return hits
    heads = np.repeat(np.arange(len(settings.heads)), [len(h.labels) for h in settings.heads])
    keys = heads[hits.label_index], hits.channel, hits.frame
    ranked = np.lexsort((hits.label_index, -hits.score, *keys))
    changes = np.any([np.diff(key[ranked]) != 0 for key in keys], axis=0)
    begins = run_starts(changes, len(ranked))
    lengths = np.diff(np.append(begins, len(ranked)))
    rank = np.arange(len(ranked)) - np.repeat(begins, lengths)
    return hits.take(np.sort(ranked[rank < settings.top_k]))


def summarise_clip(tally: Tally, settings: Settings, places: Places | None = None) -> ClipResult:
    """The result of a clip whose blocks have all been added.

    Args:
      tally: of all its blocks.
      settings: what counts as a detection.
      places: what is plausible where, if only that is to be detected; the blocks were then added
        without a top_k.

    Raises:
      RuntimeError: blocks are missing or came twice, which the runner should have prevented.
    """
    clip, whole, endings = _put_together(tally)
    first, last = endings[0], endings[-1]
    samples = sum(ending.samples for ending in endings)
    if first.header is None or samples == 0:
        nothing = Trouble("decode", "no_samples", "it contains no samples")
        return FailedClip(clip, last.trouble or nothing)
    rate_hz = first.header.sample_rate_hz
    duration_s = samples / rate_hz
    gaps = tuple(_gaps(endings, rate_hz))
    place = first.place or settings.usual_place
    detections, implausible = _sorted(_joined(whole.hits)), dict[str, int]()
    if places is not None and place is not None:
        plausible = places.plausible(*place, first.recorded_at)[detections.label_index]
        implausible = _counted(detections.label_index[~plausible], settings)
        detections = detections.take(np.flatnonzero(plausible))
    if places is not None:
        detections = _best(detections, settings)
    reason, message = _shortcoming(whole, last, gaps)
    return ScoredClip(
        clip=clip,
        status="partial" if reason else "scored",
        reason=reason,
        message=message,
        header=first.header,
        duration_s=duration_s,
        heard_s=sum(ending.decoded for ending in endings) / rate_hz,
        gaps=(*gaps, *_lacking(last, first.header, duration_s)),
        frames=whole.frames,
        recorded_at=first.recorded_at,
        recorded_at_source=first.recorded_at_source,
        place=place,
        level=sum((ending.level for ending in endings), SignalLevel()),
        labels=label_summaries(detections, settings, duration_s),
        detections=detections,
        embeddings=tuple(sorted(whole.embeddings, key=first_frame)),
        implausible=implausible,
    )


def _counted(label_index: NDArray[np.int32], settings: Settings) -> dict[str, int]:
    """How often each label occurs."""
    labels, counts = settings.labels, Counter[str]()
    for i, count in zip(*np.unique(label_index, return_counts=True), strict=True):
        counts[labels[i]] += int(count)
    return dict(counts)


def _put_together(tally: Tally) -> tuple[AudioObject, Part, Sequence[Ending]]:
    """The clip, its spans as one part, and how they ended, up to the first with an error."""
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


def _gaps(endings: Iterable[Ending], rate_hz: int) -> Iterator[GapInClip]:
    """The gaps of a clip, each of which may go on from one span to the next."""
    joined: list[Gap] = []
    for ending in endings:
        for gap in ending.gaps:
            joined[-1:] = gaps_with(joined[-1:], gap)
    return (GapInClip(gap.start / rate_hz, gap.stop / rate_hz, gap.why) for gap in joined)


def _lacking(last: Ending, header: AudioHeader, duration_s: float) -> Iterator[GapInClip]:
    """What the end of a clip lacks, if its header says how long it should be."""
    declared_s = (header.declared_samples or 0) / header.sample_rate_hz
    if last.trouble and declared_s > duration_s:
        yield GapInClip(duration_s, declared_s, last.trouble.reason)


def _shortcoming(
    clip: Part, last: Ending, gaps: Sequence[GapInClip]
) -> tuple[str | None, str | None]:
    """Why a clip is partial: the reason code, and all reasons in words."""
    found = list(_shortcomings(clip, last, gaps))
    if not found:
        return None, None
    return found[0][0], "; ".join(message for _, message in found)


def _shortcomings(clip: Part, last: Ending, gaps: Sequence[GapInClip]) -> Iterator[tuple[str, str]]:
    if last.trouble:
        yield last.trouble.reason, last.trouble.message
    for reason in LOST:
        lost = [gap for gap in gaps if gap.why == reason]
        if lost:
            seconds = sum(gap.end_s - gap.start_s for gap in lost)
            places = "1 place" if len(lost) == 1 else f"{len(lost)} places"
            where = f"in {places}, first at {lost[0].start_s:.3f} s"
            yield reason, f"{seconds:.3f} s of the sound are {reason}, {where}"
    if clip.invalid_samples:
        of = f"{clip.invalid_samples} of {clip.frames} frames"
        yield "invalid_samples", f"{of} contain samples that are NaN, infinite or too large"
    if clip.invalid_scores:
        what = "a score or an embedding that is NaN"
        yield "invalid_scores", f"the model gave {clip.invalid_scores} frames {what}"


def label_summaries(
    detections: Detections, settings: Settings, duration_s: float
) -> tuple[LabelSummary, ...]:
    """A summary of each label detected, by its best score, then by its index."""
    if detections.channel.any():  # what several channels hear at once is as long as one hears it
        order = (detections.channel, detections.frame, detections.label_index)
        detections = detections.take(np.lexsort(order))
    index = detections.label_index
    begins = run_starts(np.diff(index) != 0, len(index))
    best = each_run(np.maximum, detections.score, begins)
    total = each_run(np.add, detections.score, begins)
    seconds = each_run(np.add, _new_seconds(detections, settings.grid, duration_s), begins)
    counts = np.diff(np.append(begins, len(index)))
    mean = (total / counts).astype(np.float32)
    columns = (index[begins], best, mean, seconds)
    by_score = np.argsort(-best, kind="stable")
    return tuple(
        LabelSummary(*settings.classes[i], *values)
        for i, *values in zip(*(column[by_score].tolist() for column in columns), strict=True)
    )


def _new_seconds(detections: Detections, grid: FrameGrid, duration_s: float) -> NDArray[np.float64]:
    """The length of each detection without what the one before it, of the same label, covers."""
    begin, end = grid.start_s(detections.frame), grid.end_s(detections.frame, duration_s)
    same = detections.label_index[1:] == detections.label_index[:-1]
    begin[1:] = np.where(same, np.maximum(begin[1:], end[:-1]), begin[1:])
    return np.asarray(np.maximum(end - begin, 0.0))


def _sorted(hits: Detections) -> Detections:
    return hits.take(np.lexsort((hits.frame, hits.channel, hits.label_index)))


def _joined(parts: Sequence[Detections]) -> Detections:
    raw_scores = [part.raw_score for part in parts if part.raw_score is not None]
    return Detections(
        np.concatenate([np.empty(0, np.int32), *(part.frame for part in parts)]),
        np.concatenate([np.empty(0, np.int32), *(part.label_index for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.score for part in parts)]),
        np.concatenate([np.empty(0, np.int32), *(part.channel for part in parts)]),
        np.concatenate(raw_scores) if raw_scores else None,
    )


def _all_numbers(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(scores).any(axis=1, keepdims=True))
