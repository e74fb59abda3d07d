"""Changing what a .tflite file says about itself, one thing at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any, Final, NamedTuple

from earmark.models.errors import ModelError
from earmark.models.metadata import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
    Ports,
    damage_is_a_model_error,
    pack,
    ports,
    read,
)
from earmark.models.scores import make_calibration

_LOCALE: Final = re.compile(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*")


def describe(
    model: bytes,
    *,
    labels: Sequence[str] | None = None,
    locale: str | None = None,
    sample_rate_hz: int | None = None,
    channels: int | None = None,
    name: str | None = None,
    description: str | None = None,
    version: str | None = None,
    author: str | None = None,
    license: str | None = None,  # noqa: A002 - the schema's own word
    head: int | None = None,
    calibration: CalibrationMetadata | None = None,
    score_threshold: float | None = None,
) -> bytes:
    """Change what a .tflite model says about itself.

    What is not given stays as the model has it, so that labels in several languages, or of several
    outputs, can be given one after the other. What `ModelMetadata` has no place for does not stay.

    Args:
      model: a whole .tflite file.
      labels: of the classes of an output, in its order; in place of those of the same locale.
      locale: the language of the labels; without one they are those that rows name classes by.
      sample_rate_hz: of the audio that the first input takes; its channels are 1 unless known.
      channels: of the same.
      name: of the model, as are description, version, author and license.
      description: in a sentence or two.
      version: of the model, not of anything that it was made with.
      author: who made it.
      license: a short name or a URL.
      head: the output, counted from 0, that labels, calibration and score_threshold belong to; not
        needed where there is one.
      calibration: of the output's scores.
      score_threshold: below which the output's scores do not count.

    Returns:
      A whole .tflite file.

    Raises:
      ModelError: the bytes are no TFLite model, or a damaged one, or what is given does not fit it.
    """
    said = read(model)
    with damage_is_a_model_error():
        there = ports(model)
    texts = _given(
        name=name, description=description, version=version, author=author, license=license
    )
    said = replace(_as_far_as(said, there), **texts)
    if sample_rate_hz is not None or channels is not None:
        said = _with_audio(said, sample_rate_hz, channels)
    changes = _OutputChanges(labels, locale, calibration, score_threshold)
    if changes != _OutputChanges():
        said = _with_output(said, changes, _head(head, len(there.classes)), there.classes)
    return pack(model, said)


class _OutputChanges(NamedTuple):
    """What is to be changed about an output; None where it is to stay."""

    labels: Sequence[str] | None = None
    locale: str | None = None
    calibration: CalibrationMetadata | None = None
    score_threshold: float | None = None


def _given(**changes: Any) -> dict[str, Any]:
    return {field: value for field, value in changes.items() if value is not None}


def _as_far_as(said: ModelMetadata, there: Ports) -> ModelMetadata:
    """The metadata for as many inputs and outputs as there are."""
    inputs = (*said.inputs, *[InputMetadata()] * there.inputs)[: there.inputs]
    outputs = (*said.outputs, *[OutputMetadata()] * len(there.classes))[: len(there.classes)]
    return replace(said, inputs=inputs, outputs=outputs)


def _with_audio(
    said: ModelMetadata, sample_rate_hz: int | None, channels: int | None
) -> ModelMetadata:
    if not said.inputs:
        raise ModelError("the model has no input that could take audio")
    audio = _given(sample_rate_hz=sample_rate_hz, channels=channels or said.channels or 1)
    return replace(said, inputs=(replace(said.inputs[0], **audio), *said.inputs[1:]))


def _head(head: int | None, outputs: int) -> int:
    if head is None and outputs == 1:
        return 0
    if head is None:
        raise ModelError(f"the model has {outputs} outputs: say which head, 0 to {outputs - 1}")
    if not 0 <= head < outputs:
        raise ModelError(f"there is no head {head}: the model has {outputs}, counted from 0")
    return head


def _with_output(
    said: ModelMetadata, changes: _OutputChanges, head: int, classes: Sequence[int | None]
) -> ModelMetadata:
    output = said.outputs[head]
    if changes.labels is not None:
        files = _label_files(said, head, changes.locale, tuple(changes.labels))
        _check_counts(files, len(changes.labels), head, classes[head])
        output = replace(output, label_files=files)
    elif changes.locale is not None:
        raise ModelError(f"a locale, {changes.locale!r}, is given, but no labels: give both")
    if changes.calibration is not None:
        _check_calibration(changes.calibration, head, classes[head])
        output = replace(output, calibration=changes.calibration)
    output = replace(output, **_given(score_threshold=changes.score_threshold))
    return replace(said, outputs=(*said.outputs[:head], output, *said.outputs[head + 1 :]))


def _label_files(
    said: ModelMetadata, head: int, locale: str | None, labels: tuple[str, ...]
) -> tuple[LabelFile, ...]:
    """The label files of an output with these labels in place of those of the same locale.

    Those of no language come first, as other readers name classes by the first that they find.
    """
    if locale is not None and not _LOCALE.fullmatch(locale):
        raise ModelError(f"{locale!r} is no locale: give one such as de or pt-BR")
    present = said.outputs[head].label_files
    others = [file for file in present if file.locale != locale]
    elsewhere = chain(*(each.label_files for i, each in enumerate(said.outputs) if i != head))
    name = _file_name(head, len(said.outputs), locale, [*others, *elsewhere])
    at = next((i for i, file in enumerate(present) if file.locale == locale), len(others))
    others.insert(0 if locale is None else at, LabelFile(name, locale, labels))
    return tuple(others)


def _file_name(head: int, outputs: int, locale: str | None, others: Sequence[LabelFile]) -> str:
    """Such as labels.txt, labels_de.txt and labels_1_de.txt; one that no other file has."""
    parts = ["labels", str(head) if outputs > 1 else None, locale]
    stem = "_".join(part for part in parts if part)
    taken = {file.name for file in others}
    names = chain([f"{stem}.txt"], (f"{stem}_{number}.txt" for number in count(2)))
    return next(name for name in names if name not in taken)


def _check_counts(files: Sequence[LabelFile], given: int, head: int, classes: int | None) -> None:
    if classes is not None and given != classes:
        raise ModelError(
            f"{given} labels are given, but output {head} has {classes} classes: give one for each"
        )
    for file in files:
        if classes is None and len(file.labels) != given:
            raise ModelError(
                f"{given} labels are given, but output {head} has {len(file.labels)} in"
                f" {file.name!r}: give as many"
            )


def _check_calibration(given: CalibrationMetadata, head: int, classes: int | None) -> None:
    lines = given.parameters.removesuffix("\n").count("\n") + 1
    try:
        make_calibration(
            given.transformation, given.default_score, given.parameters, classes or lines
        )
    except ModelError as error:
        raise ModelError(f"output {head}: {error}") from error
