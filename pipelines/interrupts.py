"""Ctrl-C, SIGTERM, a closed terminal: the first ends a run in good order, the second at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(Exception):
    """A run was ended by a signal, in good order.

    Attributes:
      status: what the process is to exit with: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number


class Interrupts:
    """Which signal has come, if any.

    Attributes:
      number: of the signal; None as long as none has come.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._stop: Callable[[], None] = lambda: None

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have something called when the first signal comes, or now if it has; it must not wait."""
        self._stop = stop
        try:
            if self.number is not None:
                stop()
            yield
        finally:
            self._stop = lambda: None

    def note(self, number: int) -> None:
        """Note that a signal has come, and have done what was asked for."""
        self.number = number
        self._stop()


@contextmanager
def watch_signals(saying: str) -> Iterator[Interrupts]:
    """Have the first signal ask for an end, and the second end the process.

    Args:
      saying: what to tell when the first comes.
    """
    interrupts = Interrupts()

    def on_signal(number: int, _: FrameType | None) -> None:
        if interrupts.number is not None:
            _say("stopped at once; what was under way is not committed")
            os._exit(128 + number)
        _say(f"{saying}; once more to stop at once")
        interrupts.note(number)

    if threading.current_thread() is not threading.main_thread():
        yield interrupts  # Python lets only the main thread have a say in signals
        return
    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(message: str) -> None:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\nearmark: {message}\n".encode())
