"""Fixtures for the tests of models: `tiny_model` builds .tflite files of a few bytes.

They are written with the schema's own classes, without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

FULLY_CONNECTED = schema.BuiltinOperator.FULLY_CONNECTED

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
}


class Port(NamedTuple):
    """An input or output of a model; a signature tells which sizes may vary (-1)."""

    shape: Sequence[int]
    dtype: str = "float32"
    signature: Sequence[int] | None = None


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., bytes]:
    """A model whose scores are `weights @ frame`, weights float32 [classes, samples]."""
    return _linear


@pytest.fixture(scope="session")
def odd_model() -> Callable[..., bytes]:
    """A model that computes nothing, with these inputs and with outputs that are always zero."""
    return _constant


@pytest.fixture(scope="session")
def port() -> type[Port]:
    return Port


def _linear(
    weights: NDArray[np.float32],
    input_shape: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
) -> bytes:
    classes, samples = weights.shape
    operator = schema.OperatorT(opcodeIndex=0)
    operator.inputs, operator.outputs = np.array([0, 1, -1], np.int32), np.array([2], np.int32)
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    operator.builtinOptions.keepNumDims = output_shape is not None
    return _model(
        tensors=[
            _tensor(Port(input_shape or [1, samples])),
            _tensor(Port(weights.shape), buffer=1),
            _tensor(Port(output_shape or [1, classes])),
        ],
        buffers=[None, weights.tobytes()],
        inputs=[0],
        outputs=[2],
        operators=[operator],
    )


def _constant(inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
    sizes = [int(np.prod(each.shape)) * np.dtype(each.dtype).itemsize for each in outputs]
    return _model(
        tensors=[_tensor(each) for each in inputs]
        + [_tensor(each, buffer=i + 1) for i, each in enumerate(outputs)],
        buffers=[None, *(bytes(size) for size in sizes)],
        inputs=list(range(len(inputs))),
        outputs=list(range(len(inputs), len(inputs) + len(outputs))),
        operators=[],
    )


def _tensor(port: Port, buffer: int = 0) -> schema.TensorT:
    tensor = schema.TensorT(type=TYPES[port.dtype], buffer=buffer, name=b"tensor")
    tensor.shape = np.array(port.shape, np.int32)
    if port.signature is not None:
        tensor.shapeSignature = np.array(port.signature, np.int32)
    return tensor


def _model(
    tensors: list[schema.TensorT],
    buffers: Sequence[bytes | None],
    inputs: list[int],
    outputs: list[int],
    operators: list[schema.OperatorT],
) -> bytes:
    code = schema.OperatorCodeT(builtinCode=FULLY_CONNECTED, version=1)
    code.deprecatedBuiltinCode = FULLY_CONNECTED
    graph = schema.SubGraphT(tensors=tensors, operators=operators, name=b"main")
    graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    model = schema.ModelT(version=3, operatorCodes=[code], subgraphs=[graph])
    model.buffers = [
        schema.BufferT(data=None if each is None else np.frombuffer(each, np.uint8))
        for each in buffers
    ]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
