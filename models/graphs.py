"""TensorFlow Lite graphs as objects: reading, changing and writing them."""

from __future__ import annotations

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


def constant(model: Any, tensor: int) -> NDArray[Any] | None:
    """A tensor's values, where they are float32 or int32 and part of the file; else None."""
    described = model.subgraphs[0].tensors[tensor]
    content = model.buffers[described.buffer].data
    if content is None or len(content) == 0 or described.type not in _DTYPES:
        return None
    values = np.frombuffer(bytes(content), _DTYPES[described.type])
    return values.reshape([] if described.shape is None else described.shape)


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Puts vectors of bytes at multiples of 16, as the model's schema wants its weights.

    The generated code for Python forgets the schema's force_align.
    """

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)
