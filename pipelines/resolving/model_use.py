"""Finding a run's model, and checking that it can be used as the options ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.models.catalogue import known_model, read_labels_of
from earmark.models.classifier import AudioClassifier, load_classifier, parse_labels
from earmark.models.errors import ModelError
from earmark.models.places import PlaceModel, load_places
from earmark.models.running import Kernels
from earmark.models.scores import DEFAULT_MIN_SCORE, ModelOptions, score_thresholds
from earmark.models.sources import LARGEST_BYTES, ModelSource, places_of, resolve
from earmark.pipelines.resolving.values import filled
from earmark.transforms.errors import ExpectedError
from earmark.transforms.storage import ListingError, check_store, read_small, read_uri
from earmark.transforms.workers import marking


@dataclass(frozen=True)
class ModelLoader:
    """Gives a model's classifier, in this process or in a worker.

    Attributes:
      source: the model.
      options: how it is to be used.
      places: gives its companion that tells what is plausible where, if only that is wanted.
    """

    source: ModelSource
    options: ModelOptions
    places: PlacesLoader | None = None

    @classmethod
    def of(cls, source: ModelSource, values: Mapping[str, Any]) -> ModelLoader:
        """The loader of a model, as options say by their resolved values.

        Args:
          source: the model.
          values: by name; `display_names` may be among them.

        Raises:
          ModelError: it has no companion, but is asked what is plausible where.
        """
        options = filled(
            ModelOptions,
            values,
            sample_rate_hz=values["sample_rate"],
            embeddings=values["embeddings"] is not None,
            kernels=filled(Kernels, values),
        )
        places = None if values["place"] is None else PlacesLoader(places_of(source))
        return cls(source, options, places)

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


@dataclass(frozen=True)
class PlacesLoader:
    """Gives a model of what is plausible where, in this process or in a worker."""

    source: ModelSource

    @marking
    def __call__(self) -> PlaceModel:
        """The model: see `load_places`."""
        try:
            return load_places(self.source)
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


def with_known_use(source: ModelSource, values: Mapping[str, Any]) -> dict[str, Any]:
    """Resolved values of options, with what the catalogue says of the model where none are given.

    Raises:
      ModelError: the model's labels cannot be had, or not in the language asked for.
    """
    known = known_model(source.sha256)
    if known is None:
        return dict(values)
    said: dict[str, Any] = {"sample_rate": values["sample_rate"] or known.sample_rate}
    if values["activation"] == "none":
        said["activation"] = known.activation
    labels = values["labels"]
    if labels is None and (text := read_labels_of(known)) is not None:
        labels = parse_labels(text.encode())
    if known.label_form == "scientific_common" and labels is not None:
        shown = labels
        if values["locale"] is not None:
            shown = parse_labels(str(read_labels_of(known, values["locale"])).encode())
        labels = tuple(label.partition("_")[0] for label in labels)
        said["display_names"] = tuple(label.partition("_")[2] or label for label in shown)
    return {**values, **said, "labels": labels}


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
