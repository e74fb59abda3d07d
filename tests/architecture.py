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


_LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "Event", "local"}
_CONTAINERS = {"dict", "list", "set", "defaultdict", "OrderedDict", "deque", "Counter", "WeakSet"}
_CHANGING = {
    *("add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem"),
    *("popleft", "remove", "setdefault", "update"),
}


def changing_globals(root: Path) -> set[str]:
    """What changes of what modules hold, as "transforms/errors.py: NAME".

    Found are locks, containers that are changed in their own module, instances of classes of the
    same module that aren't frozen, and names of `global` statements.
    """
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    files += sorted((root / "src" / "earmark").glob("*.py"))
    return {
        f"{path.relative_to(root)}: {name}"
        for path in files
        for name in _changing_names(ast.parse(path.read_text(encoding="utf-8")))
    }


def _changing_names(module: ast.Module) -> Iterator[str]:
    classes = {each.name for each in module.body if _is_changing_class(each)}
    changed = set(_changed(module))
    for node in ast.walk(module):
        if isinstance(node, ast.Global):
            yield from node.names
    for each in module.body:
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value is not None:
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            for name in (target.id for target in targets if isinstance(target, ast.Name)):
                made = {_called(node) for node in ast.walk(each.value)}
                is_lock = bool(made & _LOCKS) and not isinstance(each.value, ast.Lambda)
                is_container = isinstance(each.value, ast.Dict | ast.List | ast.Set) or (
                    _called(each.value) in _CONTAINERS
                )
                if is_lock or _called(each.value) in classes or (is_container and name in changed):
                    yield name


def _is_changing_class(node: ast.stmt) -> bool:
    """Whether it is a class whose instances may change, as far as its definition tells."""
    if not isinstance(node, ast.ClassDef):
        return False
    is_frozen = any("frozen=True" in ast.unparse(each) for each in node.decorator_list)
    return not is_frozen and "NamedTuple" not in map(ast.unparse, node.bases)


def _changed(module: ast.Module) -> Iterator[str]:
    """Names of containers that something is put into, or taken from."""
    for node in ast.walk(module):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            yield ast.unparse(node.value)
        elif isinstance(node, ast.AugAssign):
            yield ast.unparse(node.target)
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _CHANGING
        ):
            yield ast.unparse(node.func.value)


def _called(node: ast.AST) -> str:
    """The name of what is called, without that of its module; "" where nothing is."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def names_in(root: Path, package: str) -> Iterator[tuple[str, str]]:
    """Each name, attribute and text of a package, with the place that it stands in."""
    for path in sorted((root / package).rglob("*.py")):
        where = place(path.relative_to(root))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Name):
                yield where, node.id
            elif isinstance(node, ast.Attribute):
                yield where, node.attr
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield where, node.value
            elif isinstance(node, ast.alias):
                yield where, node.name


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
