"""Errors about models, and hints in their messages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

_LONGEST_WORD = 100


class ModelError(ValueError):
    """A model that cannot be read or used here; the message is one line for the user."""


def nearest(word: str, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    """A hint at the known word that is nearest to an unknown one, whatever its case.

    It is empty where none is near, and for words so long that the comparison would take a while.
    """
    if len(word) > _LONGEST_WORD:
        return ""
    by_lower = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.55)
    return f"; did you mean {show(by_lower[found[0]])}?" if found else ""


def one_line(error: Exception) -> str:
    """An error's message with its line breaks and other runs of white space as single spaces."""
    return " ".join(str(error).split())
