"""Recordings with a tone of its own pitch every ten seconds, damaged: is each where it belongs?

`make fuzz` damages thousands of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from earmark.transforms.audio.reading import open_audio
from earmark.transforms.elements import LOST, Gap, Silence
from earmark.transforms.errors import AudioError
from earmark.transforms.samples import as_float32
from tests.transforms.audio.files import SOUNDFILE, Samples, encode, saved, write

FILES = int(os.environ.get("EARMARK_FUZZ_MARKERS", "60"))
SEED = int(os.environ.get("EARMARK_FUZZ_SEED", "0"))

RATE_HZ = 48_000
MARKERS_S = (5, 15, 25, 35)
PITCHES_HZ = (1000, 1700, 2600, 3700)
MARKER_S = 1.0
LENGTH_S = 40.0
STEP_S = 0.02
NEAR_S = 0.1

BY_SOUNDFILE = ("wav", "flac", "ogg", "opus", "mp3")
LIBAV = {
    "aac": ("adts", "aac"),
    "ac3": ("ac3", "ac3"),
    "mp2": ("mp2", "mp2"),
    "m4a": ("mp4", "aac"),
    "fragmented.mp4": ("mp4", "aac"),
    "mov": ("mov", "pcm_s16le"),
    "mkv": ("matroska", "libopus"),
    "pcm.mkv": ("matroska", "pcm_s16le"),
    "webm": ("webm", "libopus"),
    "ts": ("mpegts", "mp2"),
    "aac.ts": ("mpegts", "aac"),
    "flv": ("flv", "aac"),
    "wma": ("asf", "wmav2"),
    "caf": ("caf", "alac"),
    "wv": ("wv", "wavpack"),
}
KINDS = (*BY_SOUNDFILE, *LIBAV)
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}

UNCOUNTED = ("aac", "ac3", "mp2", "ts", "aac.ts")
"""Formats in which nothing tells how many bytes are missing at the end, or in the middle."""

PLAIN = ("wav", "mov", "pcm.mkv", "caf")
"""Formats in which other bytes are other sound, and nothing tells that they are others."""


def marked() -> Samples:
    """Noise with the markers, [n, 1]."""
    time_s = np.arange(round(LENGTH_S * RATE_HZ)) / RATE_HZ
    values = np.random.default_rng(1).normal(0, 0.003, len(time_s))
    for start_s, pitch_hz in zip(MARKERS_S, PITCHES_HZ, strict=True):
        is_on = (time_s >= start_s) & (time_s < start_s + MARKER_S)
        values += is_on * 0.4 * np.sin(2 * np.pi * pitch_hz * time_s)
    return values.astype(np.float32)[:, None]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The recording in each format."""
    folder, samples = tmp_path_factory.mktemp("markers"), marked()
    for kind in BY_SOUNDFILE:
        write(folder / kind, *SOUNDFILE[kind], samples, RATE_HZ)
    for kind, (muxer, codec) in LIBAV.items():
        options = FRAGMENTED if "fragmented" in kind else {}
        if codec.startswith(("pcm", "alac", "wavpack")):
            _encode_plain(folder / kind, muxer, codec, samples)
        else:
            encode(folder / kind, muxer, codec, samples, RATE_HZ, options=options)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _encode_plain(path: Path, muxer: str, codec: str, samples: Samples) -> None:
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        whole = av.AudioFrame.from_ndarray((samples.T * 32767).astype(np.int16), "s16", "mono")
        whole.sample_rate = RATE_HZ
        resampler = av.AudioResampler(
            stream.format, "mono", RATE_HZ, frame_size=stream.codec_context.frame_size or 1024
        )
        for frame in [*resampler.resample(whole), *resampler.resample(None)]:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class Heard(NamedTuple):
    """What was heard of a recording.

    Attributes:
      markers_s: where each marker was heard, None where it was not.
      gaps: in seconds.
      error: with what decoding ended.
      length_s: how far it came.
    """

    markers_s: list[float | None]
    gaps: list[tuple[float, float, str]]
    error: AudioError | None
    length_s: float


def hear(path: Path) -> Heard:
    error, gaps, rate_hz, at = None, list[Gap](), RATE_HZ, 0
    powers: list[NDArray[np.float64]] = []
    try:
        with open_audio(path) as reader:
            gaps, rate_hz = reader.gaps, reader.header.sample_rate_hz
            step = round(STEP_S * rate_hz)
            window = np.exp(-2j * np.pi * np.outer(PITCHES_HZ, np.arange(step)) / rate_hz)
            for block in reader.blocks_and_silences(step):
                if isinstance(block, Silence):
                    at += block.samples
                    powers += [np.zeros(len(PITCHES_HZ))] * min(block.samples // step, 10_000)
                    continue
                at += len(block)
                if len(block) == step:
                    powers.append(
                        np.abs(window @ np.nan_to_num(as_float32(block).mean(axis=1))) / step * 2
                    )
    except AudioError as trouble:
        error = trouble
    levels = np.array(powers).reshape(-1, len(PITCHES_HZ))
    found = [_found(levels[:, index] > 0.15) for index in range(len(PITCHES_HZ))]
    in_s = [(gap.start / rate_hz, gap.stop / rate_hz, gap.why) for gap in gaps]
    return Heard(found, in_s, error, at / rate_hz)


def _found(is_on: NDArray[np.bool_]) -> float | None:
    """Where a marker begins, of which most is there."""
    steps = round(MARKER_S / STEP_S)
    if not len(is_on):
        return None
    counts = np.convolve(is_on, np.ones(steps), "full")[steps - 1 :]
    if counts.max() < 0.8 * steps:
        return None
    best = int(np.argmax(counts))
    return float((best + np.argmax(is_on[best:])) * STEP_S)


def faults(heard: Heard, near_s: float = NEAR_S) -> list[str]:
    """What is wrong with the places of markers, given where they belong.

    A marker that is heard is in its place, or before the end of what is said to be lost. One that
    is not heard is in a recording of which something is said to be lost.
    """
    is_partial = heard.error is not None or any(why in LOST for _, _, why in heard.gaps)
    last_said_s = max([end_s for _, end_s, _ in heard.gaps] + [0.0])
    if heard.error is not None:
        last_said_s = max(last_said_s, LENGTH_S)
    found = []
    for marker_s, at_s in zip(MARKERS_S, heard.markers_s, strict=True):
        if at_s is None:
            if not is_partial:
                found.append(f"the marker at {marker_s} s is lost in silence")
        elif any(start_s - NEAR_S <= marker_s <= end_s for start_s, end_s, _ in heard.gaps):
            continue  # of which a part is lost
        elif abs(at_s - marker_s) > near_s and at_s > last_said_s:
            found.append(f"the marker at {marker_s} s is at {at_s:.2f} s")
    return found


Ailment = Callable[[bytes, np.random.Generator], bytes]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    broken = bytearray(content)
    for at in rng.integers(len(broken), size=rng.integers(1, 4)):
        broken[at] ^= 1 << rng.integers(8)
    return bytes(broken)


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    begin, size = _place(content, rng)
    return content[:begin] + rng.bytes(size) + content[begin + size :]


def blank(content: bytes, rng: np.random.Generator) -> bytes:
    begin, size = _place(content, rng)
    return content[:begin] + bytes(size) + content[begin + size :]


def cut_out(content: bytes, rng: np.random.Generator) -> bytes:
    begin, size = _place(content, rng)
    return content[:begin] + content[begin + size :]


def cut_off(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def _place(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """A part of the content, of which more lie near its beginning, where headers are.

    The first bytes stay: behind what isn't a recording's own beginning it is taken to begin later.
    """
    begin = _FIRST_BYTES + int((len(content) - _FIRST_BYTES) * rng.random() ** rng.integers(1, 4))
    size = int(rng.integers(1, max(2, len(content) // 4)))
    return begin, min(size, len(content) - begin)


_FIRST_BYTES = 8

AILMENTS: tuple[Ailment, ...] = (flip, overwrite, blank, cut_out, cut_off)


def is_testable(kind: str, ailment: Ailment, content: bytes, broken: bytes) -> bool:
    """Whether anything in the recording tells of the damage, and of how long what is lost was."""
    if kind.endswith("ts") and content[:1000] != broken[:1000]:
        return False  # nor when it began
    if kind in UNCOUNTED or (kind == "mp3" and content[:200] != broken[:200]):
        return ailment not in (cut_out, cut_off)
    return kind not in PLAIN or ailment not in (overwrite, blank)


def near_s(kind: str, broken: bytes, heard: Heard) -> float:
    """How far off markers may be: behind damage whose length can only be estimated, a tenth."""
    lost_s = sum(end_s - start_s for start_s, end_s, why in heard.gaps if why == "damaged")
    is_counted = kind not in UNCOUNTED and (
        kind != "mp3" or b"Info" in broken[:200] or b"Xing" in broken[:200]
    )
    return NEAR_S + (0.0 if is_counted else 0.1 * lost_s)


@pytest.mark.parametrize("kind", KINDS)
def test_markers_are_found_where_they_are_in_whole_recordings(
    contents: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "clip"
    path.write_bytes(contents[kind])
    heard = hear(path)
    assert heard.gaps == []
    assert heard.error is None
    assert None not in heard.markers_s
    np.testing.assert_allclose(np.array(heard.markers_s, float), MARKERS_S, atol=NEAR_S)


@pytest.mark.parametrize("kind", ["mp3", *UNCOUNTED])
def test_damage_right_behind_the_first_frame_is_no_late_beginning(
    contents: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    content, size = contents[kind], 60_000
    first = {"mp3": 300, "ts": 600, "aac.ts": 600}.get(kind, 100)
    rng = np.random.default_rng(0)
    broken = content[:first] + rng.bytes(size) + content[first + size :]
    heard = hear(saved(tmp_path / "clip", broken))
    assert faults(heard, near_s(kind, broken, heard)) == []
    assert heard.gaps[0][2] == "damaged"
    assert heard.markers_s.count(None) <= 1


def test_a_first_mp3_frame_that_is_cut_by_its_encoder_s_delay_does_not_shorten_lost_ones(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    content, size = contents["mp3"], 8000
    rng = np.random.default_rng(5)
    broken = content[:400] + rng.bytes(size) + content[400 + size :]
    heard = hear(saved(tmp_path / "clip", broken))
    lost_s = size / len(content) * LENGTH_S
    np.testing.assert_allclose(heard.gaps[0][1], lost_s, atol=NEAR_S)
    np.testing.assert_allclose(np.array(heard.markers_s, float), MARKERS_S, atol=NEAR_S)


def test_what_ends_ac3_in_damage_is_said_in_words(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    content, rng = contents["ac3"], np.random.default_rng(5)
    kept = len(content) * 39 // 40
    heard = hear(saved(tmp_path / "clip", content[:kept] + rng.bytes(len(content) - kept)))
    assert str(heard.error) == "the content is not valid for the decoder"


@pytest.mark.parametrize("kind", KINDS)
def test_markers_in_damaged_recordings_are_where_they_belong_or_are_said_to_be_lost(
    contents: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    rng = np.random.default_rng([SEED, KINDS.index(kind)])
    wrong = []
    for number in range(max(1, FILES // len(KINDS))):
        ailment = AILMENTS[number % len(AILMENTS)]
        path = tmp_path / f"{number:05}-{ailment.__name__}.{kind}"
        broken = ailment(contents[kind], rng)
        heard = hear(saved(path, broken))
        is_told = is_testable(kind, ailment, contents[kind], broken)
        if is_told and (found := faults(heard, near_s(kind, broken, heard))):
            wrong.append((path.name, found, heard.gaps[:3], str(heard.error)))
        else:
            path.unlink()
    assert wrong == []
