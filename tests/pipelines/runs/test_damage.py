"""Damaged recordings of every format beside good ones; `make fuzz` makes thousands of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.models.builtin.synthesis import synthesise
from tests.transforms.audio.files import RATE_HZ, SOUNDFILE, encode, write

FILES = int(os.environ.get("EARMARK_FUZZ_FILES", "160"))
SEED = int(os.environ.get("EARMARK_FUZZ_SEED", "0"))

LIBAV = {
    "m4a": ("ipod", "aac"),
    "mkv": ("matroska", "libopus"),
    "mp4": ("mp4", "aac"),
    "webm": ("webm", "libopus"),
}


def good(folder: Path) -> dict[str, bytes]:
    """A recording of each format, by its extension."""
    rng = np.random.default_rng(7)
    mono = np.concatenate([synthesise(name, rng, 1, RATE_HZ) for name in ("tone", "hum")])
    for kind, how in SOUNDFILE.items():
        write(folder / f"good.{kind}", *how, mono[:, np.newaxis])
    for kind, how in LIBAV.items():
        encode(folder / f"good.{kind}", *how, mono[:, np.newaxis])
    return {path.name.split(".", 1)[1]: path.read_bytes() for path in folder.iterdir()}


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


def test_every_damaged_file_has_one_row_and_the_good_ones_are_untouched(
    archives, classify, tmp_path, rows
):
    _, all_of_them = archives
    for archive in archives:
        status, _, err = classify(archive, tmp_path / archive.name)
        assert (status, "Traceback" in err) == (0, False), err
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
