"""`import earmark`: what it promises, what it costs, and what type checkers make of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import earmark

ROOT = Path(__file__).resolve().parents[1]
CLIENT = ROOT / "tests" / "client.py"


def test_importing_it_imports_nothing_else():
    program = (
        "import sys; before = set(sys.modules); import earmark; dir(earmark);"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=ROOT / "src",
        check=True,
        capture_output=True,
        text=True,
    )
    assert not {"numpy", "apache_beam", "pyarrow"} & set(ast.literal_eval(done.stdout))


@pytest.mark.parametrize("name", earmark.__all__)
def test_every_name_is_there(name):
    assert getattr(earmark, name) is getattr(earmark, name)
    assert name in dir(earmark)


def test_each_name_is_imported_for_checkers_from_where_it_is_found():
    tree = ast.parse((ROOT / "src" / "earmark" / "__init__.py").read_text())
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("earmark.")
        for alias in node.names
    }
    assert imported == {name: f"earmark.{home}" for name, home in earmark._HOME.items()}
    assert sorted([*imported, "__version__"]) == sorted(earmark.__all__)


def test_a_misspelt_name_is_the_usual_error():
    with pytest.raises(AttributeError, match="module 'earmark' has no attribute 'clasify'"):
        _ = earmark.clasify
    with pytest.raises(ImportError, match="cannot import name 'clasify' from 'earmark'"):
        from earmark import clasify  # noqa: F401


def test_all_of_it_can_be_imported_at_once():
    names: dict[str, object] = {}
    exec("from earmark import *", names)
    assert set(earmark.__all__) <= set(names)


def test_the_client_uses_every_name():
    used = {
        node.attr
        for node in ast.walk(ast.parse(CLIENT.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "earmark"
    }
    assert used == set(earmark.__all__)


def test_checkers_know_the_types(tmp_path):
    """The client passes, and what is wrong with this is found."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import earmark\n"
        "earmark.clasify\n"
        "earmark.classify(modle='yamnet')\n"
        "earmark.Classify(min_score='much')\n"
        "reveal_type(earmark.read('labels')['clips'].count())\n"
        "reveal_type(earmark.label('a.wav', earmark.load_classifier())[0].labels[0].score)\n"
    )
    checking = [sys.executable, "-m", "mypy", "--no-incremental", "--cache-dir", str(tmp_path)]
    done = subprocess.run(
        [*checking, str(CLIENT), str(wrong)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    said = dict(re.findall(r"wrong\.py:(\d+): (.*)", done.stdout)[::-1])  # the first of each line
    assert "client.py" not in done.stdout
    assert 'has no attribute "clasify"' in said.pop("2")
    assert 'Unexpected keyword argument "modle"' in said.pop("3")
    assert 'expected "float | None"' in said.pop("4")
    assert 'Revealed type is "int"' in said.pop("5").replace("builtins.", "")
    assert 'Revealed type is "float"' in said.pop("6").replace("builtins.", "")
    assert said == {}
