"""LiteRT interpreters, pooled so that no two threads use one at the same time."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from earmark.models.errors import ModelError, one_line
from earmark.shared import shared


class Kernels(NamedTuple):
    """What computes a model's operators.

    Attributes:
      num_threads: how many threads an interpreter may use.
      xnnpack: whether to use XNNPACK's kernels for the operators that it has.
    """

    num_threads: int = 1
    xnnpack: bool = True


class Output(NamedTuple):
    """An output of a model.

    Attributes:
      position: its index among the model's outputs.
      values: how many values it has for each frame.
    """

    position: int
    values: int


FAILURES = (ValueError, RuntimeError, MemoryError)
"""The errors of LiteRT for models that it cannot load or run, or whose tensors are too large."""

Outputs: TypeAlias = tuple[NDArray[np.float32], ...]
"""The values of each requested output, float32 [n, values]."""


class InterpreterPool:
    """Interpreters of one model, each used by one thread at a time.

    Args:
      model: a .tflite file.
      outputs: the outputs to return.
      kernels: what computes the operators.
      input_shape: the shape to resize the input to; None to keep its own.
    """

    def __init__(
        self,
        model: bytes,
        outputs: Sequence[Output],
        kernels: Kernels = Kernels(),  # noqa: B008 (it cannot change)
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self._model = model
        self._outputs = tuple(outputs)
        self._kernels = kernels
        self._input_shape = input_shape
        self._idle: deque[Interpreter] = deque()

    @contextmanager
    def borrowed(self) -> Iterator[Interpreter]:
        """Lend an interpreter for the length of the context; one that failed is not used again."""
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = new_interpreter(self._model, self._kernels, self._input_shape)
        yield interpreter
        self._idle.append(interpreter)

    def run(self, inputs: NDArray[np.float32], rows: int = 1) -> Outputs:
        """Run the model on one input after another.

        Args:
          inputs: float32 [n, ...], each of as many values as the model takes.
          rows: how many frames an input has.

        Returns:
          The values of each output, float32 [n * rows, values], dequantised.

        Raises:
          One of FAILURES.
        """
        made = tuple(
            np.empty((len(inputs) * rows, output.values), np.float32) for output in self._outputs
        )
        with self.borrowed() as interpreter:
            (takes,), gives = interpreter.get_input_details(), interpreter.get_output_details()
            wanted = [gives[output.position] for output in self._outputs]
            for i, each in enumerate(inputs):
                interpreter.set_tensor(takes["index"], each.reshape(takes["shape"]))
                interpreter.reset_all_variables()  # else a recurrent layer goes on from the last
                interpreter.invoke()
                for values, details in zip(made, wanted, strict=True):
                    given = dequantised(interpreter.get_tensor(details["index"]), details)
                    # a model that cuts frames itself may give one more, all of it padding
                    values[i * rows : (i + 1) * rows] = given.reshape(-1, values.shape[1])[:rows]
        return made


def new_interpreter(
    model: bytes,
    kernels: Kernels = Kernels(),  # noqa: B008 (it cannot change)
    input_shape: Sequence[int] | None = None,
) -> Interpreter:
    """An interpreter that is ready to run; for the arguments see `InterpreterPool`.

    Raises:
      ModelError: LiteRT cannot load the model.
    """
    with failing_as(_CANNOT_LOAD):
        interpreter = _loaded(model, kernels)
        if input_shape is not None:
            index = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(index, list(input_shape))
        with _without_startup_note():
            interpreter.allocate_tensors()
        return interpreter


def port_details(model: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """LiteRT's details of a model's inputs and outputs; no memory is allocated for them.

    Raises:
      ModelError: LiteRT cannot load the model.
    """
    with failing_as(_CANNOT_LOAD):
        interpreter = _loaded(model, Kernels())
        return interpreter.get_input_details(), interpreter.get_output_details()


@contextmanager
def failing_as(trouble: str) -> Iterator[None]:
    """Raise one of FAILURES as a ModelError that begins with `trouble`; a ModelError stays."""
    try:
        yield
    except ModelError:
        raise
    except FAILURES as error:
        raise ModelError(f"{trouble}: {one_line(error)}") from error


def dequantised(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    """A tensor's values as the real numbers that they stand for, by LiteRT's details of it."""
    if values.dtype == np.float32:
        return values
    scale, zero_point = details["quantization"]
    steps: NDArray[np.float32] = (values.astype(np.int32) - zero_point).astype(np.float32)
    steps *= np.float32(scale)
    return steps


def _loaded(model: bytes, kernels: Kernels) -> Interpreter:
    resolver = OpResolverType.AUTO if kernels.xnnpack else _WITHOUT_XNNPACK
    return Interpreter(
        model_content=model,
        num_threads=kernels.num_threads,
        experimental_op_resolver_type=resolver,
    )


CANNOT_RUN = "the model cannot be run"
_CANNOT_LOAD = "LiteRT cannot load the model"
_WITHOUT_XNNPACK = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
_STARTUP_NOTE = b"INFO: Created TensorFlow Lite"


class _Startup:
    """Of LiteRT in this process; the lock is taken by the first, and kept."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@contextmanager
def _without_startup_note() -> Iterator[None]:
    """Keep LiteRT's message about its XNNPACK delegate from stderr.

    It is written once per process, when the first tensors are allocated, by C++ past sys.stderr,
    and no option turns it off. Anything else that is written meanwhile is written afterwards.
    """
    if not shared(_Startup).lock.acquire(blocking=False):
        yield
        return
    with tempfile.TemporaryFile() as said:
        try:
            with _stderr_into(said.fileno()):
                yield
        finally:
            said.seek(0)
            with suppress(OSError):  # nobody reads it, or it is full
                os.write(2, b"".join(line for line in said if not line.startswith(_STARTUP_NOTE)))


@contextmanager
def _stderr_into(descriptor: int) -> Iterator[None]:
    stderr = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
