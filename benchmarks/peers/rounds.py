"""A process that scores frames, as often as it is asked to.

It says `ready`. Each line that it reads is a round: it scores all frames once, and answers with the
seconds and the processor seconds that took, of all its threads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Task(NamedTuple):
    """What to load.

    Attributes:
      model: the path of a .tflite file.
      sample_rate_hz: of the audio in the frames.
      min_score: the least score to give, for classifiers that give some only.
    """

    model: str
    sample_rate_hz: int
    min_score: float


def serve(make_scorer: Callable[[Task], Callable[[Any], object]]) -> None:
    """Serve rounds until nothing more is asked.

    The process's arguments are MODEL SAMPLE_RATE_HZ MIN_SCORE FRAMES.npy.

    Args:
      make_scorer: loads a model; what it gives scores frames, float32 [n, frame_samples].
    """
    model, sample_rate_hz, min_score, frames_path = sys.argv[1:]
    score = make_scorer(Task(model, int(sample_rate_hz), float(min_score)))
    frames = np.load(frames_path)
    score(frames)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter(), time.process_time()
        score(frames)
        ended = time.perf_counter(), time.process_time()
        print(ended[0] - started[0], ended[1] - started[1], flush=True)
