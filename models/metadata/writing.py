"""Giving a .tflite file its metadata and the files packed with it: see `models/metadata.py`."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from earmark.models import graphs
from earmark.models.errors import ModelError
from earmark.models.metadata import schema as fields
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
    damage_is_a_model_error,
    require_tflite,
)
from earmark.models.metadata.tables import (
    Scalar,
    float32,
    ubyte,
    uint,
    write_strings,
    write_table,
    write_vector,
)


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
        content = _write_model(complete)
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


def _write_model(metadata: ModelMetadata) -> bytes:
    builder = flatbuffers.Builder()
    texts = {
        fields.MODEL_NAME: metadata.name,
        fields.MODEL_DESCRIPTION: metadata.description,
        fields.MODEL_VERSION: metadata.version,
        fields.MODEL_AUTHOR: metadata.author,
        fields.MODEL_LICENSE: metadata.license,
        fields.MODEL_MIN_PARSER_VERSION: _min_parser_version(metadata),
    }
    written: dict[int, int | Scalar] = {**write_strings(builder, texts)}
    written[fields.MODEL_GRAPHS] = write_vector(builder, [_write_graph(builder, metadata)])
    builder.Finish(write_table(builder, written), fields.METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _min_parser_version(metadata: ModelMetadata) -> str:
    """The first version of the schema that knows all that is written: 1.3.0 brought audio."""
    return "1.3.0" if any(_is_audio(each) for each in metadata.inputs) else "1.0.0"


def _is_audio(given: InputMetadata) -> bool:
    return given.sample_rate_hz is not None or given.channels is not None


def _write_graph(builder: flatbuffers.Builder, metadata: ModelMetadata) -> int:
    inputs = [_write_input(builder, each) for each in metadata.inputs]
    written = {fields.GRAPH_INPUTS: write_vector(builder, inputs)}
    outputs = [_write_output(builder, i, each) for i, each in enumerate(metadata.outputs)]
    written[fields.GRAPH_OUTPUTS] = write_vector(builder, outputs)
    return write_table(builder, written)


def _write_input(builder: flatbuffers.Builder, given: InputMetadata) -> int:
    written: dict[int, int | Scalar] = {}
    if _is_audio(given):
        audio = {
            fields.AUDIO_SAMPLE_RATE: _count("sample rate", given.sample_rate_hz),
            fields.AUDIO_CHANNELS: _count("number of channels", given.channels),
        }
        written[fields.TENSOR_CONTENT] = _write_union(builder, fields.AUDIO_PROPERTIES, audio)
    return write_table(builder, _write_names(builder, given) | written)


def _write_output(builder: flatbuffers.Builder, index: int, given: OutputMetadata) -> int:
    written: dict[int, int | Scalar] = {}
    if files := _write_files(builder, index, given):
        written[fields.TENSOR_FILES] = write_vector(builder, files)
    if units := _write_units(builder, given):
        written[fields.TENSOR_UNITS] = write_vector(builder, units)
    return write_table(builder, _write_names(builder, given) | written)


def _write_names(
    builder: flatbuffers.Builder, given: InputMetadata | OutputMetadata
) -> dict[int, int | Scalar]:
    texts = {fields.TENSOR_NAME: given.name, fields.TENSOR_DESCRIPTION: given.description}
    return {**write_strings(builder, texts)}


def _write_files(builder: flatbuffers.Builder, index: int, given: OutputMetadata) -> list[int]:
    files = [_write_file(builder, file, fields.LABELS) for file in given.label_files]
    if given.calibration is not None:
        file = LabelFile(_calibration_name(index), None, ())
        files.append(_write_file(builder, file, fields.CALIBRATION))
    return files


def _write_file(builder: flatbuffers.Builder, file: LabelFile, kind: int) -> int:
    texts = {fields.FILE_NAME: file.name, fields.FILE_LOCALE: file.locale}
    return write_table(builder, {**write_strings(builder, texts), fields.FILE_TYPE: ubyte(kind)})


def _write_units(builder: flatbuffers.Builder, given: OutputMetadata) -> list[int]:
    units = []
    if given.calibration is not None:
        calibration = _calibration_options(given.calibration)
        units.append(_write_union(builder, fields.SCORE_CALIBRATION, calibration))
    if given.score_threshold is not None:
        threshold = {fields.THRESHOLDING_SCORE: _score("score threshold", given.score_threshold)}
        units.append(_write_union(builder, fields.SCORE_THRESHOLDING, threshold))
    return units


def _calibration_options(given: CalibrationMetadata) -> dict[int, Scalar]:
    if given.transformation not in fields.TRANSFORMATIONS:
        known = ", ".join(fields.TRANSFORMATIONS)
        raise ModelError(f"{given.transformation!r} is no transformation of scores: use {known}")
    return {
        fields.CALIBRATION_TRANSFORMATION: ubyte(
            fields.TRANSFORMATIONS.index(given.transformation)
        ),
        fields.CALIBRATION_DEFAULT_SCORE: _score("default score", given.default_score),
    }


def _write_union(builder: flatbuffers.Builder, kind: int, content: dict[int, Scalar]) -> int:
    held = write_table(builder, content)
    return write_table(builder, {fields.UNION_KIND: ubyte(kind), fields.UNION_CONTENT: held})


def _count(what: str, given: int | None) -> Scalar:
    if given is not None and not 0 < given < 2**32:
        raise ModelError(f"a {what} of {given} is not possible")
    return uint(given or 0)


def _score(what: str, given: float) -> Scalar:
    try:
        struct.pack("<f", given)
    except OverflowError:
        given = math.inf
    if not math.isfinite(given):
        raise ModelError(f"a {what} must be a number that float32 can hold")
    return float32(given)


def _with_metadata(model: bytes, content: bytes) -> bytes:
    """The model with these bytes as its metadata, and without what followed it in the file."""
    graph = graphs.parse(model)
    entry = _metadata_entry(graph)
    graph.buffers[entry.buffer].data = list(content)
    return graphs.serialise(graph)


def _metadata_entry(graph: Any) -> Any:
    graph.metadata = graph.metadata or []
    for entry in graph.metadata:
        if entry.name == fields.METADATA_NAME.encode():
            return entry
    graph.buffers.append(schema.BufferT())
    entry = schema.MetadataT(fields.METADATA_NAME.encode(), len(graph.buffers) - 1)
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
