"""Reading TFLite Model Metadata: what a .tflite file says about itself, and the files in it.

The metadata is a flatbuffer of its own inside the model's, in the buffer that the model's list of
metadata calls TFLITE_METADATA; label files and the like are a zip archive that follows the model in
the same file. `schema.fbs` has the fields that are read here, which are those that
the Task Library's audio classifier uses; `writing.py` writes them.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, NamedTuple, TypeVar

from ai_edge_litert import schema_py_generated as tflite

from earmark.models import graphs
from earmark.models.errors import ModelError
from earmark.models.metadata import schema_generated as schema

_T = TypeVar("_T")

METADATA_NAME: Final = b"TFLITE_METADATA"

TRANSFORMATIONS: Final = ("identity", "log", "inverse_logistic")
"""Functions of a score before calibration, in the order of ScoreTransformationType."""

_DAMAGE = (
    *(struct.error, TypeError, ValueError, LookupError, EOFError, RuntimeError),
    *(zlib.error, zipfile.BadZipFile),
)

_MOST_ENTRIES = 256
_LARGEST_UNPACKED = 1 << 26
"""Limits for hostile files: entries in a list of the metadata, which may all point to one other
list, and bytes of all packed files."""


class LabelFile(NamedTuple):
    """A packed file that names the classes of an output.

    Attributes:
      name: the name of the packed file.
      locale: the language of the labels, such as "de" or "pt-BR"; None where there is none.
      labels: the labels in the order of the output's classes.
    """

    name: str
    locale: str | None
    labels: tuple[str, ...]


class CalibrationMetadata(NamedTuple):
    """How to calibrate the scores of an output.

    Attributes:
      transformation: one of TRANSFORMATIONS, applied to a score before it is calibrated.
      default_score: the score of classes without parameters, and of scores below a class's minimum.
      parameters: the text of the packed file: a line for each class, empty or
        "scale,slope,offset" or "scale,slope,offset,min_score".
    """

    transformation: str
    default_score: float
    parameters: str


@dataclass(frozen=True)
class InputMetadata:
    """The metadata of a model's input; None for fields that it leaves out.

    Attributes:
      name: the name of the input.
      description: a text about the input.
      sample_rate_hz: the sample rate of the audio that the input takes.
      channels: how many channels the input takes.
    """

    name: str | None = None
    description: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None


@dataclass(frozen=True)
class OutputMetadata:
    """The metadata of a model's output; None for fields that it leaves out.

    Attributes:
      name: the name of the output.
      description: a text about the output.
      label_files: the files that name the classes, in the metadata's order.
      score_threshold: the lowest score that counts.
      calibration: how to calibrate the scores.
    """

    name: str | None = None
    description: str | None = None
    label_files: tuple[LabelFile, ...] = ()
    score_threshold: float | None = None
    calibration: CalibrationMetadata | None = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels of the file without a locale; where all have one, of the first."""
        neutral = [file for file in self.label_files if file.locale is None]
        return next((file.labels for file in (*neutral, *self.label_files)), None)

    @property
    def locales(self) -> tuple[str, ...]:
        """The locales of the label files."""
        return tuple(dict.fromkeys(file.locale for file in self.label_files if file.locale))

    def display_names(self, locale: str) -> tuple[str, ...] | None:
        """The labels of a locale; None where there are none."""
        return next((file.labels for file in self.label_files if file.locale == locale), None)


@dataclass(frozen=True)
class ModelMetadata:
    """The metadata of a model; None for fields that it leaves out.

    Attributes:
      name: the model's name.
      description: a text about the model.
      version: the model's version.
      author: who made the model.
      license: a short name or a URL.
      min_parser_version: the version of the schema that the metadata needs.
      inputs: the metadata of the inputs, in the graph's order.
      outputs: the metadata of the outputs, in the graph's order.
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
        """The sample rate of the first input."""
        return self.inputs[0].sample_rate_hz if self.inputs else None

    @property
    def channels(self) -> int | None:
        """How many channels the first input takes."""
        return self.inputs[0].channels if self.inputs else None

    def output(self, position: int) -> OutputMetadata:
        """The metadata of the output at this index; without any fields where no output has any."""
        return self.outputs[position] if self.outputs else OutputMetadata()

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The labels of the first output's classes."""
        return self.outputs[0].labels if self.outputs else None


def read(model: bytes) -> ModelMetadata:
    """Read the metadata of a .tflite file; all fields are None where it has none.

    Raises:
      ModelError: these bytes are not a TFLite model, or a damaged one, or its metadata is invalid.
    """
    require_tflite(model)
    with damage_as_model_error():
        content = _metadata_buffer(model)
        return ModelMetadata() if content is None else _model(content, _Packed.of(model))


def require_tflite(model: bytes) -> None:
    """Raise a ModelError unless these bytes begin as a TFLite model does."""
    if not model:
        raise ModelError("not a TFLite model: the file is empty")
    if model[4:8] != graphs.MODEL_IDENTIFIER:
        raise ModelError(f"not a TFLite model: it begins with {model[:16]!r}")


def lines_of(content: bytes) -> tuple[str, ...]:
    """The lines of a label file in UTF-8, with Unix or Windows line ends, one for each class.

    Raises:
      UnicodeDecodeError: the file is not UTF-8.
    """
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    return tuple(lines[:-1] if lines[-1] == "" else lines)


@contextmanager
def damage_as_model_error(trouble: str = "the model is damaged or cut short") -> Iterator[None]:
    """Raise the errors that come of damaged bytes as a ModelError that begins with `trouble`.

    They come of offsets out of range (a TypeError for negative ones), invalid UTF-8, and archives
    that are broken, lack a file, are encrypted or use an unknown compression (RuntimeErrors).
    """
    try:
        yield
    except ModelError:
        raise
    except _DAMAGE as error:
        raise ModelError(f"{trouble} ({error})") from error


def _metadata_buffer(model: bytes) -> bytes | None:
    root = tflite.Model.GetRootAs(_Checked(model))
    for entry in _tables(root, "Metadata"):
        if entry.Name() == METADATA_NAME:
            buffer = root.Buffers(range(root.BuffersLength())[entry.Buffer()])
            return None if buffer.DataIsNone() else bytes(buffer.DataAsNumpy())
    return None


class _Checked(bytes):
    """Bytes that raise an IndexError for a slice beyond their end.

    The flatbuffers library checks the bounds of numbers and tables, but silently truncates strings.
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop > len(self):
            raise IndexError(f"text ends at byte {key.stop} of {len(self)}")
        return super().__getitem__(key)


class _Packed(NamedTuple):
    """Functions that read a packed file by its name, once however many outputs name it."""

    labels: Callable[[str], tuple[str, ...]]
    parameters: Callable[[str], str]

    @classmethod
    def of(cls, model: bytes) -> _Packed:
        labels = partial(_packed_file, model, "label file", lines_of)
        parameters = partial(_packed_file, model, "score calibration file", bytes.decode)
        return cls(cache(labels), cache(parameters))


def _model(content: bytes, packed: _Packed) -> ModelMetadata:
    root = schema.ModelMetadata.GetRootAs(_Checked(content))
    graph = next(iter(_tables(root, "SubgraphMetadata")), None)
    inputs = _tables(graph, "InputTensorMetadata") if graph else []
    outputs = _tables(graph, "OutputTensorMetadata") if graph else []
    return ModelMetadata(
        name=_text(root.Name()),
        description=_text(root.Description()),
        version=_text(root.Version()),
        author=_text(root.Author()),
        license=_text(root.License()),
        min_parser_version=_text(root.MinParserVersion()),
        inputs=tuple(map(_input, inputs)),
        outputs=tuple(_output(tensor, packed) for tensor in outputs),
    )


def _input(tensor: Any) -> InputMetadata:
    content = schema.ContentT.InitFromObj(tensor.Content())
    audio = content.contentProperties or schema.AudioPropertiesT()
    return InputMetadata(
        name=_text(tensor.Name()),
        description=_text(tensor.Description()),
        sample_rate_hz=audio.sampleRate or None,
        channels=audio.channels or None,
    )


def _output(tensor: Any, packed: _Packed) -> OutputMetadata:
    return OutputMetadata(
        name=_text(tensor.Name()),
        description=_text(tensor.Description()),
        label_files=tuple(
            LabelFile(name, locale, packed.labels(name))
            for name, locale in _files(tensor, schema.AssociatedFileType.TENSOR_AXIS_LABELS)
        ),
        score_threshold=_score_threshold(tensor),
        calibration=_calibration(tensor, packed),
    )


def _score_threshold(tensor: Any) -> float | None:
    options = _unit(tensor, schema.ScoreThresholdingOptionsT)
    if options is None:
        return None
    threshold = float(options.globalScoreThreshold)
    if not math.isfinite(threshold):
        raise ModelError(f"the model's metadata has an invalid score threshold: {threshold}")
    return threshold


def _calibration(tensor: Any, packed: _Packed) -> CalibrationMetadata | None:
    options = _unit(tensor, schema.ScoreCalibrationOptionsT)
    if options is None:
        return None
    files = _files(tensor, schema.AssociatedFileType.TENSOR_AXIS_SCORE_CALIBRATION)
    if not files:
        raise ModelError("the model's metadata calibrates scores, but names no calibration file")
    return CalibrationMetadata(
        transformation=_transformation(options.scoreTransformation),
        default_score=float(options.defaultScore),
        parameters=packed.parameters(files[0][0]),
    )


def _transformation(number: int) -> str:
    if number >= len(TRANSFORMATIONS):
        raise ModelError(
            f"the model's metadata calibrates scores by transformation {number}, and only 0 to"
            f" {len(TRANSFORMATIONS) - 1} are known: {', '.join(TRANSFORMATIONS)}"
        )
    return TRANSFORMATIONS[number]


def _packed_file(model: bytes, kind: str, parse: Callable[[bytes], _T], name: str) -> _T:
    trouble = f"the model's {kind} {name!r} cannot be read from it; is it"
    with damage_as_model_error(f"{trouble} cut short?"):
        content = _unpacked(model, name)
        try:
            return parse(content)
        except UnicodeDecodeError as error:
            raise ModelError(f"{trouble} UTF-8? ({error})") from error


def _unpacked(model: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        entry = archive.getinfo(name)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"the model's packed file {name!r} is neither stored nor deflated")
        if sum(each.file_size for each in archive.infolist()) > _LARGEST_UNPACKED:
            raise ModelError("the model's packed files are larger than 64 MB")
        with archive.open(entry) as file:
            return file.read(_LARGEST_UNPACKED)  # bounded, unlike a read of all


def _files(tensor: Any, kind: int) -> list[tuple[str, str | None]]:
    """The name and locale of each associated file of a type; files without a name are left out."""
    files = [each for each in _tables(tensor, "AssociatedFiles") if each.Type() == kind]
    named = [(_text(each.Name()), _text(each.Locale()) or None) for each in files]
    return [(name, locale) for name, locale in named if name is not None]


def _unit(tensor: Any, kind: type[Any]) -> Any:
    """The options of the first process unit of a kind; None where there is none."""
    units = map(schema.ProcessUnitT.InitFromObj, _tables(tensor, "ProcessUnits"))
    return next((unit.options for unit in units if isinstance(unit.options, kind)), None)


def _tables(table: Any, vector: str) -> list[Any]:
    """The tables in a vector of a generated class, by the name of its accessor."""
    count = getattr(table, f"{vector}Length")()
    if count > _MOST_ENTRIES:
        raise ValueError(f"{count} entries in {vector}")
    return [getattr(table, vector)(i) for i in range(count)]


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode()
