"""What decoding costs: libsndfile, libav, libFLAC, and earmark as it opens the file.

    python -m benchmarks.decoders [FILES…]

CPU time per 0.975 s of sound, a frame of YAMNet. Without files, it makes some of its own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from math import isnan, nan
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import av
import numpy as np
import soundfile

from benchmarks.decoding import WAYS
from benchmarks.pairing import in_rounds
from benchmarks.signals import Samples, recording
from benchmarks.tables import Table, render
from earmark.transforms.audio.reading import open_audio

FRAME_S = 0.975

BARE = {"soundfile": "soundfile, float32", "PyAV": "PyAV", "libFLAC": "libFLAC"}
"""Libraries by themselves, each with its way in benchmarks.decoding."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the files named on the command line, and prints a table."""
    parser = argparse.ArgumentParser("python -m benchmarks.decoders", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120, help="of each file that is made")
    wanted = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        files = wanted.files or list(make_files(Path(folder), wanted.seconds))
        print(render(measure(files, wanted.rounds)))


def measure(files: Iterable[Path], rounds: int) -> Table:
    """The table of all decoders on all files, each of the decoders once a round."""
    return Table(
        f"Decoding, ms of CPU per {FRAME_S} s",
        ("file", "codec", *BARE, "earmark", "which uses"),
        [_row(path, rounds) for path in files],
        "All but earmark bare: soundfile reads to float32 in one piece, the others throw away what"
        " they have decoded.",
    )


def _row(path: Path, rounds: int) -> tuple[str, ...]:
    contenders = {
        name: partial(_milliseconds, WAYS[way].decode if WAYS[way].takes(path) else None, path)
        for name, way in BARE.items()
    }
    contenders["earmark"] = partial(_milliseconds, _with_earmark, path)
    costs = in_rounds(contenders, rounds).values()
    with open_audio(str(path)) as reader:
        header, library = reader.header, reader.library
    return (path.name, header.codec, *(_figure(median(cost)) for cost in costs), library)


def _figure(milliseconds: float) -> str:
    return "–" if isnan(milliseconds) else f"{milliseconds:.3f}"


def _milliseconds(decode: Callable[[str], float] | None, path: Path) -> float:
    """What a frame costs, or nan where the library does not know the format, or is missing."""
    if decode is None:
        return nan
    began = time.process_time()
    try:
        seconds = decode(str(path))
    except (soundfile.LibsndfileError, av.FFmpegError, ImportError):
        return nan
    return (time.process_time() - began) * 1000 * FRAME_S / seconds


def _with_earmark(path: str) -> float:
    with open_audio(path) as reader:
        rate_hz = reader.header.sample_rate_hz
        return sum(len(block) for block in reader.blocks(rate_hz)) / rate_hz


_BY_SOUNDFILE = {
    "16.wav": ("WAV", "PCM_16"),
    "24.wav": ("WAV", "PCM_24"),
    "32.wav": ("WAV", "FLOAT"),
    "law.wav": ("WAV", "ULAW"),
    "16.flac": ("FLAC", "PCM_16"),
    "24.flac": ("FLAC", "PCM_24"),
    "16.aiff": ("AIFF", "PCM_16"),
    "16.caf": ("CAF", "PCM_16"),
    "a.mp3": ("MP3", "MPEG_LAYER_III"),
    "a.ogg": ("OGG", "VORBIS"),
    "a.opus": ("OGG", "OPUS"),
}


def make_files(folder: Path, seconds: float) -> Iterator[Path]:
    """Makes the same stereo recording in every format: 44.1 kHz, Opus 48 kHz."""
    sounds = {rate_hz: recording(1, seconds, rate_hz) for rate_hz in (44_100, 48_000)}
    for name, kind in _BY_SOUNDFILE.items():
        rate_hz = 48_000 if kind[1] == "OPUS" else 44_100
        yield _write(folder / name, *kind, sounds[rate_hz], rate_hz)
    yield _write_aac(folder / "a.m4a", sounds[44_100], 44_100)


def _write(path: Path, container: str, subtype: str, sound: Samples, rate_hz: int) -> Path:
    """Writes with libsndfile, in pieces: its Vorbis encoder overflows its stack on long ones."""
    with soundfile.SoundFile(path, "w", rate_hz, 2, format=container, subtype=subtype) as file:
        for start in range(0, len(sound), 4096):
            file.write(sound[start : start + 4096])
    return path


def _write_aac(path: Path, sound: Samples, rate_hz: int) -> Path:
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=rate_hz, layout="stereo")
        stream.bit_rate = 128_000
        for start in range(0, len(sound), 1024):
            planes = np.ascontiguousarray(sound[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
