"""The ways in which a command may fail, other than by a bug."""

from __future__ import annotations


class UsageError(Exception):
    """A command cannot be carried out as given; the one-line message says what to change."""


class RunError(Exception):
    """A run failed for a reason other than a bug; the message is one line."""
