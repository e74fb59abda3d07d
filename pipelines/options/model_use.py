"""Finding a run's model, and checking that it can be used as the options ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.models.classifier import AudioClassifier, load_classifier
from earmark.models.errors import ModelError
from earmark.models.running import Kernels
from earmark.models.scores import DEFAULT_MIN_SCORE, ModelOptions, score_thresholds
from earmark.models.sources import LARGEST_BYTES, ModelSource, resolve
from earmark.pipelines.options.resolving import filled
from earmark.transforms.errors import ExpectedError
from earmark.transforms.storage import ListingError, check_store, read_small, read_uri
from earmark.transforms.workers import marking


@dataclass(frozen=True)
class ModelLoader:
    """Gives a model's classifier, in this process or in a worker.

    Attributes:
      source: the model.
      options: how it is to be used.
    """

    source: ModelSource
    options: ModelOptions

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ModelLoader:
        """The loader of the model that options name, by their resolved values.

        Raises:
          ModelError: there is no such model, or it cannot be read or fetched.
        """
        options = filled(
            ModelOptions,
            values,
            sample_rate_hz=values["sample_rate"],
            embeddings=values["embeddings"] is not None,
            kernels=filled(Kernels, values),
        )
        return cls(find_model(values["model"]), options)

    def __call__(self) -> AudioClassifier:
        """The classifier: see `load_classifier`."""
        return load_classifier(self.source, self.options, read=read_uri)

    @marking
    def in_worker(self) -> AudioClassifier:
        """The classifier, in a worker."""
        try:
            return self()
        except ModelError as error:
            raise ExpectedError(str(error)) from error


def find_model(model: str) -> ModelSource:
    """Find a model that an option or argument names: see `earmark.models.sources.resolve`.

    Raises:
      ModelError: there is no such model, or it cannot be read or fetched.
    """
    if "://" not in model:
        return resolve(model)
    try:
        check_store(model)
    except ListingError as error:
        raise ModelError(f"cannot read the model {error}") from error
    return resolve(model, read_model)


def read_model(uri: str) -> bytes:
    """The content of a model at a URI; an error if it is too large for a model."""
    return read_small(uri, LARGEST_BYTES)


def min_score_of(classifier: AudioClassifier, given: float | None) -> float | None:
    """The default threshold; None where the model's metadata has one for a head."""
    says = any(head.score_threshold is not None for head in classifier.heads)
    return DEFAULT_MIN_SCORE if given is None and not says else given


def reachable_thresholds(
    classifier: AudioClassifier, values: Mapping[str, Any]
) -> NDArray[np.float32]:
    """The lowest score of each class that is a detection, float32 [classes].

    Args:
      classifier: the model.
      values: the resolved values of options.

    Raises:
      ModelError: the model has no such class, or can't give such scores.
    """
    heads, given = classifier.heads, values["min_score"]
    most = max((head.max_score for head in heads), default=np.inf)
    if given is not None and np.float32(given) > np.float32(most):
        raise ModelError(f"min_score {given:g}: the model gives no score above {most:g}")
    which = {name: values[name] for name in ("thresholds", "allow", "deny")}
    least = score_thresholds(heads, given, **which)
    _check_reachable(least, classifier, given)
    if len(least) and np.isinf(least).all():
        raise ModelError("--allow or --deny excludes every label")
    return least


def _check_reachable(
    least: NDArray[np.float32], classifier: AudioClassifier, min_score: float | None
) -> None:
    """Check that scores can reach the thresholds of --thresholds and the model's metadata."""
    bounds = [head.max_score for head in classifier.heads for _ in head.labels]
    for label, score, most in zip(classifier.labels, least, bounds, strict=True):
        is_own = min_score is None or score != np.float32(min_score)
        if is_own and np.isfinite(score) and score > np.float32(most):
            raise ModelError(
                f"{label!r} has the threshold {score:g}, from --thresholds or the model's"
                f" metadata: the model gives no score above {most:g}"
            )
