"""Small archives of known content, and running the command on them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import apache_beam  # noqa: F401 (before the session's fixtures, one of which quickens it)
import numpy as np
import pytest
import soundfile as sf

from earmark.models.builtin.synthesis import synthesise
from earmark.pipelines.cli import main
from tests.pipelines.processes import start


@pytest.fixture(scope="session")
def record() -> Callable[..., Path]:
    """Writes a recording of one synthesised sound after another."""

    def write(
        path: Path, *sounds: str, seconds: float = 3, rate: int = 16_000, channels: int = 1, **how
    ) -> Path:
        rng = np.random.default_rng([ord(letter) for letter in path.name])
        mono = np.concatenate([synthesise(sound, rng, seconds, rate) for sound in sounds])
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, np.repeat(mono[:, None], channels, axis=1), rate, **how)
        return path

    return write


@pytest.fixture
def classify(capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs `earmark classify` with the builtin model; gives status, output and errors."""

    def run(inputs, output: Path, *options: str) -> tuple[int, str, str]:
        inputs = [inputs] if isinstance(inputs, str | Path) else inputs
        arguments = ["--input", *map(str, inputs), "--output", str(output), *options]
        if "--model" not in options:
            arguments += ["--model", "builtin"]
        status = main(["classify", *arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def classify_apart(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `earmark classify` of tmp_path / "in" in a process that the test outlives."""
    started = []

    def start_classify(*options: str) -> subprocess.Popen[str]:
        started.append(start(tmp_path / "in", tmp_path / "out", *options))
        return started[-1]

    yield start_classify
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def archive(tmp_path, record) -> Path:
    return write_archive(tmp_path / "in", record)


def write_archive(folder: Path, record: Callable[..., Path]) -> Path:
    """Three recordings of 6 s, and one that is broken."""
    for name in ("a", "b", "c"):
        record(folder / f"{name}.wav", "tone", "hum")
    (folder / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    return folder
