"""The trouble that a model is expected to give."""

from __future__ import annotations


class ModelError(ValueError):
    """A model that cannot be had or used here. The message is one line, for whoever named it."""


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())
