"""From a model's outputs to scores: heads, calibration, and which classes count from where on."""

from earmark.models.scores.calibration import make_calibration
from earmark.models.scores.heads import Head, ModelOptions, as_scores, choose_heads
from earmark.models.scores.selection import (
    DEFAULT_MIN_SCORE,
    parse_label_list,
    parse_thresholds,
    score_thresholds,
)

__all__ = [
    "DEFAULT_MIN_SCORE",
    "Head",
    "ModelOptions",
    "as_scores",
    "choose_heads",
    "make_calibration",
    "parse_label_list",
    "parse_thresholds",
    "score_thresholds",
]
