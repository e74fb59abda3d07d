"""Recordings with gaps of each kind, and where in them a tone is heard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.transforms.audio.files import audiomoth, harp, mux_parts, pause, saved, write

RATE_HZ = 16_000


class Gapped(NamedTuple):
    """A recording with gaps.

    Attributes:
      write: writes it.
      status: of its row in clips/.
      gaps: where they are, and why.
      duration_s: its length with them.
      tones_s: where tones of four seconds begin.
      near_s: how far off the ends of gaps may be, which are those of pages, frames or clusters.
    """

    write: Callable[[Path], Path]
    status: str
    gaps: list[tuple[float, float, str]]
    duration_s: float
    tones_s: list[float]
    near_s: float = 0.01


def sound(*tones_s: float, seconds: float) -> NDArray[np.float64]:
    """Quiet noise with tones of four seconds, [n]."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    values = np.random.default_rng(0).normal(0, 0.002, len(time_s))
    for start_s in tones_s:
        is_on = (time_s >= start_s) & (time_s < start_s + 4)
        values += is_on * 0.3 * np.sin(2 * np.pi * 1000 * time_s)
    return values


def _flipped_page(path: Path, subtype: str) -> Path:
    whole = sound(4, 34, seconds=40).astype(np.float32)[:, None]
    content = bytearray(write(path, "OGG", subtype, whole, RATE_HZ).read_bytes())
    content[len(content) // 2] ^= 1
    return saved(path, bytes(content))


def _overwritten(path: Path, format_: str, subtype: str, seconds: float) -> Path:
    """With 30 to 40 % of its bytes overwritten, and tones before and behind these."""
    whole = sound(4, seconds - 8, seconds=seconds).astype(np.float32)[:, None]
    content = write(path, format_, subtype, whole, RATE_HZ).read_bytes()
    begin, size = len(content) * 3 // 10, len(content) // 10
    broken = np.random.default_rng(1).bytes(size)
    return saved(path, content[:begin] + broken + content[begin + size :])


def _muxed(path: Path, *starts_s: float, seconds: float = 10) -> Path:
    parts = [(start_s, sound(4, seconds=seconds)) for start_s in starts_s]
    return mux_parts(path, "matroska", "pcm_s16le", parts, RATE_HZ)


def _pcm(values: NDArray[np.float64]) -> NDArray[np.int16]:
    return (values * 32767).astype("<i2")


def _triggered(path: Path, blocks: int) -> Path:
    call = _pcm(sound(2, seconds=8.192)).tobytes()
    return audiomoth(path, (pause(blocks) + call) * 2)


def _duty_cycled(path: Path, *starts_s: float) -> Path:
    return harp(path, starts_s, [_pcm(sound(4, seconds=20))] * len(starts_s), RATE_HZ)


_HEAD_S = 12 / RATE_HZ
"""What AudioMoth's header leaves of the first block."""
_BLOCK_S = 256 / RATE_HZ

GAPPED = {
    "flipped_vorbis.ogg": Gapped(
        lambda path: _flipped_page(path, "VORBIS"), "partial", [(19, 20, "missing")], 40, [4, 34], 1
    ),
    "flipped_opus.ogg": Gapped(
        lambda path: _flipped_page(path, "OPUS"), "partial", [(19, 20, "missing")], 40, [4, 34], 1
    ),
    "interrupted.mkv": Gapped(
        lambda path: _muxed(path, 0, 30), "partial", [(10, 30, "missing")], 40, [4, 34]
    ),
    "late.mkv": Gapped(
        lambda path: _muxed(path, 4.9), "scored", [(0, 4.9, "late_start")], 14.9, [8.9]
    ),
    "20240528_100000T.WAV": Gapped(
        lambda path: _triggered(path, 1250),
        "scored",
        [
            (_HEAD_S, _HEAD_S + 1250 * _BLOCK_S, "trigger"),
            (_HEAD_S + 1762 * _BLOCK_S, _HEAD_S + 3012 * _BLOCK_S, "trigger"),
        ],
        _HEAD_S + 3524 * _BLOCK_S,
        [22, 50.2],
    ),
    "duty_cycled.x.wav": Gapped(
        lambda path: _duty_cycled(path, 0, 130, 300),
        "scored",
        [(20, 130, "duty_cycle"), (150, 300, "duty_cycle")],
        320,
        [4, 134, 304],
    ),
    "overwritten.mp3": Gapped(
        lambda path: _overwritten(path, "MP3", "MPEG_LAYER_III", 80),
        "partial",
        [(24, 32, "damaged")],
        80,
        [4, 72],
        4,
    ),
    "overwritten.flac": Gapped(
        lambda path: _overwritten(path, "FLAC", "PCM_16", 150),
        "partial",
        [(45, 60, "damaged")],
        150,
        [4, 142],
        4,
    ),
}
"""By name."""


def write_gapped(folder: Path) -> int:
    """Writes all of them; gives how many they are."""
    folder.mkdir(parents=True)
    for name, each in GAPPED.items():
        each.write(folder / name)
    return len(GAPPED)
