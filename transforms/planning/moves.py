"""Archives that have moved: clips known under other roots, and their new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

from earmark.transforms.archives import split_at_archives
from earmark.transforms.errors import ExpectedError
from earmark.transforms.output import Known, relocate
from earmark.transforms.planning.plan import Plan
from earmark.transforms.settings import Settings
from earmark.transforms.storage import (
    local_path,
    look_up,
    open_file,
    parse_root,
    relative_path,
    shown,
    unusable_errors,
)

LEAST_BYTES = 1000
"""Smaller recordings are alike too often to tell where one has come from."""

_SAMPLES = 3
_COMPARED_BYTES = 1 << 16


class MoveError(ExpectedError):
    """Rows cannot be given another root; the message is one line."""


class Move(NamedTuple):
    """Where an archive was, and where it seems to be.

    Attributes:
      old: the root of clips that have rows.
      new: the root of objects that have none, and are like them.
      objects: how many are alike.
      listed: how many objects without rows are under the new root.
    """

    old: str
    new: str
    objects: int
    listed: int


def find_moves(plan: Plan) -> list[Move]:
    """Find roots under which a listing has what is known under others; the largest first.

    An object without a row is like a known one that the listing lacks if both have the same base
    name and size, of LEAST_BYTES or more. Where several are, the one whose folders are named alike
    is meant. What precedes the part of their URIs that is equal are the roots. An archive has moved
    from one root to the other if at least half of the new objects there, or half of the known ones,
    are alike, unless the known ones are still there with another content: then these are two
    archives with recordings of the same names and sizes, as recorders make them.

    Args:
      plan: of a run, after a look.
    """
    groups: dict[tuple[str, str], _Group] = {}
    for known, new in plan.alike(LEAST_BYTES):
        old_root, new_root, rest = _apart(known, new)
        groups.setdefault((old_root, new_root), _Group(rest[:-1])).add(known, new, rest)
    moves = [_move(plan, *roots, group) for roots, group in groups.items()]
    return sorted(filter(None, moves), key=lambda move: (-move.objects, move))


def note_moves(plan: Plan, roots: Sequence[str]) -> list[tuple[str, str]]:
    """Note in a plan that archives have other roots.

    Nothing is done where the rows have the new root already, also if that lies in the old one.

    Args:
      plan: of a run, after a look.
      roots: OLD=NEW each.

    Returns:
      The old and new roots of rows that are yet to be given the new ones.

    Raises:
      MoveError: nothing is known under an old root, or a clip is known under both, or nothing that
        is known is listed under the new one.
    """
    pairs = [pair for text in roots if (pair := _meant(plan, text)) is not None]
    for old, new in pairs:
        if both := plan.count_known_under_both(old, new):
            raise MoveError(
                f"{both:,} of the clips under {shown(old)} are known under {shown(new)}, too"
            )
        if not plan.count_listed_at(old, new):
            raise MoveError(
                f"no recording is found under {shown(new)} that has the name and size of a clip "
                f"known under {shown(old)}"
            )
        plan.move(old, new)
    return pairs


def move_rows(plan: Plan, roots: Sequence[tuple[str, str]], settings: Settings) -> int:
    """Give clips that are known under old roots the new ones, in all tables, by one commit.

    Args:
      plan: of a run, in which the moves are noted.
      roots: the old and new ones.
      settings: of the run, which holds its output.

    Returns:
      How many objects were given a new root.

    Raises:
      OSError: there is no room, or a store failed; all is as it was, or the next run finishes it.
    """

    def moved(known: Known) -> Known | None:
        uri = known.uri
        for old, new in roots:
            has_new = _is_below(new, old) and _is_below(uri, new)
            uri = _at(new, uri, old) if _is_below(uri, old) and not has_new else uri
        if uri == known.uri:
            return None
        version = plan.known_version(uri) or known.version
        path = relative_path(uri, settings.roots) if plan.is_listed(uri) else known.path
        return known._replace(uri=uri, version=version, path=path)

    return relocate(settings.output, settings.run_id, moved)


def _meant(plan: Plan, text: str) -> tuple[str, str] | None:
    """The roots that a text names; None if the old one has become the new one already."""
    pairs = parse_root(text)
    for old, new in pairs:
        if plan.count_moving(old, new):
            return old, new
    if any(plan.count_known_below(new) for _, new in pairs):
        return None
    raise MoveError(f"no clip is known under {shown(pairs[0][0])}")


def _is_below(uri: str, root: str) -> bool:
    return uri == root or (
        uri.startswith(root) and uri[len(root.rstrip("/")) :].startswith(("/", "!/"))
    )


def _at(new: str, uri: str, old: str) -> str:
    return new.rstrip("/") + uri[len(old.rstrip("/")) :]


@dataclass
class _Group:
    """Objects that are alike and have the same roots.

    Attributes:
      folders: those that all of them lie in, below the roots.
      objects: how many they are.
      samples: some of them, known and new.
    """

    folders: list[str]
    objects: int = 0
    samples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, known: str, new: str, rest: list[str]) -> None:
        """Add a pair, and the part of their URIs that is equal."""
        same = takewhile(
            lambda pair: pair[0] == pair[1], zip(self.folders, rest[:-1], strict=False)
        )
        self.folders = [step for step, _ in same]
        self.objects += 1
        if self.objects & (self.objects - 1) == 0:  # the first, second, fourth, eighth ...
            self.samples = [*self.samples[-(_SAMPLES - 1) :], (known, new)]


def _apart(known: str, new: str) -> tuple[str, str, list[str]]:
    """The roots of two URIs that end alike, and the rest, step by step."""
    pairs = [(uri, uri.split("/")) for uri in (known, new)]
    (_, ours), (_, theirs) = pairs
    most = min(len(steps) - (3 if "://" in uri else 1) for uri, steps in pairs)
    steps = 1
    while steps < most and ours[-steps - 1] == theirs[-steps - 1]:
        steps += 1
    return "/".join(ours[:-steps]), "/".join(theirs[:-steps]), ours[-steps:]


def _move(plan: Plan, old: str, new: str, group: _Group) -> Move | None:
    listed, known = plan.count_new_below(new), plan.count_known_below(old)
    if 2 * group.objects < min(listed, known) or any(_differ(*pair) for pair in group.samples):
        return None
    if 2 * group.objects < known:  # the rest of what is known there may not have moved
        old, new = ("/".join([root, *group.folders]) for root in (old, new))
        listed = plan.count_new_below(new)
    old, new = (root.removesuffix("!") or "/" for root in (old, new))
    return Move(old, new, group.objects, listed)


def _differ(known: str, new: str) -> bool:
    """Whether a known object is still there and is another than the new one of the same size."""
    if split_at_archives(known) or split_at_archives(new):
        return False
    old, there = look_up(known), look_up(new)
    if old.size_bytes is None or old.size_bytes != there.size_bytes:
        return False
    try:
        return _parts(known, old.size_bytes) != _parts(new, old.size_bytes)
    except unusable_errors():
        return False


def _parts(uri: str, size_bytes: int) -> list[bytes]:
    """The beginning, middle and end of an object."""
    path = local_path(uri)
    parts = []
    with open_file(uri if path is None else path) as file:
        for place in (0, size_bytes // 2, max(0, size_bytes - _COMPARED_BYTES)):
            file.seek(place)
            parts.append(file.read(_COMPARED_BYTES))
    return parts
