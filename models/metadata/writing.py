"""Giving a .tflite file its metadata and the files packed with it: see `models/metadata.py`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from ai_edge_litert import schema_py_generated as tflite

from earmark.models import graphs
from earmark.models.errors import ModelError
from earmark.models.metadata import schema_generated as schema
from earmark.models.metadata.reading import (
    METADATA_NAME,
    TRANSFORMATIONS,
    CalibrationMetadata,
    InputMetadata,
    ModelMetadata,
    OutputMetadata,
    damage_is_a_model_error,
    require_tflite,
)

_METADATA_IDENTIFIER: Final = b"M001"


def pack(model: bytes, metadata: ModelMetadata) -> bytes:
    """Give a .tflite model metadata and packed files, in place of any that it has.

    The same arguments give the same bytes. Inputs and outputs of the graph that the metadata does
    not reach are described by nothing, since other readers want as many descriptions as there are
    inputs and outputs. A line end at the end of a score calibration file is left out: they take it
    for another class.

    Args:
      model: a whole .tflite file.
      metadata: all that it is to say about itself, but for min_parser_version, which follows from
        the rest.

    Returns:
      A whole .tflite file.

    Raises:
      ModelError: the bytes are no TFLite model, or a damaged one, or the metadata describes what
        the model has not, or cannot be written.
    """
    require_tflite(model)
    with damage_is_a_model_error():
        complete = _complete(metadata, ports(model))
    with _text():
        files = _packed_files(complete)
        content = _flatbuffer(complete)
    with damage_is_a_model_error():
        described = _with_metadata(model, content)
    return _with_files(described, files)


class Ports(NamedTuple):
    """The inputs and outputs of a graph.

    Attributes:
      inputs: how many.
      classes: of each output, the size of its last dimension; None where that may vary.
    """

    inputs: int
    classes: tuple[int | None, ...]


def ports(model: bytes) -> Ports:
    """The inputs and outputs of a model, of whose bytes any may be damaged."""
    graph = graphs.parse(model).subgraphs[0]
    outputs = [] if graph.outputs is None else graph.outputs
    return Ports(
        inputs=0 if graph.inputs is None else len(graph.inputs),
        classes=tuple(_classes(graph.tensors[index]) for index in outputs),
    )


def fits_float32(number: float) -> bool:
    """Whether a number is neither infinite nor NaN as a float32."""
    return abs(number) <= float(np.finfo(np.float32).max)


def _classes(tensor: Any) -> int | None:
    for sizes in (tensor.shapeSignature, tensor.shape):
        if sizes is not None and len(sizes):
            return int(sizes[-1]) if sizes[-1] > 0 else None
    return None


def _complete(metadata: ModelMetadata, there: Ports) -> ModelMetadata:
    """The metadata with as many inputs and outputs as the graph has."""
    inputs = _padded(metadata.inputs, there.inputs, InputMetadata(), "input")
    outputs = _padded(metadata.outputs, len(there.classes), OutputMetadata(), "output")
    trimmed = map(_tidied, outputs, there.classes)
    return replace(metadata, inputs=inputs, outputs=tuple(trimmed))


def _padded(described: tuple[Any, ...], count: int, blank: Any, kind: str) -> tuple[Any, ...]:
    if len(described) > count:
        raise ModelError(f"{len(described)} {kind}s are described, but the model has {count}")
    return (*described, *[blank] * (count - len(described)))


def _tidied(output: OutputMetadata, classes: int | None) -> OutputMetadata:
    """The output with a calibration as the Task Library takes it.

    Of lines without white space around them, and without an end to the last, unless the last
    class's line is an empty one.
    """
    given = output.calibration
    if given is None:
        return output
    lines = [line.strip() for line in given.parameters.removeprefix("\ufeff").split("\n")]
    if not lines[-1] and len(lines) != classes:
        del lines[-1]
    return replace(output, calibration=given._replace(parameters="\n".join(lines)))


@contextmanager
def _text() -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError as error:
        raise ModelError(f"{error.object!r} cannot be written as UTF-8") from error


def _packed_files(metadata: ModelMetadata) -> dict[str, bytes]:
    """The content of each file, by its name."""
    files: dict[str, bytes] = {}
    for index, output in enumerate(metadata.outputs):
        for name, content in _files_of(index, output):
            if files.setdefault(name, content) != content:
                raise ModelError(f"two different files are to be packed as {name!r}: rename one")
    return files


def _files_of(index: int, output: OutputMetadata) -> Iterator[tuple[str, bytes]]:
    for file in output.label_files:
        if not file.name or set(file.name) & set("/\\\0"):
            raise ModelError(f"{file.name!r} cannot be the name of a packed file: use a plain one")
        yield file.name, _lines(file.labels)
    if output.calibration is not None:
        yield _calibration_name(index), output.calibration.parameters.encode()


def _lines(labels: Sequence[str]) -> bytes:
    for label in labels:
        if "\n" in label or "\r" in label:
            raise ModelError(f"a label must be a single line, and {label!r} is not")
    return "".join(f"{label}\n" for label in labels).encode()


def _calibration_name(index: int) -> str:
    return f"score_calibration_{index}.txt" if index else "score_calibration.txt"


def _flatbuffer(metadata: ModelMetadata) -> bytes:
    graph = schema.SubGraphMetadataT(
        inputTensorMetadata=[_input(each) for each in metadata.inputs],
        outputTensorMetadata=[_output(i, each) for i, each in enumerate(metadata.outputs)],
    )
    root = schema.ModelMetadataT(
        name=metadata.name,
        description=metadata.description,
        version=metadata.version,
        subgraphMetadata=[graph],
        author=metadata.author,
        license=metadata.license,
        minParserVersion=_min_parser_version(metadata),
    )
    return graphs.serialise(root, _METADATA_IDENTIFIER)


def _min_parser_version(metadata: ModelMetadata) -> str:
    """The first version of the schema that knows all that is written: 1.3.0 brought audio."""
    return "1.3.0" if any(_is_audio(each) for each in metadata.inputs) else "1.0.0"


def _is_audio(given: InputMetadata) -> bool:
    return given.sample_rate_hz is not None or given.channels is not None


def _input(given: InputMetadata) -> Any:
    tensor = schema.TensorMetadataT(name=given.name, description=given.description)
    if _is_audio(given):
        audio = schema.AudioPropertiesT(
            sampleRate=_count("sample rate", given.sample_rate_hz),
            channels=_count("number of channels", given.channels),
        )
        tensor.content = schema.ContentT(schema.ContentProperties.AudioProperties, audio)
    return tensor


def _output(index: int, given: OutputMetadata) -> Any:
    return schema.TensorMetadataT(
        name=given.name,
        description=given.description,
        processUnits=_units(given) or None,
        associatedFiles=_files(index, given) or None,
    )


def _files(index: int, given: OutputMetadata) -> list[Any]:
    types = schema.AssociatedFileType
    files = [
        schema.AssociatedFileT(file.name, types.TENSOR_AXIS_LABELS, file.locale)
        for file in given.label_files
    ]
    if given.calibration is not None:
        name = _calibration_name(index)
        files.append(schema.AssociatedFileT(name, types.TENSOR_AXIS_SCORE_CALIBRATION))
    return files


def _units(given: OutputMetadata) -> list[Any]:
    kinds = schema.ProcessUnitOptions
    units = []
    if given.calibration is not None:
        calibration = _calibration_options(given.calibration)
        units.append(schema.ProcessUnitT(kinds.ScoreCalibrationOptions, calibration))
    if given.score_threshold is not None:
        score = _score("score threshold", given.score_threshold)
        threshold = schema.ScoreThresholdingOptionsT(score)
        units.append(schema.ProcessUnitT(kinds.ScoreThresholdingOptions, threshold))
    return units


def _calibration_options(given: CalibrationMetadata) -> Any:
    if given.transformation not in TRANSFORMATIONS:
        known = ", ".join(TRANSFORMATIONS)
        raise ModelError(f"{given.transformation!r} is no transformation of scores: use {known}")
    return schema.ScoreCalibrationOptionsT(
        scoreTransformation=TRANSFORMATIONS.index(given.transformation),
        defaultScore=_score("default score", given.default_score),
    )


def _count(what: str, given: int | None) -> int:
    if given is not None and not 0 < given < 2**32:
        raise ModelError(f"a {what} of {given} is not possible")
    return given or 0


def _score(what: str, given: float) -> float:
    if not fits_float32(given):
        raise ModelError(f"a {what} must be a number that float32 can hold")
    return given


def _with_metadata(model: bytes, content: bytes) -> bytes:
    """The model with these bytes as its metadata, and without what followed it in the file."""
    graph = graphs.parse(model)
    entry = _metadata_entry(graph)
    graph.buffers[entry.buffer].data = list(content)
    return graphs.serialise(graph)


def _metadata_entry(graph: Any) -> Any:
    graph.metadata = graph.metadata or []
    for entry in graph.metadata:
        if entry.name == METADATA_NAME:
            return entry
    graph.buffers.append(tflite.BufferT())
    entry = tflite.MetadataT(METADATA_NAME, len(graph.buffers) - 1)
    graph.metadata.append(entry)
    return entry


def _with_files(model: bytes, files: dict[str, bytes]) -> bytes:
    file = io.BytesIO(model)
    file.seek(0, io.SEEK_END)
    if files:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                archive.writestr(_entry(name), content)
    return file.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Stored, since the Task Library maps packed files as they lie.

    Of a fixed date and system, so that the bytes depend on nothing else.
    """
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    return entry
