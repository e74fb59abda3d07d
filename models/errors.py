"""The trouble that a model is expected to give."""

from __future__ import annotations


class ModelError(ValueError):
    """A model that cannot be had or used here. The message is one line, for whoever named it."""
