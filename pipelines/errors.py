"""What can go wrong with a command, other than by a bug."""

from __future__ import annotations


class UsageError(Exception):
    """The command cannot be carried out as it was given: one line says what, where, what to do."""


class RunError(Exception):
    """A run that was begun and failed for a reason that is no bug: one line says which."""
