"""LiteRT interpreters: loaded once, never used by two threads at once."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models.errors import ModelError, one_line


class InterpreterPool:
    """Interpreters of one model; none of them serves two threads at once."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._idle: deque[Interpreter] = deque()

    @contextmanager
    def taken(self) -> Iterator[Interpreter]:
        """An interpreter for the length of the context; one that failed is not used again."""
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = _new_interpreter(self._model)
        yield interpreter
        self._idle.append(interpreter)

    def run(self, inputs: NDArray[np.float32], batch: int = 1) -> NDArray[np.float32]:
        """Run the model on one input after another.

        Args:
          inputs: float32 [n, ...], of as many values each as the model takes.
          batch: how many it takes at once; n is a multiple of it.

        Returns:
          float32 [n, values], the values that it gives for each.

        Raises:
          RuntimeError: LiteRT failed.
        """
        with self.taken() as interpreter:
            (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
            values = int(np.prod(given["shape"])) // batch
            outputs = np.empty((len(inputs), values), np.float32)
            for start in range(0, len(inputs), batch):
                part = inputs[start : start + batch].reshape(taken["shape"])
                interpreter.set_tensor(taken["index"], part)
                interpreter.invoke()
                result = interpreter.get_tensor(given["index"])
                outputs[start : start + batch] = result.reshape(batch, values)
        return outputs


def _new_interpreter(model: bytes) -> Interpreter:
    try:
        interpreter = Interpreter(model_content=model, num_threads=1)
        with _without_greeting():
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT cannot load the model: {one_line(error)}") from error
    return interpreter


_GREETING = b"INFO: Created TensorFlow Lite"
_once = threading.Lock()


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Keep LiteRT's greeting from stderr.

    The first tensors that a process allocates make it tell of its XNNPACK delegate, from C++, past
    sys.stderr, and with no switch for it. Whatever else is said meanwhile is said afterwards.
    """
    if not _once.acquire(blocking=False):
        yield
        return
    with tempfile.TemporaryFile() as said:
        try:
            with _stderr_into(said.fileno()):
                yield
        finally:
            said.seek(0)
            os.write(2, b"".join(line for line in said if not line.startswith(_GREETING)))


@contextmanager
def _stderr_into(descriptor: int) -> Iterator[None]:
    stderr = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
