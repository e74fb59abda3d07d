"""Fixtures shared by all tests.

`shared` is a folder of real recordings, a real model and reference scores that lies beside the
checkout. It is not part of the project: tests that use it are skipped where it is missing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"needs the folder of reference recordings at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def yamnet_path(shared: Path) -> Path:
    return shared / "models" / "yamnet.tflite"
