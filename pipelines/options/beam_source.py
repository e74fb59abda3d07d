"""Beam's flags as its source names them: importing Beam only to refuse one would take seconds."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from earmark.models.errors import nearest
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options.commands import Command
from earmark.pipelines.options.parser import with_underscores
from earmark.transforms.text import masked_flags

_FLAG = re.compile(r"--?[A-Za-z]")


def check_some_are_beams(words: Sequence[str], command: Command, own: Sequence[str]) -> None:
    """Refuse flags of which none is Beam's, since then they are no other engine's either.

    Args:
      words: of a command line, without earmark's options; in doubt they are accepted.
      command: the command.
      own: names of its options.

    Raises:
      UsageError: no flag among them is Beam's.
    """
    beams = flags_in_source()
    flags = [word for word in with_underscores(words, beams) if word.startswith("-")]
    names = {flag.split("=")[0] for flag in flags}
    if beams and names and names.isdisjoint(beams) and all(map(_FLAG.match, names)):
        raise unknown_flag(flags[0], command, own, beams)


def unknown_flag(
    word: str, command: Command, own: Sequence[str], others: Collection[str]
) -> UsageError:
    """What to say of a flag that nobody knows.

    Args:
      word: the flag, perhaps with its value.
      command: the command.
      own: names of its options.
      others: Beam's flags, and the engine's.
    """
    flag = word.split("=")[0]
    said = masked_flags([word])[0]
    if flag.removeprefix("--") in own:
        return UsageError(f"{flag}: an option of {command.name} itself, not one of Beam's")
    if flag.removeprefix("--") in command.without:
        return UsageError(f"{flag}: not an option of {command.name}, only of earmark classify")
    if not flag.startswith("-"):
        return UsageError(f"{said!r} belongs to no option: give an engine's as --flag=value")
    known = [f"--{name}" for name in ("config", *own)]
    return UsageError(f"unknown argument {said}{nearest(flag, [*known, *others])}")


def flags_in_source() -> list[str]:
    """The flags of Beam's own options; none where its source is not at hand."""
    beam = find_spec("apache_beam")
    for folder in (beam and beam.submodule_search_locations) or ():
        source = Path(folder, "options", "pipeline_options.py")
        if source.is_file():
            return ["-h", "--help", *_flags_added(ast.parse(source.read_bytes()))]
    return []


def _flags_added(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            for word in node.args if node.func.attr == "add_argument" else ():
                if isinstance(word, ast.Constant) and str(word.value).startswith("-"):
                    yield str(word.value)
