"""The image of Dataflow's workers: what can be checked of it without building it."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from earmark.models.catalogue import published_models
from earmark.models.sources import BUILTIN

ROOT = Path(__file__).resolve().parents[1]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what they are given, lines put together."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in whole.splitlines()]


def given(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def arguments() -> dict[str, str]:
    return dict(argument.split("=", 1) for argument in given("ARG"))


def variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in given("ENV") for pair in shlex.split(rest))


def copies() -> list[tuple[list[str], str]]:
    """What is copied from the checkout, and where to."""
    own = [rest.split() for rest in given("COPY") if not rest.startswith("--from")]
    return [(parts[:-1], parts[-1]) for parts in own]


def pinned() -> dict[str, str]:
    """The versions of constraints.txt that hold for the image's Python."""
    environment = {"python_version": arguments()["PYTHON_VERSION"]}
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    requirements = [Requirement(line) for line in lines]
    return {
        each.name: str(each.specifier).removeprefix("==")
        for each in requirements
        if each.marker is None or each.marker.evaluate(environment)
    }


def test_the_image_is_beams_own_of_the_version_that_constraints_pin():
    assert pinned()["apache-beam"] == arguments()["BEAM_VERSION"]
    assert given("FROM")[-1] == "apache/beam_python${PYTHON_VERSION}_sdk:${BEAM_VERSION}"


def test_its_python_is_one_that_earmark_runs_on():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (asked,) = re.findall(r'requires-python = "(.*)"', text)
    assert SpecifierSet(asked).contains(arguments()["PYTHON_VERSION"])


def test_its_launcher_is_for_the_same_python():
    short = arguments()["PYTHON_VERSION"].replace(".", "")
    assert f"/python{short}-template-launcher-base:" in arguments()["LAUNCHER_IMAGE"]


@pytest.mark.parametrize("extra", ["gcp"])
def test_what_it_installs_is_pinned(extra):
    (install,) = (command for command in given("RUN") if "pip install" in command)
    assert "--constraint constraints.txt" in install
    assert f"'.[{extra}]'" in install


def test_all_that_it_copies_is_there_and_let_in():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    sources = [source for parts, _ in copies() for source in parts]
    assert all((ROOT / source).exists() for source in sources)
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(sources)


def test_all_packages_that_are_installed_are_copied_first():
    linked = {
        os.readlink(each) for each in (ROOT / "src" / "earmark").iterdir() if each.is_symlink()
    }
    sources = {source for parts, _ in copies() for source in parts}
    assert {"src", *(Path(target).name for target in linked)} <= sources
    assert {"pyproject.toml", "README.md", "LICENSE"} <= sources  # which its metadata names


def test_its_model_is_one_that_is_known():
    assert arguments()["MODEL"] in (BUILTIN, *(model.name for model in published_models()))


def test_models_are_found_where_they_were_put():
    (fetch,) = (command for command in given("RUN") if "model fetch" in command)
    assert '"$EARMARK_CACHE"' in fetch
    order = [name for name, rest in instructions() if "EARMARK_CACHE" in rest]
    assert order == ["ENV", "RUN"]


def test_each_process_uses_one_thread():
    threads = {name: value for name, value in variables().items() if "_NUM_THREADS" in name}
    assert threads == {
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def test_it_starts_as_a_worker_and_holds_what_a_launcher_needs():
    assert given("ENTRYPOINT") == ['["/opt/apache/beam/boot"]']
    launched = variables()["FLEX_TEMPLATE_PYTHON_PY_FILE"]
    assert (["dataflow/launch.py"], launched) in copies()
    assert any("python_template_launcher" in rest for rest in given("COPY"))


def test_it_holds_the_pool_of_workers_that_the_page_on_flink_starts():
    page = (ROOT / "docs" / "flink.md").read_text(encoding="utf-8")
    folder, name = re.findall(r"command: \[python, (/\S+/)(\w+\.py),", page)[0]
    (sources,) = (sources for sources, target in copies() if target == folder)
    assert {"scripts/flink/" + name, "scripts/flink/sdk_worker.py"} == set(sources)
