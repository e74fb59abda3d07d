"""Ways to run a model on frames: in batches, on stretches of audio, cut at its log-mel patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import ModelError
from earmark.models.graphs import CannotCutError
from earmark.models.running.cut_scoring import BATCHES, are_close, cut_scorer, joined, trial_frames
from earmark.models.running.interface import BATCH, Interface
from earmark.models.running.interpreters import (
    CANNOT_RUN,
    InterpreterPool,
    Kernels,
    Output,
    Outputs,
    failing_as,
)

_TOLERANCE = 1e-4


class Scorer(Protocol):
    """Runs a model on frames; any number of threads may use one at once."""

    @property
    def together(self) -> int:
        """How many frames to run at once; 1 where those beside it change a frame's last bits."""

    def run(self, frames: NDArray[np.float32]) -> Outputs:
        """Run the model on frames, float32 [n, values]."""


def fastest_scorer(
    model: bytes, interface: Interface, outputs: Sequence[Output], kernels: Kernels
) -> tuple[Scorer, str]:
    """The fastest way to run a model with unchanged results, and a description of that way.

    Raises:
      ModelError: the model cannot be run, or its scores of a frame depend on other frames.
    """
    if interface.cuts_frames:
        return _checked(StretchScorer(model, interface, outputs, kernels), interface), (
            f"on stretches of {BATCH} frames, which it cuts itself"
        )
    if interface.batch > 1 and interface.input_shape is None:
        plain = BatchScorer(model, interface, outputs, kernels)
        return _checked(plain, interface), f"in batches of {interface.batch} frames"
    return _fastest_alone(model, interface, outputs, kernels)


def _fastest_alone(
    model: bytes, interface: Interface, outputs: Sequence[Output], kernels: Kernels
) -> tuple[Scorer, str]:
    """The fastest way to run a model that can take a frame by itself."""
    frame_values = interface.framing.frame_samples * interface.channels
    alone = replace(interface, batch=1, input_shape=interface.single_shape)
    plain = BatchScorer(model, alone, outputs, kernels)
    _check_stateless(plain, frame_values)
    try:
        scorer = cut_scorer(model, plain.run, outputs, kernels, frame_values)
        return scorer, f"cut at its log-mel patch, {BATCHES[0]} frames at a time"
    except CannotCutError as error:
        reason = str(error)
    if interface.batch > 1:
        try:
            batches = BatchScorer(model, interface, outputs, kernels)
            _checked(batches, interface)
            trial = trial_frames(frame_values, interface.batch)
            if all(map(np.array_equal, batches.run(trial), plain.run(trial))):
                batches.singles = plain
            return batches, f"in batches of {interface.batch} frames"
        except ModelError as error:
            reason = f"in a batch {error}"
    return plain, f"frame by frame, since {reason}"


def _check_stateless(scorer: Scorer, frame_values: int) -> None:
    """Check that the scores of a frame do not depend on the frames before it.

    Raises:
      ModelError: they do, or the model cannot be run.
    """
    one, other = trial_frames(frame_values, 2)[:, None]
    with failing_as(CANNOT_RUN):
        before = scorer.run(one)
        scorer.run(other)
        after = scorer.run(one)
    if not are_close(before, after, _TOLERANCE):
        raise ModelError("the model's scores of a frame depend on the frames before it")


class BatchScorer:
    """Runs a model on as many frames at once as it takes.

    Attributes:
      singles: runs what does not fill a batch, frame by frame, with the same results to the bit;
        None where that is padded to a batch.
    """

    def __init__(
        self, model: bytes, interface: Interface, outputs: Sequence[Output], kernels: Kernels
    ) -> None:
        self.singles: Scorer | None = None
        self._batch = interface.batch
        self._pool = InterpreterPool(model, outputs, kernels, interface.input_shape)

    @property
    def together(self) -> int:
        """How many frames to run at once: see `Scorer`."""
        return 1 if self.singles is None else self._batch

    def run(self, frames: NDArray[np.float32]) -> Outputs:
        """Run the model on frames: see `Scorer`."""
        n = len(frames)
        whole = n // self._batch * self._batch
        if self.singles is not None and whole < n:
            rest = self.singles.run(frames[whole:])
            return joined([self.run(frames[:whole]), rest]) if whole else rest
        if n % self._batch:
            frames = np.pad(frames, ((0, -n % self._batch), (0, 0)))
        if self._batch > 1:
            frames = frames.reshape(-1, self._batch * frames.shape[1])
        return tuple(given[:n] for given in self._pool.run(frames, self._batch))


class StretchScorer:
    """Runs a model that cuts frames itself on stretches of audio, put together from frames.

    Frames that follow each other at the model's own hop run together, all others one by one.
    """

    together = 1

    def __init__(
        self, model: bytes, interface: Interface, outputs: Sequence[Output], kernels: Kernels
    ) -> None:
        self._framing = interface.framing
        self._batch = interface.batch
        self._batches = InterpreterPool(model, outputs, kernels, interface.input_shape)
        self._singles = InterpreterPool(model, outputs, kernels, interface.single_shape)

    def run(self, frames: NDArray[np.float32]) -> Outputs:
        """Run the model on frames: see `Scorer`."""
        blocks = [frames[i : i + self._batch] for i in range(0, max(len(frames), 1), self._batch)]
        return joined([self._run_block(block) for block in blocks])

    def _run_block(self, block: NDArray[np.float32]) -> Outputs:
        hop = self._framing.hop_samples
        between = max(hop - block.shape[1], 0)  # samples that no frame depends on
        overlap = block.shape[1] - hop
        if len(block) < self._batch or (
            overlap > 0 and not np.array_equal(block[:-1, hop:], block[1:, :overlap])
        ):
            return self._singles.run(block)
        hops = np.pad(block[:, :hop], ((0, 0), (0, between))).reshape(-1)
        stretch = np.concatenate([hops[: len(hops) - between], block[-1, hop:]])
        return self._batches.run(stretch[None], self._batch)


def _checked(scorer: Scorer, interface: Interface) -> Scorer:
    """The scorer, after a check that it gives each frame of a batch what the frame gets alone.

    Raises:
      ModelError: it does not, or the model cannot be run.
    """
    framing, batch = interface.framing, interface.batch
    if interface.cuts_frames:
        hop = framing.hop_samples
        signal = trial_frames(framing.frame_samples + (batch - 1) * hop, 2)[0]
        frames = np.stack([signal[i * hop :][: framing.frame_samples] for i in range(batch)])
    else:
        frames = trial_frames(framing.frame_samples * interface.channels, batch)
    with failing_as(CANNOT_RUN):
        together = scorer.run(frames)
        for i in {0, batch // 2, batch - 1}:
            alone = scorer.run(frames[i : i + 1])
            if not are_close([each[i : i + 1] for each in together], alone, _TOLERANCE):
                raise ModelError("the model's scores of a frame depend on the others in its batch")
    return scorer
