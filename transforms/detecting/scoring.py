"""From frames to scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from numpy.typing import NDArray

from earmark.transforms.elements import FrameBlock, FrameScores


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
    def __init__(self, load: Callable[[], Classifier]) -> None:
        self._load = load
        self._frames = Metrics.counter(ScoreFrames, "frames")

    def setup(self) -> None:
        self._classifier = self._load()

    def process(self, block: FrameBlock) -> Iterator[FrameScores]:
        self._frames.inc(len(block.frames))
        yield score_block(block, self._classifier)


def score_block(block: FrameBlock, classifier: Classifier) -> FrameScores:
    """Score the frames of a block, except frames with a sample that is not finite."""
    heard = np.asarray(np.isfinite(block.frames).all(axis=1))
    whole = bool(heard.all())
    predicted = classifier.predict(block.frames if whole else block.frames[heard])

    def in_place(values: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if whole or values is None:
            return values
        spread = np.full((len(heard), values.shape[1]), np.nan, np.float32)
        spread[heard] = values
        return spread

    return FrameScores(
        block.span,
        block.first_frame,
        cast("NDArray[np.float32]", in_place(predicted.scores)),
        int(np.count_nonzero(~heard.reshape(block.channels, -1).all(axis=0))),
        block.ending,
        block.channels,
        in_place(predicted.raw_scores),
        in_place(predicted.embeddings),
    )
