"""The LiteRT interpreter, one frame after another, with a single thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks.peers.rounds import Task, serve


def make_scorer(task: Task) -> Callable[[NDArray[np.float32]], None]:
    """Load the model."""
    interpreter = Interpreter(task.model, num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def score(frames: NDArray[np.float32]) -> None:
        for frame in frames.reshape(-1, *taken["shape"]):
            interpreter.set_tensor(taken["index"], frame)
            interpreter.invoke()
            interpreter.get_tensor(given["index"])

    return score


if __name__ == "__main__":
    serve(make_scorer)
