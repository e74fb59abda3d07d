"""Models of a few bytes: each head a linear function of the frame, and what may follow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from models import graphs

SCALE, ZERO_POINT = 1 / 256, 0
"""Of quantised scores."""


class Layer(NamedTuple):
    """A head: the logistic function of `weights @ frame`, or the product itself.

    Attributes:
      weights: float32 [classes, values].
      is_logistic: whether the logistic function follows.
      is_quantised: whether uint8 in steps of SCALE does.
      is_4d: whether it is of [1, 1, 1, classes].
    """

    weights: NDArray[np.float32]
    is_logistic: bool = True
    is_quantised: bool = False
    is_4d: bool = False


def build(layers: Sequence[Layer], input_shape: Sequence[int]) -> bytes:
    """A .tflite file without metadata; its outputs are the heads in their order."""
    made = _Graph()
    audio = made.tensor(input_shape)
    made.graph.inputs = np.array([audio], np.int32)
    made.graph.outputs = np.array([_head(made, audio, each) for each in layers], np.int32)
    return graphs.serialise(made.model)


def _head(made: _Graph, audio: int, layer: Layer) -> int:
    classes = len(layer.weights)
    shape = [1, classes]
    weights = made.tensor(layer.weights.shape, content=layer.weights.tobytes())
    given = made.tensor(shape)
    options = schema.FullyConnectedOptionsT()
    made.operator("FULLY_CONNECTED", [audio, weights, -1], given, options)
    if layer.is_logistic:
        given = made.follow("LOGISTIC", given, shape)
    if layer.is_quantised:
        kind = schema.TensorType.UINT8
        given = made.follow("QUANTIZE", given, shape, schema.QuantizeOptionsT(), kind)
    if layer.is_4d:
        wanted = schema.ReshapeOptionsT()
        wanted.newShape = np.array([1, 1, 1, classes], np.int32)
        kind = made.graph.tensors[given].type
        given = made.follow("RESHAPE", given, [1, 1, 1, classes], wanted, kind)
    return given


class _Graph:
    """A model that grows."""

    def __init__(self) -> None:
        self.graph = schema.SubGraphT(tensors=[], operators=[], name=b"main")
        self.model = schema.ModelT(version=3, operatorCodes=[], subgraphs=[self.graph])
        self.model.buffers = [schema.BufferT()]

    def tensor(
        self,
        shape: Sequence[int],
        kind: int = schema.TensorType.FLOAT32,
        content: bytes | None = None,
    ) -> int:
        tensor = schema.TensorT(type=kind, buffer=0, name=b"tensor")
        tensor.shape = np.array(shape, np.int32)
        if content is not None:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
        if kind == schema.TensorType.UINT8:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([SCALE], np.float32)
            tensor.quantization.zeroPoint = np.array([ZERO_POINT], np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def follow(
        self,
        name: str,
        given: int,
        shape: Sequence[int],
        options: Any = None,
        kind: int = schema.TensorType.FLOAT32,
    ) -> int:
        made = self.tensor(shape, kind)
        self.operator(name, [given], made, options)
        return made

    def operator(self, name: str, takes: Sequence[int], gives: int, options: Any = None) -> None:
        code = getattr(schema.BuiltinOperator, name)
        self.model.operatorCodes.append(
            schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1)
        )
        operator = schema.OperatorT(opcodeIndex=len(self.model.operatorCodes) - 1)
        operator.inputs, operator.outputs = np.array(takes, np.int32), np.array([gives], np.int32)
        if options is not None:
            operator.builtinOptions = options
            kinds = vars(schema.BuiltinOptions)
            operator.builtinOptionsType = kinds[type(options).__name__.removesuffix("T")]
        self.graph.operators.append(operator)
