"""A gate that lets many threads decode at once, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DecoderGate:
    """Lets many through together, or one by itself.

    A thread that wants to be alone waits until those inside have left; until it has left in turn,
    no other is let in. A thread inside must not wait for one outside.

    Args:
      patience_s: how long to wait at most, in each case. A thread that never leaves, such as one
        with an unfinished generator, must not keep the others out forever.
    """

    def __init__(self, patience_s: float = 1800.0) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0

    @property
    def alone(self) -> int:
        """How many threads are inside alone, or wait to be."""
        return self._alone

    @contextmanager
    def with_others(self) -> Iterator[None]:
        """Be inside, together with others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone, self._patience_s)
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def by_oneself(self) -> Iterator[None]:
        """Be inside alone."""
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: not self._inside, self._patience_s)
            self._inside += 1
        try:
            yield
        finally:
            self._leave(alone=1)

    def _leave(self, alone: int = 0) -> None:
        with self._changed:
            self._inside -= 1
            self._alone -= alone
            self._changed.notify_all()
