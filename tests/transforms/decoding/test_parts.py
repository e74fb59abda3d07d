"""A span is decoded from parts of a file: no byte of the others has any effect."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.decoding.spans import SpanDecoding, parts_read
from earmark.transforms.elements import AudioObject, PlainSound, Span
from earmark.transforms.settings import Decoding, FrameGrid

SECONDS, SPAN_S, RATE_HZ = 200, 60, 8_000
GRIDS = {"frames": FrameGrid(16_000, 15_600, 15_600), "overlap": FrameGrid(16_000, 48_000, 8_000)}
FORMATS = [
    *[("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")],
    *[("AIFF", "PCM_16"), ("AIFF", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_24")],
    *[("CAF", "PCM_16"), ("AU", "PCM_16"), ("AU", "FLOAT"), ("WAVEX", "PCM_16")],
]


def write(path: Path, format_: str, kind: str, seconds: float = SECONDS, channels: int = 2) -> Path:
    shape = round(seconds * RATE_HZ), channels
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    sf.write(path, samples, RATE_HZ, kind, format=format_)
    return path


def spans(path: Path) -> list[Span]:
    """As a listing and a look at the file would have them."""
    clip = AudioObject(str(path), path.stat().st_size, "1")
    with open_audio(path) as reader:
        sound = reader.sound
        length_s = -(-(reader.header.declared_samples or 0) // reader.header.sample_rate_hz)
    count = -(-length_s // SPAN_S)
    starts = range(0, count * SPAN_S, SPAN_S)
    stops = [*starts[1:], None]
    return [
        Span(clip, *each, sound)
        for each in zip(range(count), [count] * count, starts, stops, strict=True)
    ]


def decoded(span: Span, path: Path, grid: FrameGrid) -> tuple[Any, ...]:
    decoding = SpanDecoding(span, Decoding(grid))
    blocks = [(at, frames.tobytes()) for at, frames in decoding.blocks(str(path))]
    return blocks, decoding.ending()


def with_noise_elsewhere(path: Path, parts: list[tuple[int, int]]) -> Path:
    """A copy of a file that has noise in all parts but some."""
    content = path.read_bytes()
    noisy = bytearray(np.random.default_rng(1).bytes(len(content)))
    for start, stop in parts:
        noisy[start:stop] = content[start:stop]
    copy = path.with_name(f"noisy{path.suffix}")
    copy.write_bytes(noisy)
    return copy


def assert_other_parts_have_no_effect(path: Path, grid: FrameGrid) -> None:
    for span in spans(path):
        parts = parts_read(span, grid)
        assert parts == sorted(parts)
        assert all(0 <= start < stop <= span.clip.size_bytes for start, stop in parts)
        noisy = with_noise_elsewhere(path, parts)
        assert noisy.read_bytes() != path.read_bytes()
        assert decoded(span, noisy, grid) == decoded(replace(span, sound=None), path, grid)


@pytest.mark.parametrize(("format_", "kind"), FORMATS)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_other_parts_have_no_effect(tmp_path, format_, kind, grid):
    assert_other_parts_have_no_effect(write(tmp_path / "a", format_, kind), grid)


@pytest.mark.parametrize("chunk", [b"guan", b"LIST", b"junk"])
@pytest.mark.parametrize("size", [0, 10, 100_000])
def test_what_lies_behind_the_sound_is_read(tmp_path, chunk, size):
    path = write(tmp_path / "a.wav", "WAV", "PCM_16")
    noted = b"GUANO|Version: 1.0\nTimestamp: 2026-05-01T10:00:00Z\n".ljust(size, b"\n")
    content = path.read_bytes() + chunk + struct.pack("<I", len(noted)) + noted
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    assert_other_parts_have_no_effect(path, GRIDS["frames"])
    (_, ending), *_ = (decoded(each, path, GRIDS["frames"]) for each in spans(path))
    assert (ending.recorded_at is not None) == (chunk == b"guan")


def test_a_span_reads_little_more_than_its_own_samples(tmp_path):
    path = write(tmp_path / "a.wav", "WAV", "PCM_16")
    second_bytes = RATE_HZ * 4
    for span in spans(path):
        wanted = sum(stop - start for start, stop in parts_read(span, GRIDS["frames"]))
        assert wanted <= (SPAN_S + 3) * second_bytes + (1 << 17) + (1 << 15) * 4


@pytest.mark.parametrize(("format_", "kind"), [("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_of_what_is_compressed_all_is_read(tmp_path, format_, kind):
    with open_audio(write(tmp_path / "a", format_, kind, 2)) as reader:
        assert reader.sound is None
    assert parts_read(Span(AudioObject("s3://b/a", 10**9, "1")), GRIDS["frames"]) is None


def test_other_bytes_than_were_planned_are_not_read_for_the_planned_ones(tmp_path):
    path = write(tmp_path / "a.wav", "WAV", "PCM_16", 2)
    span = Span(AudioObject(str(path), 1, "1"), sound=PlainSound(100, 44, 100, 1))
    with pytest.raises(RuntimeError, match="other parts"):
        decoded(span, path, GRIDS["frames"])
