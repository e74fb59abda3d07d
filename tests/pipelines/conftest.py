"""Small archives of known content, and ways to run the command and read what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
import soundfile as sf

from models.synthesis import synthesise
from pipelines.cli import main

Rows = Callable[..., list[tuple]]


@pytest.fixture
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


def rows(output: Path, table: str, columns: str = "*", rest: str = "") -> list[tuple]:
    """Rows of a table, read by DuckDB; moments in UTC."""
    folder = str(output / table).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.sql(f"select {columns} from '{folder}/*.parquet' {rest}").fetchall()


@pytest.fixture(name="rows")
def rows_fixture() -> Rows:
    return rows
