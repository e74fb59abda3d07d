"""From samples to frames: levels, channels, resampling and cutting, with numpy alone."""

from earmark.transforms.frames.channels import (
    channels_heard,
    frames_in_block,
    frames_of,
)
from earmark.transforms.frames.levels import full_scale, measure
from earmark.transforms.frames.resampling import LEAD_IN_S, SEGMENT_S

__all__ = [
    "LEAD_IN_S",
    "SEGMENT_S",
    "channels_heard",
    "frames_in_block",
    "frames_of",
    "full_scale",
    "measure",
]
