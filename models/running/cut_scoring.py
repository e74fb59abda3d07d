"""Scoring with a model that is cut at its log-mel patch: both parts run on batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import one_line
from earmark.models.graphs import CannotCutError, CutModel, cut
from earmark.models.running.interpreters import FAILURES, InterpreterPool, Kernels, Output, Outputs

BATCHES = (32, 8, 1)
"""How many frames the network takes at once: what is left by one size is for the next."""

_TRIAL_FRAMES = 17
_LOG_MEL_TOLERANCE = 1e-5
_TOLERANCE = 1e-6


class CutScorer:
    """Runs a cut model: a faster `Scorer` with the results of the uncut model.

    Attributes:
      together: see `Scorer`.
    """

    together = 1

    def __init__(self, parts: CutModel, outputs: Sequence[Output], kernels: Kernels) -> None:
        self._front_end = parts.front_end
        self._networks = {
            batch: InterpreterPool(parts.network(batch), outputs, kernels) for batch in BATCHES
        }

    def run(self, frames: NDArray[np.float32]) -> Outputs:
        """Run the model on frames, float32 [n, frame_samples]."""
        step = BATCHES[0]
        blocks = [frames[i : i + step] for i in range(0, max(len(frames), 1), step)]
        return joined([self.run_patches(self._front_end.patches(block)) for block in blocks])

    def run_patches(self, patches: NDArray[np.float32]) -> Outputs:
        """Run the network on log-mel patches, float32 [n, rows, bands]."""
        parts: list[Outputs] = []
        for batch, network in self._networks.items():
            whole = len(patches) // batch * batch
            if whole or (batch == 1 and not parts):
                batches = patches[:whole].reshape(-1, batch, *patches.shape[1:])
                parts.append(network.run(batches, batch))
                patches = patches[whole:]
        return joined(parts)


def cut_scorer(
    model: bytes,
    run_whole: Callable[[NDArray[np.float32]], Outputs],
    outputs: Sequence[Output],
    kernels: Kernels,
    frame_values: int,
) -> CutScorer:
    """Cut a model, and check that the parts give what the whole model does.

    Args:
      model: a .tflite file.
      run_whole: runs the uncut model on frames.
      outputs: the outputs to return.
      kernels: what computes the operators.
      frame_values: how many samples a frame has.

    Raises:
      CannotCutError: the model cannot be cut, or its parts give other results.
    """
    parts = cut(model)
    frames = trial_frames(frame_values, _TRIAL_FRAMES)
    log_mel = parts.front_end.patches(frames)
    repeated = np.arange(sum(BATCHES)) % _TRIAL_FRAMES  # enough for a batch of each size
    try:
        scorer = CutScorer(parts, outputs, kernels)
        patch = Output(0, log_mel[0].size)
        (patches,) = InterpreterPool(parts.front(), [patch], kernels).run(frames)
        log_mels = patches.reshape(log_mel.shape)
        got = scorer.run_patches(log_mels[repeated])
        expected = [each[repeated] for each in run_whole(frames)]
        alone = joined([scorer.run_patches(each[None]) for each in log_mels])
        if all(map(np.array_equal, got, [each[repeated] for each in alone])):
            scorer.together = BATCHES[0]
    except FAILURES as error:
        raise CannotCutError(f"its parts cannot be run: {one_line(error)}") from error
    if not np.allclose(log_mel.reshape(patches.shape), patches, rtol=0, atol=_LOG_MEL_TOLERANCE):
        raise CannotCutError("what it computes first is not a log-mel patch")
    if not are_close(got, expected, _TOLERANCE):
        raise CannotCutError("its network scores a batch differently from single frames")
    return scorer


def joined(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of consecutive blocks as one."""
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def are_close(
    some: Sequence[NDArray[np.float32]], others: Sequence[NDArray[np.float32]], tolerance: float
) -> bool:
    """Whether outputs are equal within a tolerance; NaN equals NaN."""
    return all(
        np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
        for one, other in zip(some, others, strict=True)
    )


def trial_frames(samples: int, count: int) -> NDArray[np.float32]:
    """Noise at many levels, an impulse, a tone and silence: float32 [count, samples]."""
    frames = np.random.default_rng(0).uniform(-1, 1, (count, samples))
    frames *= np.logspace(0, -5, count)[:, None]
    if count > 7:
        frames[2] = np.sin(np.arange(samples) * 0.3)
        frames[5] = 0
        frames[7, 1:] = 0
    return frames.astype(np.float32)
