"""From frames to scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.windowed_value import WindowedValue
from numpy.typing import NDArray

from earmark.transforms.elements import FrameBlock, FrameScores

_MOST_BLOCKS = 64
"""So many blocks wait at most to be scored together, since there are some without frames."""


class Prediction(Protocol):
    """The result of a model for some frames: see earmark.models.classifier.Prediction."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores of all heads, float32 [n, classes]."""

    @property
    def raw_scores(self) -> NDArray[np.float32] | None:
        """The scores before calibration, if there is one."""

    @property
    def embeddings(self) -> NDArray[np.float32] | None:
        """The embeddings, float32 [n, embedding_size], if requested."""


class Classifier(Protocol):
    """What scores frames; models.classifier.AudioClassifier is one."""

    @property
    def together(self) -> int:
        """How many frames of several recordings to score at once; 1 where they must not mix."""

    def predict(self, frames: NDArray[np.float32]) -> Prediction:
        """Score frames, float32 [n, values]."""


@dataclass
class ScoreFrames(beam.PTransform):  # type: ignore[misc]
    """Score blocks of frames: FrameBlock to FrameScores.

    Attributes:
      load: gives the classifier; called in each worker, so it should cache. It travels to the
        workers, the classifier does not.
    """

    load: Callable[[], Classifier]

    def expand(self, blocks: beam.PCollection[FrameBlock]) -> beam.PCollection[FrameScores]:
        """Apply the transform."""
        return blocks | "Score" >> beam.ParDo(_ScoreFn(self.load))


class _ScoreFn(beam.DoFn):  # type: ignore[misc]
    """Scores as many blocks at once as make up the frames that the classifier takes together."""

    def __init__(self, load: Callable[[], Classifier]) -> None:
        self._load = load
        self._frames = Metrics.counter(ScoreFrames, "frames")

    def setup(self) -> None:
        self._classifier = self._load()

    def start_bundle(self) -> None:
        self._waiting: list[tuple[FrameBlock, BoundedWindow]] = []
        self._waiting_frames = 0

    def process(
        self, block: FrameBlock, window: BoundedWindow = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        self._waiting.append((block, window))
        self._waiting_frames += len(block.frames)
        is_enough = self._waiting_frames >= self._classifier.together
        if is_enough or len(self._waiting) >= _MOST_BLOCKS:
            yield from self._score()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from self._score()

    def _score(self) -> Iterator[WindowedValue]:
        waiting, frames = self._waiting, self._waiting_frames
        self._waiting, self._waiting_frames = [], 0
        self._frames.inc(frames)
        scored = score_blocks([block for block, _ in waiting], self._classifier)
        for scores, (_, window) in zip(scored, waiting, strict=True):
            yield WindowedValue(scores, window.max_timestamp(), (window,))


def score_block(block: FrameBlock, classifier: Classifier) -> FrameScores:
    """Score the frames of a block, except frames with a sample that is not finite."""
    (scored,) = score_blocks([block], classifier)
    return scored


def score_blocks(blocks: Sequence[FrameBlock], classifier: Classifier) -> Iterator[FrameScores]:
    """Score the frames of blocks all at once: see `score_block`."""
    if not blocks:
        return
    of_blocks = [block.frames for block in blocks if len(block.frames)] or [blocks[0].frames]
    frames = of_blocks[0] if len(of_blocks) == 1 else np.concatenate(of_blocks)
    heard = np.asarray(np.isfinite(frames).all(axis=1))
    whole = bool(heard.all())
    predicted = classifier.predict(frames if whole else frames[heard])

    def in_place(values: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if whole or values is None:
            return values
        spread = np.full((len(heard), values.shape[1]), np.nan, np.float32)
        spread[heard] = values
        return spread

    scores = cast("NDArray[np.float32]", in_place(predicted.scores))
    raw_scores, embeddings = in_place(predicted.raw_scores), in_place(predicted.embeddings)
    start = 0
    for block in blocks:
        its = slice(start, start + len(block.frames))
        start = its.stop
        yield FrameScores(
            block.span,
            block.first_frame,
            scores[its],
            int(np.count_nonzero(~heard[its].reshape(block.channels, -1).all(axis=0))),
            block.ending,
            block.channels,
            None if raw_scores is None else raw_scores[its],
            None if embeddings is None else embeddings[its],
        )
