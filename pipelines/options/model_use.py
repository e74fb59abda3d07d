"""How a run uses its model: what its options say, with the content of the files they name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from earmark.models.classifier import AudioClassifier, load_classifier, parse_labels
from earmark.models.errors import ModelError
from earmark.models.metadata import CalibrationMetadata
from earmark.models.running import Kernels
from earmark.models.scores import (
    DEFAULT_MIN_SCORE,
    ModelOptions,
    parse_label_list,
    parse_thresholds,
    score_thresholds,
)
from earmark.models.sources import LARGEST_BYTES, ModelSource, resolve
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options.model import ClassifyOptions
from earmark.transforms.errors import ExpectedError
from earmark.transforms.storage import (
    UNUSABLE_ERRORS,
    ListingError,
    check_store,
    read_small,
    read_uri,
    reason,
    shown,
)
from earmark.transforms.workers import marking

_T = TypeVar("_T")

_LARGEST_TEXT_BYTES = 16_000_000

_BRIEF = 200
"""Characters of an option's text that files say of themselves; of a longer one, its sha256."""


@dataclass(frozen=True)
class ModelUse:
    """How a run uses its model.

    Attributes:
      options: how it is loaded.
      min_score: of all classes; None for what the model says.
      thresholds: by label, of some classes.
      allow: labels and patterns of the only classes to report; empty for all.
      deny: labels and patterns of classes not to report.
    """

    options: ModelOptions
    min_score: float | None
    thresholds: Mapping[str, float]
    allow: tuple[str, ...]
    deny: tuple[str, ...]

    def score_thresholds(self, classifier: AudioClassifier) -> NDArray[np.float32]:
        """The lowest score of each class that is a detection, float32 [classes].

        Raises:
          ModelError: the model has no such class, or can't give such scores.
        """
        heads, given = classifier.heads, self.min_score
        most = max((head.max_score for head in heads), default=np.inf)
        if given is not None and np.float32(given) > np.float32(most):
            raise ModelError(f"min_score {given:g}: the model gives no score above {most:g}")
        least = score_thresholds(heads, given, self.thresholds, self.allow, self.deny)
        self._check_reachable(least, classifier)
        if len(least) and np.isinf(least).all():
            raise ModelError("--allow or --deny excludes every label")
        return least

    def _check_reachable(self, least: NDArray[np.float32], classifier: AudioClassifier) -> None:
        """Check that scores can reach the thresholds of --thresholds and the model's metadata."""
        bounds = [head.max_score for head in classifier.heads for _ in head.labels]
        for label, score, most in zip(classifier.labels, least, bounds, strict=True):
            is_own = self.min_score is None or score != np.float32(self.min_score)
            if is_own and np.isfinite(score) and score > np.float32(most):
                raise ModelError(
                    f"{label!r} has the threshold {score:g}, from --thresholds or the model's"
                    f" metadata: the model gives no score above {most:g}"
                )

    def min_score_of(self, classifier: AudioClassifier) -> float | None:
        """The default threshold; None where the model's metadata has one for a head."""
        if self.min_score is not None:
            return self.min_score
        says = any(head.score_threshold is not None for head in classifier.heads)
        return None if says else DEFAULT_MIN_SCORE

    def settings(self) -> dict[str, str]:
        """What rows depend on besides the model itself, by name."""
        calibration = self.options.calibration
        thresholds = [f"{label},{score}" for label, score in sorted(self.thresholds.items())]
        return {
            "locale": self.options.locale or "none",
            "activation": self.options.activation,
            "calibration": "of the model" if calibration is None else _brief(map(str, calibration)),
            "thresholds": _brief(thresholds),
            "allow": _brief(sorted(self.allow)),
            "deny": _brief(sorted(self.deny)),
            "xnnpack": "on" if self.options.kernels.xnnpack else "off",
        }


@dataclass(frozen=True)
class ModelLoader:
    """Gives a model's classifier, in this process or in a worker.

    Attributes:
      source: the model.
      options: how it is to be used.
    """

    source: ModelSource
    options: ModelOptions

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


def read_model_use(options: ClassifyOptions) -> ModelUse:
    """Read how a run uses its model.

    Raises:
      UsageError: a file that the options name cannot be read, or has another content.
    """
    labels = _parsed("labels", options.labels, lambda text: parse_labels(text.encode()))
    parameters = None if options.calibration is None else read_calibration(options.calibration)
    return ModelUse(
        ModelOptions(
            labels=labels,
            sample_rate_hz=options.sample_rate,
            locale=options.locale,
            heads=options.heads,
            activation=options.activation,
            calibration=None
            if parameters is None
            else CalibrationMetadata(
                options.calibration_transformation, options.calibration_default, parameters
            ),
            embeddings=options.embeddings is not None,
            kernels=Kernels(options.num_threads, options.xnnpack),
        ),
        options.min_score,
        _parsed("thresholds", options.thresholds, parse_thresholds) or {},
        tuple(_listed("allow", options.allow or ())),
        tuple(_listed("deny", options.deny or ())),
    )


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


def read_text(option: str, path: str) -> str:
    """The text of the file or URI that an option names.

    Raises:
      UsageError: it cannot be read, or is not text.
    """
    try:
        return read_small(path, _LARGEST_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"--{option} {shown(path)}: not UTF-8 text") from error
    except ListingError as error:
        raise UsageError(f"--{option} {error}") from error
    except UNUSABLE_ERRORS as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise UsageError(f"--{option} {shown(path)}: {said or reason(error)}") from error


def read_calibration(path: str) -> str:
    """The text of a score calibration file, without the newline of its last line.

    That newline would otherwise count as an empty line, for one class more.

    Raises:
      UsageError: it cannot be read, or is not text.
    """
    return read_text("calibration", path).replace("\r\n", "\n").removesuffix("\n")


def _parsed(option: str, path: str | None, parse: Callable[[str], _T]) -> _T | None:
    if path is None:
        return None
    text = read_text(option, path)
    with _about(option, path):
        return parse(text)


def _listed(option: str, given: Sequence[str]) -> Iterator[str]:
    """Labels and patterns, with the lines of the files that are among them."""
    for each in given:
        if not each.startswith("@"):
            yield each
            continue
        if each == "@":
            raise UsageError(f"--{option} @: name a file after the @")
        listed = parse_label_list(read_text(option, each[1:]))
        if not listed:
            raise UsageError(f"--{option} {shown(each)}: contains no labels")
        yield from listed


@contextmanager
def _about(option: str, path: str) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise UsageError(f"--{option} {shown(path)}: {error}") from error


def _brief(parts: Iterator[str] | Sequence[str]) -> str:
    text = "; ".join(parts) or "none"
    if len(text) <= _BRIEF and "\n" not in text:
        return text
    return f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
