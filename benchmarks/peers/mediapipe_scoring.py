"""MediaPipe's AudioClassifier, frame by frame, in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mediapipe.tasks.python import BaseOptions, audio  # type: ignore[import-not-found]
from mediapipe.tasks.python.components.containers import (  # type: ignore[import-not-found]
    AudioData,
)

from benchmarks.peers.rounds import Task, serve


def make_scorer(task: Task) -> Callable[[Any], None]:
    """Load the model."""
    options = audio.AudioClassifierOptions(
        base_options=BaseOptions(model_asset_path=task.model),
        max_results=-1,
        score_threshold=task.min_score,
    )
    classifier = audio.AudioClassifier.create_from_options(options)

    def score(frames: Any) -> None:
        for frame in frames:
            classifier.classify(AudioData.create_from_array(frame, task.sample_rate_hz))

    return score


if __name__ == "__main__":
    serve(make_scorer)
