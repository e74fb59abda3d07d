"""Scoring frames of audio with a .tflite model."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from earmark.models import graphs, metadata
from earmark.models.errors import ModelError
from earmark.models.metadata import ModelMetadata, OutputMetadata
from earmark.models.running import Interface, fastest_scorer, read_interface
from earmark.models.scores import ModelOptions, as_scores, choose_heads
from earmark.models.sources import ModelSource, ReadUri, read_file
from earmark.shared import shared

DEFAULT_SAMPLE_RATE_HZ = 16_000
MIN_RATE_HZ, MAX_RATE_HZ = 1000, 384_000


class Prediction(NamedTuple):
    """A model's scores and embeddings of frames.

    Attributes:
      scores: float32 [n, classes], the classes of all chosen heads one after another.
      raw_scores: the scores before calibration, float32 [n, classes]; None where no head has one.
      embeddings: float32 [n, embedding_size]; None where they were not asked for.
    """

    scores: NDArray[np.float32]
    raw_scores: NDArray[np.float32] | None
    embeddings: NDArray[np.float32] | None


class AudioClassifier:
    """A model that scores frames of audio; any number of threads may use one at once.

    Attributes:
      name: the model's name in rows.
      sha256: the SHA-256 of the .tflite file, in hex.
      metadata: what the file says about itself.
      options: how the model is used.
      interface: the model's inputs and outputs.
      heads: the chosen outputs of scores.
      frame_samples: the length of a frame in samples of each channel.
      hop_samples: the default distance between frames: their length, unless the model cuts frames
        itself.
      window_samples: how many of a frame's samples its scores describe.
      sample_rate_hz: the sample rate of the frames.
      sample_rate_assumed: whether neither the model nor the options tell the sample rate, which is
        then DEFAULT_SAMPLE_RATE_HZ.
      channels: how many channels are interleaved in a frame.
      classes: how many scores a frame gets.
      labels: the labels of the classes, `class 17` for one without a label.
      embedding_size: how many values an embedding has; None where none were asked for.
      runs: a description of how the model is run, and why so.
      together: how many frames, of any recordings, are best scored at once; 1 where the last bits
        of a frame's scores depend on the frames beside it.
    """

    def __init__(
        self,
        model: bytes,
        options: ModelOptions = ModelOptions(),  # noqa: B008 (it cannot change)
        *,
        name: str | None = None,
    ) -> None:
        """Make a classifier of a .tflite file.

        Args:
          model: the content of the file.
          options: how to use the model.
          name: its name in rows, by default the one in its metadata.

        Raises:
          ModelError: these bytes are not an audio model that can be run, or the options do not fit
            it.
        """
        self.metadata = metadata.read(model)
        self.options = options
        self.name = name or self.metadata.name or "unnamed"
        self.sha256 = hashlib.sha256(model).hexdigest()
        rates_hz = self.metadata.sample_rate_hz, options.sample_rate_hz
        self.sample_rate_hz = _sample_rate_hz(*rates_hz)
        self.sample_rate_assumed = not any(rates_hz)
        self.interface = read_interface(model, self.metadata)
        self.heads = choose_heads(self.interface, self.metadata, options)
        wanted = [head.output for head in self.heads]
        self.embedding_size = None
        if options.embeddings:
            model, self.interface = _with_embedding(model, self.interface, self.metadata)
        if options.embeddings and self.interface.embedding is not None:
            wanted.append(self.interface.embedding)
            self.embedding_size = self.interface.embedding.values
        elif not self.interface.heads:
            raise ModelError("the model gives embeddings and no scores: use earmark embed")
        if not wanted:
            raise ModelError("neither scores nor embeddings were asked for")
        self.frame_samples, self.hop_samples, self.window_samples = self.interface.framing
        self.channels = self.interface.channels
        self.labels = tuple(label for head in self.heads for label in head.labels)
        self.classes = len(self.labels)
        self._scorer, self.runs = fastest_scorer(model, self.interface, wanted, options.kernels)
        self.together = self._scorer.together

    def __repr__(self) -> str:
        gives = f"{self.classes} classes" if self.heads else f"{self.embedding_size} values"
        frames = f"frames of {self.frame_samples} samples at {self.sample_rate_hz} Hz"
        return f"<AudioClassifier {self.name}: {gives}, {frames}>"

    @classmethod
    def from_path(
        cls,
        path: Path | str,
        options: ModelOptions = ModelOptions(),  # noqa: B008 (it cannot change)
        *,
        name: str | None = None,
    ) -> AudioClassifier:
        """Make a classifier of a .tflite file on disk: see `AudioClassifier`."""
        model = read_file(Path(path))
        with _naming(path):
            return cls(model, options, name=name)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a classifier is not pickled: load it in each process that uses it")

    def score(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of frames, float32 [n, classes]: see `predict`."""
        return self.predict(frames).scores

    def predict(self, frames: NDArray[np.float32]) -> Prediction:
        """Score frames.

        Args:
          frames: float32 [n, frame_samples * channels], in -1.0..1.0, channels interleaved; n may
            be 0.

        Raises:
          ValueError: the frames have another shape or dtype.
        """
        values = self.frame_samples * self.channels
        if frames.dtype != np.float32 or frames.shape[1:] != (values,):
            raise ValueError(
                f"frames must be float32 [n, {values}], not {frames.dtype} {list(frames.shape)}"
            )
        given = self._scorer.run(frames)
        embeddings = None if self.embedding_size is None else given[-1]
        of_heads = given[: len(self.heads)]
        both = [
            as_scores(head, each, self.options)
            for head, each in zip(self.heads, of_heads, strict=True)
        ]
        scores = _concatenated([scores for scores, _ in both], len(frames))
        if all(head.calibration is None for head in self.heads):
            return Prediction(scores, None, embeddings)
        raw_scores = _concatenated([raw for _, raw in both], len(frames))
        return Prediction(scores, raw_scores, embeddings)


def check_runs(model: bytes) -> None:
    """Raise a ModelError unless a .tflite file is an audio model that fits its own metadata."""
    described = metadata.read(model)
    _sample_rate_hz(described.sample_rate_hz, None)
    read_interface(model, described)


def load_classifier(
    source: ModelSource,
    options: ModelOptions = ModelOptions(),  # noqa: B008 (it cannot change)
    *,
    read: ReadUri | None = None,
) -> AudioClassifier:
    """The classifier of a model, loaded once per process for the same model and options.

    Args:
      source: the model.
      options: how to use it.
      read: reads the content at a URI; needed for a model at one.

    Raises:
      ModelError: the model cannot be read or used.
    """
    key = _Key(source.name, source.sha256, options)
    loaded = shared(_Loaded)
    with loaded.lock:
        if key not in loaded.classifiers:
            model = source.read(read)
            with _naming(source.location):
                loaded.classifiers[key] = AudioClassifier(model, options, name=source.name)
        return loaded.classifiers[key]


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
    """Everything that a loaded classifier depends on."""

    name: str
    sha256: str
    options: ModelOptions


class _Loaded:
    """The classifiers of this process.

    Attributes:
      lock: to be held by whoever loads one.
      classifiers: by what they depend on.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.classifiers: dict[_Key, AudioClassifier] = {}


def _with_embedding(
    model: bytes, interface: Interface, described: ModelMetadata
) -> tuple[bytes, Interface]:
    """The model with an output of embeddings, added where it has none.

    Raises:
      ModelError: no tensor of the model can be one.
    """
    if interface.embedding is not None:
        return model, interface
    graph = graphs.parse(model)
    scores = int(graph.subgraphs[0].outputs[interface.heads[0].position])
    tensor = graphs.before_last_layer(graph, scores)
    if tensor is not None and tensor not in graph.subgraphs[0].inputs:
        longer = (*described.outputs, OutputMetadata()) if described.outputs else ()
        model = graphs.with_output(model, tensor)
        changed = read_interface(model, replace(described, outputs=longer))
        if changed.embedding is not None:
            return model, changed
    raise ModelError(
        "the model has no embedding: no layer with weights makes its scores of a row of numbers"
    )


def _sample_rate_hz(of_model: int | None, asked: int | None) -> int:
    if asked is not None and asked <= 0:
        raise ModelError(f"a sample rate of {asked} Hz is not possible")
    if of_model and not MIN_RATE_HZ <= of_model <= MAX_RATE_HZ:
        raise ModelError(
            f"the model takes audio at {of_model} Hz by its metadata: only {MIN_RATE_HZ} to"
            f" {MAX_RATE_HZ} Hz are supported"
        )
    if of_model and asked and of_model != asked:
        raise ModelError(f"the model takes audio at {of_model} Hz, not at the {asked} Hz given")
    return of_model or asked or DEFAULT_SAMPLE_RATE_HZ


def _concatenated(parts: list[NDArray[np.float32]], n: int) -> NDArray[np.float32]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty((n, 0), np.float32), *parts], axis=1)


@contextmanager
def _naming(place: Path | str) -> Iterator[None]:
    """Begin ModelErrors with the file that they are about."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from error
