"""Scoring with a model whose graph has been cut: spectra by the batch, the network by the batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.cutting import CannotCutError, CutModel, cut
from models.errors import ModelError
from models.interpreters import InterpreterPool

BATCH = 16
"""Frames that the network takes at once; what is left over goes through one by one."""

_LOG_MEL_TOLERANCE = 1e-5
_SCORE_TOLERANCE = 1e-6


class CutScorer:
    """Scores frames as the uncut model does, in less time; for any number of threads at once."""

    def __init__(self, parts: CutModel) -> None:
        self._front_end = parts.front_end
        self._batches = InterpreterPool(parts.network(BATCH))
        self._singles = InterpreterPool(parts.network(1))

    def score(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score frames, float32 [n, frame_samples], to float32 [n, classes]."""
        blocks = (frames[start : start + BATCH] for start in range(0, max(len(frames), 1), BATCH))
        return np.concatenate([self.score_patches(self._front_end.patches(b)) for b in blocks])

    def score_patches(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score log-mel patches, float32 [n, rows, bands], to float32 [n, classes]."""
        whole = len(patches) // BATCH * BATCH
        return np.concatenate(
            [self._batches.run(patches[:whole], BATCH), self._singles.run(patches[whole:])]
        )


def cut_scorer(model: bytes, whole: InterpreterPool, frame_samples: int) -> CutScorer:
    """Cut a model, and see that the parts give what the whole does.

    Args:
      model: a .tflite file.
      whole: interpreters of the same.
      frame_samples: how many samples a frame has.

    Raises:
      CannotCutError: it cannot be cut, or its parts give something else.
    """
    parts = cut(model)
    frames = _trial_frames(frame_samples)
    try:
        scorer = CutScorer(parts)
        patches = InterpreterPool(parts.front()).run(frames)
        got, expected = scorer.score_patches(patches), whole.run(frames)
    except ModelError as error:
        raise CannotCutError(f"its parts cannot be run: {error}") from error
    log_mel = parts.front_end.patches(frames).reshape(patches.shape)
    if not np.allclose(log_mel, patches, rtol=0, atol=_LOG_MEL_TOLERANCE):
        raise CannotCutError("what it computes first is no log-mel patch")
    if not np.allclose(got, expected, rtol=0, atol=_SCORE_TOLERANCE):
        raise CannotCutError("its network gives other scores to a batch than to each frame")
    return scorer


def _trial_frames(samples: int) -> NDArray[np.float32]:
    """Noise at many levels, an impulse, a tone and silence: float32 [BATCH + 1, samples]."""
    frames = np.random.default_rng(0).uniform(-1, 1, (BATCH + 1, samples))
    frames *= np.logspace(0, -5, BATCH + 1)[:, None]
    frames[2] = np.sin(np.arange(samples) * 0.3)
    frames[5] = 0
    frames[7, 1:] = 0
    return frames.astype(np.float32)
