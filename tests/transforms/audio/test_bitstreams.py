"""Compressed sound whose bytes were written as samples: it is decoded, and sound is sound."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.errors import UnsupportedError
from tests.transforms.audio.files import RATE_HZ, Samples, encode, noise, tones, write

SOUND = tones(3)


def wrapped(path: Path, bitstream: bytes, kind: str = "WAV", swap: bool = False) -> Path:
    """A file whose 16-bit stereo samples, in its own byte order, are these bytes."""
    values = np.frombuffer(bitstream[: len(bitstream) // 4 * 4], ">i2" if swap else "<i2")
    samples = values.reshape(-1, 2).astype(np.float32) / 32768
    return write(path, kind, "PCM_16", samples)


def hear(path: Path) -> tuple[str, str, Samples]:
    with open_audio(path) as reader:
        header = reader.header
        return header.format, header.codec, np.concatenate(list(reader.blocks(RATE_HZ)))


@pytest.mark.parametrize("muxer", ["spdif", "ac3"])
@pytest.mark.parametrize("swap", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("kind", ["WAV", "W64", "RF64", "AIFF"])
@pytest.mark.parametrize("silence_bytes", [0, 1_000_000])
def test_ac3_is_decoded(
    tmp_path: Path, muxer: str, swap: bool, kind: str, silence_bytes: int
) -> None:
    bitstream = encode(tmp_path / "a", muxer, "ac3", SOUND).read_bytes()
    path = wrapped(tmp_path / "b", bytes(silence_bytes) + bitstream, kind, swap)
    format_, codec, samples = hear(path)
    assert (format_, codec) == (kind.lower(), "ac3")
    expected = hear(encode(tmp_path / "c", "ac3", "ac3", SOUND))[2]
    np.testing.assert_array_equal(samples, expected)


def test_other_kinds_of_bursts_are_decoded(tmp_path: Path) -> None:
    bitstream = encode(tmp_path / "a", "spdif", "eac3", SOUND).read_bytes()
    assert hear(wrapped(tmp_path / "b", bitstream))[1] == "eac3"


@pytest.mark.parametrize(
    "sync", ["7ffe8001", "fe7f0180", "1fffe80007f0", "ff1f00e8f107"], ids=["16", "61", "14", "41"]
)
@pytest.mark.parametrize("silence_bytes", [0, 20_000])
def test_dts_that_cannot_be_decoded_is_said_to_be_dts(
    tmp_path: Path, sync: str, silence_bytes: int
) -> None:
    """Nothing writes DTS here: these frames have its marks, and nothing behind them."""
    frame = bytes.fromhex(sync) + random.Random(1).randbytes(2048 - len(sync) // 2)
    path = wrapped(tmp_path / "clip", bytes(silence_bytes) + frame * 100)
    with pytest.raises(UnsupportedError, match="a bitstream in DTS"):
        hear(path)


@pytest.mark.parametrize(
    "mark", ["7ffe8001", "fe7f0180", "ff1f00e8f107", "72f81f4e0100", "0b77c4fd1440"]
)
def test_noise_with_a_mark_in_it_is_noise(tmp_path: Path, mark: str) -> None:
    content = bytearray(noise(100_000).tobytes())
    content[600 : 600 + len(mark) // 2] = bytes.fromhex(mark)
    content[90_000 : 90_000 + len(mark) // 2] = bytes.fromhex(mark)
    assert hear(wrapped(tmp_path / "clip", bytes(content)))[1] == "pcm_s16"


def test_noise_is_noise(tmp_path: Path) -> None:
    for seed in range(200):
        path = wrapped(tmp_path / "clip", np.random.default_rng(seed).bytes(140_000))
        assert hear(path)[1] == "pcm_s16"


def test_digital_silence_is_sound(tmp_path: Path) -> None:
    assert hear(wrapped(tmp_path / "clip", bytes(2_000_000)))[1] == "pcm_s16"
