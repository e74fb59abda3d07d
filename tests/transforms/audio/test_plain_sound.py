"""Uncompressed sound, read without a library: libsndfile's own samples are the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.plain_sound import PlainDecoder
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.errors import ReadError

Samples = NDArray[np.float32]

INTEGERS = ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]
KINDS = [
    *[("WAV", subtype, order) for subtype in INTEGERS for order in ("LITTLE", "BIG")],
    *[("CAF", subtype, order) for subtype in INTEGERS for order in ("LITTLE", "BIG")],
    *[("AU", subtype, order) for subtype in INTEGERS for order in ("LITTLE", "BIG")],
    *[("AIFF", subtype, "FILE") for subtype in INTEGERS],
    *[("AIFF", subtype, "LITTLE") for subtype in ("PCM_16", "PCM_24", "PCM_32")],
    *[(format_, subtype, "FILE") for format_ in ("W64", "RF64", "WAVEX") for subtype in INTEGERS],
    *[("WAV", "PCM_U8", "FILE"), ("AIFF", "PCM_U8", "FILE"), ("AIFF", "PCM_S8", "FILE")],
    *[("CAF", "PCM_S8", "FILE"), ("AU", "PCM_S8", "FILE")],
]


def loud_behind_silence(channels: int) -> NDArray[np.float64]:
    """Sound to the very ends of the range, behind a silence longer than what is compared."""
    samples = np.random.default_rng(5).uniform(-1, 1, (60_000, channels))
    samples[:40_000] = 0
    samples[50_000], samples[50_001] = -1, 1
    return samples


def hear(path: Path) -> tuple[str, Samples]:
    with open_audio(str(path)) as reader:
        return reader.library, np.concatenate(list(reader.blocks(7001)))


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_plain_sound_is_what_libsndfile_reads_to_the_bit(
    tmp_path: Path, kind: tuple[str, str, str]
) -> None:
    (format_, subtype, order), path = kind, tmp_path / "clip"
    written = loud_behind_silence(3)
    soundfile.write(path, written, 16000, subtype, order, format_)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    library, samples = hear(path)
    assert library == "numpy"
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("format_", ["WAV", "CAF"])
def test_doubles_too_large_for_a_float_become_infinite(tmp_path: Path, format_: str) -> None:
    written = np.array([[0.5], [1e300], [-1e300], [np.nan], [0.25]])
    soundfile.write(tmp_path / "clip", written, 16000, "DOUBLE", format=format_)
    library, samples = hear(tmp_path / "clip")
    assert library == "numpy"
    np.testing.assert_array_equal(samples[:, 0], [0.5, np.inf, -np.inf, np.nan, 0.25])


@pytest.mark.parametrize("format_", ["WAV", "CAF", "AIFF"])
def test_where_the_library_reads_something_else_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    written = loud_behind_silence(2)
    soundfile.write(tmp_path / "clip", written, 16000, "PCM_24", format=format_)
    _, expected = hear(tmp_path / "clip")
    monkeypatch.setattr(PlainDecoder, "agrees", lambda *_: False)
    library, samples = hear(tmp_path / "clip")
    assert library == ("libav" if format_ == "CAF" else "libsndfile")
    np.testing.assert_array_equal(samples, expected)


def test_the_sound_of_an_aiff_may_begin_behind_an_offset(tmp_path: Path) -> None:
    path, written = tmp_path / "clip", np.arange(-2000, 2000, dtype="<i2")[:, None]
    soundfile.write(path, written, 16000, "PCM_16", format="AIFF")
    content = bytearray(path.read_bytes())
    at = content.index(b"SSND")
    size = int.from_bytes(content[at + 4 : at + 8], "big")
    content[at + 4 : at + 12] = (size + 6).to_bytes(4, "big") + (6).to_bytes(4, "big")
    content[at + 16 : at + 16] = b"offset"
    path.write_bytes(content)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(hear(path)[1], expected)


@pytest.mark.parametrize("format_", ["NIST", "VOC"])
def test_plain_sound_in_places_unknown_here_is_left_to_a_library(
    tmp_path: Path, format_: str
) -> None:
    written = loud_behind_silence(1)
    soundfile.write(tmp_path / "clip", written, 16000, "PCM_16", format=format_)
    expected, _ = soundfile.read(tmp_path / "clip", dtype="float32", always_2d=True)
    library, samples = hear(tmp_path / "clip")
    assert library == "libav"
    np.testing.assert_array_equal(samples, expected)


def test_plain_sound_that_cannot_be_read_on_is_a_read_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(5, "Stale file handle")

    soundfile.write(tmp_path / "clip", loud_behind_silence(1), 16000, "PCM_16", format="WAV")
    with open_audio(str(tmp_path / "clip")) as reader:
        monkeypatch.setattr(FilePart, "read_into", fail)
        with pytest.raises(ReadError, match="Stale file handle"):
            list(reader.blocks(7001))
