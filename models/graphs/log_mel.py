"""The log-mel front end of YAMNet and similar models, computed for many frames at once.

A frame is cut into overlapping windows, each tapered and transformed; the magnitudes of its
spectrum are summed into mel bands, and the logarithms of those are the rows of a patch:

    patch = log(|rfft(window * samples)| @ mel + offset)

All constants are the model's own. Inside the graph this takes half of a frame's time. Here the
transform is numpy's, or ducc0's where that is installed, in float64 as TensorFlow Lite's own is;
the sums, each of a few neighbouring frequencies, are products of small matrices; and what is shared
by frames that overlap is computed once. A row is the same to the last bit, whatever rows are
computed beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

try:
    from ducc0.fft import r2c
except ImportError:  # it is optional, as its licence is the GPL
    r2c = None

_ROWS_AT_ONCE = 48
"""How many windows are transformed together: their spectra share the CPU's cache with a decoder."""

_BANDS_AT_ONCE = 8
"""How many bands are summed in one product: few, so that they have few frequencies in all."""


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
            rows = self._rows(self._windows(_signal_under(frames)[None]))
            step = hop // self.hop_samples
            patches = sliding_window_view(rows, self.rows, axis=0)[::step]
            return np.ascontiguousarray(patches.swapaxes(1, 2))
        rows = self._rows(self._windows(frames)[:, : self.rows])
        return rows.reshape(len(frames), self.rows, self.mel.shape[1])

    def _windows(self, signals: NDArray[np.float32]) -> NDArray[np.float32]:
        """The windows of signals, float32 [k, samples] to a view [k, m, window_samples]."""
        return sliding_window_view(signals, len(self.window), axis=1)[:, :: self.hop_samples]

    def _rows(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of windows: float32 [k, m, window_samples] to float32 [k * m, bands]."""
        signals, each = windows.shape[:2]
        rows = np.empty((signals * each, self.mel.shape[1]), np.float32)
        together, along = max(1, _ROWS_AT_ONCE // max(1, each)), min(each, _ROWS_AT_ONCE)
        memory = _Memory.of(self)
        for i in range(0, signals, together):
            for j in range(0, each, _ROWS_AT_ONCE):
                part = windows[i : i + together, j : j + along]
                n, at = part.shape[0] * part.shape[1], i * each + j
                rows[at : at + n] = self._log_bands(part, memory).T
        return rows

    def _log_bands(self, windows: NDArray[np.float32], memory: _Memory) -> NDArray[np.float64]:
        """The logarithms of the bands of windows [k, m, samples], as float64 [bands, k * m]."""
        signals, each, samples = windows.shape
        n, used = signals * each, self._sums.used
        padded, spectra = memory.padded[:n], memory.spectra[:, :n]
        tapered = padded.reshape(signals, each, -1)[:, :, :samples]
        np.multiply(windows, self.window, out=tapered)
        _transform(padded, spectra)
        magnitudes = np.abs(spectra[used], out=memory.magnitudes[:, :n])
        magnitudes[:] = magnitudes.astype(np.float32)  # they are rounded in the graph, too
        # all columns, so that a product has one shape, and a row one way to be computed
        for first, weights, of_bins in self._sums.products:
            bands = memory.bands[first : first + len(weights)]
            np.matmul(weights, memory.magnitudes[of_bins], out=bands)
        logarithms = memory.bands[:, :n]
        logarithms += self.offset[:, None]
        return np.log(logarithms, out=logarithms)

    @cached_property
    def _sums(self) -> _Sums:
        """How magnitudes are summed into bands."""
        used = _extent(np.any(self.mel, axis=1))
        by_band = self.mel[used].T
        products = []
        for first in range(0, len(by_band), _BANDS_AT_ONCE):
            weights = by_band[first : first + _BANDS_AT_ONCE]
            of_bins = _extent(np.any(weights, axis=0))
            products.append((first, np.ascontiguousarray(weights[:, of_bins]), of_bins))
        return _Sums(used, tuple(products))


class _Sums(NamedTuple):
    """How magnitudes are summed into bands.

    Attributes:
      used: the frequencies of which any is in a band.
      products: for some neighbouring bands the first of them, float64 [bands, bins], the weights of
        the frequencies that they have, and which of those used these are.
    """

    used: slice
    products: tuple[tuple[int, NDArray[np.float64], slice], ...]


class _Memory(NamedTuple):
    """What rows are computed in, used again and again: new pages cost more than the transform."""

    padded: NDArray[np.float64]
    spectra: NDArray[np.complex128]
    magnitudes: NDArray[np.float64]
    bands: NDArray[np.float64]

    @classmethod
    def of(cls, front_end: LogMel) -> _Memory:
        used = front_end._sums.used
        bins = used.stop - used.start
        return cls(
            np.zeros((_ROWS_AT_ONCE, front_end.fft_length)),
            np.empty((len(front_end.mel), _ROWS_AT_ONCE), np.complex128),
            np.zeros((bins, _ROWS_AT_ONCE)),
            np.empty((front_end.mel.shape[1], _ROWS_AT_ONCE)),
        )


def _extent(wanted: NDArray[np.bool_]) -> slice:
    """From the first true value to the last."""
    at = np.flatnonzero(wanted)
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 1)


def _transform(padded: NDArray[np.float64], spectra: NDArray[np.complex128]) -> None:
    """The spectra of windows, float64 [m, fft_length], into complex128 [bins, m]."""
    if r2c is None:
        np.fft.rfft(padded.T, axis=0, out=spectra)
    else:
        r2c(padded.T, axes=(0,), out=spectra)


def _overlap(frames: NDArray[np.float32]) -> bool:
    step, item = frames.strides
    return item == frames.itemsize and 0 < step < frames.shape[1] * item and step % item == 0


def _signal_under(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The signal that overlapping frames are views of."""
    samples = (len(frames) - 1) * (frames.strides[0] // frames.itemsize) + frames.shape[1]
    return as_strided(frames, (samples,), (frames.itemsize,), writeable=False)
