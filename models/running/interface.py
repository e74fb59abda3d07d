"""A model's inputs and outputs: how audio goes in, which outputs hold scores or embeddings.

A model that breaks one of the rules of docs/models.md is an error of one line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from earmark.models import graphs
from earmark.models.errors import ModelError, one_line
from earmark.models.metadata import ModelMetadata
from earmark.models.running.interpreters import FAILURES, Output, new_interpreter, port_details

_LONGEST_FRAME = 1 << 21
"""Samples, 43 s at 48 kHz: a model that gives one row for more does not score frames."""

_BATCH_VALUES = 1 << 20

BATCH = 16
"""The most frames at once for a model that takes frames itself, or cuts them."""

_QUANTISED = (np.uint8, np.int8)
_WITH_A_SCALE = ", and of 8 bits with a scale"


@dataclass(frozen=True)
class Tensor:
    """A tensor of a model's input or output; a dimension of -1 has no fixed size."""

    index: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @classmethod
    def of(cls, details: dict[str, Any]) -> Tensor:
        """Make one of the details that LiteRT gives of a tensor."""
        shape = [int(size) for size in details["shape"]]
        signature = [int(size) for size in details.get("shape_signature", shape)]
        if len(signature) == len(shape):
            shape = [-1 if s < 0 else size for s, size in zip(signature, shape, strict=True)]
        scale = details["quantization"][0]
        return cls(details["index"], np.dtype(details["dtype"]), tuple(shape), scale)


class Framing(NamedTuple):
    """How a model's frames lie in the audio, in samples of each channel.

    Attributes:
      frame_samples: the samples that a frame's scores depend on.
      hop_samples: the distance from one frame to the next; of a model that does not cut frames
        itself, their length.
      window_samples: the part of a frame that its scores describe.
    """

    frame_samples: int
    hop_samples: int
    window_samples: int


@dataclass(frozen=True)
class Interface:
    """A model's inputs and outputs, and how to run it.

    Attributes:
      audio: the input tensor.
      channels: how many channels are interleaved in the input.
      framing: how frames lie in the audio.
      batch: how many frames the model takes at once.
      input_shape: the shape to resize the input to for a batch; None where it has that shape.
      single_shape: the shape to resize the input to for one frame; None where it has a fixed shape.
      cuts_frames: whether the model takes audio of any length and cuts frames itself.
      heads: the outputs that hold scores.
      embedding: the output that holds embeddings; None where there is none.
      unused: positions of the outputs that are neither.
      probabilities: positions of the heads whose scores lie between 0 and 1.
    """

    audio: Tensor
    channels: int
    framing: Framing
    batch: int
    input_shape: tuple[int, ...] | None
    single_shape: tuple[int, ...] | None
    cuts_frames: bool
    heads: tuple[Output, ...]
    embedding: Output | None
    unused: tuple[int, ...] = ()
    probabilities: tuple[int, ...] = ()


def read_interface(model: bytes, metadata: ModelMetadata) -> Interface:
    """Find out how a .tflite model takes audio, and what its outputs hold.

    Raises:
      ModelError: the model cannot be run; the message names the rule that it breaks.
    """
    inputs, outputs = ([Tensor.of(each) for each in ports] for ports in port_details(model))
    channels = metadata.channels or 1
    audio = _audio(inputs, channels)
    if not outputs:
        raise ModelError("the model has no output")
    described = len(metadata.outputs)
    if described and described != len(outputs):
        raise ModelError(
            f"the model's metadata describes {described} outputs, but it has {len(outputs)}:"
            " describe them again with earmark model label"
        )
    if audio.shape[-1] < 0:
        interface = _of_any_length(model, audio, inputs[0].shape, channels, outputs)
    else:
        interface = _of_frames(model, audio, inputs[0].shape, channels)
    return _with_roles(model, interface, metadata)


def _audio(inputs: Sequence[Tensor], channels: int) -> Tensor:
    """The input as [values], [1, values] or [batch, values], without further dimensions of one."""
    if len(inputs) != 1:
        found = ", ".join(map(str, inputs))
        raise ModelError(f"the model has {len(inputs)} inputs ({found}): one was expected")
    audio = replace(inputs[0], shape=_flattened(inputs[0].shape, channels))
    if len(audio.shape) not in (1, 2) or audio.dtype != np.float32 or 0 in audio.shape:
        raise ModelError(
            f"the model takes {inputs[0]}, which is not audio: float32 [samples], [1, samples] or"
            " [batch, samples] was expected"
        )
    return audio


def _flattened(shape: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """A shape without superfluous dimensions of one, and with samples and channels in one.

    [n, 1], [1, n, 1] and [1, n, channels] hold in memory what [n] and [1, n * channels] do.
    """
    if channels > 1 and len(shape) > 1 and shape[-1] == channels and shape[-2] > 0:
        shape = (*shape[:-2], shape[-2] * channels)
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _of_frames(model: bytes, audio: Tensor, shape: tuple[int, ...], channels: int) -> Interface:
    """The interface of a model that takes frames of a fixed length, as an input of this shape."""
    rows = audio.shape[0] if len(audio.shape) == 2 else 1
    values = audio.shape[-1]
    if values % channels:
        raise ModelError(
            f"the model takes {values} values, which is not a multiple of the {channels} channels"
            " that its metadata names"
        )
    single_shape = _sized(shape, 1) if rows < 0 else None
    outputs = [Tensor.of(each) for each in new_interpreter(model).get_output_details()]
    if any(not tensor.shape or tensor.shape[-1] < 0 for tensor in outputs):
        outputs = _with_observed_shapes(model, outputs, single_shape or shape, rows)
    per_frame = [_values(tensor, rows) for tensor in outputs]
    usable = tuple(Output(i, each) for i, each in enumerate(per_frame) if each is not None)
    takes_many = rows < 0 and all(outputs[each.position].shape[0] < 0 for each in usable)
    batch = rows if rows > 0 else _batch_of(values) if takes_many else 1
    if not usable:
        found = ", ".join(map(str, outputs))
        a_row = "[classes] or [1, classes]" if rows == 1 else f"[{_batch(rows)}, classes]"
        raise ModelError(
            f"the model gives {found}, which is not scores: float32, uint8 or int8 {a_row}"
            f" was expected{_WITH_A_SCALE}"
        )
    return Interface(
        audio=audio,
        channels=channels,
        framing=Framing(values // channels, values // channels, values // channels),
        batch=batch,
        input_shape=_sized(shape, batch) if rows < 0 else None,
        single_shape=single_shape,
        cuts_frames=False,
        heads=usable,
        embedding=None,
        unused=tuple(i for i, each in enumerate(per_frame) if each is None),
    )


def _batch_of(values: int) -> int:
    """How many frames of a model that takes any number it gets at once: a power of two.

    Memory grows with each, by 20 MB a thread for BirdNET's of 144,000 samples; time shrinks ever
    less: see docs/performance.md.
    """
    return min(BATCH, 1 << max(1, _BATCH_VALUES // values).bit_length() - 1)


def _batch(rows: int) -> str:
    return "batch" if rows < 0 else str(rows)


def _sized(shape: Sequence[int], rows: int) -> tuple[int, ...]:
    """A shape with this number of rows in place of -1."""
    return tuple(rows if size < 0 else size for size in shape)


def _with_observed_shapes(
    model: bytes, outputs: Sequence[Tensor], shape: Sequence[int], rows: int
) -> list[Tensor]:
    """Outputs with the shapes that they have after a run, where the file does not tell them."""
    try:
        seen = _run_on_silence(model, shape)
    except FAILURES as error:
        raise ModelError(f"the model cannot be run: {one_line(error)}") from error
    return [
        replace(tensor, shape=(*(tensor.shape[:1] if rows < 0 else sizes[:1]), *sizes[1:]))
        for tensor, sizes in zip(outputs, seen, strict=True)
    ]


def _run_on_silence(model: bytes, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes of the outputs for silence of a shape.

    Raises:
      ModelError: LiteRT cannot load the model.
      One of FAILURES: it cannot run it.
    """
    interpreter = new_interpreter(model, input_shape=shape)
    (takes,), gives = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(takes["index"], np.zeros(shape, np.float32))
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]).shape for each in gives]


def _values(tensor: Tensor, rows: int) -> int | None:
    """How many values a tensor holds for each frame of a batch; None if it holds no such rows."""
    shape = tensor.shape
    is_flat = len(shape) == 2 or (len(shape) == 4 and shape[1:3] == (1, 1))
    may_be_one = rows in (1, -1)  # there is no batch, or one of any size
    fits = is_flat and (shape[0] in (rows, -1) or (shape[0] == 1 and may_be_one))
    is_row = fits or (len(shape) == 1 and may_be_one)
    return shape[-1] if is_row and shape[-1] > 0 and _holds_scores(tensor) else None


def _holds_scores(tensor: Tensor) -> bool:
    return tensor.dtype == np.float32 or (tensor.dtype in _QUANTISED and tensor.scale > 0)


def _of_any_length(
    model: bytes,
    audio: Tensor,
    shape: tuple[int, ...],
    channels: int,
    outputs: Sequence[Tensor],
) -> Interface:
    """The interface of a model that cuts frames itself, found by trying lengths."""
    if channels != 1:
        raise ModelError(
            f"the model takes {channels} channels of any length: a model of any length must take"
            " one channel"
        )
    tried = _Trials(model, shape)
    frame, hop = tried.frame_and_hop()
    first, second = tried.shapes(frame), tried.shapes(frame + hop)
    usable, window = [], frame
    for i, (one, two) in enumerate(zip(first, second, strict=True)):
        if len(one) == 2 and (one[0], two[0]) == (1, 2) and _holds_scores(outputs[i]):
            usable.append(Output(i, one[1]))
        elif len(one) == 2 and two[0] > one[0] and hop % (two[0] - one[0]) == 0:
            # rows of a spectrogram: a frame is about as many of them
            window = min(window, one[0] * (hop // (two[0] - one[0])))
    if not usable:
        found = ", ".join(map(str, outputs))
        raise ModelError(
            f"the model gives {found}, which is not scores: float32, uint8 or"
            f" int8 [frames, classes] was expected{_WITH_A_SCALE}"
        )
    known = {output.position for output in usable}
    return Interface(
        audio=audio,
        channels=1,
        framing=Framing(frame, hop, window),
        batch=BATCH,
        input_shape=_with_length(shape, frame + (BATCH - 1) * hop),
        single_shape=_with_length(shape, frame),
        cuts_frames=True,
        heads=tuple(usable),
        embedding=None,
        unused=tuple(i for i in range(len(outputs)) if i not in known),
    )


class _Trials:
    """Runs a model that takes audio of any length on silence, to see how many rows it gives."""

    def __init__(self, model: bytes, shape: tuple[int, ...]) -> None:
        self._model = model
        self._shape = shape
        self._known: dict[int, list[tuple[int, ...]]] = {}

    def shapes(self, samples: int) -> list[tuple[int, ...]]:
        """The shapes of the outputs for a number of samples; empty where the model cannot run."""
        if samples not in self._known:
            self._known[samples] = self._run(samples)
        return self._known[samples]

    def frame_and_hop(self) -> tuple[int, int]:
        """How many samples the row of a frame depends on, and the distance between frames."""
        if self._rows(1) >= 1:  # what is too short is padded
            frame = self._longest(1)
            hop = self._longest(2) - frame
        else:
            frame = self._longest(0) + 1
            hop = self._longest(1) + 1 - frame
        # rounding may bring one more that is all padding, as in YAMNet's own padding
        if self._rows(frame + 3 * hop) not in (4, 5):
            raise ModelError(
                "the model takes audio of any length, but does not cut it into even frames:"
                f" {frame} samples give a row, {frame + 3 * hop} give {self._rows(frame + 3 * hop)}"
            )
        return frame, hop

    def _longest(self, rows: int) -> int:
        """The largest number of samples that gives at most this many rows."""
        least, beyond = 0, 1
        while self._rows(beyond) <= rows:
            least, beyond = beyond, 2 * beyond
            if beyond > _LONGEST_FRAME:
                raise ModelError(f"the model takes audio of any length, but {self._trouble()}")
        while beyond - least > 1:
            middle = (least + beyond) // 2
            if self._rows(middle) <= rows:
                least = middle
            else:
                beyond = middle
        return least

    def _trouble(self) -> str:
        if any(self._known.values()):
            return "gives no more rows for longer audio"
        return f"failed at every length that was tried, {min(self._known)} to {max(self._known)}"

    def _rows(self, samples: int) -> int:
        """How many rows the outputs have; of several, such as a spectrogram's too, the fewest."""
        shapes = self.shapes(samples)
        return min((shape[0] for shape in shapes if len(shape) == 2), default=0)

    def _run(self, samples: int) -> list[tuple[int, ...]]:
        try:
            return _run_on_silence(self._model, _with_length(self._shape, samples))
        except FAILURES:
            return []


def _with_length(shape: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """A shape with the last -1 replaced by a number of samples, and ones elsewhere."""
    length = len(shape) - 1 - shape[::-1].index(-1)
    return tuple(samples if i == length else 1 for i in range(len(shape)))


def _with_roles(model: bytes, found: Interface, metadata: ModelMetadata) -> Interface:
    """Tell heads from embeddings and from logits that a head's scores are made of.

    An embedding is what other outputs are computed from, or an output with that name. An output
    with labels, or of a logistic function or a softmax, is a head in any case.
    """
    graph = graphs.parse(model)
    tensors = [int(tensor) for tensor in graph.subgraphs[0].outputs]

    def is_used_by_others(output: Output, used: Callable[[Any, int], set[int]]) -> bool:
        source = graphs.before_reshapes(graph, tensors[output.position])
        others = (each for each in found.heads if each != output)
        return any(source in used(graph, tensors[each.position]) for each in others)

    def role(output: Output) -> str:
        described = metadata.output(output.position)
        tensor = tensors[output.position]
        names = described.name or "", graphs.tensor_name(graph, tensor).rsplit("/", 1)[-1]
        if described.labels is not None:
            return "head"
        if any(name.lower().startswith("embedding") for name in names):
            return "embedding"
        if graphs.is_probability(graph, tensor):
            return "head"
        if is_used_by_others(output, graphs.before_activation):
            return "logits"
        return "embedding" if is_used_by_others(output, graphs.ancestors) else "head"

    roles = {output: role(output) for output in found.heads}
    heads = tuple(output for output in found.heads if roles[output] == "head")
    embeddings = [output for output in found.heads if roles[output] == "embedding"]
    rest = [output for output in found.heads if output not in (*heads, *embeddings[:1])]
    return replace(
        found,
        heads=heads,
        embedding=embeddings[0] if embeddings else None,
        unused=tuple(sorted((*found.unused, *(output.position for output in rest)))),
        probabilities=tuple(
            head.position for head in heads if graphs.is_probability(graph, tensors[head.position])
        ),
    )
