"""Parsing flags: argparse, with errors of one line, and hyphens that count as underscores."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterable
from typing import Any, NoReturn

from earmark.pipelines.console import show
from earmark.pipelines.errors import UsageError


class Parser(argparse.ArgumentParser):
    """A parser that raises a UsageError where argparse would print its usage and exit.

    Hyphens in names of flags count as underscores.
    """

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **how)
        # no flag begins with a digit, but a place does: -33.9,18.4
        self._negative_number_matcher = re.compile(r"-\.?\d")
        for kind in (None, "store", "store_const", "store_true", "store_false"):
            action = self._registry_get("action", kind)
            self.register("action", kind, _once(action))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse words, as argparse does."""
        return super().parse_known_args(with_underscores(args, list(flags_of(self))), namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help; argparse would ignore that it cannot be printed."""
        show(message)

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong."""
        raise UsageError(f"{message}; see {self.prog} --help")


def _once(action: type[argparse.Action]) -> type[argparse.Action]:
    """An action that refuses a second use of its flag, of which argparse would keep the last."""

    class Once(action):  # type: ignore[misc, valid-type]
        is_given = False

        def __call__(self, parser: Any, namespace: Any, values: Any, flag: Any = None) -> None:
            if flag is not None and self.is_given:
                raise argparse.ArgumentError(self, "given twice, but takes one value")
            self.is_given = True
            super().__call__(parser, namespace, values, flag)

    return Once


def with_underscores(words: Iterable[str], flags: Collection[str]) -> list[str]:
    """Words of a command line, in which flags may have been written with hyphens."""
    return [_with_underscore(word, flags) for word in words]


def _with_underscore(word: str, flags: Collection[str]) -> str:
    name, *value = word.split("=", 1)
    underscored = f"--{name[2:].replace('-', '_')}"
    is_flag = name.startswith("--") and name not in flags and underscored in flags
    return "=".join([underscored, *value]) if is_flag else word


def flags_of(parser: argparse.ArgumentParser) -> Iterable[str]:
    """All flags that a parser knows."""
    return [flag for action in parser._actions for flag in action.option_strings]
