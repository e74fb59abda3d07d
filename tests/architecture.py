"""What the code imports, as arrows between its places: rooms, and the modules beside them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("pipelines", "transforms", "models")


class Arrow(NamedTuple):
    """That one place imports another.

    Attributes:
      start: the place whose file imports, as "transforms/audio" or "transforms/errors".
      end: the place that is imported, or the name of another package, as "numpy".
      inner: the file of a room that is imported, past its face; "" where its face is.
    """

    start: str
    end: str
    inner: str = ""


def arrows(root: Path) -> set[Arrow]:
    """All imports of the three packages in a folder, wherever in a file they are."""
    return {
        Arrow(place(path.relative_to(root)), *_target(root, module))
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        for module in imported(path)
    }


def place(path: Path) -> str:
    """The room that a file lies in; one that lies in none is a place of its own."""
    return "/".join(path.with_suffix("").parts[:2])


def imported(path: Path) -> Iterator[str]:
    """The modules and names that a file imports, in full."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floors(allowed: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How high each place lies: one floor above the highest that it imports.

    Raises:
      ValueError: places import each other in a circle.
    """
    heights: dict[str, int] = {}

    def height(each: str, above: tuple[str, ...] = ()) -> int:
        if each in above:
            raise ValueError(f"a circle: {' -> '.join([*above, each])}")
        if each not in heights:
            below = [height(other, (*above, each)) for other in allowed.get(each, ())]
            heights[each] = 1 + max(below, default=0)
        return heights[each]

    for each in allowed:
        height(each)
    return heights


def _target(root: Path, module: str) -> tuple[str, str]:
    parts = module.split(".")
    if parts[0] != "earmark" or len(parts) < 3 or parts[1] not in PACKAGES:
        return parts[0], ""
    room = root.joinpath(*parts[1:3])
    inner = parts[3] if len(parts) > 3 and (room / f"{parts[3]}.py").exists() else ""
    return "/".join(parts[1:3]), inner
