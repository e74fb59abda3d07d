"""Cutting a model's graph at its log-mel patch.

YAMNet and its kin begin with the same steps: cut the frame into windows, taper, transform, take
magnitudes, sum them into mel bands, take logarithms. A graph that does so, whatever it is called,
is cut there: `LogMel` computes the patch with the graph's own constants, and the network behind it
gets a batch dimension. Any other graph stays whole.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.models.graphs import flatbuffers
from earmark.models.graphs.log_mel import LogMel

_ROW_BY_ROW = {
    *("QUANTIZE", "DEQUANTIZE", "RESHAPE", "SPLIT", "CONV_2D", "DEPTHWISE_CONV_2D"),
    *("MEAN", "FULLY_CONNECTED", "LOGISTIC", "SOFTMAX", "RELU", "RELU6", "ADD", "MUL", "SUB"),
    *("AVERAGE_POOL_2D", "MAX_POOL_2D"),
}
"""Operators that treat each member of a batch by itself."""


class CannotCutError(ValueError):
    """A graph that does not begin with a log-mel front end, or whose rest cannot be batched."""


@dataclass(frozen=True)
class CutModel:
    """A model in two parts.

    Attributes:
      whole: the model's objects, which stay as they are.
      front_end: computes the patches of frames.
      first_operators: how many of the graph's operators the front end replaces.
      patch: the tensor where both parts meet, of shape [1, ...].
    """

    whole: Any
    front_end: LogMel
    first_operators: int
    patch: int

    def front(self) -> bytes:
        """The .tflite file of the front end: a frame's samples to its patch."""
        model = _bare(self.whole)
        graph = model.subgraphs[0]
        graph.operators = graph.operators[: self.first_operators]
        graph.outputs = np.array([self.patch], np.int32)
        return flatbuffers.serialise(model)

    def network(self, batch: int) -> bytes:
        """The .tflite file of the network: patches [batch, ...] to scores [batch, classes]."""
        model = _bare(self.whole)
        graph = model.subgraphs[0]
        graph.operators = graph.operators[self.first_operators :]
        graph.inputs = np.array([self.patch], np.int32)
        for tensor in {self.patch, *_outputs_of(graph.operators)}:
            _set_batch(graph.tensors[tensor], batch)
        for operator in graph.operators:
            if flatbuffers.operator_name(model, operator) == "RESHAPE":
                _set_new_shape(model, operator)
        return flatbuffers.serialise(model)


def cut(model: bytes) -> CutModel:
    """Cut a model at its log-mel patch.

    Args:
      model: a .tflite file.

    Raises:
      CannotCutError: the model cannot be cut; the message says why.
    """
    try:
        return _cut(model)
    except CannotCutError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # in a damaged file anything may be missing, or point to something else
        raise CannotCutError(f"the graph is not one that can be cut: {error}") from error


def _cut(model: bytes) -> CutModel:
    chain = _Chain(flatbuffers.parse(model))
    rows, hop, window_samples = _windows(chain)
    window = chain.constant(chain.follow("MUL"))
    if window.size != window_samples:
        raise CannotCutError("the taper is not as long as a window")
    fft_length = window_samples + _padding(chain)
    chain.skip("RESHAPE")
    if chain.constant(chain.follow("RFFT2D")).tolist() != [1, fft_length]:
        raise CannotCutError("the transform is not as long as a padded window")
    chain.skip("RESHAPE")
    chain.follow("COMPLEX_ABS")
    mel, offset = _mel(chain)
    chain.follow("LOG")
    chain.skip("RESHAPE")
    front_end = LogMel(window.reshape(-1), hop, rows, fft_length, mel, offset)
    _check_network(chain, rows * mel.shape[1])
    return CutModel(chain.model, front_end, chain.position, chain.tensor)


class _Chain:
    """Walks a chain of operators, each the only one that takes the output of the one before."""

    def __init__(self, model: Any) -> None:
        if len(model.subgraphs) != 1:
            raise CannotCutError("the model has several graphs")
        self.model = model
        self.graph = model.subgraphs[0]
        self.position = 0
        self.tensor = int(self.graph.inputs[0])

    def next_name(self) -> str:
        if self.position == len(self.graph.operators or ()):
            return "nothing"
        return flatbuffers.operator_name(self.model, self.graph.operators[self.position])

    def follow(self, name: str) -> Any:
        """Step over the next operator, which must have this name."""
        if self.next_name() != name:
            raise CannotCutError(f"the graph has {self.next_name()} where {name} was expected")
        operator = self.graph.operators[self.position]
        takers = [each for each in self.graph.operators if self.tensor in each.inputs]
        if len(takers) != 1 or takers[0] is not operator or len(operator.outputs) != 1:
            raise CannotCutError(f"the input of {name} is used by other operators, too")
        self.position += 1
        self.tensor = int(operator.outputs[0])
        return operator

    def skip(self, name: str) -> None:
        while self.next_name() == name:
            self.follow(name)

    def constant(self, operator: Any, index: int = 1) -> NDArray[Any]:
        """One of an operator's inputs, which must be a constant."""
        if index >= len(operator.inputs):
            raise CannotCutError("an operator has fewer inputs than expected")
        values = flatbuffers.constant(self.model, int(operator.inputs[index]))
        if values is None:
            raise CannotCutError("a constant of the front end is missing or of another type")
        return values


def _windows(chain: _Chain) -> tuple[int, int, int]:
    """How many windows a frame is cut into, their hop and their length in samples.

    Any operators may do it: they are carried out on the positions of samples instead of samples.
    """
    positions = np.arange(chain.graph.tensors[chain.tensor].shape[-1])
    while (name := chain.next_name()) in ("RESHAPE", "GATHER", "STRIDED_SLICE"):
        positions = _followed(positions, name, chain)
    if positions.ndim != 2:
        raise CannotCutError("the frame is not cut into windows")
    rows, length = positions.shape
    hop = int(positions[1, 0] - positions[0, 0]) if rows > 1 else length
    expected = np.arange(rows)[:, None] * hop + np.arange(length)
    if hop < 1 or not np.array_equal(positions, expected):
        raise CannotCutError("the windows are not evenly spaced from the frame's start")
    return rows, hop, length


def _followed(positions: NDArray[np.int64], name: str, chain: _Chain) -> NDArray[np.int64]:
    operator = chain.follow(name)
    if name == "RESHAPE":
        return np.asarray(positions.reshape(chain.graph.tensors[chain.tensor].shape))
    if name == "GATHER":
        if operator.builtinOptions.axis != 0 or operator.builtinOptions.batchDims != 0:
            raise CannotCutError("the windows are gathered along another axis")
        return np.asarray(positions[chain.constant(operator)])
    if positions.ndim != 1:
        raise CannotCutError("the frame is sliced in several dimensions")
    begin, end, step = (int(chain.constant(operator, index).item()) for index in (1, 2, 3))
    options = operator.builtinOptions
    taken = slice(None if options.beginMask else begin, None if options.endMask else end, step)
    return np.asarray(positions[taken])


def _padding(chain: _Chain) -> int:
    """How many zeros follow each window."""
    (above, below), (before, after) = chain.constant(chain.follow("PAD")).tolist()
    if above or below or before:
        raise CannotCutError("the windows are padded elsewhere than at their ends")
    return int(after)


def _mel(chain: _Chain) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The weights of the mel bands, float64 [frequencies, bands], and offsets, float64 [bands]."""
    operator = chain.follow("FULLY_CONNECTED")
    if operator.builtinOptions.fusedActivationFunction != 0:
        raise CannotCutError("the mel bands have an activation")
    weights = chain.constant(operator).astype(np.float64)
    offset = np.zeros(len(weights))
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        offset = chain.constant(operator, 2).astype(np.float64)
    return np.ascontiguousarray(weights.T), offset


def _check_network(chain: _Chain, patch_values: int) -> None:
    """Check that what follows can take several patches at once."""
    graph = chain.graph
    rest = graph.operators[chain.position :]
    known = {chain.tensor, *_outputs_of(rest)}
    for tensor in known:
        if len(graph.tensors[tensor].shape) == 0 or graph.tensors[tensor].shape[0] != 1:
            raise CannotCutError("the network has a tensor without a batch dimension")
    if np.prod(graph.tensors[chain.tensor].shape) != patch_values:
        raise CannotCutError("the patch does not have a value for each row and band")
    before = set(_outputs_of(graph.operators[: chain.position])) - {chain.tensor}
    for operator in rest:
        name = flatbuffers.operator_name(chain.model, operator)
        if name not in _ROW_BY_ROW:
            raise CannotCutError(f"the network has an operator {name}")
        if before.intersection(map(int, operator.inputs)):
            raise CannotCutError("the network takes more from the front end than the patch")
        if name == "MEAN" and 0 in chain.constant(operator):
            raise CannotCutError("the network takes a mean over the batch")


def _outputs_of(operators: list[Any]) -> list[int]:
    return [int(tensor) for operator in operators for tensor in operator.outputs]


def _bare(model: Any) -> Any:
    """A copy that may be changed, without metadata and signatures, which may name lost tensors.

    It is of objects, not of what they hold: parsing the file again would take longer.
    """
    model, graph = copy(model), copy(model.subgraphs[0])
    model.metadata, model.signatureDefs, model.subgraphs = [], [], [graph]
    model.buffers = [copy(each) for each in model.buffers]
    graph.tensors = [copy(each) for each in graph.tensors]
    graph.operators = [copy(each) for each in graph.operators]
    for operator in graph.operators:
        operator.builtinOptions = copy(operator.builtinOptions)
    return model


def _set_batch(tensor: Any, batch: int) -> None:
    tensor.shape = np.array([batch, *tensor.shape[1:]], np.int32)
    tensor.shapeSignature = None


def _set_new_shape(model: Any, operator: Any) -> None:
    """Make a RESHAPE give the shape of its output, which an input, an option or both tell it."""
    shape = model.subgraphs[0].tensors[int(operator.outputs[0])].shape
    if len(operator.inputs) > 1:
        described = model.subgraphs[0].tensors[int(operator.inputs[1])]
        content = np.asarray(shape, "<i4").tobytes()
        model.buffers[described.buffer].data = np.frombuffer(content, np.uint8)
    if operator.builtinOptions is not None:
        operator.builtinOptions.newShape = np.asarray(shape, np.int32)
