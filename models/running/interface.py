"""What a model takes and gives, and whether it can be run here.

Every rule that a model may break is an error here, one line each; docs/models.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from earmark.models import graphs
from earmark.models.errors import ModelError, one_line
from earmark.models.metadata import ModelMetadata
from earmark.models.running.cut_scoring import BATCH
from earmark.models.running.interpreters import FAILURES, Output, described_ports, new_interpreter

_LONGEST_FRAME = 1 << 21
"""Samples, 43 s at 48 kHz; a model that gives one row for as many is no model of frames."""

_QUANTISED = (np.uint8, np.int8)
_WITH_A_SCALE = ", and of 8 bits with a scale"


@dataclass(frozen=True)
class Tensor:
    """A tensor of a model's input or output; -1 stands for a size that may vary."""

    index: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    @classmethod
    def of(cls, details: dict[str, Any]) -> Tensor:
        """From what LiteRT tells of it."""
        shape = [int(size) for size in details["shape"]]
        signature = [int(size) for size in details.get("shape_signature", shape)]
        if len(signature) == len(shape):
            shape = [-1 if said < 0 else size for said, size in zip(signature, shape, strict=True)]
        scale = details["quantization"][0]
        return cls(details["index"], np.dtype(details["dtype"]), tuple(shape), scale)


class Framing(NamedTuple):
    """How a model sees audio.

    Attributes:
      frame_samples: samples, of each channel, that a frame's scores depend on.
      hop_samples: from frame to frame: what the model's own is, where it cuts frames itself.
      window_samples: of a frame, what its scores are about.
    """

    frame_samples: int
    hop_samples: int
    window_samples: int


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives.

    Attributes:
      audio: the input.
      channels: that are interleaved in it.
      framing: how long frames are.
      batch: how many frames it takes at once.
      input_shape: what the input has to be resized to for that; None where it is of that shape.
      single_shape: the same for one frame; None where it cannot be resized.
      cuts_frames: it takes audio of any length, and cuts frames itself.
      heads: the outputs that hold scores.
      embedding: the output that holds embeddings; None where there is none.
      unused: outputs that are neither.
      probabilities: of the heads, those whose scores are between 0 and 1.
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


def read_interface(model: bytes, said: ModelMetadata) -> Interface:
    """Find out what a model takes and gives.

    Args:
      model: a .tflite file.
      said: what it says about itself.

    Raises:
      ModelError: it cannot be run here; the message names the rule that it breaks.
    """
    inputs, outputs = ([Tensor.of(each) for each in ports] for ports in described_ports(model))
    channels = said.channels or 1
    audio = _audio(inputs, channels)
    if not outputs:
        raise ModelError("the model has no output")
    described = len(said.outputs)
    if described and described != len(outputs):
        raise ModelError(
            f"the model's metadata describes {described} outputs, and it has {len(outputs)}:"
            " describe them anew with earmark model label"
        )
    if audio.shape[-1] < 0:
        interface = _of_any_length(model, audio, inputs[0].shape, channels, outputs)
    else:
        interface = _of_frames(model, audio, inputs[0].shape, channels)
    return _told_apart(model, interface, said)


def _audio(inputs: Sequence[Tensor], channels: int) -> Tensor:
    """The input, as [values], [1, values] or [batch, values], whatever ones its shape has more."""
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
    """A shape without ones in excess, and with samples and channels in one.

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
    """What a model takes and gives whose frames are of one length; its input is of a shape."""
    rows = audio.shape[0] if len(audio.shape) == 2 else 1
    values = audio.shape[-1]
    if values % channels:
        raise ModelError(
            f"the model takes {values} values, which is no multiple of the {channels} channels that"
            " its metadata names"
        )
    single_shape = _sized(shape, 1) if rows < 0 else None
    outputs = [Tensor.of(each) for each in new_interpreter(model).get_output_details()]
    if any(not tensor.shape or tensor.shape[-1] < 0 for tensor in outputs):
        outputs = _seen(model, outputs, single_shape or shape, rows)
    per_frame = [_values(tensor, rows) for tensor in outputs]
    usable = tuple(Output(i, each) for i, each in enumerate(per_frame) if each is not None)
    takes_many = rows < 0 and all(outputs[each.position].shape[0] < 0 for each in usable)
    batch = rows if rows > 0 else BATCH if takes_many else 1
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


def _batch(rows: int) -> str:
    return "batch" if rows < 0 else str(rows)


def _sized(shape: Sequence[int], rows: int) -> tuple[int, ...]:
    """A shape with so many rows where their number may vary."""
    return tuple(rows if size < 0 else size for size in shape)


def _seen(model: bytes, outputs: Sequence[Tensor], shape: Sequence[int], rows: int) -> list[Tensor]:
    """Outputs with the shapes that they are seen to have, where the file does not tell."""
    try:
        seen = _run_on_silence(model, shape)
    except FAILURES as error:
        raise ModelError(f"the model cannot be run: {one_line(error)}") from error
    return [
        replace(tensor, shape=(*(tensor.shape[:1] if rows < 0 else sizes[:1]), *sizes[1:]))
        for tensor, sizes in zip(outputs, seen, strict=True)
    ]


def _run_on_silence(model: bytes, shape: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes of the outputs for an input of a shape.

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
    """How many values a tensor holds for each of a batch's frames; None if it is no such tensor."""
    shape = tensor.shape
    is_flat = len(shape) == 2 or (len(shape) == 4 and shape[1:3] == (1, 1))
    may_be_one = rows in (1, -1)  # of a batch of no fixed size, or of what is none
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
    """What a model takes and gives that cuts frames itself, found by trying lengths."""
    if channels != 1:
        raise ModelError(
            f"the model takes {channels} channels of any length: of such models only those of one"
            " channel can be run"
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
        input_shape=_stretched(shape, frame + (BATCH - 1) * hop),
        single_shape=_stretched(shape, frame),
        cuts_frames=True,
        heads=tuple(usable),
        embedding=None,
        unused=tuple(i for i in range(len(outputs)) if i not in known),
    )


class _Trials:
    """Runs a model that takes audio of any length on silence, to see how much it gives."""

    def __init__(self, model: bytes, shape: tuple[int, ...]) -> None:
        self._model = model
        self._shape = shape
        self._known: dict[int, list[tuple[int, ...]]] = {}

    def shapes(self, samples: int) -> list[tuple[int, ...]]:
        """The shapes of the outputs for so many samples; none of any where it cannot be run."""
        if samples not in self._known:
            self._known[samples] = self._run(samples)
        return self._known[samples]

    def frame_and_hop(self) -> tuple[int, int]:
        """How many samples a frame's row depends on, and how far frames are apart."""
        if self._rows(1) >= 1:  # what is too short is padded
            frame = self._longest(1)
            hop = self._longest(2) - frame
        else:
            frame = self._longest(0) + 1
            hop = self._longest(1) + 1 - frame
        # rounding may bring one more that is all padding, as in YAMNet's own padding
        if self._rows(frame + 3 * hop) not in (4, 5):
            raise ModelError(
                f"the model takes audio of any length, but no even frames of it: {frame} samples"
                f" give a row, {frame + 3 * hop} give {self._rows(frame + 3 * hop)}"
            )
        return frame, hop

    def _longest(self, rows: int) -> int:
        """The largest number of samples that gives no more than so many rows."""
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
            return "gives no more rows for more of it"
        return f"could be run on none that was tried, {min(self._known)} to {max(self._known)}"

    def _rows(self, samples: int) -> int:
        """How many rows the output of most values in a row, that is one of the frames, has."""
        shapes = self.shapes(samples)
        return min((shape[0] for shape in shapes if len(shape) == 2), default=0)

    def _run(self, samples: int) -> list[tuple[int, ...]]:
        try:
            return _run_on_silence(self._model, _stretched(self._shape, samples))
        except FAILURES:
            return []


def _stretched(shape: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """A shape of any length with one length, and with ones besides."""
    length = len(shape) - 1 - shape[::-1].index(-1)
    return tuple(samples if i == length else 1 for i in range(len(shape)))


def _told_apart(model: bytes, found: Interface, said: ModelMetadata) -> Interface:
    """Tell heads from embeddings, and from what is only on the way to a head's scores.

    An embedding is what other outputs are computed from, or what is called so. What has labels, or
    is made by a logistic function or a softmax, is a head all the same.
    """
    graph = graphs.parse(model)
    tensors = [int(tensor) for tensor in graph.subgraphs[0].outputs]

    def is_used_by_others(output: Output, used: Callable[[Any, int], set[int]]) -> bool:
        source = graphs.unreshaped(graph, tensors[output.position])
        others = (each for each in found.heads if each != output)
        return any(source in used(graph, tensors[each.position]) for each in others)

    def role(output: Output) -> str:
        described = said.output(output.position)
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
