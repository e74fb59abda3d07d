"""Numbers of the two schemas that a model's metadata is read and written by.

A field's number is its slot in its table. Of TFLite's own `schema.fbs` it is what leads to the
metadata, which follows `metadata_schema.fbs`
(https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs).
"""

from __future__ import annotations

from typing import Final

METADATA_NAME: Final = "TFLITE_METADATA"
METADATA_IDENTIFIER: Final = b"M001"

TFLITE_BUFFERS, TFLITE_METADATA = 4, 6
ENTRY_NAME, ENTRY_BUFFER = 0, 1
BUFFER_CONTENT = 0

MODEL_NAME, MODEL_DESCRIPTION, MODEL_VERSION, MODEL_GRAPHS = 0, 1, 2, 3
MODEL_AUTHOR, MODEL_LICENSE, MODEL_MIN_PARSER_VERSION = 4, 5, 7
GRAPH_INPUTS, GRAPH_OUTPUTS = 2, 3
TENSOR_NAME, TENSOR_DESCRIPTION, TENSOR_CONTENT, TENSOR_UNITS, TENSOR_FILES = 0, 1, 3, 4, 6
AUDIO_SAMPLE_RATE, AUDIO_CHANNELS = 0, 1
CALIBRATION_TRANSFORMATION, CALIBRATION_DEFAULT_SCORE = 0, 1
THRESHOLDING_SCORE = 0
FILE_NAME, FILE_TYPE, FILE_LOCALE = 0, 2, 3

UNION_KIND, UNION_CONTENT = 0, 1
"""Of a tensor's content and of a process unit, which are one of several kinds of tables each."""

AUDIO_PROPERTIES: Final = 4
"""The kind of a tensor's content that is audio."""

SCORE_CALIBRATION: Final = 2
SCORE_THRESHOLDING: Final = 3
"""Kinds of process units."""

LABELS: Final = 2
CALIBRATION: Final = 4
"""Types of associated files: TENSOR_AXIS_LABELS and TENSOR_AXIS_SCORE_CALIBRATION."""

TRANSFORMATIONS: Final = ("identity", "log", "inverse_logistic")
"""What is done to a score before it is calibrated, in the order of ScoreTransformationType."""
