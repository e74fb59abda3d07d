"""What is installed, as somebody gets it who has no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of what is committed or about to be, built in a folder of its own."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout
    copying = ["cp", "--archive", "--parents", "-t", str(source)]
    subprocess.run(
        ["xargs", "-0", *copying], cwd=ROOT, input=names, check=False, capture_output=True
    )
    # what builds it is here, so that nothing is fetched
    building = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w"]
    subprocess.run([sys.executable, *building, str(built), str(source)], check=True)
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """A Python that has the wheel, and beside it only the libraries that it needs."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    where = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=where))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    libraries = sysconfig.get_path("purelib")
    # appended, so without the .pth file there that leads to this checkout
    (packages / "libraries.pth").write_text(f"{libraries}\n")
    return python


def test_nothing_lands_beside_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"earmark"}


def test_every_module_of_the_checkout_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        there = set(archive.namelist())
    for folder in ("pipelines", "transforms", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"earmark/{path.relative_to(ROOT).as_posix()}" in there
    assert {"earmark/models/builtin/builtin.tflite", "earmark/py.typed"} <= there


def test_the_demo_runs_from_the_wheel(python, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # a folder with other people's packages of our folders' names
    for name in ("models", "transforms", "pipelines"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not this one')\n")
    environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(
        [str(python), "-m", "earmark", "demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "earmark-demo").rglob("detections/*.parquet"))
    where = "import earmark.pipelines.cli as cli; print(cli.__file__)"
    shown = subprocess.run(
        [str(python), "-c", where], env=environment, capture_output=True, text=True, check=True
    )
    assert Path(shown.stdout.strip()).is_relative_to(python.parents[1])
