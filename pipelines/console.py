"""Output for users: consoles, single lines, logs; text from data cannot control a terminal."""

from __future__ import annotations

import io
import logging
import sys
import traceback
import warnings
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape

from earmark.transforms.text import masked, printable

_LONGEST_LINE = 4000

_WIDTH_OF_FILES = 10_000
"""Nothing is wrapped that programs may read."""


class UnshownError(Exception):
    """Output could not be printed: the message says why.

    Attributes:
      is_unread: the reader has closed the pipe, which is not an error.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.is_unread = isinstance(error, BrokenPipeError)


class Screen(Console):
    """rich's console; raises an UnshownError if it cannot print."""

    def print(self, *objects: Any, **how: Any) -> None:
        """Print as rich does.

        Raises:
          UnshownError: the disk is full, or the reader is gone.
        """
        try:
            if self.is_terminal:
                super().print(*objects, **how)
            else:
                self._print_to_file(*objects, **how)
        except OSError as error:
            raise UnshownError(error) from error

    def _print_to_file(self, *objects: Any, **how: Any) -> None:
        """Print without the spaces that fill up the cells of a table."""
        with self.capture() as printed:
            super().print(*objects, **how)
        self.file.write("\n".join(line.rstrip(" ") for line in printed.get().split("\n")))
        self.file.flush()

    def on_broken_pipe(self) -> None:
        """Let the error propagate; rich would end the process."""
        raise


def screen(*, errors: bool = False) -> Screen:
    """A console on stdout, or on stderr for progress and messages."""
    file = sys.stderr if errors else sys.stdout
    width = None if file.isatty() else _WIDTH_OF_FILES
    return Screen(file=file, width=width, emoji=False, highlight=False)


def plain(text: object, at_most: int = 400) -> str:
    """A text of unknown content, escaped for rich's markup."""
    return escape(printable(text, at_most))


def counted(count: int, noun: str) -> str:
    """A number of things, such as "1 clip" or "2,000 clips"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def in_words(seconds: float) -> str:
    """A length of time, such as "0.5 seconds", "45 seconds", "6.4 minutes" or "1,200.5 hours"."""
    if seconds < 10:
        return f"{seconds:.2g} second{'' if f'{seconds:.2g}' == '1' else 's'}"
    if seconds < 90:
        return counted(round(seconds), "second")
    return f"{seconds / 60:,.1f} minutes" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"


def in_short(seconds: float) -> str:
    """A length of time in a table, such as "45 s", "6.4 min" or "1,200.5 h"."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def show(text: str) -> None:
    """Print our own text on stdout.

    Raises:
      UnshownError: the disk is full, or the reader is gone.
    """
    try:
        print(text, end="", flush=True)
    except OSError as error:
        raise UnshownError(error) from error


def say(message: object) -> None:
    """Print a line on stderr, if it can be written to; above the progress that is shown there."""
    line = f"earmark: {printable(message, _LONGEST_LINE)}"
    with suppress(OSError, UnshownError):  # it is full, or closed: there is nowhere else to say so
        if isinstance(sys.stderr, BesideProgress):
            sys.stderr.console.print(line, markup=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


class BesideProgress(io.TextIOBase):
    """Takes the place of stderr while progress is shown there.

    Attributes:
      console: shows the progress.

    Args:
      console: shows the progress.
      is_shown: whether to show what libraries print to stderr, beside what `say` prints.
    """

    def __init__(self, console: Console, *, is_shown: bool) -> None:
        self.console = console
        self._is_shown = is_shown

    def write(self, text: str) -> int:
        """Show a text, or drop it."""
        return self.console.file.write(text) if self._is_shown else len(text)


def quiet_libraries(quiet: bool) -> None:
    """Hide or show the logs and warnings of libraries."""
    logging.getLogger().setLevel(logging.CRITICAL + 1 if quiet else logging.INFO)
    _log_to_stderr()
    warnings.simplefilter("ignore" if quiet else "default")


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show a traceback, as Python does, without secrets in it."""
    said = "".join(traceback.format_exception(kind, error, trace))
    with suppress(OSError):
        print(_in_lines(said), file=sys.stderr)


def _log_to_stderr() -> None:
    """Log to stderr with secrets masked, unless logging is already configured."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s:%(name)s:%(message)s"))
    logging.getLogger().addHandler(handler)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _in_lines(super().format(record))


def _in_lines(text: str) -> str:
    """A text made printable line by line, as for tracebacks."""
    return "\n".join(printable(line, _LONGEST_LINE) for line in masked(text).splitlines())
