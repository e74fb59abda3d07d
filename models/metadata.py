"""What a .tflite file says about itself: TFLite Model Metadata and the label file packed with it.

The metadata is a flatbuffer of its own inside the model's, in the buffer that the model's list of
metadata calls TFLITE_METADATA; label files are a zip archive that follows the model in the same
file. The schema is TFLite's `metadata_schema.fbs`
(https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs),
of which only what an audio classifier needs is read and written here.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from flatbuffers.table import Table

from models import graphs
from models.errors import ModelError

METADATA_NAME = "TFLITE_METADATA"
LABEL_FILE_NAME = "labels.txt"

METADATA_IDENTIFIER = b"M001"

# The first version of the schema that knows audio.
MIN_PARSER_VERSION = "1.3.0"


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says about itself; None where it does not say.

    Attributes:
      name: of the model, as are description, version, author and license.
      sample_rate_hz: of the audio that its first input takes.
      channels: of the audio that its first input takes.
      labels: of the classes of its first output, in the output's order.
    """

    name: str | None = None
    description: str | None = None
    version: str | None = None
    author: str | None = None
    license: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    labels: tuple[str, ...] | None = None


def read(model: bytes) -> ModelMetadata:
    """Read what a .tflite file says about itself: nothing but Nones where it has no metadata.

    Raises:
      ModelError: these bytes are no TFLite model, or one that is damaged or truncated.
    """
    require_tflite(model)
    with _damage_as("the model is damaged or cut short"):
        content = _metadata_buffer(model)
        return ModelMetadata() if content is None else _read_metadata(model, content)


def pack(
    model: bytes,
    *,
    name: str,
    description: str,
    sample_rate_hz: int,
    channels: int,
    labels: Sequence[str],
    author: str,
    license: str,  # noqa: A002 - the schema's own word
    version: str | None = None,
) -> bytes:
    """Give a .tflite model metadata and a packed label file, in place of any that it has.

    The same arguments give the same bytes.

    Args:
      model: a whole .tflite file.
      name: of the model, as are description, author, license and version.
      description: in a sentence or two.
      sample_rate_hz: of the audio that the model's first input takes.
      channels: of the same.
      labels: of the classes of the model's first output, in the output's order, one line each.
      author: who made it.
      license: a short name or a URL.
      version: of the model, not of anything that it was made with.

    Returns:
      A whole .tflite file.

    Raises:
      ModelError: the bytes are no TFLite model, or a damaged one, or a label is not a line.
    """
    require_tflite(model)
    metadata = ModelMetadata(
        name, description, version, author, license, sample_rate_hz, channels, tuple(labels)
    )
    with _damage_as("the model is damaged or cut short"):
        described = _with_metadata(model, _write_metadata(metadata))
    return _with_label_file(described, labels)


def require_tflite(model: bytes) -> None:
    """Raise a ModelError unless these bytes begin as a TFLite model does."""
    if not model:
        raise ModelError("not a TFLite model: the file is empty")
    if model[4:8] != graphs.MODEL_IDENTIFIER:
        raise ModelError(f"not a TFLite model: it begins with {model[:16]!r}")


def lines_of(content: bytes) -> tuple[str, ...]:
    """The lines of a label file, UTF-8 with either line ending, one for each class.

    Raises:
      UnicodeDecodeError: it is not UTF-8.
    """
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)


# Slots of the fields that are used here, as the two schemas number them.
_TFLITE_BUFFERS, _TFLITE_METADATA = 4, 6
_ENTRY_NAME, _ENTRY_BUFFER = 0, 1
_BUFFER_CONTENT = 0
_MODEL_NAME, _MODEL_DESCRIPTION, _MODEL_VERSION, _MODEL_GRAPHS = 0, 1, 2, 3
_MODEL_AUTHOR, _MODEL_LICENSE, _MODEL_MIN_PARSER_VERSION = 4, 5, 7
_GRAPH_INPUTS, _GRAPH_OUTPUTS = 2, 3
_TENSOR_NAME, _TENSOR_CONTENT, _TENSOR_FILES = 0, 3, 6
_CONTENT_KIND, _CONTENT_PROPERTIES = 0, 1
_AUDIO_SAMPLE_RATE, _AUDIO_CHANNELS = 0, 1
_FILE_NAME, _FILE_TYPE, _FILE_LOCALE = 0, 2, 3

_AUDIO_PROPERTIES = 4
_TENSOR_AXIS_LABELS = 2


@contextmanager
def _damage_as(trouble: str) -> Iterator[None]:
    """Raise what reading damaged bytes raises as a ModelError that begins with this trouble.

    Offsets that lead nowhere (a TypeError where they lead before the start), text that is none, an
    archive that is broken, lacks the file, or is encrypted or packed in a way unknown here (both
    RuntimeErrors).
    """
    try:
        yield
    except ModelError:
        raise
    except (
        struct.error,
        TypeError,
        ValueError,
        LookupError,
        zlib.error,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
    ) as error:
        raise ModelError(f"{trouble} ({error})") from error


class _Reader:
    """A table of a flatbuffer, read field by field; a field that is absent reads as None."""

    def __init__(self, content: bytes, position: int) -> None:
        self._table = Table(content, position)

    @classmethod
    def root(cls, content: bytes) -> _Reader:
        return cls(content, struct.unpack_from("<I", content)[0])

    def string(self, slot: int) -> str | None:
        content = self.content(slot)
        return None if content is None else content.decode()

    def uint(self, slot: int) -> int | None:
        return self._scalar(slot, number_types.Uint32Flags)

    def ubyte(self, slot: int) -> int | None:
        return self._scalar(slot, number_types.Uint8Flags)

    def content(self, slot: int) -> bytes | None:
        offset = self._offset(slot)
        if not offset:
            return None
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        content = bytes(self._table.Bytes[start : start + count])
        if len(content) < count:
            raise ValueError(f"{count} bytes are announced and {len(content)} are there")
        return content

    def table(self, slot: int) -> _Reader | None:
        at = self._position(slot)
        return None if at is None else self._table_at(at)

    def tables(self, slot: int) -> list[_Reader]:
        offset = self._offset(slot)
        if not offset:
            return []
        start, count = self._table.Vector(offset), self._table.VectorLen(offset)
        return [self._table_at(start + 4 * i) for i in range(count)]

    def first(self, slot: int) -> _Reader | None:
        return next(iter(self.tables(slot)), None)

    def _scalar(self, slot: int, flags: Any) -> int | None:
        at = self._position(slot)
        return None if at is None else int(self._table.Get(flags, at))

    def _table_at(self, position: int) -> _Reader:
        return _Reader(self._table.Bytes, self._table.Indirect(position))

    def _position(self, slot: int) -> int | None:
        offset = self._offset(slot)
        return self._table.Pos + offset if offset else None

    def _offset(self, slot: int) -> int:
        """Where a field lies in its table, 0 where it is absent."""
        return int(self._table.Offset(4 + 2 * slot))


def _metadata_buffer(model: bytes) -> bytes | None:
    root = _Reader.root(model)
    for entry in root.tables(_TFLITE_METADATA):
        if entry.string(_ENTRY_NAME) == METADATA_NAME:
            buffer = root.tables(_TFLITE_BUFFERS)[entry.uint(_ENTRY_BUFFER) or 0]
            return buffer.content(_BUFFER_CONTENT)
    return None


def _read_metadata(model: bytes, content: bytes) -> ModelMetadata:
    root = _Reader.root(content)
    graph = root.first(_MODEL_GRAPHS)
    sample_rate_hz, channels = _audio(graph)
    return ModelMetadata(
        name=root.string(_MODEL_NAME),
        description=root.string(_MODEL_DESCRIPTION),
        version=root.string(_MODEL_VERSION),
        author=root.string(_MODEL_AUTHOR),
        license=root.string(_MODEL_LICENSE),
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        labels=_labels(model, graph),
    )


def _audio(graph: _Reader | None) -> tuple[int | None, int | None]:
    """The sample rate and the channels of the first input."""
    tensor = graph and graph.first(_GRAPH_INPUTS)
    content = tensor and tensor.table(_TENSOR_CONTENT)
    if content is None or content.ubyte(_CONTENT_KIND) != _AUDIO_PROPERTIES:
        return None, None
    audio = content.table(_CONTENT_PROPERTIES)
    if audio is None:
        return None, None
    return audio.uint(_AUDIO_SAMPLE_RATE), audio.uint(_AUDIO_CHANNELS)


def _labels(model: bytes, graph: _Reader | None) -> tuple[str, ...] | None:
    tensor = graph and graph.first(_GRAPH_OUTPUTS)
    for file in tensor.tables(_TENSOR_FILES) if tensor else []:
        name = file.string(_FILE_NAME)
        is_labels = file.ubyte(_FILE_TYPE) == _TENSOR_AXIS_LABELS
        if is_labels and name is not None and not file.string(_FILE_LOCALE):
            return lines_of(_packed_file(model, name))
    return None


def _packed_file(model: bytes, name: str) -> bytes:
    with (
        _damage_as(f"the model's label file {name!r} cannot be read from it; is it cut short?"),
        zipfile.ZipFile(io.BytesIO(model)) as archive,
    ):
        return archive.read(name)


class _Scalar(NamedTuple):
    """A number and the flatbuffers type that it is written as."""

    flags: Any
    value: int


def _write_metadata(metadata: ModelMetadata) -> bytes:
    builder = flatbuffers.Builder()
    texts = {
        _MODEL_NAME: metadata.name,
        _MODEL_DESCRIPTION: metadata.description,
        _MODEL_VERSION: metadata.version,
        _MODEL_AUTHOR: metadata.author,
        _MODEL_LICENSE: metadata.license,
        _MODEL_MIN_PARSER_VERSION: MIN_PARSER_VERSION,
    }
    fields = {slot: builder.CreateString(text) for slot, text in texts.items() if text is not None}
    fields[_MODEL_GRAPHS] = _write_vector(builder, [_write_graph(builder, metadata)])
    builder.Finish(_write_table(builder, fields), METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _write_graph(builder: flatbuffers.Builder, metadata: ModelMetadata) -> int:
    inputs = _write_vector(builder, [_write_input(builder, metadata)])
    outputs = _write_vector(builder, [_write_output(builder)])
    return _write_table(builder, {_GRAPH_INPUTS: inputs, _GRAPH_OUTPUTS: outputs})


def _write_input(builder: flatbuffers.Builder, metadata: ModelMetadata) -> int:
    rate, channels = _uint(metadata.sample_rate_hz or 0), _uint(metadata.channels or 0)
    audio = _write_table(builder, {_AUDIO_SAMPLE_RATE: rate, _AUDIO_CHANNELS: channels})
    kind = _ubyte(_AUDIO_PROPERTIES)
    content = _write_table(builder, {_CONTENT_KIND: kind, _CONTENT_PROPERTIES: audio})
    name = builder.CreateString("audio_clip")
    return _write_table(builder, {_TENSOR_NAME: name, _TENSOR_CONTENT: content})


def _write_output(builder: flatbuffers.Builder) -> int:
    name, kind = builder.CreateString(LABEL_FILE_NAME), _ubyte(_TENSOR_AXIS_LABELS)
    labels = _write_table(builder, {_FILE_NAME: name, _FILE_TYPE: kind})
    files = _write_vector(builder, [labels])
    name = builder.CreateString("scores")
    return _write_table(builder, {_TENSOR_NAME: name, _TENSOR_FILES: files})


def _write_table(builder: flatbuffers.Builder, fields: Mapping[int, int | _Scalar]) -> int:
    builder.StartObject(max(fields) + 1)
    for slot, field in fields.items():
        if isinstance(field, _Scalar):
            builder.PrependSlot(field.flags, slot, field.value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, field, 0)
    return int(builder.EndObject())


def _write_vector(builder: flatbuffers.Builder, tables: Sequence[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def _uint(value: int) -> _Scalar:
    return _Scalar(number_types.Uint32Flags, value)


def _ubyte(value: int) -> _Scalar:
    return _Scalar(number_types.Uint8Flags, value)


def _with_metadata(model: bytes, content: bytes) -> bytes:
    """The model with these bytes as its metadata, and without what followed it in the file."""
    graph = graphs.parse(model)
    entry = _metadata_entry(graph)
    graph.buffers[entry.buffer].data = list(content)
    return graphs.serialise(graph)


def _metadata_entry(graph: Any) -> Any:
    graph.metadata = graph.metadata or []
    for entry in graph.metadata:
        if entry.name == METADATA_NAME.encode():
            return entry
    graph.buffers.append(schema.BufferT())
    graph.metadata.append(schema.MetadataT(METADATA_NAME.encode(), len(graph.buffers) - 1))
    return graph.metadata[-1]


def _with_label_file(model: bytes, labels: Sequence[str]) -> bytes:
    for label in labels:
        if "\n" in label or "\r" in label:
            raise ModelError(f"a label must be a single line, and {label!r} is not")
    file = io.BytesIO(model)
    file.seek(0, io.SEEK_END)
    # Stored, since the Task Library maps label files as they lie; of a fixed date and system, so
    # that the bytes depend on nothing else.
    entry = zipfile.ZipInfo(LABEL_FILE_NAME)
    entry.create_system = 3
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(entry, "".join(f"{label}\n" for label in labels).encode())
    return file.getvalue()
