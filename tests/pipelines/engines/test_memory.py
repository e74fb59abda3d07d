"""Memory is bounded by blocks and rounds, not by the length of recordings or of the archive."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from benchmarks import processes

CEILING_MB = 600
GROWTH_MB = 100
"""A recording of 90 minutes may take this much more than one of a minute. As float32 at the model's
rate its samples alone would be 346 MB."""

OBJECTS = int(os.environ.get("EARMARK_SOAK_OBJECTS", "2500"))
"""Of which a round has 2000; `make fuzz` asks for twenty rounds."""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="no /proc, so no telling what a process holds"
)


def peak_mb(archive: Path, output: Path) -> float:
    command = [sys.executable, "-m", "earmark", "classify", "--model", "builtin"]
    folders = ["--input", str(archive), "--output", str(output)]
    return processes.run([*command, *folders, "--direct_num_workers", "2"]).cost.peak_mb


def flac(path: Path, minutes: int) -> None:
    path.parent.mkdir()
    rng = np.random.default_rng(0)
    minute = (rng.normal(0, 0.1, 60 * 8000) * np.sin(np.arange(60 * 8000) / 3000)).clip(-1, 1)
    with sf.SoundFile(path, "w", 8000, 1) as sound:
        for _ in range(minutes):
            sound.write(minute)


@pytest.fixture(scope="module")
def least_mb(tmp_path_factory) -> float:
    """What a minute takes; two, since each worker has a process that decodes."""
    folder = tmp_path_factory.mktemp("a minute")
    flac(folder / "in" / "minute.flac", 1)
    os.link(folder / "in" / "minute.flac", folder / "in" / "another.flac")
    return peak_mb(folder / "in", folder / "out")


def test_a_long_recording_takes_little_more_memory_than_a_short_one(tmp_path, least_mb):
    flac(tmp_path / "in" / "long.flac", 90)
    peak = peak_mb(tmp_path / "in", tmp_path / "out")
    assert peak < min(CEILING_MB, least_mb + GROWTH_MB)


def test_thousands_of_short_recordings_take_little_more_memory_than_one(tmp_path, least_mb):
    flac(tmp_path / "in" / "minute.flac", 1)
    samples, rate = sf.read(tmp_path / "in" / "minute.flac")
    sf.write(tmp_path / "in" / "0000.wav", samples[: rate // 5], rate)
    for number in range(1, OBJECTS):
        os.link(tmp_path / "in" / "0000.wav", tmp_path / "in" / f"{number:04}.wav")
    peak = peak_mb(tmp_path / "in", tmp_path / "out")
    assert peak < min(CEILING_MB, least_mb + GROWTH_MB)
