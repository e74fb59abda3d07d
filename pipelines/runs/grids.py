"""How recordings are cut into frames for a model."""

from __future__ import annotations

from typing import Protocol

from earmark.pipelines.errors import UsageError
from earmark.transforms.settings import ChannelUse, FrameGrid


class TakesFrames(Protocol):
    """What takes frames; an AudioClassifier does, and says what these are."""

    @property
    def sample_rate_hz(self) -> int:
        """Of the audio in the frames."""

    @property
    def frame_samples(self) -> int:
        """How many samples a frame has, of each channel."""

    @property
    def hop_samples(self) -> int:
        """From frame to frame, where nobody says otherwise."""

    @property
    def window_samples(self) -> int:
        """How many of a frame's samples its scores are about."""

    @property
    def channels(self) -> int:
        """How many are interleaved in a frame."""


def framing(
    model: TakesFrames, hop_s: float | None = None, channels: str = "mix"
) -> tuple[FrameGrid, ChannelUse]:
    """Where the frames of a recording lie, and what becomes of its channels.

    Args:
      model: what takes the frames.
      hop_s: seconds from frame to frame; None for the model's own.
      channels: mix, or each to hear every channel by itself.

    Raises:
      UsageError: the model takes no such frames.
    """
    rate = model.sample_rate_hz
    hop = model.hop_samples if hop_s is None else round(hop_s * rate)
    if hop < 1:
        raise UsageError(f"--hop_s {hop_s}: shorter than a sample at {rate} Hz")
    is_each = channels == "each"
    if is_each and model.channels > 1:
        raise UsageError(f"--channels each: the model takes {model.channels} channels at once")
    grid = FrameGrid(rate, model.frame_samples, hop, model.window_samples)
    return grid, ChannelUse(model.channels, is_each)
