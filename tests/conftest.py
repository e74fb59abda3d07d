"""Fixtures shared by all tests.

`shared` is a folder of real recordings, a real model and reference scores that lies beside the
checkout. It is not part of the project: tests that use it are skipped where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import settings

from benchmarks.environments import MissingPeerError
from tests import oracles

settings.register_profile("untimed", deadline=None)  # machines that are busy fail no test
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the folder of reference recordings at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def yamnet_path(shared: Path) -> Path:
    return shared / "models" / "yamnet.tflite"


@pytest.fixture(scope="session")
def task_library_python() -> Path:
    """The interpreter of an environment with the Task Library, whose results are the reference."""
    return _or_skip(oracles.task_library)


@pytest.fixture(scope="session")
def tensorflow_python() -> Path:
    """The interpreter of an environment with TensorFlow, to make models with."""
    return _or_skip(oracles.tensorflow)


def _or_skip(make: Callable[[], Path]) -> Path:
    try:
        return make()
    except MissingPeerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", name="rows")
def rows_fixture() -> Callable[..., list[tuple]]:
    return rows


def rows(output: Path, table: str, columns: str = "*", rest: str = "") -> list[tuple]:
    """Rows of a table, read by DuckDB; moments in UTC."""
    folder = str(output / table).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.sql(f"select {columns} from '{folder}/*.parquet' {rest}").fetchall()
