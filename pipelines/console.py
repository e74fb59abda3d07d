"""What a person sees: consoles, single lines, logs; nothing of data in them acts on a terminal."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape

from earmark.transforms.text import masked, printable

_LONGEST_LINE = 4000


class UnshownError(Exception):
    """What was to be shown cannot be: the message says why.

    Attributes:
      is_unread: nobody reads it any more, which is no trouble of ours.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.is_unread = isinstance(error, BrokenPipeError)


class Screen(Console):
    """rich's console; raises an UnshownError where it is full or nobody reads it."""

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich's."""
        try:
            super().print(*objects, **how)
        except OSError as error:
            raise UnshownError(error) from error

    def on_broken_pipe(self) -> None:
        """Go on raising the error; rich would end the process."""
        raise


def screen(*, errors: bool = False) -> Screen:
    """A console on stdout, or on stderr for what is said on the way."""
    return Screen(file=sys.stderr if errors else sys.stdout, emoji=False)


def plain(text: object, at_most: int = 400) -> str:
    """A text of unknown content as it may stand in rich's markup."""
    return escape(printable(text, at_most))


def show(text: str) -> None:
    """Print a text of ours on stdout.

    Raises:
      UnshownError: it is full, or nobody reads it.
    """
    try:
        print(text, end="", flush=True)
    except OSError as error:
        raise UnshownError(error) from error


def say(message: object) -> None:
    """Say something in a line on stderr, if anybody reads that."""
    try:
        print(f"earmark: {printable(message, _LONGEST_LINE)}", file=sys.stderr, flush=True)
    except OSError:  # it is full, or closed: there is nowhere else to say so
        return


def log_to_stderr() -> None:
    """Have what is logged shown without secrets in it; unless somebody else has a say in that."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s:%(name)s:%(message)s"))
    logging.getLogger().addHandler(handler)


def show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show a traceback, as Python does, without secrets in it."""
    said = "".join(traceback.format_exception(kind, error, trace))
    with suppress(OSError):
        print(_in_lines(said), file=sys.stderr)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return _in_lines(super().format(record))


def _in_lines(text: str) -> str:
    """A text whose lines stay apart, as those of tracebacks."""
    return "\n".join(printable(line, _LONGEST_LINE) for line in masked(text).splitlines())
