"""The Task Library's AudioClassifier, frame by frame, in an environment of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tflite_support.task import audio, core, processor  # type: ignore[import-not-found]

from benchmarks.peers.rounds import Task, serve


def make_scorer(task: Task) -> Callable[[Any], None]:
    """Load the model."""
    options = audio.AudioClassifierOptions(
        base_options=core.BaseOptions(file_name=task.model, num_threads=1),
        classification_options=processor.ClassificationOptions(
            max_results=-1, score_threshold=task.min_score
        ),
    )
    classifier = audio.AudioClassifier.create_from_options(options)
    tensor = classifier.create_input_tensor_audio()

    def score(frames: Any) -> None:
        for frame in frames:
            tensor.load_from_array(frame.reshape(-1, 1))
            classifier.classify(tensor)

    return score


if __name__ == "__main__":
    serve(make_scorer)
