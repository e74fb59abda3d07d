"""TFLite Model Metadata: what a .tflite file says about itself, and the files packed with it."""

from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
    damage_is_a_model_error,
    lines_of,
    read,
)
from earmark.models.metadata.writing import Ports, pack, ports

__all__ = [
    "CalibrationMetadata",
    "InputMetadata",
    "LabelFile",
    "ModelMetadata",
    "OutputMetadata",
    "Ports",
    "damage_is_a_model_error",
    "lines_of",
    "pack",
    "ports",
    "read",
]
