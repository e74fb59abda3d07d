"""Scoring frames of audio with a .tflite model."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from models import metadata
from models.cut_scoring import BATCH, cut_scorer
from models.cutting import CannotCutError
from models.errors import ModelError, one_line
from models.interpreters import InterpreterPool
from models.sources import ModelSource, ReadUri

DEFAULT_SAMPLE_RATE_HZ = 16_000

Score: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Scores frames, float32 [n, frame_samples], to float32 [n, classes]."""


class AudioClassifier:
    """A model that scores frames of mono audio; any number of threads may use one at once.

    Attributes:
      name: what rows call the model.
      sha256: of the .tflite file, in hex.
      metadata: what the file says about itself.
      frame_samples: how many samples a frame has.
      sample_rate_hz: of the audio in the frames.
      sample_rate_assumed: nobody said which sample rate the model wants: it was assumed to be
        DEFAULT_SAMPLE_RATE_HZ.
      channels: 1.
      classes: how many scores a frame gets.
      labels: of the classes; `class 17` where nobody named one.
      runs: how it is run, and why, in words.
    """

    def __init__(
        self,
        model: bytes,
        *,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        sample_rate_hz: int | None = None,
    ) -> None:
        """Make a classifier of a .tflite file.

        Args:
          model: the whole file.
          name: what rows call it, by default what its metadata does.
          labels: of its classes, in the output's order, instead of those packed in the file.
          sample_rate_hz: what it wants, where its metadata does not say.

        Raises:
          ModelError: these bytes are not a model that classifies mono audio, or the labels or the
            sample rate do not belong to it.
        """
        self.metadata = metadata.read(model)
        self._interpreters = InterpreterPool(model)
        with self._interpreters.taken() as interpreter:
            self._input, self._output = _tensors(interpreter)
        self.name = name or self.metadata.name or "unnamed"
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.frame_samples = self._input.shape[-1]
        self.sample_rate_hz = _sample_rate_hz(self.metadata.sample_rate_hz, sample_rate_hz)
        self.sample_rate_assumed = not (self.metadata.sample_rate_hz or sample_rate_hz)
        self.channels = _mono(self.metadata.channels)
        self.classes = self._output.shape[-1]
        self.labels = _labels(self.metadata.labels, labels, self.classes)
        self._try_out()
        self._score, self.runs = self._fastest_way(model)

    @classmethod
    def from_path(
        cls,
        path: Path | str,
        *,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        sample_rate_hz: int | None = None,
    ) -> AudioClassifier:
        """Make a classifier of a .tflite file on disk: see `AudioClassifier`."""
        model = _read_bytes(Path(path))
        with _about(path):
            return cls(model, name=name, labels=labels, sample_rate_hz=sample_rate_hz)

    def score(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score frames.

        Args:
          frames: float32 [n, frame_samples], mono, in -1.0..1.0; n may be 0.

        Returns:
          float32 [n, classes].

        Raises:
          ValueError: the frames have another shape or dtype.
        """
        if frames.dtype != np.float32 or frames.shape[1:] != (self.frame_samples,):
            raise ValueError(
                f"frames must be float32 [n, {self.frame_samples}],"
                f" not {frames.dtype} {list(frames.shape)}"
            )
        return self._score(frames)

    def _try_out(self) -> None:
        try:
            self._interpreters.run(np.zeros((1, self.frame_samples), np.float32))
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"the model cannot be run: {one_line(error)}") from error

    def _fastest_way(self, model: bytes) -> tuple[Score, str]:
        try:
            scorer = cut_scorer(model, self._interpreters, self.frame_samples)
        except CannotCutError as error:
            return self._interpreters.run, f"frame by frame, since {error}"
        return scorer.score, f"cut at its log-mel patch, {BATCH} frames at a time"


def load_classifier(
    source: ModelSource,
    *,
    read: ReadUri | None = None,
    labels: Sequence[str] | None = None,
    sample_rate_hz: int | None = None,
) -> AudioClassifier:
    """The classifier of a model: one for all who ask for the same in this process.

    Args:
      source: the model.
      read: reads a URI's content; needed for a model that lies at one.
      labels: see `AudioClassifier`, as is sample_rate_hz.

    Raises:
      ModelError: the model cannot be read, or not used.
    """
    given = None if labels is None else tuple(labels)
    key = _Key(source.name, source.sha256, given, sample_rate_hz)
    with _loading:
        if key not in _loaded:
            model = source.read(read)
            with _about(source.location):
                _loaded[key] = AudioClassifier(
                    model, name=source.name, labels=given, sample_rate_hz=sample_rate_hz
                )
        return _loaded[key]


def read_labels(path: Path | str) -> tuple[str, ...]:
    """Read a file of labels: see `parse_labels`.

    Raises:
      ModelError: the file cannot be read, or is no text.
    """
    content = _read_bytes(Path(path))
    with _about(path):
        return parse_labels(content)


def parse_labels(content: bytes) -> tuple[str, ...]:
    """The labels in a file that has one on each line, in the order of the model's output.

    Args:
      content: UTF-8; white space around a label and empty lines at the end do not count.

    Raises:
      ModelError: it is not UTF-8, or has no labels.
    """
    try:
        lines = metadata.lines_of(content.rstrip())
    except UnicodeDecodeError as error:
        raise ModelError(f"not a file of labels: {error}") from error
    if not any(lines):
        raise ModelError("not a file of labels: it is empty")
    return tuple(line.strip() for line in lines)


class _Key(NamedTuple):
    """All that a loaded classifier depends on."""

    name: str
    sha256: str
    labels: tuple[str, ...] | None
    sample_rate_hz: int | None


_loaded: dict[_Key, AudioClassifier] = {}
_loading = threading.Lock()


@dataclass(frozen=True)
class _Tensor:
    """A tensor of a model's input or output."""

    index: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fixed: bool

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @classmethod
    def of(cls, details: dict[str, Any]) -> _Tensor:
        """From what LiteRT tells of it."""
        signature = details.get("shape_signature", details["shape"])
        return cls(
            index=details["index"],
            dtype=np.dtype(details["dtype"]),
            shape=tuple(int(size) for size in details["shape"]),
            fixed=len(signature) > 0 and signature[-1] > 0,
        )

    def is_row(self) -> bool:
        """It is float32 [n] or [1, n], for one n."""
        is_flat = len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[0] == 1)
        return is_flat and self.dtype == np.float32 and self.fixed


def _tensors(interpreter: Interpreter) -> tuple[_Tensor, _Tensor]:
    audio = _only("input", interpreter.get_input_details())
    scores = _only("output", interpreter.get_output_details())
    if not audio.is_row():
        raise ModelError(
            f"the model takes {_described(audio)}, which is not audio:"
            " float32 [samples] or [1, samples] was expected"
        )
    if not scores.is_row():
        raise ModelError(
            f"the model gives {_described(scores)}, which is not scores:"
            " float32 [classes] or [1, classes] was expected"
        )
    return audio, scores


def _only(kind: str, details: list[dict[str, Any]]) -> _Tensor:
    if len(details) != 1:
        found = ", ".join(str(_Tensor.of(each)) for each in details)
        raise ModelError(f"the model has {len(details)} {kind}s ({found}): one was expected")
    return _Tensor.of(details[0])


def _described(tensor: _Tensor) -> str:
    return f"{tensor}" if tensor.fixed else f"{tensor} of no fixed size"


def _sample_rate_hz(of_model: int | None, asked: int | None) -> int:
    if asked is not None and asked <= 0:
        raise ModelError(f"a sample rate of {asked} Hz is not possible")
    if of_model and asked and of_model != asked:
        raise ModelError(f"the model takes audio at {of_model} Hz, not at the {asked} Hz given")
    return of_model or asked or DEFAULT_SAMPLE_RATE_HZ


def _mono(channels: int | None) -> int:
    if channels is not None and channels > 1:
        raise ModelError(f"the model takes {channels} channels: one was expected")
    return 1


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


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error


@contextmanager
def _about(place: Path | str) -> Iterator[None]:
    """Say in a ModelError which file it is about."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from error
