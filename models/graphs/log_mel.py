"""The log-mel front end of YAMNet and similar models, computed for many frames at once.

A frame is cut into overlapping windows, each tapered and transformed; the magnitudes of its
spectrum are summed into mel bands, and the logarithms of those are the rows of a patch:

    patch = log(|rfft(window * samples)| @ mel + offset)

All constants are the model's own. Inside the graph this takes half of a frame's time. Here the
transform is numpy's, in float64 as TensorFlow Lite's own is; the sums, of which each frequency is
in two at most, are a sparse product; and what is shared by frames that overlap is computed once. A
row is the same to the last bit, whatever rows are computed beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_ROWS_AT_ONCE = 192
"""How many windows are transformed together, so that their spectra stay in the CPU's cache."""


@dataclass(frozen=True)
class LogMel:
    """A model's log-mel front end.

    Attributes:
      window: float32 [window_samples], the taper.
      hop_samples: the distance between the starts of consecutive windows.
      rows: how many windows a frame has.
      fft_length: the length that windows are padded to with zeros.
      mel: float64 [fft_length // 2 + 1, bands], the weight of each frequency in each band.
      offset: float64 [bands], added before the logarithm.
    """

    window: NDArray[np.float32]
    hop_samples: int
    rows: int
    fft_length: int
    mel: NDArray[np.float64]
    offset: NDArray[np.float64]

    def patches(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The log-mel patches of frames, float32 [n, frame_samples], as float32 [n, rows, bands].

        Frames that are views of one signal, and begin at multiples of the windows' hop, share rows.
        """
        hop = frames.strides[0] // frames.itemsize
        if len(frames) > 1 and _overlap(frames) and hop % self.hop_samples == 0:
            rows = self._rows(self._windows(_signal_under(frames)))
            step = hop // self.hop_samples
            patches = sliding_window_view(rows, self.rows, axis=0)[::step]
            return np.ascontiguousarray(patches.swapaxes(1, 2))
        windows = sliding_window_view(frames, len(self.window), axis=1)
        windows = windows[:, :: self.hop_samples][:, : self.rows]
        rows = self._rows(windows.reshape(-1, len(self.window)))
        return rows.reshape(len(frames), self.rows, self.mel.shape[1])

    def _windows(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        return sliding_window_view(signal, len(self.window))[:: self.hop_samples]

    def _rows(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of windows: float32 [m, window_samples] to float32 [m, bands]."""
        rows = np.empty((len(windows), self.mel.shape[1]), np.float32)
        at_once = min(_ROWS_AT_ONCE, len(windows))
        padded = np.zeros((at_once, self.fft_length))
        spectra = np.empty((at_once, len(self.mel)), np.complex128)
        for start in range(0, len(windows), _ROWS_AT_ONCE):
            part = windows[start : start + _ROWS_AT_ONCE]
            n = len(part)
            np.multiply(part, self.window, out=padded[:n, : len(self.window)])
            # reuses memory: allocating new pages costs more than the transform
            np.fft.rfft(padded[:n], axis=1, out=spectra[:n])
            rows[start : start + n] = self._log_bands(spectra[:n]).T
        return rows

    def _log_bands(self, spectra: NDArray[np.complex128]) -> NDArray[np.float64]:
        """The logarithms of the bands of spectra, complex128 [m, bins], as float64 [bands, m]."""
        first, weights = self._weights
        # magnitudes are rounded to float32, as the graph's are
        magnitudes = np.abs(spectra[:, first : first + weights.shape[1]]).astype(np.float32)
        bands: NDArray[np.float64] = weights @ magnitudes.T.astype(np.float64, order="C")
        bands += self.offset[:, None]
        return np.log(bands, out=bands)

    @cached_property
    def _weights(self) -> tuple[int, csr_array]:
        """The first frequency that any band uses, and the weights from there on, [bands, bins]."""
        from scipy.sparse import csr_array  # takes 0.1 s, and is only needed to score frames

        used = np.flatnonzero(self.mel.any(axis=1))
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        return first, csr_array(self.mel[first : last + 1].T)


def _overlap(frames: NDArray[np.float32]) -> bool:
    step, item = frames.strides
    return item == frames.itemsize and 0 < step < frames.shape[1] * item and step % item == 0


def _signal_under(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The signal that overlapping frames are views of."""
    samples = (len(frames) - 1) * (frames.strides[0] // frames.itemsize) + frames.shape[1]
    return as_strided(frames, (samples,), (frames.itemsize,), writeable=False)
