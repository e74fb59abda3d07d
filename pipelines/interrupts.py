"""Ctrl-C, SIGTERM, a closed terminal: the first ends a run cleanly, the second at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))

_GRACE_S = 3.0
"""How long the process may take to exit by itself when there is no run to finish."""


class EndedError(KeyboardInterrupt):
    """A signal came while no run was in progress.

    Attributes:
      number: of the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class StoppedError(Exception):
    """A run was ended cleanly by a signal.

    Attributes:
      status: what the process is to exit with: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number


class Interrupts:
    """Which signal has been received, if any.

    Attributes:
      number: of the signal; None before the first.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._stop: Callable[[], None] = lambda: None

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop`, which must not block, on the first signal, or now if it has come."""
        self._stop = stop
        try:
            if self.number is not None:
                stop()
            yield
        finally:
            self._stop = lambda: None

    def note(self, number: int) -> None:
        """Note that a signal has come, and call what `stopping` was given."""
        self.number = number
        self._stop()


def end_on_signals() -> None:
    """Have signals end the process soon while there is no run to end cleanly.

    A library that waits for a store may block for minutes, in a call that signals don't interrupt,
    or by retrying whatever is raised. So a thread ends the process.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _heeded():
        signal.signal(number, _end)
    threading.Thread(target=_see_to_it, args=(reading,), daemon=True).start()


def _end(number: int, _: FrameType | None) -> None:
    raise EndedError("nothing was committed", number)


def _end_after_run(number: int, _: FrameType | None) -> None:
    raise EndedError("finished work is committed", number)


def _see_to_it(reading: int) -> None:
    while come := os.read(reading, 1):
        number = come[0]
        if number in _SIGNALS and signal.getsignal(number) in (_end, _end_after_run):
            time.sleep(_GRACE_S)
            _say("interrupted")
            os._exit(128 + number)


def _heeded() -> list[signal.Signals]:
    """The signals that are not set to be ignored, as nohup does."""
    return [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


@contextmanager
def watch_signals(saying: str) -> Iterator[Interrupts]:
    """Have the first signal request a clean end, and the second end the command's process.

    In a process that belongs to somebody else, the second raises a KeyboardInterrupt.

    Args:
      saying: the message on the first.
    """
    interrupts = Interrupts()

    def on_signal(number: int, _: FrameType | None) -> None:
        if interrupts.number is not None:
            said = "stopped at once; unfinished work is not committed"
            _say(said)
            if before[number] is not _end:
                raise KeyboardInterrupt(said)
            os._exit(128 + number)
        _say(f"{saying}; interrupt again to stop at once")
        interrupts.note(number)

    if threading.current_thread() is not threading.main_thread():
        yield interrupts  # Python lets only the main thread have a say in signals
        return
    before = {int(number): signal.getsignal(number) for number in _heeded()}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, _end_after_run if handler is _end else handler)


def _say(message: str) -> None:
    with suppress(OSError):  # nobody reads it
        end = "\n\n" if os.isatty(2) else "\n"  # a bar that redraws itself clears two lines
        os.write(2, f"\nearmark: {message}{end}".encode())
