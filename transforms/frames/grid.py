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
    first, stop = first_frame, sys.maxsize if stop_frame is None else stop_frame
    block, filled = np.empty(_reach(grid, block_frames), np.float32), 0
    for chunk in chunks:
        taken = 0
        while first < stop and taken < len(chunk):
            n = min(block_frames, stop - first)
            size = _reach(grid, n)
            part = chunk[taken : taken + size - filled]
            block[filled : filled + len(part)] = part
            taken, filled = taken + len(part), filled + len(part)
            if filled == size:
                yield first, _windows(block, grid, n)
                first += n
                shared = block[n * grid.hop_samples : size]
                block, filled = np.empty_like(block), len(shared)
                block[:filled] = shared
    stop = min(stop, grid.count(first * grid.hop_samples + filled))
    if first < stop:
        block[filled : _reach(grid, stop - first)] = 0
        yield first, _windows(block, grid, stop - first)


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
