"""From a model's outputs to scores: heads, calibration, and which classes count from where on."""

from earmark.models.scores.calibration import TRANSFORMATIONS, make_calibration
from earmark.models.scores.heads import Head, ModelOptions, as_scores, choose_heads
from earmark.models.scores.selection import (
    DEFAULT_MIN_SCORE,
    least_scores,
    listed_labels,
    parse_thresholds,
)

__all__ = [
    "DEFAULT_MIN_SCORE",
    "TRANSFORMATIONS",
    "Head",
    "ModelOptions",
    "as_scores",
    "choose_heads",
    "least_scores",
    "listed_labels",
    "make_calibration",
    "parse_thresholds",
]
