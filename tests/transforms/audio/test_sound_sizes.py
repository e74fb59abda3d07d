"""Sizes of sound that are wrong, unknown or only half of it: all is heard, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.audio.recording_time import recorded_at
from earmark.transforms.errors import AudioError, DamagedError, NoSamplesError, TruncatedError
from tests.transforms.audio.files import encode, riff, saved, tones, wav_format

RATE_HZ = 16000
SOUND = np.random.default_rng(5).integers(-(2**15), 2**15, 30_000, dtype=np.int16)
SOUND[:4000] = 0  # many recorders begin with silence
SOUND[-4000:] = 0
PCM = SOUND.astype("<i2").tobytes()

W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


def wav(size: int, pcm: bytes) -> bytes:
    return b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", wav_format()) + resized(b"data", "<I", size, pcm)


def rifx(size: int, pcm: bytes) -> bytes:
    kind = struct.pack(">IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return b"RIFX\0\0\0\0WAVEfmt " + kind + resized(b"data", ">I", size, swapped(pcm))


def rf64(size: int, pcm: bytes) -> bytes:
    sizes = struct.pack("<QQQI", 0, size, 0, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + chunk(b"ds64", sizes) + chunk(b"fmt ", wav_format())
    return head + b"data\xff\xff\xff\xff" + pcm


def w64(size: int, pcm: bytes) -> bytes:
    kind = b"fmt " + W64_TAIL + struct.pack("<Q", 40) + wav_format()
    head = (
        W64_RIFF
        + struct.pack("<Q", 104 + size if size < 1 << 32 else 0)
        + b"wave"
        + W64_TAIL
        + kind
    )
    return head + b"data" + W64_TAIL + struct.pack("<Q", min(size + 24, (1 << 64) - 1)) + pcm


def aiff(size: int, pcm: bytes) -> bytes:
    rate = struct.pack(">HQ", 16383 + 13, RATE_HZ << 50)
    comm = b"COMM" + struct.pack(">IHIH", 18, 1, 22, 16) + rate
    sound = struct.pack(">II", 0, 0) + swapped(pcm)
    return b"FORM\0\0\0\0AIFF" + comm + resized(b"SSND", ">I", size + 8 * (size < 1 << 31), sound)


def au(size: int, pcm: bytes) -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, size, 3, RATE_HZ, 1) + swapped(pcm)


def caf(size: int, pcm: bytes) -> bytes:
    desc = struct.pack(">d4sIIIII", RATE_HZ, b"lpcm", 2, 2, 1, 1, 16)
    head = b"caff\0\1\0\0desc" + struct.pack(">q", len(desc)) + desc
    return head + b"data" + struct.pack(">Q", min(size + 4, (1 << 64) - 1)) + bytes(4) + pcm


def chunk(name: bytes, content: bytes, size_format: str = "<I") -> bytes:
    return resized(name, size_format, len(content), content) + bytes(len(content) % 2)


def resized(name: bytes, size_format: str, size: int, content: bytes) -> bytes:
    return name + struct.pack(size_format, size) + content


def swapped(pcm: bytes) -> bytes:
    return np.frombuffer(pcm, "<i2").byteswap().tobytes()


MAKERS = {"wav": wav, "rf64": rf64, "w64": w64, "aiff": aiff, "au": au, "caf": caf}
UNKNOWN = {
    "wav": (0, 0xFFFFFFFF, 0xFFFFFFFF - 44, 0x7FFFFFFF),
    "rf64": (0, (1 << 64) - 1, (1 << 63) - 1),
    "w64": (0, (1 << 63) - 25, (1 << 64) - 1),
    "aiff": (0, 0xFFFFFFFF),
    "au": (0, 0xFFFFFFFF),
    "caf": ((1 << 64) - 1, 0),
}
TRAILERS = {
    "wav": chunk(b"LIST", b"INFOICMT\x06\0\0\0hello\0") + chunk(b"id3 ", b"ID3\3" + bytes(99)),
    "rf64": chunk(b"bext", bytes(602)) + chunk(b"guan", b"GUANO|Version: 1.0\n"),
    "w64": b"fact" + W64_TAIL + struct.pack("<Q", 32) + bytes(8),
    "aiff": chunk(b"ANNO", b"a note", ">I") + chunk(b"ID3 ", bytes(100), ">I"),
    "au": b"",
    "caf": b"info" + struct.pack(">q", 8) + bytes(8),
}


def hear(path: Path) -> tuple[np.ndarray, AudioError | None]:
    blocks, error = [np.empty((0, 1), np.float32)], None
    try:
        with open_audio(path) as reader:
            assert reader.header.sample_rate_hz == RATE_HZ
            for block in reader.blocks(4096):
                blocks.append(block)
    except AudioError as trouble:
        error = trouble
    return np.concatenate(blocks), error


def assert_heard(path: Path, expected: np.ndarray) -> None:
    samples, error = hear(path)
    assert error is None
    np.testing.assert_array_equal(samples[:, 0], expected / np.float32(32768))


WRONG = [
    (name, size)
    for name in MAKERS
    for size in (*UNKNOWN[name], 44, 2, len(PCM) // 2, len(PCM) - 20_000)
]


@pytest.mark.parametrize(("name", "size"), WRONG)
@pytest.mark.parametrize("with_trailer", [False, True], ids=["bare", "trailed"])
def test_all_is_heard_and_no_chunk_behind_it(
    tmp_path: Path, name: str, size: int, with_trailer: bool
) -> None:
    content = MAKERS[name](size, PCM) + TRAILERS[name] * with_trailer
    assert_heard(saved(tmp_path / "clip", content), SOUND)


@pytest.mark.parametrize("name", MAKERS)
def test_a_right_size_is_right_whatever_lies_behind(tmp_path: Path, name: str) -> None:
    right = MAKERS[name](len(PCM), PCM)
    for behind in (
        TRAILERS[name],
        bytes(100_000),
        b"\xff" * 100_000,
        b"TAG" + b"a" * 125,
        b"ID3\3\0\0\0\0\x27\x10" + bytes(5000),
        b"some junk" * 100,
    ):
        assert_heard(saved(tmp_path / "clip", right + behind), SOUND)


def test_big_endian_wav_is_said_to_hold_more_where_it_does(tmp_path: Path) -> None:
    assert_heard(saved(tmp_path / "right", rifx(len(PCM), PCM)), SOUND)
    assert_heard(saved(tmp_path / "unknown", rifx(0xFFFFFFFF, PCM)), SOUND)
    _, error = hear(saved(tmp_path / "none", rifx(0, PCM)))
    assert isinstance(error, DamagedError)
    samples, error = hear(saved(tmp_path / "half", rifx(30_000, PCM)))
    assert isinstance(error, DamagedError)
    assert "30000 bytes of sound lie behind" in str(error)
    assert len(samples) == 15_000


@pytest.mark.parametrize("name", MAKERS)
def test_a_size_beyond_the_end_is_a_cut(tmp_path: Path, name: str) -> None:
    samples, error = hear(saved(tmp_path / "clip", MAKERS[name](len(PCM) + 1000, PCM)))
    assert isinstance(error, TruncatedError)
    assert len(samples) == len(SOUND)


@pytest.mark.parametrize("name", MAKERS)
def test_no_sound_with_chunks_behind_it_is_no_sound(tmp_path: Path, name: str) -> None:
    _, error = hear(saved(tmp_path / "clip", MAKERS[name](0, b"") + TRAILERS[name]))
    assert isinstance(error, NoSamplesError)


@pytest.mark.parametrize("maker", [wav, aiff, au])
def test_a_size_that_wrapped_at_4_gb_is_made_whole(
    tmp_path: Path, maker: Callable[[int, bytes], bytes]
) -> None:
    """The file is sparse: most of it is silence, also right behind what the header declares."""
    whole = (1 << 32) + 20_000
    beginning = maker(20_000, PCM[:20_000])
    head = beginning[:-20_000]
    with (tmp_path / "clip").open("wb") as file:
        file.write(beginning)
        file.truncate(len(head) + whole)
    with open_audio(tmp_path / "clip") as reader:
        samples = 0
        for block in reader.blocks(1 << 22):
            samples += len(block)
            assert samples > 1 << 22 or (block[:10_000, 0] * 32768 == SOUND[:10_000]).all()
            if samples > 1 << 26:
                return
    raise AssertionError(f"ended after {samples}")


def test_spans_of_a_wav_that_wrapped_begin_anywhere(tmp_path: Path) -> None:
    at = 3_000_000_000
    head = wav(20_000, b"")
    with (tmp_path / "clip").open("wb") as file:
        file.write(head)
        file.seek(len(head) + at)
        file.write(PCM)
        file.truncate(len(head) + (1 << 32) + 20_000)
    with open_audio(tmp_path / "clip") as reader:
        assert reader.header.declared_samples == (1 << 31) + 10_000
        assert reader.can_seek
        block = next(reader.blocks(len(SOUND), at // 2))
    np.testing.assert_array_equal(block[:, 0] * 32768, SOUND)


def test_a_second_chunk_of_sound_is_heard_behind_the_first(tmp_path: Path) -> None:
    halves = [(b"data", PCM[:20_002]), (b"LIST", b"INFO"), (b"data", PCM[20_002:])]
    assert_heard(saved(tmp_path / "a", riff((b"fmt ", wav_format()), *halves)), SOUND)
    nothing_first = riff((b"fmt ", wav_format()), (b"data", b""), (b"data", PCM), (b"id3 ", b"abc"))
    assert_heard(saved(tmp_path / "b", nothing_first), SOUND)


def test_a_second_chunk_of_sound_that_was_cut_is_told(tmp_path: Path) -> None:
    content = riff((b"fmt ", wav_format()), (b"data", PCM[:20_002]), (b"data", PCM[20_002:]))
    samples, error = hear(saved(tmp_path / "clip", content[:-3000]))
    assert isinstance(error, TruncatedError)
    assert len(samples) == len(SOUND) - 1500


def test_compressed_sound_of_unknown_size_is_heard_as_well(tmp_path: Path) -> None:
    content = encode(tmp_path / "a", "wav", "adpcm_ima_wav", tones(2, channels=1)).read_bytes()
    at = content.index(b"data") + 4
    lengths = []
    for size in (content[at : at + 4], bytes(4), b"\xff" * 4, struct.pack("<I", 1024)):
        path = saved(tmp_path / "b", content[:at] + size + content[at + 4 :] + TRAILERS["wav"])
        with open_audio(path) as reader:
            assert reader.header.codec == "adpcm_ima_wav"
            lengths.append(sum(map(len, reader.blocks(4096))))
    assert len(set(lengths)) == 1
    assert lengths[0] >= 96_000


def test_notes_behind_sound_of_unknown_size_are_read(tmp_path: Path) -> None:
    note = chunk(b"guan", b"GUANO|Version: 1.0\nTimestamp: 2020-04-04T10:25:00Z\n")
    for size in (0, 0xFFFFFFFF, 44):
        found = recorded_at(saved(tmp_path / "clip", wav(size, PCM) + note), "/a.wav")
        assert found is not None
        assert found.source == "guano"


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("size", [0, 44, 30_000])
def test_spans_hear_what_the_whole_is(tmp_path: Path, name: str, size: int) -> None:
    path = saved(tmp_path / "clip", MAKERS[name](size, PCM) + TRAILERS[name])
    for start, stop in ((0, 9_999), (9_999, 20_000), (20_000, 29_999), (29_999, None)):
        with open_audio(path) as reader:
            assert reader.can_seek
            assert reader.header.declared_samples == len(SOUND)
            heard = np.concatenate(list(reader.blocks(4096, start, stop)))
        np.testing.assert_array_equal(heard[:, 0] * 32768, SOUND[start:stop])
