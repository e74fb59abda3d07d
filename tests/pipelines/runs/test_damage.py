"""Damaged recordings of every format beside good ones; `make fuzz` makes thousands of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf

from earmark.models.builtin.synthesis import synthesise

ROOT = Path(__file__).resolve().parents[3]
FILES = int(os.environ.get("EARMARK_FUZZ_FILES", "240"))
SEED = int(os.environ.get("EARMARK_FUZZ_SEED", "0"))

SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "rf64": ("RF64", "PCM_24"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "ULAW"),
}
LIBAV = {"m4a": "aac", "mkv": "libopus", "mp4": "aac", "webm": "libopus"}


def good(folder: Path) -> dict[str, bytes]:
    """A recording of each format, by its extension."""
    rng = np.random.default_rng(7)
    mono = np.concatenate([synthesise(name, rng, 2, 48_000) for name in ("tone", "hum")])
    for kind, (container, subtype) in SOUNDFILE.items():
        sf.write(folder / f"good.{kind}", mono, 48_000, format=container, subtype=subtype)
    for kind, codec in LIBAV.items():
        _encode(folder / f"good.{kind}", codec, mono)
    return {path.name.split(".", 1)[1]: path.read_bytes() for path in folder.iterdir()}


def _encode(path: Path, codec: str, mono: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (mono * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = 48_000
        for part in [*av.AudioResampler(stream.format, "mono", 48_000).resample(frame), None]:
            container.mux(stream.encode(part))


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    broken = bytearray(content)
    for at in rng.integers(len(broken), size=rng.integers(1, 60)):
        broken[at] ^= 1 << rng.integers(8)
    return bytes(broken)


def _header(content: bytes, rng: np.random.Generator) -> bytes:
    broken = bytearray(content)
    for at in rng.integers(min(len(broken), 200), size=rng.integers(1, 12)):
        broken[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
    return bytes(broken)


def _hole(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = sorted(rng.integers(len(content), size=2))
    return content[:begin] + content[end:]


def _overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    begin, end = sorted(rng.integers(len(content), size=2))
    return content[:begin] + rng.bytes(int(end - begin)) + content[end:]


AILMENTS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    *(_cut, _flip, _header, _hole, _overwrite),
)


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Path, Path]:
    """The good recordings by themselves, and the same among damaged ones."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "good").mkdir()
    contents = good(folder / "good")
    (folder / "all" / "good").mkdir(parents=True)
    for path in (folder / "good").iterdir():
        (folder / "all" / "good" / path.name).write_bytes(path.read_bytes())
    rng = np.random.default_rng(SEED)
    kinds = sorted(contents)
    for number in range(FILES):
        kind, ailment = kinds[number % len(kinds)], AILMENTS[number // len(kinds) % len(AILMENTS)]
        broken = ailment(contents[kind], rng)
        (folder / "all" / f"{number:05}-{ailment.__name__}.{kind}").write_bytes(broken)
    return folder / "good", folder / "all"


def hear(archive: Path, output: Path) -> None:
    command = [sys.executable, "-m", "earmark", "classify", "--model", "builtin"]
    done = subprocess.run(
        [*command, "--input", str(archive), "--output", str(output)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr


def test_every_damaged_file_has_one_row_and_the_good_ones_are_untouched(archives, tmp_path, rows):
    good_ones, all_of_them = archives
    hear(good_ones, tmp_path / "good")
    hear(all_of_them, tmp_path / "all")
    clips = [
        clip for table in ("clips", "failures") for (clip,) in rows(tmp_path / "all", table, "clip")
    ]
    assert sorted(clips) == sorted(str(path) for path in all_of_them.rglob("*") if path.is_file())

    columns = "parse_filename(clip), start_s, end_s, label, score"
    expected = rows(tmp_path / "good", "detections", columns, "order by all")
    got = rows(
        tmp_path / "all", "detections", columns, "where clip like '%/all/good/%' order by all"
    )
    assert got == expected
    assert len({row[0] for row in expected}) == len(SOUNDFILE) + len(LIBAV)
    reasons = {reason for (reason,) in rows(tmp_path / "all", "failures", "distinct reason")}
    assert reasons & {"damaged", "not_audio", "truncated"}
