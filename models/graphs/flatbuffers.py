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
    """Read a .tflite file as the objects of its schema, a ModelT."""
    return schema.ModelT.InitFromPackedBuf(model)


def serialise(model: Any, identifier: bytes = MODEL_IDENTIFIER) -> bytes:
    """The .tflite file of a ModelT, or the flatbuffer of another root with its identifier."""
    builder = _AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), identifier)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """The name of an operator in the schema, such as CONV_2D; CUSTOM where it has none."""
    code = model.operatorCodes[operator.opcodeIndex]
    return str(_OPERATORS.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM"))


def tensor_name(model: Any, tensor: int) -> str:
    """The name of a tensor; empty where it has none."""
    return (model.subgraphs[0].tensors[tensor].name or b"").decode("utf-8", "replace")


def constant(model: Any, tensor: int) -> NDArray[Any] | None:
    """The values of a constant tensor of float32 or int32; None for any other."""
    described = model.subgraphs[0].tensors[tensor]
    content = model.buffers[described.buffer].data
    if content is None or len(content) == 0 or described.type not in _DTYPES:
        return None
    values = np.frombuffer(bytes(content), _DTYPES[described.type])
    return values.reshape([] if described.shape is None else described.shape)


def ancestors(model: Any, tensor: int) -> set[int]:
    """All tensors that a tensor is computed from, without itself."""
    makers = _producers(model)
    found: set[int] = set()
    waiting = [tensor]
    while waiting:
        operator = makers.get(waiting.pop())
        for each in () if operator is None else _inputs_of(operator):
            if each not in found:
                found.add(each)
                waiting.append(each)
    return found


def before_reshapes(model: Any, tensor: int) -> int:
    """The tensor that a tensor is a reshaped copy of; the tensor itself where it is none."""
    for operator in _upstream(model, tensor):
        if operator_name(model, operator) not in ("RESHAPE", "SQUEEZE"):
            break
        tensor = _inputs_of(operator)[0]
    return tensor


def before_last_layer(model: Any, tensor: int) -> int | None:
    """The input of the last layer with weights before a tensor; None where there is none."""
    for operator in _upstream(model, tensor):
        name = operator_name(model, operator)
        if name in ("FULLY_CONNECTED", "CONV_2D"):
            return _inputs_of(operator)[0]
        if name not in _AFTER_THE_LAST_LAYER:
            return None
    return None


def before_activation(model: Any, tensor: int) -> set[int]:
    """The tensors that only activations, reshapes and quantisation separate from a tensor."""
    found: set[int] = set()
    for operator in _upstream(model, tensor):
        if operator_name(model, operator) not in (*_CHANGES_OF_FORM, "LOGISTIC", "SOFTMAX"):
            break
        found.add(_inputs_of(operator)[0])
    return found


def is_probability(model: Any, tensor: int) -> bool:
    """Whether a tensor's values are made by a logistic function or a softmax."""
    for operator in _upstream(model, tensor):
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


def _upstream(model: Any, tensor: int) -> Iterator[Any]:
    """The operators that lead to a tensor, the last first, by the first input of each.

    None comes twice, so a damaged graph with a cycle ends.
    """
    makers = _producers(model)
    while (operator := makers.pop(tensor, None)) is not None and _inputs_of(operator):
        yield operator
        tensor = _inputs_of(operator)[0]


def _producers(model: Any) -> dict[int, Any]:
    """The operator that computes each tensor."""
    operators = model.subgraphs[0].operators or ()
    return {int(tensor): each for each in operators for tensor in _or_empty(each.outputs)}


def _inputs_of(operator: Any) -> list[int]:
    """The inputs of an operator, without optional ones that are left out."""
    return [int(tensor) for tensor in _or_empty(operator.inputs) if tensor >= 0]


def _or_empty(tensors: Any) -> Any:
    """A list of tensors; files leave empty lists out."""
    return () if tensors is None else tensors


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Aligns vectors of bytes to 16, as the schema's force_align asks for weights.

    Generated Python code ignores force_align.
    """

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)
