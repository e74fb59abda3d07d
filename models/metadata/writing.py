"""Writing the metadata of a .tflite file, and the files packed with it: see `reading.py`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
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
    damage_as_model_error,
    require_tflite,
)

_METADATA_IDENTIFIER: Final = b"M001"


def pack(model: bytes, metadata: ModelMetadata) -> bytes:
    """Replace the metadata and the packed files of a .tflite model.

    The same arguments give the same bytes. Inputs and outputs that the metadata leaves out get
    empty descriptions, since other readers expect one for each. A line end at the end of a score
    calibration file is left out, since they take it for another class.

    Args:
      model: the content of a .tflite file.
      metadata: everything to write but min_parser_version, which follows from the rest.

    Returns:
      The content of the .tflite file with this metadata.

    Raises:
      ModelError: the bytes are not a TFLite model, or a damaged one, or the metadata does not fit
        the model or cannot be written.
    """
    require_tflite(model)
    with damage_as_model_error():
        complete = _complete(metadata, read_ports(model))
    try:
        files, content = _packed_files(complete), _flatbuffer(complete)
    except UnicodeEncodeError as error:
        raise ModelError(f"{error.object!r} cannot be written as UTF-8") from error
    with damage_as_model_error():
        described = _with_metadata(model, content)
    return _with_files(described, files)


class Ports(NamedTuple):
    """The inputs and outputs of a graph.

    Attributes:
      inputs: how many inputs it has.
      classes: the size of each output's last dimension; None for one of no fixed size.
    """

    inputs: int
    classes: tuple[int | None, ...]


def read_ports(model: bytes) -> Ports:
    """Read the inputs and outputs of a model; damaged bytes raise any error of its parser."""
    _refuse_shared_lists(model)
    graph = graphs.parse(model).subgraphs[0]
    outputs = [] if graph.outputs is None else graph.outputs
    return Ports(
        inputs=0 if graph.inputs is None else len(graph.inputs),
        classes=tuple(_classes(graph.tensors[index]) for index in outputs),
    )


def fits_float32(number: float) -> bool:
    """Whether a number is neither infinite nor NaN as a float32."""
    return abs(number) <= float(np.finfo(np.float32).max)


def _refuse_shared_lists(model: bytes) -> None:
    """Refuse many graphs that share one list, which would be read over and over again."""
    root = tflite.Model.GetRootAs(model)
    subgraphs = (root.Subgraphs(i) for i in range(root.SubgraphsLength()))
    signatures = (root.SignatureDefs(i) for i in range(root.SignatureDefsLength()))
    entries = sum(each.TensorsLength() + each.OperatorsLength() for each in subgraphs)
    entries += sum(each.InputsLength() + each.OutputsLength() for each in signatures)
    if 4 * entries > len(model):
        raise ValueError(f"{entries} entries of lists in {len(model)} bytes")


def _classes(tensor: Any) -> int | None:
    for sizes in (tensor.shapeSignature, tensor.shape):
        if sizes is not None and len(sizes):
            return int(sizes[-1]) if sizes[-1] > 0 else None
    return None


def _complete(metadata: ModelMetadata, ports: Ports) -> ModelMetadata:
    """The metadata, padded to the inputs and outputs that the graph has."""
    inputs = _padded(metadata.inputs, ports.inputs, InputMetadata(), "input")
    outputs = _padded(metadata.outputs, len(ports.classes), OutputMetadata(), "output")
    trimmed = map(_tidied, outputs, ports.classes)
    return replace(metadata, inputs=inputs, outputs=tuple(trimmed))


def _padded(described: tuple[Any, ...], count: int, blank: Any, kind: str) -> tuple[Any, ...]:
    if len(described) > count:
        raise ModelError(f"{len(described)} {kind}s are described, but the model has {count}")
    return (*described, *[blank] * (count - len(described)))


def _tidied(output: OutputMetadata, classes: int | None) -> OutputMetadata:
    """The output with a calibration as the Task Library reads it.

    Lines have no white space around them, and the last one has no line end, unless the line of
    the last class is empty.
    """
    given = output.calibration
    if given is None:
        return output
    lines = [line.strip() for line in given.parameters.removeprefix("\ufeff").split("\n")]
    if not lines[-1] and len(lines) != classes:
        del lines[-1]
    return replace(output, calibration=given._replace(parameters="\n".join(lines)))


def _packed_files(metadata: ModelMetadata) -> dict[str, bytes]:
    """The content of each packed file, by name."""
    packed: dict[str, bytes] = {}
    for index, output in enumerate(metadata.outputs):
        for file in _files(index, output):
            if packed.setdefault(file.name, file.content) != file.content:
                raise ModelError(
                    f"two different files are to be packed as {file.name!r}: rename one"
                )
    return packed


class _File(NamedTuple):
    name: str
    type: int
    content: bytes
    locale: str | None = None


def _files(index: int, output: OutputMetadata) -> Iterator[_File]:
    types = schema.AssociatedFileType
    for name, locale, labels in output.label_files:
        if not name or set(name) & set("/\\\0"):
            raise ModelError(f"{name!r} cannot be the name of a packed file: use a plain one")
        yield _File(name, types.TENSOR_AXIS_LABELS, _lines(labels), locale)
    if output.calibration is not None:
        name = f"score_calibration_{index}.txt" if index else "score_calibration.txt"
        content = output.calibration.parameters.encode()
        yield _File(name, types.TENSOR_AXIS_SCORE_CALIBRATION, content)


def _lines(labels: Sequence[str]) -> bytes:
    for label in labels:
        if "\n" in label or "\r" in label:
            raise ModelError(f"a label must be a single line, and {label!r} is not")
    return "".join(f"{label}\n" for label in labels).encode()


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
    """The first version of the schema with all fields that are written: 1.3.0 added audio."""
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
        associatedFiles=[
            schema.AssociatedFileT(file.name, file.type, file.locale)
            for file in _files(index, given)
        ]
        or None,
    )


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
        raise ModelError(f"{given.transformation!r} is not a score transformation: use {known}")
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
    """The model with these bytes as its metadata, and without packed files."""
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
    """An entry that is not compressed, as the Task Library maps packed files into memory.

    Its date and system are fixed, so that the bytes depend on nothing else.
    """
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    return entry
