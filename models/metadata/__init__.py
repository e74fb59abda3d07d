"""TFLite Model Metadata: what a .tflite file says about itself, and the files packed with it."""

from earmark.models.metadata.reading import (
    TRANSFORMATIONS,
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
    damage_as_model_error,
    lines_of,
    read,
)
from earmark.models.metadata.writing import Ports, fits_float32, pack, read_ports

__all__ = [
    "TRANSFORMATIONS",
    "CalibrationMetadata",
    "InputMetadata",
    "LabelFile",
    "ModelMetadata",
    "OutputMetadata",
    "Ports",
    "damage_as_model_error",
    "fits_float32",
    "lines_of",
    "pack",
    "read",
    "read_ports",
]
