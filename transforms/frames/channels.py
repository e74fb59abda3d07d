"""The use of a recording's channels: mixed down, each separately, or together in each frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import tee

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.elements import Silence
from earmark.transforms.errors import UnsupportedError
from earmark.transforms.frames.grid import cut_frames
from earmark.transforms.frames.resampling import mix_down, resample
from earmark.transforms.frames.stretches import stretches
from earmark.transforms.samples import Samples, as_float32
from earmark.transforms.settings import MIXED, ChannelUse, FrameGrid

BLOCK_FRAMES = 32
"""Frames per block at most: 2 MB of samples at YAMNet's frame length."""

_BLOCK_VALUES = 1 << 22
"""Samples per block at most: fewer frames where they are long."""

_BLOCK_SIGNALS = 8
"""How many parallel signals a block of that many frames may have; with more, blocks are shorter."""


def channels_heard(use: ChannelUse, channels: int) -> int:
    """How many channels of a recording give frames of their own."""
    return channels if use.each else 1


def frames_in_block(grid: FrameGrid, signals: int) -> int:
    """How many frames a block has for this number of parallel signals: a power of two, mostly."""
    fit = max(1, _BLOCK_VALUES // grid.frame_samples)
    frames = min(BLOCK_FRAMES, 1 << fit.bit_length() - 1)
    return max(1, frames * _BLOCK_SIGNALS // max(_BLOCK_SIGNALS, signals))


def frames_of(
    seconds: Iterable[Samples | Silence],
    channels: int,
    rate_hz: int,
    grid: FrameGrid,
    use: ChannelUse = MIXED,
    start_s: int = 0,
    stop_frame: int | None = None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Mix down, resample and cut a recording, or the part of it that begins at start_s.

    Args:
      seconds: [n, channels] each, second by second, and a Silence in place of several; the
        first of them is the one before start_s, or, where that is 0, the recording's first.
      channels: of the recording.
      rate_hz: of the recording.
      grid: where the frames lie, at the rate wanted.
      use: how channels become frames.
      start_s: where the frames that are wanted begin: see earmark.transforms.frames.resampling.
      stop_frame: the first frame not wanted any more; None for all.

    Yields:
      The index of a block's first frame, and its frames, float32 [channels * n, values]: all frames
      of the first channel, then those of the next. Frames that lie wholly in a long Silence are
      left out.

    Raises:
      UnsupportedError: the recording has another number of channels than the model takes.
    """
    heard = channels_heard(use, channels)
    signals, rates_hz = max(use.in_frame, heard), (rate_hz, grid.sample_rate_hz)
    silent_second = np.zeros((rate_hz, channels), np.float32)
    frame_s = math.ceil(grid.frame_samples / grid.sample_rate_hz)
    for begin_s, part in stretches(seconds, silent_second, frame_s, start_s):
        first = grid.first_from(begin_s)
        resampled = channel_signals(part, use, channels, rates_hz, begin_s)
        chunks = _without_first(resampled, first * grid.hop_samples - begin_s * rates_hz[1])
        for at, frames in cut_channel_frames(
            chunks, grid, signals, frames_in_block(grid, signals), first, stop_frame
        ):
            yield at, by_channel(frames, heard)


def channel_signals(
    seconds: Iterable[Samples],
    use: ChannelUse,
    channels: int,
    rates_hz: tuple[int, int],
    start_s: int,
) -> Iterator[NDArray[np.float32]]:
    """Resample the channels of a recording, mixed or separately as they are used.

    Args:
      seconds: [n, channels] each, the recording second by second.
      use: how channels become frames.
      channels: of the recording.
      rates_hz: its rate, and the one wanted.
      start_s: the second from which on it is wanted: see earmark.transforms.frames.resampling.

    Yields:
      float32 [any, signals] each, one after another: a signal for each channel in a frame, or for
      each that is scored separately.

    Raises:
      UnsupportedError: the recording has another number of channels than the model takes.
    """
    if not use.each and use.in_frame == 1:
        for samples in resample(map(mix_down, seconds), *rates_hz, start_s):
            yield samples[:, None]
        return
    copies = 1
    if not use.each and channels != use.in_frame:
        if channels != 1:
            raise UnsupportedError(
                f"it has {channels} channels, but the model takes {use.in_frame}"
            )
        copies = use.in_frame
    every = [
        resample(_channel(part, i), *rates_hz, start_s)
        for i, part in enumerate(tee(seconds, channels))
    ]
    for together in zip(*every, strict=True):
        yield np.repeat(np.stack(together, axis=1), copies, axis=1)


def cut_channel_frames(
    chunks: Iterable[NDArray[np.float32]],
    grid: FrameGrid,
    signals: int,
    block_frames: int,
    first_frame: int,
    stop_frame: int | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Cut signals that come together into blocks of frames: see `cut_frames`.

    Args:
      chunks: float32 [any, signals] each.
      grid: where the frames lie in each signal.
      signals: how many there are.
      block_frames: how many frames a block has, but for the last one.
      first_frame: the first frame wanted.
      stop_frame: the first frame not wanted any more; None for all.

    Yields:
      The index of a block's first frame, and its frames, float32 [n, frame_samples * signals],
      interleaved.
    """
    interleaved = replace(
        grid,
        frame_samples=grid.frame_samples * signals,
        hop_samples=grid.hop_samples * signals,
    )
    flat = (np.ascontiguousarray(chunk).reshape(-1) for chunk in chunks)
    yield from cut_frames(flat, interleaved, block_frames, first_frame, stop_frame)


def by_channel(frames: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Frames of each channel separately.

    Args:
      frames: float32 [n, samples * channels], interleaved.
      channels: that are.

    Returns:
      float32 [channels * n, samples]: all frames of the first channel, then those of the next.
    """
    if channels == 1:
        return frames
    apart = np.moveaxis(frames.reshape(len(frames), -1, channels), 2, 0)
    return np.ascontiguousarray(apart).reshape(len(frames) * channels, -1)


def _channel(seconds: Iterable[Samples], index: int) -> Iterator[NDArray[np.float32]]:
    for samples in seconds:
        yield np.ascontiguousarray(as_float32(samples[:, index]))


def _without_first(
    chunks: Iterable[NDArray[np.float32]], samples: int
) -> Iterator[NDArray[np.float32]]:
    for chunk in chunks:
        yield chunk[samples:]
        samples = max(0, samples - len(chunk))
