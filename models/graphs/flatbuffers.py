"""TensorFlow Lite graphs as objects: reading, changing and writing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

MODEL_IDENTIFIER = b"TFL3"

_OPERATORS = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
_DTYPES = {schema.TensorType.FLOAT32: np.dtype("<f4"), schema.TensorType.INT32: np.dtype("<i4")}


def parse(model: bytes) -> Any:
    """A .tflite file as the schema's objects: a ModelT."""
    return schema.ModelT.InitFromPackedBuf(model)


def serialise(model: Any) -> bytes:
    """The .tflite file of a ModelT."""
    builder = _AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """What an operator is called in the schema: CONV_2D, RESHAPE, ..."""
    code = model.operatorCodes[operator.opcodeIndex]
    return str(_OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM"))


def tensor_name(model: Any, tensor: int) -> str:
    """What a tensor is called in the file; empty where it is not."""
    return (model.subgraphs[0].tensors[tensor].name or b"").decode("utf-8", "replace")


def constant(model: Any, tensor: int) -> NDArray[Any] | None:
    """A tensor's values, where they are float32 or int32 and part of the file; else None."""
    described = model.subgraphs[0].tensors[tensor]
    content = model.buffers[described.buffer].data
    if content is None or len(content) == 0 or described.type not in _DTYPES:
        return None
    values = np.frombuffer(bytes(content), _DTYPES[described.type])
    return values.reshape([] if described.shape is None else described.shape)


def ancestors(model: Any, tensor: int) -> set[int]:
    """The tensors that one is computed from; it is not among them."""
    makers = _makers(model)
    found: set[int] = set()
    waiting = [tensor]
    while waiting:
        operator = makers.get(waiting.pop())
        for each in () if operator is None else _taken_by(operator):
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


def unreshaped(model: Any, tensor: int) -> int:
    """The tensor with a tensor's values before they were brought into another shape."""
    for operator in _back_from(model, tensor):
        if operator_name(model, operator) not in ("RESHAPE", "SQUEEZE"):
            break
        tensor = _taken_by(operator)[0]
    return tensor


def before_last_layer(model: Any, tensor: int) -> int | None:
    """What the last layer with weights on the way to a tensor takes; None where there is none."""
    for operator in _back_from(model, tensor):
        name = operator_name(model, operator)
        if name in ("FULLY_CONNECTED", "CONV_2D"):
            return _taken_by(operator)[0]
        if name not in _AFTER_THE_LAST_LAYER:
            return None
    return None


def before_activation(model: Any, tensor: int) -> set[int]:
    """The tensors that nothing but activations and changes of form lie between and a tensor."""
    found: set[int] = set()
    for operator in _back_from(model, tensor):
        if operator_name(model, operator) not in (*_CHANGES_OF_FORM, "LOGISTIC", "SOFTMAX"):
            break
        found.add(_taken_by(operator)[0])
    return found


def is_probability(model: Any, tensor: int) -> bool:
    """Whether a tensor's values are made by a logistic function or a softmax."""
    for operator in _back_from(model, tensor):
        name = operator_name(model, operator)
        if name not in _CHANGES_OF_FORM:
            return name in ("LOGISTIC", "SOFTMAX")
    return False


def with_output(model: bytes, tensor: int) -> bytes:
    """The .tflite file with one of its tensors as a further output, and no signatures."""
    changed = parse(model)
    graph = changed.subgraphs[0]
    graph.outputs = np.append(graph.outputs, np.int32(tensor))
    changed.signatureDefs = []
    return serialise(changed)


_CHANGES_OF_FORM = ("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE")
_AFTER_THE_LAST_LAYER = {
    *("LOGISTIC", "SOFTMAX", "LOG_SOFTMAX", "RELU", "RELU6", "TANH", "ADD", "MUL", "SUB"),
    *("DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE"),
}


def _back_from(model: Any, tensor: int) -> Iterator[Any]:
    """The operators that make a tensor, the last first, each by the first tensor of the next.

    No operator comes twice, as in a damaged graph that goes in circles.
    """
    makers = _makers(model)
    while (operator := makers.pop(tensor, None)) is not None and _taken_by(operator):
        yield operator
        tensor = _taken_by(operator)[0]


def _makers(model: Any) -> dict[int, Any]:
    """The operator that makes each tensor."""
    operators = model.subgraphs[0].operators or ()
    return {int(tensor): each for each in operators for tensor in _or_none(each.outputs)}


def _taken_by(operator: Any) -> list[int]:
    """The tensors that an operator takes, without those that may be left out and are."""
    return [int(tensor) for tensor in _or_none(operator.inputs) if tensor >= 0]


def _or_none(tensors: Any) -> Any:
    """A list of tensors, which is missing in a file where it is empty."""
    return () if tensors is None else tensors


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Puts vectors of bytes at multiples of 16, as the model's schema wants its weights.

    The generated code for Python forgets the schema's force_align.
    """

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)
