"""What a .tflite file says about itself: TFLite Model Metadata and the files packed with it.

The metadata is a flatbuffer of its own inside the model's, in the buffer that the model's list of
metadata calls TFLITE_METADATA; label files and the like are a zip archive that follows the model in
the same file. Of the schema (see `models/metadata_schema.py`) it is what the Task Library's audio
classifier uses that is read here; `models/metadata_writer.py` writes it.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from earmark.models import graphs
from earmark.models.errors import ModelError
from earmark.models.metadata import schema as fields
from earmark.models.metadata.tables import TableReader


class LabelFile(NamedTuple):
    """A packed file that names the classes of an output.

    Attributes:
      name: of the packed file.
      locale: the language of its labels, as in "de" or "pt-BR"; None where the metadata says none.
      labels: in the output's order.
    """

    name: str
    locale: str | None
    labels: tuple[str, ...]


class CalibrationMetadata(NamedTuple):
    """How the scores of an output are to be calibrated.

    Attributes:
      transformation: of a score, before it is calibrated: "identity", "log" or "inverse_logistic".
      default_score: of classes without parameters, and of scores below a class's minimum.
      parameters: the text of the packed file, as it is: a line for each class, empty or
        "scale,slope,offset" or "scale,slope,offset,min_score".
    """

    transformation: str
    default_score: float
    parameters: str


@dataclass(frozen=True)
class InputMetadata:
    """What a model says about one of its inputs; None where it does not say.

    Attributes:
      name: of the input, as is the description.
      sample_rate_hz: of the audio that it takes.
      channels: of the audio that it takes.
    """

    name: str | None = None
    description: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None


@dataclass(frozen=True)
class OutputMetadata:
    """What a model says about one of its outputs; None where it does not say.

    Attributes:
      name: of the output, as is the description.
      label_files: that name its classes, in the file's order.
      score_threshold: scores below it do not count.
      calibration: of its scores.
    """

    name: str | None = None
    description: str | None = None
    label_files: tuple[LabelFile, ...] = ()
    score_threshold: float | None = None
    calibration: CalibrationMetadata | None = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Of its classes, from the file of no language; where all have one, from the first."""
        neutral = [file for file in self.label_files if file.locale is None]
        return next((file.labels for file in (*neutral, *self.label_files)), None)

    @property
    def locales(self) -> tuple[str, ...]:
        """The languages that its classes have names in."""
        return tuple(dict.fromkeys(file.locale for file in self.label_files if file.locale))

    def display_names(self, locale: str) -> tuple[str, ...] | None:
        """The names of its classes in a language."""
        return next((file.labels for file in self.label_files if file.locale == locale), None)


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says about itself; None where it does not say.

    Attributes:
      name: of the model, as are description, version, author and license.
      min_parser_version: of the schema, that it takes to understand the metadata.
      inputs: in the graph's order.
      outputs: in the graph's order.
    """

    name: str | None = None
    description: str | None = None
    version: str | None = None
    author: str | None = None
    license: str | None = None
    min_parser_version: str | None = None
    inputs: tuple[InputMetadata, ...] = ()
    outputs: tuple[OutputMetadata, ...] = ()

    @property
    def sample_rate_hz(self) -> int | None:
        """Of the audio that the first input takes."""
        return self.inputs[0].sample_rate_hz if self.inputs else None

    @property
    def channels(self) -> int | None:
        """Of the audio that the first input takes."""
        return self.inputs[0].channels if self.inputs else None

    def output(self, position: int) -> OutputMetadata:
        """What is said about an output, by its place in the model: nothing, if it says of none."""
        return self.outputs[position] if self.outputs else OutputMetadata()

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Of the classes of the first output."""
        return self.outputs[0].labels if self.outputs else None


def read(model: bytes) -> ModelMetadata:
    """Read what a .tflite file says about itself: nothing but Nones where it has no metadata.

    Raises:
      ModelError: these bytes are no TFLite model, or one that is damaged or truncated, or its
        score calibration is none.
    """
    require_tflite(model)
    with damage_is_a_model_error():
        content = _metadata_buffer(model)
        return ModelMetadata() if content is None else _model(model, content)


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


@contextmanager
def damage_is_a_model_error(trouble: str = "the model is damaged or cut short") -> Iterator[None]:
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


def _metadata_buffer(model: bytes) -> bytes | None:
    root = TableReader.root(model)
    for entry in root.tables(fields.TFLITE_METADATA):
        if entry.string(fields.ENTRY_NAME) == fields.METADATA_NAME:
            buffer = root.tables(fields.TFLITE_BUFFERS)[entry.uint(fields.ENTRY_BUFFER) or 0]
            return buffer.content(fields.BUFFER_CONTENT)
    return None


def _model(model: bytes, content: bytes) -> ModelMetadata:
    root = TableReader.root(content)
    graph = root.first(fields.MODEL_GRAPHS)
    inputs = graph.tables(fields.GRAPH_INPUTS) if graph else []
    outputs = graph.tables(fields.GRAPH_OUTPUTS) if graph else []
    return ModelMetadata(
        name=root.string(fields.MODEL_NAME),
        description=root.string(fields.MODEL_DESCRIPTION),
        version=root.string(fields.MODEL_VERSION),
        author=root.string(fields.MODEL_AUTHOR),
        license=root.string(fields.MODEL_LICENSE),
        min_parser_version=root.string(fields.MODEL_MIN_PARSER_VERSION),
        inputs=tuple(_input(tensor) for tensor in inputs),
        outputs=tuple(_output(model, tensor) for tensor in outputs),
    )


def _input(tensor: TableReader) -> InputMetadata:
    audio = _held(tensor.table(fields.TENSOR_CONTENT), fields.AUDIO_PROPERTIES)
    return InputMetadata(
        name=tensor.string(fields.TENSOR_NAME),
        description=tensor.string(fields.TENSOR_DESCRIPTION),
        sample_rate_hz=(audio.uint(fields.AUDIO_SAMPLE_RATE) or None) if audio else None,
        channels=(audio.uint(fields.AUDIO_CHANNELS) or None) if audio else None,
    )


def _output(model: bytes, tensor: TableReader) -> OutputMetadata:
    return OutputMetadata(
        name=tensor.string(fields.TENSOR_NAME),
        description=tensor.string(fields.TENSOR_DESCRIPTION),
        label_files=_label_files(model, tensor),
        score_threshold=_score_threshold(tensor),
        calibration=_calibration(model, tensor),
    )


def _label_files(model: bytes, tensor: TableReader) -> tuple[LabelFile, ...]:
    return tuple(
        LabelFile(
            name=name,
            locale=file.string(fields.FILE_LOCALE) or None,
            labels=_packed_labels(model, name),
        )
        for file, name in _files(tensor, fields.LABELS)
    )


def _score_threshold(tensor: TableReader) -> float | None:
    options = _unit(tensor, fields.SCORE_THRESHOLDING)
    if options is None:
        return None
    threshold = options.float32(fields.THRESHOLDING_SCORE) or 0.0
    if not math.isfinite(threshold):
        raise ModelError(f"the model's metadata has a score threshold that is none: {threshold}")
    return threshold


def _calibration(model: bytes, tensor: TableReader) -> CalibrationMetadata | None:
    options = _unit(tensor, fields.SCORE_CALIBRATION)
    if options is None:
        return None
    _, name = next(iter(_files(tensor, fields.CALIBRATION)), (None, None))
    if name is None:
        raise ModelError("the model's metadata calibrates scores, but names no file to do it by")
    return CalibrationMetadata(
        transformation=_transformation(options.ubyte(fields.CALIBRATION_TRANSFORMATION) or 0),
        default_score=options.float32(fields.CALIBRATION_DEFAULT_SCORE) or 0.0,
        parameters=_packed_parameters(model, name),
    )


def _transformation(number: int) -> str:
    if number >= len(fields.TRANSFORMATIONS):
        raise ModelError(
            f"the model's metadata calibrates scores by transformation {number}, and only 0 to"
            f" {len(fields.TRANSFORMATIONS) - 1} are known: {', '.join(fields.TRANSFORMATIONS)}"
        )
    return fields.TRANSFORMATIONS[number]


def _packed_labels(model: bytes, name: str) -> tuple[str, ...]:
    with _unreadable("label file", name):
        return lines_of(_packed_file(model, name))


def _packed_parameters(model: bytes, name: str) -> str:
    with _unreadable("score calibration file", name):
        return _packed_file(model, name).decode()


@contextmanager
def _unreadable(kind: str, name: str) -> Iterator[None]:
    trouble = f"the model's {kind} {name!r} cannot be read from it; is it"
    with damage_is_a_model_error(f"{trouble} cut short?"):
        try:
            yield
        except UnicodeDecodeError as error:
            raise ModelError(f"{trouble} UTF-8? ({error})") from error


def _packed_file(model: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        return archive.read(name)


def _files(tensor: TableReader, kind: int) -> list[tuple[TableReader, str]]:
    """The associated files of a type, each with its name."""
    files = tensor.tables(fields.TENSOR_FILES)
    named = [(file, file.string(fields.FILE_NAME)) for file in files if _type(file) == kind]
    return [(file, name) for file, name in named if name is not None]


def _type(file: TableReader) -> int:
    return file.ubyte(fields.FILE_TYPE) or 0


def _unit(tensor: TableReader, kind: int) -> TableReader | None:
    """The options of the process unit of a kind."""
    units = [_held(unit, kind) for unit in tensor.tables(fields.TENSOR_UNITS)]
    return next((options for options in units if options is not None), None)


def _held(union: TableReader | None, kind: int) -> TableReader | None:
    """What a union holds, where it holds that kind of thing."""
    if union is None or union.ubyte(fields.UNION_KIND) != kind:
        return None
    return union.table(fields.UNION_CONTENT)
