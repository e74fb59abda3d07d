"""A model's heads: which outputs are chosen, their labels, and how values become scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import ModelError, nearest
from earmark.models.metadata import CalibrationMetadata, ModelMetadata, OutputMetadata
from earmark.models.running import Interface, Kernels, Output
from earmark.models.scores.calibration import Calibration, make_calibration

ACTIVATIONS = ("none", "sigmoid", "softmax")


@dataclass(frozen=True)
class ModelOptions:
    """How to use a model.

    Attributes:
      labels: labels in the output's order, instead of those packed in the file.
      display_names: display names of these labels, instead of those packed in the file.
      sample_rate_hz: the sample rate of a model whose metadata has none.
      locale: the locale of display names; None for no display names.
      heads: the names of the chosen heads; None for all.
      activation: the function that turns outputs into scores: none, sigmoid or softmax.
      sensitivity: of a sigmoid: its inputs are multiplied by 2 - sensitivity, as birdnetlib and
        BirdNET-Analyzer 1 do.
      calibration: the calibration of scores, instead of the one in the metadata.
      embeddings: whether to give embeddings.
      kernels: what computes the operators.
    """

    labels: tuple[str, ...] | None = None
    display_names: tuple[str, ...] | None = None
    sample_rate_hz: int | None = None
    locale: str | None = None
    heads: tuple[str, ...] | None = None
    activation: str = "none"
    sensitivity: float = 1.0
    calibration: CalibrationMetadata | None = None
    embeddings: bool = False
    kernels: Kernels = field(default_factory=Kernels)


@dataclass(frozen=True)
class Head:
    """An output of scores.

    Attributes:
      name: its name in the metadata, else `head 0`, `head 1` and so on.
      output: the model's output.
      labels: the labels of its classes, `class 17` for one without a label.
      display_names: the names of its classes in the chosen locale; None where there are none.
      calibration: the calibration of its scores; None where there is none.
      score_threshold: the lowest score that counts by its metadata; None where it has none.
      max_score: the highest score that it can give; infinite where nothing bounds it.
    """

    name: str
    output: Output
    labels: tuple[str, ...]
    display_names: tuple[str, ...] | None = None
    calibration: Calibration | None = None
    score_threshold: float | None = None
    max_score: float = math.inf


def choose_heads(
    interface: Interface, metadata: ModelMetadata, options: ModelOptions
) -> tuple[Head, ...]:
    """The chosen heads of a model, in the order of its outputs.

    Raises:
      ModelError: there is no such head, locale or activation, or the labels or the calibration do
        not fit.
    """
    if options.activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ModelError(f"unknown activation {options.activation!r}; there is {known}")
    if options.sensitivity != 1 and options.activation != "sigmoid":
        raise ModelError("--sensitivity: only for scores that --activation sigmoid makes")
    described = [metadata.output(output.position) for output in interface.heads]
    names = [each.name or f"head {i}" for i, each in enumerate(described)]
    if len(set(names)) < len(names):
        names = [f"{name} {i}" for i, name in enumerate(names)]
    wanted = _wanted(names, options.heads)
    if len(wanted) != 1:
        _refuse_for_one("labels", options.labels, wanted)
        _refuse_for_one("a score calibration", options.calibration, wanted)
    chosen = [i for i, name in enumerate(names) if name in wanted]
    heads = tuple(
        _with_max_score(
            _head(names[i], interface.heads[i], described[i], options), interface, options
        )
        for i in chosen
    )
    named = any(head.display_names is not None for head in heads)
    if heads and options.locale is not None and not named:
        _refuse_locale(options.locale, (described[i].locales for i in chosen))
    return heads


def as_scores(
    head: Head, given: NDArray[np.float32], options: ModelOptions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn an output, float32 [n, classes], into scores, and scores before calibration."""
    if options.sensitivity != 1:
        given = given * np.float32(2 - options.sensitivity)
    raw = _ACTIVATE[options.activation](given)
    return raw if head.calibration is None else head.calibration.apply(raw), raw


def _wanted(names: Sequence[str], asked: tuple[str, ...] | None) -> list[str]:
    for name in asked or ():
        if name not in names:
            there = f"there is {', '.join(names)}" if names else "there is none"
            raise ModelError(f"the model has no head {name!r}{nearest(name, names)} ({there})")
    return [name for name in names if asked is None or name in asked]


def _refuse_for_one(what: str, given: object, wanted: Sequence[str]) -> None:
    if given is not None and wanted:
        raise ModelError(
            f"{what} can be given for one head, and the model has {len(wanted)}"
            f" ({', '.join(wanted)}): choose one, or pack them with earmark model label"
        )


def _refuse_locale(locale: str, known: Iterable[Sequence[str]]) -> None:
    there = sorted({each for locales in known for each in locales})
    some = f"there is {', '.join(there)}" if there else "there is none"
    raise ModelError(f"the model has no labels of the locale {locale!r} ({some})")


def _head(name: str, output: Output, described: OutputMetadata, options: ModelOptions) -> Head:
    labels = _labels(described.labels, options.labels, output.values)
    names = options.display_names
    if names is None and options.locale is not None:
        names = described.display_names(options.locale)
    if names is not None and len(names) != output.values:
        raise ModelError(
            f"{len(names)} labels of the locale {options.locale!r} are packed in the model, but"
            f" {name} has {output.values} classes"
        )
    asked = options.calibration or described.calibration
    return Head(
        name,
        output,
        labels,
        names,
        None if asked is None else make_calibration(*asked, output.values),
        described.score_threshold,
    )


def _with_max_score(head: Head, interface: Interface, options: ModelOptions) -> Head:
    """The head with the highest score that it can give."""
    is_probability = head.output.position in interface.probabilities
    if is_probability and options.activation != "none":
        raise ModelError(
            f"activation {options.activation}: {head.name!r} already gives probabilities; leave"
            " it out, or choose the heads that give logits"
        )
    if head.calibration is not None:
        return replace(head, max_score=head.calibration.max_score)
    return replace(
        head, max_score=1.0 if is_probability or options.activation != "none" else math.inf
    )


def _labels(
    packed: tuple[str, ...] | None, given: Sequence[str] | None, classes: int
) -> tuple[str, ...]:
    labels = given if given is not None else packed
    if labels is None:
        labels = [""] * classes
    if len(labels) != classes:
        whose = "packed in the model" if given is None else "given"
        raise ModelError(f"{len(labels)} labels are {whose}, but the model has {classes} classes")
    return tuple(label or f"class {i}" for i, label in enumerate(labels))


def _sigmoid(given: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        scores: NDArray[np.float32] = np.float32(1) / (np.float32(1) + np.exp(-given))
    return scores


def _softmax(given: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(given - given.max(axis=1, keepdims=True))
    softened: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return softened


_ACTIVATE = {"none": lambda given: given, "sigmoid": _sigmoid, "softmax": _softmax}
