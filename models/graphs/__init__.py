"""TensorFlow Lite graphs: reading and changing them, and cutting them at their log-mel patch."""

from earmark.models.graphs.cutting import CannotCutError, CutModel, cut
from earmark.models.graphs.flatbuffers import (
    MODEL_IDENTIFIER,
    ancestors,
    before_activation,
    before_last_layer,
    before_reshapes,
    is_probability,
    parse,
    serialise,
    tensor_name,
    with_output,
)

__all__ = [
    "MODEL_IDENTIFIER",
    "CannotCutError",
    "CutModel",
    "ancestors",
    "before_activation",
    "before_last_layer",
    "before_reshapes",
    "cut",
    "is_probability",
    "parse",
    "serialise",
    "tensor_name",
    "with_output",
]
