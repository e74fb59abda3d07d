"""What a .tflite file says about itself: TFLite Model Metadata and the files packed with it.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, NamedTuple

from ai_edge_litert import schema_py_generated as tflite

from earmark.models import graphs
from earmark.models.errors import ModelError
from earmark.models.metadata import schema_generated as schema

METADATA_NAME: Final = b"TFLITE_METADATA"

TRANSFORMATIONS: Final = ("identity", "log", "inverse_logistic")
"""What may be done to a score before it is calibrated, in the order of ScoreTransformationType."""

_MOST_ENTRIES = 256
_LARGEST_UNPACKED = 1 << 26
"""What a file may hold that was made to keep its reader busy: entries of a list in the metadata,
which entries of other lists may all point to, and bytes of all packed files."""


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
        return ModelMetadata() if content is None else _model(content, _PackedFiles(model))


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
    root = tflite.Model.GetRootAs(_Checked(model))
    for entry in _tables(root, "Metadata"):
        if entry.Name() == METADATA_NAME:
            buffer = root.Buffers(range(root.BuffersLength())[entry.Buffer()])
            return None if buffer.DataIsNone() else bytes(buffer.DataAsNumpy())
    return None


class _Checked(bytes):
    """Bytes that raise an IndexError for a slice beyond their end, as text that is cut short is.

    Flatbuffers checks numbers and tables, and cuts strings short without a word.
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice) and key.stop > len(self):
            raise IndexError(f"text ends at byte {key.stop} of {len(self)}")
        return super().__getitem__(key)


class _PackedFiles:
    """The files that are packed with a model, each read once, however often it is named."""

    def __init__(self, model: bytes) -> None:
        self.labels = cache(partial(_packed_labels, model))
        self.parameters = cache(partial(_packed_parameters, model))


def _model(content: bytes, packed: _PackedFiles) -> ModelMetadata:
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


def _output(tensor: Any, packed: _PackedFiles) -> OutputMetadata:
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
        raise ModelError(f"the model's metadata has a score threshold that is none: {threshold}")
    return threshold


def _calibration(tensor: Any, packed: _PackedFiles) -> CalibrationMetadata | None:
    options = _unit(tensor, schema.ScoreCalibrationOptionsT)
    if options is None:
        return None
    files = _files(tensor, schema.AssociatedFileType.TENSOR_AXIS_SCORE_CALIBRATION)
    if not files:
        raise ModelError("the model's metadata calibrates scores, but names no file to do it by")
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
        entry = archive.getinfo(name)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"the model's packed file {name!r} is neither stored nor deflated")
        if sum(each.file_size for each in archive.infolist()) > _LARGEST_UNPACKED:
            raise ModelError("the model's packed files are larger than 64 MB")
        with archive.open(entry) as file:
            return file.read(_LARGEST_UNPACKED)  # bounded, unlike a read of all


def _files(tensor: Any, kind: int) -> list[tuple[str, str | None]]:
    """The name and locale of each associated file of a type, without those that have no name."""
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
