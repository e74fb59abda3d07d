"""An archive of everything: formats, damage, gaps, tars and zips, hours, nothing at all."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import soundfile as sf

from earmark.models.builtin.synthesis import SOUNDS, synthesise
from tests.transforms.audio.files import RATE_HZ, SOUNDFILE, write
from tests.transforms.audio.gapped import write_gapped

DAMAGED = ("cut.wav", "cut.flac", "cut.mp3", "flipped.ogg", "flipped.flac", "headless.wav")


def write_mixed_archive(folder: Path, objects: int = 520, minutes: int = 16) -> int:
    """Write it into a folder; gives how many objects are in it.

    Args:
      folder: is made.
      objects: so many, of which most are short recordings under several names.
      minutes: how long each of three long recordings is, which can be cut into spans.
    """
    for name in ("short", "damaged", "packed", "long"):
        (folder / name).mkdir(parents=True)
    short = _write_short(folder / "short")
    others = _write_damaged(folder / "damaged", short) + _write_packed(folder / "packed", short)
    others += _write_long(folder / "long", minutes) + write_gapped(folder / "gapped")
    for number in range(len(short), objects - others):
        original = short[number % len(short)]
        os.link(original, original.with_name(f"{number:04d}-{original.name}"))
    return objects


def _write_short(folder: Path) -> list[Path]:
    """Three seconds of each sound, each in a format or two."""
    rng = np.random.default_rng(7)
    paths = []
    for number, sound in enumerate(sorted(SOUNDS) * 2):
        suffix = list(SOUNDFILE)[number % len(SOUNDFILE)]
        mono = synthesise(sound, rng, 3, RATE_HZ)
        paths.append(
            write(folder / f"{number}-{sound}.{suffix}", *SOUNDFILE[suffix], mono[:, None])
        )
    return paths


def _write_damaged(folder: Path, good: list[Path]) -> int:
    rng = np.random.default_rng(8)
    for name in DAMAGED:
        ailment, _, suffix = name.partition(".")
        original = next(path for path in good if path.name.endswith(f".{suffix}"))
        (folder / name).write_bytes(_damaged(original.read_bytes(), ailment, rng))
    (folder / "empty.wav").touch()
    (folder / "text.mp3").write_text("no sound at all\n" * 100)
    (folder / "away.wav").symlink_to(folder / "not mounted.wav")
    sf.write(folder / "no_samples.wav", np.empty(0), 16_000)
    return len(DAMAGED) + 4


def _damaged(content: bytes, ailment: str, rng: np.random.Generator) -> bytes:
    if ailment == "cut":
        return content[: len(content) * 2 // 3]
    if ailment == "headless":
        return content[12:]
    broken = bytearray(content)
    for at in rng.integers(len(broken) // 2, len(broken), size=30):
        broken[at] ^= 1 << rng.integers(8)
    return bytes(broken)


def _write_packed(folder: Path, good: list[Path]) -> int:
    """A tar and a zip; each member is an object."""
    with tarfile.open(folder / "season.tar", "w") as tar:
        for path in good[:6]:
            tar.add(path, path.name)
        tar.add(folder.parent / "damaged" / "cut.flac", "cut.flac")
    with zipfile.ZipFile(folder / "season.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in good[6:12]:
            packed.write(path, path.name)
        packed.writestr("empty.wav", b"")
    return 14


def _write_long(folder: Path, minutes: int) -> int:
    """Three long ones, the last of them damaged in the middle."""
    for name in ("one.wav", "two.flac"):
        write_long(folder / name, minutes)
    broken = bytearray((folder / "two.flac").read_bytes())
    middle = len(broken) // 2
    broken[middle : middle + 5000] = np.random.default_rng(10).bytes(5000)
    (folder / "three.flac").write_bytes(bytes(broken))
    return 3


def write_long(path: Path, minutes: int) -> None:
    """Write a recording of this length, which can be cut into spans."""
    rng = np.random.default_rng(9)
    minute = np.concatenate([synthesise(sound, rng, 6, 16_000) for sound in sorted(SOUNDS)])
    with sf.SoundFile(path, "w", 16_000, 1) as file:
        for _ in range(minutes):
            file.write(minute)
