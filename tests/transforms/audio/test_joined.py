"""Recordings written one behind the other in a file: all are heard, as the files apart are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.errors import AudioError, DamagedError, TruncatedError
from tests.transforms.audio.files import Samples, noise, saved, tones, write

RATE_HZ = 16000
KINDS = ["FLAC", "WAV", "RF64", "W64", "AIFF", "AU", "CAF"]


def file_of(tmp_path: Path, kind: str, samples: Samples, rate_hz: int = RATE_HZ) -> bytes:
    return write(tmp_path / "part", kind, "PCM_16", samples, rate_hz).read_bytes()


def hear(path: Path) -> tuple[Samples, AudioError | None]:
    blocks: list[Samples] = []
    try:
        with open_audio(path) as reader:
            for block in reader.blocks(4096):
                blocks.append(block)
    except AudioError as trouble:
        return np.concatenate(blocks), trouble
    return np.concatenate(blocks), None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["ab", "ba", "aa", "abab"])
def test_all_are_heard(tmp_path: Path, kind: str, order: str) -> None:
    parts = {"a": noise(70_000, 1), "b": noise(20_000, 1)[::-1]}
    content = b"".join(file_of(tmp_path, kind, parts[name]) for name in order)
    samples, error = hear(saved(tmp_path / "clip", content))
    assert error is None
    expected = np.concatenate([parts[name] for name in order])
    np.testing.assert_allclose(samples, expected, atol=2**-15)


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_one_is_brought_to_the_rate_and_channels_of_the_first(
    tmp_path: Path, kind: str
) -> None:
    first, later = tones(1, RATE_HZ, 1), tones(2, 32_000, 2)
    content = file_of(tmp_path, kind, first) + file_of(tmp_path, kind, later, 32_000)
    samples, error = hear(saved(tmp_path / "clip", content + file_of(tmp_path, kind, first)))
    assert error is None
    assert samples.shape == (pytest.approx(4 * RATE_HZ, abs=2), 1)
    expected = later.mean(axis=1)[::2]
    heard = samples[RATE_HZ : RATE_HZ + len(expected), 0]
    assert np.corrcoef(heard[500:-500], expected[500:-500])[0, 1] > 0.999
    np.testing.assert_allclose(samples[-RATE_HZ:], first, atol=2**-15)


def test_files_of_different_kinds_of_wav_are_joined(tmp_path: Path) -> None:
    samples = noise(30_000, 1)
    content = b"".join(file_of(tmp_path, kind, samples) for kind in ("WAV", "RF64", "WAV"))
    heard, error = hear(saved(tmp_path / "clip", content))
    assert error is None
    np.testing.assert_allclose(heard, np.tile(samples, (3, 1)), atol=2**-15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [(2, 2), (3, 1), (1, 3), (8, 1, 1), (1, 1, 1, 1), (20, 20)])
def test_joined_files_are_heard_from_their_start_only(
    tmp_path: Path, kind: str, lengths: tuple[int, ...]
) -> None:
    """A decoder that seeks may land in the wrong one."""
    parts = [file_of(tmp_path, kind, noise(length * 100_000, 1)) for length in lengths]
    with open_audio(saved(tmp_path / "clip", b"".join(parts))) as reader:
        assert not reader.can_seek
    with open_audio(saved(tmp_path / "clip", parts[0])) as reader:
        assert reader.can_seek


def test_joined_flac_that_compresses_unevenly_is_noticed(tmp_path: Path) -> None:
    loud, quiet = noise(1_000_000, 1), noise(1_000_000, 1) / 1000
    for pair in ((loud, quiet), (quiet, loud)):
        content = b"".join(file_of(tmp_path, "FLAC", samples) for samples in pair)
        with open_audio(saved(tmp_path / "clip", content)) as reader:
            assert not reader.can_seek
    mixed = np.concatenate([quiet, loud, quiet, loud[::-1]])
    with open_audio(saved(tmp_path / "clip", file_of(tmp_path, "FLAC", mixed))) as reader:
        assert reader.can_seek


@pytest.mark.parametrize("kind", ["FLAC", "WAV", "AIFF"])
def test_where_a_later_one_was_cut_this_is_told(tmp_path: Path, kind: str) -> None:
    content = 2 * file_of(tmp_path, kind, noise(50_000, 1))
    samples, error = hear(saved(tmp_path / "clip", content[:-20_000]))
    assert isinstance(error, DamagedError)
    assert str(error).startswith("recording 2 of those joined in it: ")
    assert 85_000 < len(samples) < 100_000


class TestFlac:
    def with_total(self, tmp_path: Path, total: int) -> bytes:
        content = bytearray(file_of(tmp_path, "FLAC", noise(100_000, 1)))
        content[21] &= 0xF0
        content[22:26] = total.to_bytes(4, "big")
        return bytes(content)

    @pytest.mark.parametrize("total", [0, 1, 5000, 50_000, 95_000])
    @pytest.mark.parametrize("times", [1, 2])
    def test_a_total_that_is_too_small_is_not_believed(
        self, tmp_path: Path, total: int, times: int
    ) -> None:
        content = times * self.with_total(tmp_path, total)
        samples, error = hear(saved(tmp_path / "clip", content))
        assert error is None
        np.testing.assert_allclose(samples, np.tile(noise(100_000, 1), (times, 1)), atol=2**-15)

    def test_a_total_that_is_too_large_is_a_cut(self, tmp_path: Path) -> None:
        samples, error = hear(saved(tmp_path / "clip", self.with_total(tmp_path, 110_000)))
        assert isinstance(error, TruncatedError)
        assert len(samples) == 100_000

    def test_blocks_of_any_size_are_counted(self, tmp_path: Path) -> None:
        """Blocks follow from the rate: their sizes are written in several ways."""
        for rate_hz in (8000, 44_100, 192_000):
            content = bytearray(file_of(tmp_path, "FLAC", noise(300_000, 2), rate_hz))
            content[21] &= 0xF0
            content[22:26] = (123_456).to_bytes(4, "big")
            samples, error = hear(saved(tmp_path / "clip", bytes(content)))
            assert (len(samples), error) == (300_000, None)

    def test_what_is_no_flac_behind_it_is_no_sound(self, tmp_path: Path) -> None:
        content = file_of(tmp_path, "FLAC", noise(100_000, 1))
        junk = np.random.default_rng(4).bytes(300_000)
        for behind in (b"TAG" + bytes(125), bytes(100_000), junk):
            samples, error = hear(saved(tmp_path / "clip", content + behind))
            assert (len(samples), error) == (100_000, None)

    def test_a_large_tag_in_front_hides_nothing_behind(self, tmp_path: Path) -> None:
        tag = b"ID3\3\0\0\0\x0f\x7f\x7f" + bytes((0x0F << 14) + (0x7F << 7) + 0x7F)
        content = tag + 2 * file_of(tmp_path, "FLAC", noise(60_000, 1))
        samples, error = hear(saved(tmp_path / "clip", content))
        assert (len(samples), error) == (120_000, None)
