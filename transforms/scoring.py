"""From frames to scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from numpy.typing import NDArray

from transforms.elements import FrameBlock, FrameScores


class Classifier(Protocol):
    """What scores frames; models.classifier.AudioClassifier is one."""

    @property
    def classes(self) -> int:
        """How many scores a frame gets."""

    def score(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score frames, float32 [n, frame_samples], to float32 [n, classes]."""


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
    """Score the frames of a block; frames with a sample that is no number are not scored."""
    heard = np.asarray(np.isfinite(block.frames).all(axis=1))
    if heard.all():
        scores = classifier.score(block.frames)
    else:
        scores = np.full((len(heard), classifier.classes), np.nan, np.float32)
        scores[heard] = classifier.score(block.frames[heard])
    invalid = int(np.count_nonzero(~heard))
    return FrameScores(block.span, block.first_frame, scores, invalid, block.ending)
