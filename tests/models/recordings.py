"""Recordings as YAMNet takes them, read without earmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

SAMPLE_RATE_HZ = 16_000
FRAME = 15_600


def mono(path: Path) -> np.ndarray:
    """A recording's samples, float32 [n] at 16 kHz."""
    samples, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ).astype(np.float32)


def whole_frames(path: Path) -> np.ndarray:
    """A recording's frames, float32 [n, 15600], one after another; the last is padded."""
    samples = mono(path)
    return np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
