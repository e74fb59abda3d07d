"""What can go wrong with a command, other than by a bug."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST_WORD = 100


class UsageError(Exception):
    """The command cannot be carried out as it was given: one line says what, where, what to do."""


class RunError(Exception):
    """A run that was begun and failed for a reason that is no bug: one line says which."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word nearest to an unknown one; empty where none is near."""
    if len(word) > _LONGEST_WORD:
        return ""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""
