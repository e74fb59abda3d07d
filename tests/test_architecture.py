"""What the code may import: pipelines, then transforms, then models, and never upward."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

FORBIDDEN = {
    "models": {"apache_beam", "earmark.pipelines", "earmark.transforms"},
    "transforms": {"earmark.pipelines", "tensorflow", "earmark.models"},
    "pipelines": {"tensorflow"},
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {top(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {top(f"{node.module}.{alias.name}") for alias in node.names}
    return names


def top(module: str) -> str:
    """A module's package: of earmark itself, the one of its three."""
    return ".".join(module.split(".")[: 2 if module.startswith("earmark.") else 1])


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_one_way(folder):
    paths = list((ROOT / folder).rglob("*.py"))
    assert paths
    wrong = {path.name: found for path in paths if (found := imported(path) & FORBIDDEN[folder])}
    assert not wrong


def test_only_training_needs_tensorflow():
    users = [
        path.relative_to(ROOT).as_posix()
        for folder in FORBIDDEN
        for path in (ROOT / folder).rglob("*.py")
        if "tensorflow" in imported(path)
    ]
    assert users == ["models/builtin/training.py"]
