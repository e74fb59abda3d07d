"""`earmark demo`: a small archive of known content, processed by the same pipeline as any other."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from earmark.models.builtin import synthesise
from earmark.pipelines.classify import show_run
from earmark.pipelines.collecting import uncollected
from earmark.pipelines.console import plain, screen
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import ClassifyOptions, Parser
from earmark.transforms.text import printable

_MARKER = ".made-by-earmark-demo"
_SEED = 20_240_528
_CLEAR_SCORE = 0.5
_CLEAR_SECONDS = 2.0


class Recording(NamedTuple):
    """A recording of the demo's archive.

    Attributes:
      name: of the file.
      format: as soundfile calls it.
      subtype: likewise.
      sample_rate_hz: of the file.
      channels: of the file.
      sounds: what is in it, one after another: labels and seconds.
      kept: the share of the file that was not lost.
    """

    name: str
    format: str
    subtype: str
    sample_rate_hz: int
    channels: int
    sounds: tuple[tuple[str, int], ...]
    kept: float = 1.0


RECORDINGS = (
    Recording("yard_20240528_061500.wav", "WAV", "PCM_16", 44_100, 2,
              (("silence", 6), ("knocking", 8), ("silence", 4))),
    Recording("street_20240528_220000.flac", "FLAC", "PCM_24", 48_000, 1,
              (("noise", 6), ("siren", 10), ("noise", 6))),
    Recording("cellar.aiff", "AIFF", "PCM_16", 22_050, 1, (("hum", 14),)),
    Recording("radio/test card.mp3", "MP3", "MPEG_LAYER_III", 44_100, 2,
              (("tone", 10), ("chord", 8))),
    Recording("radio/pips.ogg", "OGG", "VORBIS", 32_000, 1,
              (("silence", 5), ("alarm beeps", 8))),
    Recording("ward/monitor.opus", "OGG", "OPUS", 48_000, 2,
              (("alarm beeps", 6), ("silence", 4), ("sweep", 8))),
    Recording("telephone.wav", "WAV", "ULAW", 8000, 1, (("tone", 8), ("siren", 8))),
    Recording("clock.w64", "W64", "FLOAT", 96_000, 3, (("clicks", 9),)),
    Recording("damaged.flac", "FLAC", "PCM_16", 44_100, 2, (("sweep", 20),), kept=0.6),
)  # fmt: skip

_NOT_AUDIO = {
    "shopping list.wav": "eggs, milk, and a recording of the dawn chorus\n",
    "notes.txt": "Not audio, nor called so.\n",
}


def command(arguments: Sequence[str]) -> None:
    """Make the archive, process it, and show the labels beside the known content.

    Raises:
      UsageError: the folder cannot be used.
    """
    folder = Path(_parser().parse_args(arguments).output)
    archive, labels = folder / "archive", folder / "labels"
    console = screen()
    _make_folder(folder)
    make_archive(archive)
    console.print(f"Made an archive of {len(RECORDINGS)} recordings, and two files that are not "
                  f"audio, in {plain(str(archive))}/. This command processes it:\n")  # fmt: skip
    shown = f"--input {printable(archive)} --output {printable(labels)}"
    console.print(f"  earmark classify {shown} --model builtin\n", markup=False, soft_wrap=True)
    options = ClassifyOptions(input=(str(archive),), output=str(labels), model="builtin")
    with uncollected():
        from earmark.pipelines.runs import prepare

        run = prepare(options, [])
    show_run(run)
    console.print(_comparison(archive, labels))
    console.print(
        "\n[dim]builtin is a small model of synthetic sounds, for trying earmark out. "
        "For real recordings use --model yamnet.[/dim]"
    )


def make_archive(folder: Path) -> None:
    """Write the demo's files, recordings and others; they are the same every time."""
    import soundfile as sf

    for index, recording in enumerate(RECORDINGS):
        path = folder / recording.name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(
            path,
            _samples(recording, np.random.default_rng([_SEED, index])),
            recording.sample_rate_hz,
            format=recording.format,
            subtype=recording.subtype,
        )
        _cut(path, recording.kept)
    for name, text in _NOT_AUDIO.items():
        (folder / name).write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="earmark demo",
        description="Make a small archive of known sounds and process it, offline.",
    )
    parser.add_argument(
        "--output", metavar="DIR", default="earmark-demo", help="default: earmark-demo"
    )
    return parser


def _make_folder(folder: Path) -> None:
    """Make the folder, or empty that of an earlier demo; any other folder is refused."""
    if folder.exists() and not (folder / _MARKER).is_file():
        raise UsageError(
            f"{folder} exists already, and is not a demo's; name another with --output"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARKER).touch()
        shutil.rmtree(folder / "labels", ignore_errors=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"--output {folder}: {error}") from error


def _samples(recording: Recording, rng: np.random.Generator) -> NDArray[np.float32]:
    """The samples of a recording, float32 [n, channels]; each channel a little quieter."""
    mono = np.concatenate(
        [
            synthesise(label, rng, seconds, recording.sample_rate_hz)
            for label, seconds in recording.sounds
        ]
    )
    gains = np.linspace(1.0, 0.7, recording.channels, dtype=np.float32)
    return mono[:, None] * gains


def _cut(path: Path, kept: float) -> None:
    if kept < 1:
        content = path.read_bytes()
        path.write_bytes(content[: round(len(content) * kept)])


def _comparison(archive: Path, labels: Path) -> Table:
    """A row for each file of the archive: its content, and the labels detected."""
    from earmark.transforms.output import read

    tables = read(labels)
    clips, failures = (
        {row["clip"]: row for row in tables[name].arrow().to_pylist()}
        for name in ("clips", "failures")
    )
    table = Table(pad_edge=False, title="Content and detections", title_justify="left", box=None)
    for heading in ("recording", "content", "detected"):
        table.add_column(heading, header_style="dim", no_wrap=heading == "recording")
    for recording in RECORDINGS:
        there = ", ".join(f"{label} {seconds} s" for label, seconds in recording.sounds)
        if recording.kept < 1:
            there += f", cut off at {recording.kept:.0%}"
        heard = _heard(clips[_uri(archive, recording.name)])
        table.add_row(plain(recording.name), there, heard)
    for name in _NOT_AUDIO:
        failure = failures.get(_uri(archive, name))
        found = f"{failure['reason']}: in failures/" if failure else "skipped by its name"
        table.add_row(plain(name), "text", found)
    return table


def _heard(clip: Mapping[str, Any]) -> str:
    """The labels detected clearly, the longest first."""
    clear = [
        label
        for label in clip["labels"]
        if label["max_score"] >= _CLEAR_SCORE and label["seconds"] >= _CLEAR_SECONDS
    ]
    clear.sort(key=lambda label: -label["seconds"])
    found = ", ".join(f"{label['label']} {label['seconds']:.0f} s" for label in clear)
    return f"{found} ({clip['status']}: {clip['reason']})" if clip["reason"] else found


def _uri(archive: Path, name: str) -> str:
    return str(archive.absolute() / name)
