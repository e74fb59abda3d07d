"""Cutting a signal into frames."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from earmark.transforms.settings import FrameGrid


def cut_frames(
    chunks: Iterable[NDArray[np.float32]],
    grid: FrameGrid,
    block_frames: int,
    first_frame: int = 0,
    stop_frame: int | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Cut a signal that comes in chunks into blocks of frames.

    Args:
      chunks: float32 [any] each, one after another the signal from the beginning of first_frame on.
      grid: where the frames lie.
      block_frames: how many frames a block has, but for the last one.
      first_frame: the first frame wanted.
      stop_frame: the first frame not wanted any more; None for all. The signal is taken to its end.

    Yields:
      The index of a block's first frame, and its frames, float32 [n, frame_samples]. The last
      frame of the signal is padded with zeros.
    """
    if grid.hop_samples > grid.frame_samples:
        chunks = _without_gaps(chunks, grid)
        grid = replace(grid, hop_samples=grid.frame_samples)
    step = block_frames * grid.hop_samples
    first, stop = first_frame, sys.maxsize if stop_frame is None else stop_frame
    pending = np.empty(0, np.float32)
    for signal in _joined(chunks, step):
        pending = np.concatenate([pending, signal]) if first < stop else pending[:0]
        while first < stop and len(pending) >= _reach(grid, n := min(block_frames, stop - first)):
            yield first, _windows(pending, grid, n)
            first += n
            pending = pending[n * grid.hop_samples :]
    stop = min(stop, grid.count(first * grid.hop_samples + len(pending)))
    for start in range(first, stop, block_frames):
        n = min(block_frames, stop - start)
        rest = pending[(start - first) * grid.hop_samples :]
        padding = max(_reach(grid, n) - len(rest), 0)
        yield start, _windows(np.pad(rest, (0, padding)), grid, n)


def _without_gaps(
    chunks: Iterable[NDArray[np.float32]], grid: FrameGrid
) -> Iterator[NDArray[np.float32]]:
    """Drop what lies between frames, so that a long hop takes no more memory than a short one."""
    start = 0
    for chunk in chunks:
        position = (start + np.arange(len(chunk))) % grid.hop_samples
        yield chunk[position < grid.frame_samples]
        start += len(chunk)


def _reach(grid: FrameGrid, frames: int) -> int:
    return (frames - 1) * grid.hop_samples + grid.frame_samples


def _windows(signal: NDArray[np.float32], grid: FrameGrid, frames: int) -> NDArray[np.float32]:
    signal = signal[: _reach(grid, frames)]
    if grid.hop_samples == grid.frame_samples:
        return signal.reshape(frames, grid.frame_samples)
    return sliding_window_view(signal, grid.frame_samples)[:: grid.hop_samples]


def _joined(chunks: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Join chunks until they hold a block's worth, so that the rest is copied once a block."""
    held: list[NDArray[np.float32]] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(map(len, held)) >= samples:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
