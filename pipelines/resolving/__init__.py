"""From options to what a run goes by: files that they name are read, and the model is found."""

from earmark.pipelines.resolving.model_use import (
    ModelLoader,
    find_model,
    min_score_of,
    reachable_thresholds,
    with_known_use,
)
from earmark.pipelines.resolving.values import (
    filled,
    read_calibration,
    read_text,
    resolved,
    stated,
)

__all__ = [
    "ModelLoader",
    "filled",
    "find_model",
    "min_score_of",
    "reachable_thresholds",
    "read_calibration",
    "read_text",
    "resolved",
    "stated",
    "with_known_use",
]
