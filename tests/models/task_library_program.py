"""Classifies with the Task Library's AudioClassifier: jobs on stdin, answers on stdout, in JSON.

`tests/models/task_library.py` runs it in the Task Library's own environment. A job is a line, and
so is its answer: `{"frames": [...]}` as `_classify` gives them, or `{"refused": message}`.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from tflite_support.task import audio, core, processor


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    frames = np.frombuffer(base64.b64decode(job["frames"]), np.float32).reshape(job["shape"])
    try:
        classifier = audio.AudioClassifier.create_from_options(_options(job))
        return {"frames": [_classify(classifier, clip) for clip in _clips(classifier, frames)]}
    except (ValueError, RuntimeError) as error:
        return {"refused": str(error)}


def _options(job: dict[str, Any]) -> audio.AudioClassifierOptions:
    content = base64.b64decode(job["model"]) if "model" in job else None
    return audio.AudioClassifierOptions(
        base_options=core.BaseOptions(
            file_name=job.get("path"), file_content=content, num_threads=job["num_threads"]
        ),
        classification_options=processor.ClassificationOptions(**job["options"]),
    )


def _clips(classifier: audio.AudioClassifier, frames: np.ndarray) -> Iterator[audio.TensorAudio]:
    """Each frame as the classifier takes it.

    A TensorAudio has room for as many samples of each channel as the model takes of all channels
    together, and the model gets what stands first in it.
    """
    clip = classifier.create_input_tensor_audio()
    taken = clip.buffer_size // clip.format.channels, clip.format.channels
    if frames.shape[1:] != taken:
        raise SystemExit(f"frames are {frames.shape[1:]}, and the model takes {taken}")
    for frame in frames:
        clip.load_from_array(np.pad(frame, ((0, clip.buffer_size - len(frame)), (0, 0))))
        yield clip


def _classify(classifier: audio.AudioClassifier, clip: audio.TensorAudio) -> list[list[Any]]:
    """For each head `[index, name, [[index, score, name, display name] of each category]]`."""
    return [
        [
            head.head_index,
            head.head_name,
            [[c.index, c.score, c.category_name, c.display_name] for c in head.categories],
        ]
        for head in classifier.classify(clip).classifications
    ]


if __name__ == "__main__":
    main()
