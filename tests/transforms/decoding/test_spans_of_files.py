"""Recordings that are read in spans: what a reader of the whole hears, they must hear together."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from itertools import accumulate, cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.transforms.audio import soundfile_decoder
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.elements import Gap, gaps_with
from earmark.transforms.errors import AudioError, TruncatedError

Samples = NDArray[np.float32]
RATE_HZ = 44_100


class Heard(NamedTuple):
    samples: Samples
    error: AudioError | None
    gaps: list[Gap]


def hear(path: Path, start: int = 0, stop: int | None = None, block_samples: int = 9973) -> Heard:
    """What is heard from a sample to another; gaps are zeros."""
    blocks: list[Samples] = []
    error = None
    with open_audio(str(path)) as reader:
        channels = reader.header.channels
        try:
            for block in reader.blocks(block_samples, start, stop):
                blocks.append(block)
        except AudioError as trouble:
            error = trouble
    assert all(len(block) == block_samples for block in blocks[:-1])
    samples = np.concatenate([np.empty((0, channels), np.float32), *blocks])
    return Heard(samples, error, reader.gaps)


def hear_in_spans(path: Path, length: int, span_samples: int) -> Heard:
    """Reads span by span, and stops at the first trouble."""
    heard: list[Heard] = []
    gaps: list[Gap] = []
    for start in range(0, length, span_samples):
        stop = start + span_samples
        heard.append(hear(path, start, stop if stop < length else None))
        for gap in heard[-1].gaps:
            gaps[-1:] = gaps_with(gaps[-1:], gap)
        if heard[-1].error:
            break
    return Heard(np.concatenate([span.samples for span in heard]), heard[-1].error, gaps)


def noise(samples: int, channels: int = 2) -> NDArray[np.float64]:
    swell = 0.4 + 0.4 * np.sin(np.arange(samples) / 20_000)
    return np.random.default_rng(7).uniform(-1, 1, (samples, channels)) * swell[:, None]


def write(
    path: Path, format_: str, subtype: str, samples: NDArray[np.float64], rate_hz: int = RATE_HZ
) -> Path:
    """Writes with soundfile, in pieces: its Vorbis encoder overflows its stack on long ones."""
    channels = samples.shape[1]
    with soundfile.SoundFile(path, "w", rate_hz, channels, subtype, format=format_) as sound:
        for start in range(0, len(samples), 4096):
            sound.write(samples[start : start + 4096])
    return path


SEEKABLE = [
    *[("WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW")],
    *[("AIFF", subtype) for subtype in ("PCM_16", "PCM_24", "ALAW")],
    *[("RF64", "PCM_16"), ("W64", "PCM_24"), ("CAF", "PCM_16"), ("CAF", "PCM_24")],
    *[("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")],
]
NOT_SEEKABLE = [
    *[("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("CAF", "ALAC_16")],
    *[("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")],
]
LENGTH = 150_001
GRID = [0, 1, 4095, 4096, 32_767, 32_768, 32_769, 65_536, 98_304, 100_000, LENGTH - 1, LENGTH]
SPANS = [(start, stop) for start in GRID for stop in [*GRID, None] if stop is None or start <= stop]


@pytest.mark.parametrize("kind", SEEKABLE, ids="-".join)
def test_a_span_is_the_slice_of_the_whole(tmp_path: Path, kind: tuple[str, str]) -> None:
    path = write(tmp_path / "clip", *kind, noise(LENGTH))
    whole = hear(path).samples
    assert len(whole) == LENGTH
    for start, stop in SPANS:
        heard = hear(path, start, stop)
        assert heard.error is None
        np.testing.assert_array_equal(heard.samples, whole[start:stop])


@pytest.mark.parametrize("kind", NOT_SEEKABLE, ids="-".join)
def test_what_cannot_be_sought_is_read_from_its_start_or_not_at_all(
    tmp_path: Path, kind: tuple[str, str]
) -> None:
    channels = 1 if kind[1] == "GSM610" else 2
    rate_hz = 48_000 if kind[1] == "OPUS" else RATE_HZ
    path = write(tmp_path / "clip", *kind, noise(30_000, channels), rate_hz)
    whole = hear(path).samples
    with open_audio(str(path)) as reader:
        assert not reader.can_seek
        with pytest.raises(ValueError, match="from its start"):
            reader.blocks(1000, start=1)
    for stop in (0, 1, 4096, 20_000, len(whole)):
        np.testing.assert_array_equal(hear(path, 0, stop).samples, whole[:stop])


@pytest.mark.parametrize("block_samples", [1, 1000, 32_768, 1_000_000])
@pytest.mark.parametrize("format_", ["WAV", "FLAC"])
def test_blocks_are_counted_from_the_start_of_the_span(
    tmp_path: Path, format_: str, block_samples: int
) -> None:
    path = write(tmp_path / "clip", format_, "PCM_16", noise(40_000))
    with open_audio(str(path)) as reader:
        lengths = [len(block) for block in reader.blocks(block_samples, 33_000, 36_500)]
    whole, rest = divmod(3500, block_samples)
    assert lengths == [block_samples] * whole + [rest] * bool(rest)


@pytest.mark.parametrize(
    ("format_", "subtype"), [("WAV", "PCM_16"), ("WAV", "ULAW"), ("CAF", "PCM_24")]
)
def test_a_file_that_was_cut_is_read_as_a_whole(tmp_path: Path, format_: str, subtype: str) -> None:
    path = write(tmp_path / "clip", format_, subtype, noise(50_000))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with open_audio(str(path)) as reader:
        assert not reader.can_seek
    assert isinstance(hear(path).error, TruncatedError)
    assert hear(path, 0, 20_000).error is None
    assert len(hear(path, 0, 20_000).samples) == 20_000


def test_a_flac_stream_of_unknown_length_cannot_be_sought(tmp_path: Path) -> None:
    path = write(tmp_path / "clip", "FLAC", "PCM_16", noise(50_000))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with open_audio(str(path)) as reader:
        assert not reader.can_seek


def crc(content: bytes, polynomial: int, bits: int) -> bytes:
    top, mask = 1 << bits - 1, (1 << bits) - 1
    table = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & mask
        table.append(value)
    value = 0
    for byte in content:
        value = (value << 8 ^ table[value >> bits - 8 ^ byte]) & mask
    return value.to_bytes(bits // 8, "big")


def coded_number(number: int) -> bytes:
    """As UTF-8 would write it, with up to 36 bits."""
    if number < 0x80:
        return bytes([number])
    tail: list[int] = []
    while number >= 1 << 6 - len(tail):
        tail.insert(0, 0x80 | number & 0x3F)
        number >>= 6
    return bytes([(0xFF00 >> len(tail) + 1) & 0xFF | number, *tail])


class FlacKind(NamedTuple):
    """A FLAC file that no common encoder makes: RFC 9639, every subframe verbatim."""

    block_samples: tuple[int, ...]
    bits: int
    channels: int
    seek_table: bool


def flac(kind: FlacKind, values: NDArray[np.int32]) -> bytes:
    is_variable = len(kind.block_samples) > 1
    starts = [0, *accumulate(_until(cycle(kind.block_samples), len(values)))]
    blocks = [values[start:stop] for start, stop in zip(starts, [*starts[1:], None], strict=True)]
    blocks = [block for block in blocks if len(block)]
    numbers = starts if is_variable else range(len(starts))
    frames = [_frame(kind, n, block) for n, block in zip(numbers, blocks, strict=False)]
    offsets = [0, *accumulate(map(len, frames))]
    points = [
        struct.pack(">QQH", starts[i], offsets[i], len(blocks[i])) for i in range(0, len(blocks), 3)
    ]
    shape = RATE_HZ << 44 | (kind.channels - 1) << 41 | (kind.bits - 1) << 36 | len(values)
    sizes = (min(kind.block_samples), max(kind.block_samples))
    streaminfo = struct.pack(">HH6xQ16x", *sizes, shape)
    metadata = [(0, streaminfo), (3, b"".join(points))][: 1 + kind.seek_table]
    heads = [
        bytes([0x80 * (i == len(metadata) - 1) | type_]) + struct.pack(">I", len(content))[1:]
        for i, (type_, content) in enumerate(metadata)
    ]
    return (
        b"fLaC"
        + b"".join(h + m[1] for h, m in zip(heads, metadata, strict=True))
        + b"".join(frames)
    )


def _until(sizes: Iterator[int], total: int) -> Iterator[int]:
    reached = 0
    for size in sizes:
        reached += size
        if reached >= total:
            return
        yield size


def _frame(kind: FlacKind, number: int, block: NDArray[np.int32]) -> bytes:
    size_code = {16: 4, 24: 6}[kind.bits]
    head = bytes([0xFF, 0xF8 | (len(kind.block_samples) > 1), 0x70])
    head += bytes([(kind.channels - 1) << 4 | size_code << 1]) + coded_number(number)
    head += struct.pack(">H", len(block) - 1)
    head += crc(head, 0x07, 8)
    planes = [
        block[:, c].astype(">i4").view(np.uint8).reshape(-1, 4)[:, 4 - kind.bits // 8 :].tobytes()
        for c in range(kind.channels)
    ]
    frame = head + b"".join(b"\x02" + plane for plane in planes)
    return frame + crc(frame, 0x8005, 16)


@pytest.mark.parametrize("seek_table", [False, True], ids=["", "seek-table"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(
    "block_samples", [(4096,), (1000,), (4608, 17, 1152, 8192), (50_000, 300)], ids=str
)
def test_flac_is_sought_to_the_sample(
    tmp_path: Path, block_samples: tuple[int, ...], bits: int, channels: int, seek_table: bool
) -> None:
    kind = FlacKind(block_samples, bits, channels, seek_table)
    top = 1 << bits - 1
    values = np.random.default_rng(bits).integers(-top, top, (180_000, channels), dtype=np.int32)
    (path := tmp_path / "clip").write_bytes(flac(kind, values))
    expected = values.astype(np.float64) / top
    chance = random.Random(1)
    starts = [0, 1, *GRID, *(chance.randrange(len(values)) for _ in range(25))]
    for start in starts:
        heard = hear(path, start, start + 500)
        assert heard.error is None
        np.testing.assert_array_equal(heard.samples, expected[start : start + 500])


def hurt(content: bytes, way: str, chance: random.Random) -> bytes:
    hurting, at = bytearray(content), chance.randrange(9000, len(content) - 1)
    if way == "overwritten":
        hurting[at : at + 10] = b"\x5a" * 10
    elif way == "flipped":
        hurting[at] ^= 1 << chance.randrange(8)
    elif way == "cut":
        del hurting[at:]
    elif way == "spliced":
        del hurting[at : at + chance.randrange(1, 20_000)]
    else:
        count = min(chance.randrange(1, 60_000), len(content) - at)
        hurting[at : at + count] = bytes(count)
    return bytes(hurting)


def assert_spans_hear_the_same(path: Path, length: int, span_samples: int) -> None:
    whole, spans = hear(path), hear_in_spans(path, length, span_samples)
    np.testing.assert_array_equal(spans.samples, whole.samples)
    assert spans.gaps == whole.gaps
    assert type(spans.error) is type(whole.error)
    assert str(spans.error) == str(whole.error)


@pytest.mark.parametrize("way", ["overwritten", "flipped", "cut", "spliced", "zeroed"])
@pytest.mark.parametrize("span_samples", [32_768, 45_056, 44_100, 100_003])
def test_spans_of_a_damaged_flac_hear_what_the_whole_hears(
    tmp_path: Path, way: str, span_samples: int
) -> None:
    path = write(tmp_path / "clip", "FLAC", "PCM_16", noise(200_000))
    content = path.read_bytes()
    for seed in range(8):
        path.write_bytes(hurt(content, way, random.Random(seed)))
        assert_spans_hear_the_same(path, 200_000, span_samples)


def test_a_span_may_begin_right_where_the_damage_does(tmp_path: Path) -> None:
    path = write(tmp_path / "clip", "FLAC", "PCM_16", noise(200_000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    whole = hear(path)
    [gap] = whole.gaps
    assert whole.error is None
    assert len(whole.samples) == 200_000
    for start in (gap.start - 1, gap.start, gap.start + 1, gap.stop - 1, gap.stop, gap.stop + 1):
        heard = hear(path, start, None)
        np.testing.assert_array_equal(heard.samples, whole.samples[start:])
        assert heard.gaps == [gap._replace(start=max(start, gap.start))] * (start < gap.stop)
        assert_spans_hear_the_same(path, 200_000, start)


def test_where_seeking_fails_the_file_is_read_up_to_the_span(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise soundfile.LibsndfileError(39)

    path = write(tmp_path / "clip", "FLAC", "PCM_16", noise(200_000))
    whole = hear(path)
    monkeypatch.setattr(soundfile_decoder._Sequential, "seek", fail)
    heard = hear(path, 150_000, 190_000)
    assert heard.error is None
    np.testing.assert_array_equal(heard.samples, whole.samples[150_000:190_000])
    path.write_bytes(hurt(path.read_bytes(), "overwritten", random.Random(2)))
    assert_spans_hear_the_same(path, 200_000, 44_100)
    assert hear(path).gaps
    np.testing.assert_array_equal(hear(path, 190_000).samples, whole.samples[190_000:])


def test_what_is_wrong_at_the_end_is_told_to_those_alone_who_read_to_the_end(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "clip", "FLAC", "PCM_16", noise(100_000))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    whole = hear(path)
    assert isinstance(whole.error, TruncatedError)
    good = len(whole.samples)
    assert hear(path, 0, good).error is None
    for stop in (good + 1, 100_000, None):
        assert str(hear(path, good // 2, stop).error) == str(whole.error)
