"""The trouble that a model is expected to give."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ModelError(ValueError):
    """A model that cannot be had or used here. The message is one line, for whoever named it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the known name that was meant; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {near[0]}?" if near else ""


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())
