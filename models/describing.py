"""Changing single fields of a .tflite file's metadata."""

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
    damage_as_model_error,
    pack,
    read,
    read_ports,
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
    """Change the metadata of a .tflite model.

    Whatever is not given stays as it is, so labels in several languages or of several outputs can
    be given in several calls. Fields that `ModelMetadata` does not have are dropped.

    Args:
      model: the content of a .tflite file.
      labels: the labels of an output's classes, in its order; they replace those of their locale.
      locale: the language of the labels; None for the ones that rows name classes by.
      sample_rate_hz: the sample rate of the first input; its channels are 1 unless known.
      channels: how many channels the first input takes.
      name: the model's name.
      description: a sentence or two about the model.
      version: the model's version.
      author: who made the model.
      license: a short name or a URL.
      head: the index of the output that labels, calibration and score_threshold are for; optional
        for a model with one output.
      calibration: the calibration of the output's scores.
      score_threshold: the lowest of the output's scores that counts.

    Returns:
      The content of the changed .tflite file.

    Raises:
      ModelError: the bytes are not a TFLite model, or a damaged one, or a change does not fit it.
    """
    metadata = read(model)
    with damage_as_model_error():
        ports = read_ports(model)
    texts = _given(
        name=name, description=description, version=version, author=author, license=license
    )
    metadata = replace(_fitted(metadata, ports), **texts)
    if sample_rate_hz is not None or channels is not None:
        metadata = _with_audio(metadata, sample_rate_hz, channels)
    changes = _OutputChanges(labels, locale, calibration, score_threshold)
    if changes != _OutputChanges():
        metadata = _with_output(metadata, changes, _head(head, len(ports.classes)), ports.classes)
    return pack(model, metadata)


class _OutputChanges(NamedTuple):
    """Changes to an output's metadata; None keeps what it has."""

    labels: Sequence[str] | None = None
    locale: str | None = None
    calibration: CalibrationMetadata | None = None
    score_threshold: float | None = None


def _given(**changes: Any) -> dict[str, Any]:
    return {field: value for field, value in changes.items() if value is not None}


def _fitted(metadata: ModelMetadata, ports: Ports) -> ModelMetadata:
    """The metadata, padded or cut to the inputs and outputs that the model has."""
    inputs = (*metadata.inputs, *[InputMetadata()] * ports.inputs)[: ports.inputs]
    outputs = (*metadata.outputs, *[OutputMetadata()] * len(ports.classes))[: len(ports.classes)]
    return replace(metadata, inputs=inputs, outputs=outputs)


def _with_audio(
    metadata: ModelMetadata, sample_rate_hz: int | None, channels: int | None
) -> ModelMetadata:
    if not metadata.inputs:
        raise ModelError("the model has no input that could take audio")
    audio = _given(sample_rate_hz=sample_rate_hz, channels=channels or metadata.channels or 1)
    return replace(metadata, inputs=(replace(metadata.inputs[0], **audio), *metadata.inputs[1:]))


def _head(head: int | None, outputs: int) -> int:
    if head is None and outputs == 1:
        return 0
    if head is None:
        raise ModelError(f"the model has {outputs} outputs: say which head, 0 to {outputs - 1}")
    if not 0 <= head < outputs:
        raise ModelError(f"there is no head {head}: the model has {outputs}, counted from 0")
    return head


def _with_output(
    metadata: ModelMetadata, changes: _OutputChanges, head: int, classes: Sequence[int | None]
) -> ModelMetadata:
    output = metadata.outputs[head]
    if changes.labels is not None:
        files = _label_files(metadata, head, changes.locale, tuple(changes.labels))
        _check_counts(files, len(changes.labels), head, classes[head])
        output = replace(output, label_files=files)
    elif changes.locale is not None:
        raise ModelError(f"a locale, {changes.locale!r}, is given, but no labels: give both")
    if changes.calibration is not None:
        _check_calibration(changes.calibration, head, classes[head])
        output = replace(output, calibration=changes.calibration)
    output = replace(output, **_given(score_threshold=changes.score_threshold))
    return replace(
        metadata, outputs=(*metadata.outputs[:head], output, *metadata.outputs[head + 1 :])
    )


def _label_files(
    metadata: ModelMetadata, head: int, locale: str | None, labels: tuple[str, ...]
) -> tuple[LabelFile, ...]:
    """The label files of an output, with these labels in place of those of their locale.

    Those without a locale come first, since other readers name classes by the first file.
    """
    if locale is not None and not _LOCALE.fullmatch(locale):
        raise ModelError(f"{locale!r} is not a locale: give one such as de or pt-BR")
    present = metadata.outputs[head].label_files
    others = [file for file in present if file.locale != locale]
    elsewhere = chain(*(each.label_files for i, each in enumerate(metadata.outputs) if i != head))
    name = _file_name(head, len(metadata.outputs), locale, [*others, *elsewhere])
    at = next((i for i, file in enumerate(present) if file.locale == locale), len(others))
    others.insert(0 if locale is None else at, LabelFile(name, locale, labels))
    return tuple(others)


def _file_name(head: int, outputs: int, locale: str | None, others: Sequence[LabelFile]) -> str:
    """An unused name such as labels.txt, labels_de.txt or labels_1_de.txt."""
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
