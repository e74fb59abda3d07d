"""FLAC decoded by libFLAC itself: libsndfile's samples of the same file are the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.transforms.audio import libflac_decoder
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.libflac_decoder import LibflacDecoder
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.errors import DamagedError, ReadError
from earmark.transforms.samples import Samples, as_float32

RATE_HZ = 44_100
SAMPLES = 200_000
BLOCK = 4096

needs_libflac = pytest.mark.skipif(
    not libflac_decoder._LIBRARY, reason="there is no wheel of flacarray for this machine"
)


def noise(channels: int, samples: int = SAMPLES) -> NDArray[np.float64]:
    """Noise, which FLAC can hardly compress, to the very ends of the range."""
    values = np.random.default_rng(3).uniform(-0.5, 0.5, (samples, channels))
    values[1000], values[1001] = -1, 1
    return values


def written(path: Path, channels: int = 2, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, noise(channels), RATE_HZ, subtype, format="FLAC")
    return path


def by_libsndfile(path: Path) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = soundfile.read(path, dtype="float32", always_2d=True)[0]
    return samples


def by_libflac(path: Path, channels: int, wanted: int, start: int = 0) -> list[Samples]:
    with path.open("rb") as file:
        decoder = LibflacDecoder(FilePart(file), channels, SAMPLES)
        return list(decoder.chunks(wanted, start))


@needs_libflac
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [0, 1, 70_001, SAMPLES - 1, SAMPLES])
def test_samples_are_those_of_libsndfile_to_the_bit(
    tmp_path: Path, channels: int, subtype: str, start: int
) -> None:
    path = written(tmp_path / "clip.flac", channels, subtype)
    chunks = by_libflac(path, channels, 10_000, start)
    assert {chunk.dtype for chunk in chunks} == {np.dtype("f4" if "24" in subtype else "i2")}
    decoded = np.concatenate([as_float32(chunk) for chunk in chunks])
    assert decoded.tobytes() == by_libsndfile(path)[start:].tobytes()


@needs_libflac
def test_chunks_have_the_size_that_is_wanted(tmp_path: Path) -> None:
    sizes = [len(chunk) for chunk in by_libflac(written(tmp_path / "clip.flac"), 2, 48_000)]
    assert sizes == [48_000] * 4 + [8_000]


@needs_libflac
def test_decoding_stops_before_a_damaged_frame(tmp_path: Path) -> None:
    path = written(tmp_path / "clip.flac")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    chunks: list[Samples] = []
    with path.open("rb") as file, pytest.raises(DamagedError):
        chunks.extend(LibflacDecoder(FilePart(file), 2, SAMPLES).chunks(10_000))
    decoded = as_float32(np.concatenate(chunks))
    assert 0 < len(decoded) < SAMPLES
    assert len(decoded) % BLOCK == 0
    expected = np.round(noise(2)[: len(decoded)] * 2**15) / 2**15
    assert np.abs(decoded - expected.clip(-1, 1)).max() <= 2**-15


@needs_libflac
def test_frames_that_do_not_fit_the_header_are_left_to_others(tmp_path: Path) -> None:
    assert not sum(map(len, by_libflac(written(tmp_path / "clip.flac", channels=2), 1, 10_000)))


@needs_libflac
@pytest.mark.parametrize("frame", [0, 1, 4, 20, 43])
def test_no_damage_is_taken_for_silence(tmp_path: Path, frame: int) -> None:
    """libsndfile does so where the damage leaves a frame that can be decoded, but for its sum."""
    path = tmp_path / "clip.flac"
    soundfile.write(path, noise(1) / 10, RATE_HZ, "PCM_S8", format="FLAC")
    content = bytearray(path.read_bytes())
    content[200 + frame * len(content) * BLOCK // SAMPLES] ^= 0xFF
    path.write_bytes(content)
    with open_audio(path) as reader:
        assert sum(map(len, reader.blocks(RATE_HZ))) == SAMPLES
        assert [gap.why for gap in reader.gaps] == ["damaged"]
        assert reader.gaps[0].start <= (frame + 1) * BLOCK
        assert reader.gaps[0].stop > frame * BLOCK


@needs_libflac
def test_a_file_that_cannot_be_read_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "clip.flac")
    read_at = FilePart.read_at

    def failing(self: FilePart, offset: int, size: int) -> bytes:
        if offset > 100_000:
            raise OSError(5, "Input/output error")
        return read_at(self, offset, size)

    monkeypatch.setattr(FilePart, "read_at", failing)
    with pytest.raises(ReadError, match="Input/output error"):
        by_libflac(path, 2, 10_000)


@needs_libflac
def test_what_interrupts_a_callback_goes_on_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "clip.flac")

    def interrupted(self: FilePart, offset: int, size: int) -> bytes:
        raise KeyboardInterrupt

    with path.open("rb") as file:
        decoder = LibflacDecoder(FilePart(file), 2, SAMPLES)
        monkeypatch.setattr(FilePart, "read_at", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(decoder.chunks(10_000))


@pytest.mark.parametrize("start", [0, 90_000])
def test_without_libflac_the_same_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    path = written(tmp_path / "clip.flac")
    monkeypatch.setattr(libflac_decoder, "_LIBRARY", None)
    with open_audio(path) as reader:
        decoded = np.concatenate(list(reader.blocks(48_000, start)))
    assert decoded.tobytes() == by_libsndfile(path)[start:].tobytes()
