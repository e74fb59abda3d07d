"""earmark's classifier, with as many frames at once as the pipeline gives it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.rounds import Task, serve
from earmark.models.classifier import AudioClassifier
from earmark.models.running.cut_scoring import BATCHES


def make_scorer(task: Task) -> Callable[[NDArray[np.float32]], None]:
    """Load the model."""
    classifier = AudioClassifier.from_path(task.model)

    def score(frames: NDArray[np.float32]) -> None:
        for start in range(0, len(frames), BATCHES[0]):
            classifier.score(frames[start : start + BATCHES[0]])

    return score


if __name__ == "__main__":
    serve(make_scorer)
