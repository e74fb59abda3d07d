"""Models of a few bytes, written with the schema's own classes, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

_LAST_DEPRECATED = schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES


class Port(NamedTuple):
    """An input or output of a model; a signature tells which sizes may vary (-1)."""

    shape: Sequence[int]
    dtype: str = "float32"
    signature: Sequence[int] | None = None


class Steps(NamedTuple):
    """What the numbers of a quantised tensor stand for: scale * (number - zero_point)."""

    dtype: str
    scale: float
    zero_point: int = 0


class Layer(NamedTuple):
    """An output that is made of a linear layer.

    Attributes:
      weights: float32 [classes, values].
      activation: LOGISTIC or SOFTMAX, which follows; None for neither.
      steps: of the numbers that it is then quantised to; None for float32.
      shape: that it is then brought into; None for [batch, classes].
      name: of the tensor.
    """

    weights: NDArray[np.float32]
    activation: str | None = None
    steps: Steps | None = None
    shape: Sequence[int] | None = None
    name: str = "scores"


class Graph:
    """A model that grows: each method adds to it, and gives the tensor that it makes."""

    def __init__(self) -> None:
        self.graph = schema.SubGraphT(tensors=[], operators=[], name=b"main")
        self.made = schema.ModelT(version=3, operatorCodes=[], subgraphs=[self.graph])
        self.made.buffers = [schema.BufferT()]
        self.inputs: list[int] = []

    def input(self, port: Port) -> int:
        self.inputs.append(self.tensor(port))
        return self.inputs[-1]

    def constant(self, values: NDArray[Any]) -> int:
        """A tensor of these values, which lie in the file."""
        tensor = self.tensor(Port(values.shape, values.dtype.name))
        self.graph.tensors[tensor].buffer = len(self.made.buffers)
        content = np.frombuffer(values.tobytes(), np.uint8)
        self.made.buffers.append(schema.BufferT(data=content))
        return tensor

    def dense(self, given: int, weights: NDArray[np.float32], name: str = "tensor") -> int:
        """FULLY_CONNECTED of a tensor of rows of values, to [rows, len(weights)]."""
        takes = self.graph.tensors[given]
        rows = int(np.prod(takes.shape)) // weights.shape[1]
        signature = takes.shapeSignature
        gives = Port(
            [rows, len(weights)], "float32", None if signature is None else [-1, len(weights)]
        )
        options = schema.FullyConnectedOptionsT()
        return self.operator(
            "FULLY_CONNECTED", [given, self.constant(weights), -1], gives, options, name
        )

    def activated(self, given: int, operator: str) -> int:
        """LOGISTIC or SOFTMAX of a tensor."""
        options = schema.SoftmaxOptionsT(beta=1.0) if operator == "SOFTMAX" else None
        return self.operator(operator, [given], self.port_of(given), options)

    def quantised(self, given: int, steps: Steps) -> int:
        port = self.port_of(given)._replace(dtype=steps.dtype)
        tensor = self.operator("QUANTIZE", [given], port, schema.QuantizeOptionsT())
        self.quantise(tensor, steps)
        return tensor

    def quantise(self, tensor: int, steps: Steps) -> None:
        """Say what the numbers of a tensor stand for."""
        quantisation = schema.QuantizationParametersT()
        quantisation.scale = np.array([steps.scale], np.float32)
        quantisation.zeroPoint = np.array([steps.zero_point], np.int64)
        self.graph.tensors[tensor].quantization = quantisation

    def reshaped(self, given: int, shape: Sequence[int], real: Sequence[int] | None = None) -> int:
        """RESHAPE of a tensor; where a size is -1, `real` is the shape as long as none is known."""
        sizes = np.array(shape, np.int32)
        options = schema.ReshapeOptionsT(newShape=sizes)
        port = Port(real or shape, self.port_of(given).dtype, shape if real else None)
        tensor = self.operator("RESHAPE", [given, self.constant(sizes)], port, options)
        self.graph.tensors[tensor].quantization = self.graph.tensors[given].quantization
        return tensor

    def operator(
        self,
        name: str,
        takes: Sequence[int],
        gives: Port,
        options: Any = None,
        tensor_name: str = "tensor",
    ) -> int:
        """Any operator of one output."""
        code = getattr(schema.BuiltinOperator, name)
        self.made.operatorCodes.append(
            schema.OperatorCodeT(
                builtinCode=code, deprecatedBuiltinCode=min(code, _LAST_DEPRECATED), version=1
            )
        )
        operator = schema.OperatorT(opcodeIndex=len(self.made.operatorCodes) - 1)
        tensor = self.tensor(gives, tensor_name)
        operator.inputs, operator.outputs = np.array(takes, np.int32), np.array([tensor], np.int32)
        if options is not None:
            operator.builtinOptions = options
            kinds = vars(schema.BuiltinOptions)
            operator.builtinOptionsType = kinds[type(options).__name__.removesuffix("T")]
        self.graph.operators.append(operator)
        return tensor

    def tensor(self, port: Port, name: str = "tensor") -> int:
        tensor = schema.TensorT(type=_type(port.dtype), buffer=0, name=name.encode())
        tensor.shape = np.array(port.shape, np.int32)
        if port.signature is not None:
            tensor.shapeSignature = np.array(port.signature, np.int32)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def port_of(self, tensor: int) -> Port:
        """A tensor's shape, dtype and signature."""
        found = self.graph.tensors[tensor]
        names = {number: name for name, number in vars(schema.TensorType).items()}
        return Port(found.shape, names[found.type].lower(), found.shapeSignature)

    def model(self, outputs: Sequence[int]) -> bytes:
        """The .tflite file."""
        self.graph.inputs = np.array(self.inputs, np.int32)
        self.graph.outputs = np.array(outputs, np.int32)
        builder = flatbuffers.Builder()
        builder.Finish(self.made.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def linear(
    weights: NDArray[np.float32],
    input_shape: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
) -> bytes:
    """A model whose scores are `weights @ frame`, weights float32 [classes, samples]."""
    graph = Graph()
    scores = graph.dense(graph.input(Port(input_shape or [1, weights.shape[1]])), weights)
    if output_shape is not None:
        graph.graph.tensors[scores].shape = np.array(output_shape, np.int32)
        graph.graph.operators[0].builtinOptions.keepNumDims = True
    return graph.model([scores])


def layered(
    layers: Sequence[Layer],
    takes: Port,
    hidden: NDArray[np.float32] | None = None,
    hidden_output: int | None = None,
    hidden_name: str = "hidden",
) -> bytes:
    """A model of these outputs.

    Args:
      layers: an output each.
      takes: its input: [values], [1, values] or [batch, values].
      hidden: weights, float32 [units, values], of a layer that all of them are computed from.
      hidden_output: its place among the outputs; None if it is none of them.
      hidden_name: of its tensor.
    """
    graph = Graph()
    shared = audio = graph.input(takes)
    if hidden is not None:
        shared = graph.dense(audio, hidden, hidden_name)
    outputs = [_output(graph, shared, each) for each in layers]
    if hidden_output is not None:
        outputs.insert(hidden_output, shared)
    return graph.model(outputs)


def _output(graph: Graph, given: int, layer: Layer) -> int:
    tensor = graph.dense(given, layer.weights, layer.name)
    if layer.activation is not None:
        tensor = graph.activated(tensor, layer.activation)
    if layer.steps is not None:
        tensor = graph.quantised(tensor, layer.steps)
    if layer.shape is not None:
        tensor = graph.reshaped(tensor, layer.shape)
    graph.graph.tensors[tensor].name = layer.name.encode()
    return tensor


def constant(inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
    """A model that computes nothing, with these inputs and with outputs that are always zero."""
    graph = Graph()
    for each in inputs:
        graph.input(each)
    return graph.model([_zeros(graph, each) for each in outputs])


def _zeros(graph: Graph, port: Port) -> int:
    tensor = graph.constant(np.zeros(port.shape, port.dtype))
    if port.signature is not None:
        graph.graph.tensors[tensor].shapeSignature = np.array(port.signature, np.int32)
    return tensor


def _type(dtype: str) -> int:
    return int(getattr(schema.TensorType, dtype.upper()))
