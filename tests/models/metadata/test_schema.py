"""The code that is generated of the metadata's schema."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.models.metadata import schema_generated as schema

FLATC = shutil.which("flatc", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(FLATC is None, reason="there is no flatc for this machine")
def test_the_generated_code_is_what_flatc_makes_of_the_schema(tmp_path: Path) -> None:
    generated = Path(schema.__file__)
    source = generated.with_name(generated.name.replace("_generated.py", ".fbs"))
    flags = ["--python", "--gen-object-api", "--gen-onefile"]
    subprocess.run([str(FLATC), *flags, "-o", tmp_path, source], check=True)
    assert (tmp_path / generated.name).read_text() == generated.read_text()
