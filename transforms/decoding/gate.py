"""Who may decode at the same time: many, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DecoderGate:
    """Lets many through together, or one by itself.

    Who wants to be alone waits until those inside have left; until then, and while he is inside,
    nobody else is let in. Inside, nobody may wait for somebody who is still outside.

    Args:
      patience_s: how long to wait at most, in each case. Who is inside and never leaves, such as a
        generator that lies about half used, must not keep the others out for ever.
    """

    def __init__(self, patience_s: float = 1800.0) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0

    @property
    def alone(self) -> int:
        """How many are inside alone, or wait for it."""
        return self._alone

    @contextmanager
    def with_others(self) -> Iterator[None]:
        """Be inside, with any others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone, self._patience_s)
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def by_oneself(self) -> Iterator[None]:
        """Be inside, with nobody else."""
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
