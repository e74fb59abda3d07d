"""Archives to be heard: made once, kept in a folder, the same on every machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from benchmarks.machine import cores

DIFFERENT = 8
"""Recordings of a format that differ; an archive of more files has them under several names."""

_EDITION = 1
"""Counted up when recordings are made in another way, so that none of the old ones is used."""


@dataclass(frozen=True)
class Format:
    """A format of recordings, in libsndfile's words."""

    name: str
    suffix: str
    container: str
    subtype: str
    sample_rate_hz: int


FORMATS = {
    each.name: each
    for each in (
        Format("wav", "wav", "WAV", "PCM_16", 44_100),
        Format("flac", "flac", "FLAC", "PCM_16", 44_100),
        Format("mp3", "mp3", "MP3", "MPEG_LAYER_III", 44_100),
        Format("ogg", "ogg", "OGG", "VORBIS", 44_100),
        Format("opus", "opus", "OGG", "OPUS", 48_000),
    )
}


def archive(cache: Path, form: Format, files: int, minutes: float) -> list[Path]:
    """The files of an archive, in a folder of their own; what is missing is made.

    Args:
      cache: where recordings are kept.
      form: of the files.
      files: how many.
      minutes: how long each is.
    """
    kept = recordings_folder(cache) / f"{minutes:g}min"
    recordings = _recordings(kept, form, min(files, DIFFERENT), minutes)
    return linked(recordings, kept / f"{form.name}-{files}", files)


def linked(recordings: Sequence[Path], folder: Path, files: int) -> list[Path]:
    """A folder with so many names for these recordings, in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    links = [folder / f"{k:04d}{recordings[0].suffix}" for k in range(files)]
    for k, link in enumerate(links):
        if not link.exists():
            os.link(recordings[k % len(recordings)], link)
    return links


def recordings_folder(cache: Path) -> Path:
    """Where recordings of this edition are kept."""
    return cache / f"recordings-{_EDITION}"


def bytes_of(paths: Sequence[Path]) -> int:
    """How large files are together."""
    return sum(path.stat().st_size for path in paths)


def _recordings(folder: Path, form: Format, count: int, minutes: float) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{form.name}-{seed}.{form.suffix}" for seed in range(count)]
    missing = [(path, form, seed, minutes) for seed, path in enumerate(paths) if not path.exists()]
    if missing:
        # in processes of their own: what they hold would be this one's peak, and its children's
        with ProcessPoolExecutor(cores(), mp_context=get_context("spawn")) as workers:
            list(workers.map(_make, *zip(*missing, strict=True)))
    return paths


def _make(path: Path, form: Format, seed: int, minutes: float) -> None:
    import soundfile

    from benchmarks.signals import recording

    samples = recording(seed, minutes * 60, form.sample_rate_hz)
    partial = path.with_suffix(".partial")
    with soundfile.SoundFile(
        partial, "w", form.sample_rate_hz, 2, form.subtype, format=form.container
    ) as file:
        # libsndfile's Vorbis encoder crashes when it is given minutes at once
        for second in _seconds(len(samples), form.sample_rate_hz):
            file.write(samples[second])
    shutil.move(partial, path)


def _seconds(samples: int, sample_rate_hz: int) -> Iterator[slice]:
    for start in range(0, samples, sample_rate_hz):
        yield slice(start, start + sample_rate_hz)
