"""Reading a command line and a config file: flags, keys, and Beam's own options."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from earmark.models.errors import nearest
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options.commands import Command
from earmark.pipelines.options.config_files import read_config
from earmark.pipelines.options.model import ClassifyOptions, is_list, told
from earmark.pipelines.options.parser import Parser, with_underscores
from earmark.transforms.text import masked_value, printable

HELP_ALL = "--help_all"

_EPILOG = (
    "Beam's own options can be added: --runner, --direct_num_workers, ... Hyphens in names of "
    "options count as underscores."
)

_LONGEST_VALUE = 100
"""Characters of a value that a message shows."""


def parse(arguments: Sequence[str], command: Command) -> tuple[ClassifyOptions, list[str]]:
    """Read a command line.

    Args:
      arguments: what follows the command's name.
      command: the command.

    Returns:
      earmark's options, and Beam's as flags.

    Raises:
      UsageError: a flag, a key or a value is unknown or invalid.
    """
    known = _known(command)
    words = with_underscores(arguments, [HELP_ALL, *(f"--{name}" for name in known)])
    own = _parser(command, known, is_full=HELP_ALL in words)
    given, others = own.parse_known_args(words)
    if given.config is None:  # else that may name an engine, which may know other flags
        _check_known(others, command, known)
    recordings, beam_flags = _sorted_out(others, command)
    flags = {name: value for name, value in vars(given).items() if value is not None}
    if recordings:
        flags["input"] = [*recordings, *flags.get("input", ())]
    return _together(command, flags, beam_flags, from_flags={"input", "output", *flags})


def parse_keywords(
    given: Mapping[str, object], beam: Mapping[str, object], command: Command
) -> tuple[ClassifyOptions, list[str]]:
    """Read options that were given in Python.

    Args:
      given: by name; config is a file of more. What is None counts as not given.
      beam: Beam's own, by name.
      command: what they are for.

    Returns:
      earmark's options, and Beam's as flags.

    Raises:
      UsageError: a name or a value that isn't known or doesn't fit.
    """
    known = [name for name in ("config", *_known(command)) if name not in command.without]
    for name in given:
        if name not in known:
            raise UsageError(f"{command.name} has no option {name}{nearest(name, known)}")
    if not isinstance(beam, Mapping):
        raise UsageError('beam: must be a mapping of Beam\'s options, such as {"runner": "..."}')
    values = {name: _plain(name, value) for name, value in given.items() if value is not None}
    return _together(command, values, list(_as_flags(beam)), from_flags=set())


def _known(command: Command) -> list[str]:
    return [name for name in ClassifyOptions.model_fields if name not in command.without]


def _plain(name: str, value: object) -> object:
    """A value as config files have it: paths as text, and a list where there may be several."""
    value = _as_text(value)
    if name == "config" and not isinstance(value, str):
        raise UsageError(f"config {printable(value, _LONGEST_VALUE)}: name a file")
    if name == "config" or not is_list(name):
        return value
    several = [value] if isinstance(value, str) else value
    return [_as_text(each) for each in several] if isinstance(several, Iterable) else value


def _as_text(value: object) -> object:
    return os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else value


def _together(
    command: Command, given: dict[str, Any], beam_flags: list[str], from_flags: set[str]
) -> tuple[ClassifyOptions, list[str]]:
    """Options that were given, those of the config file that they name, and the defaults."""
    known = _known(command)
    config, config_beam_flags = _read_config(given.pop("config", None), known)
    for each in (config_beam_flags, beam_flags):  # each by itself: flags go before the config file
        _check_beam_flags(each, command, known, config_beam_flags + beam_flags)
    values = {**command.defaults, **config, **given, **command.fixed}
    return validated(values, from_flags), config_beam_flags + beam_flags


def _check_known(words: Sequence[str], command: Command, own: Sequence[str]) -> None:
    if any(word.startswith("-") for word in words):
        from earmark.pipelines.options.beam_source import check_some_are_beams

        check_some_are_beams(words, command, own)


def _sorted_out(words: Sequence[str], command: Command) -> tuple[list[str], list[str]]:
    """Of words that are not earmark's options or their values: recordings, and Beam's flags."""
    if not any(word.startswith("-") for word in words):
        return list(words), []
    from earmark.pipelines.options.beam_flags import sorted_out

    return sorted_out(words, command)


def _check_beam_flags(
    flags: Sequence[str], command: Command, own: Sequence[str], together: Sequence[str]
) -> None:
    """Refuse flags that neither Beam nor the engine knows. Beam is imported if there are any."""
    if flags:
        from earmark.pipelines.options.beam_flags import check_flags

        check_flags(flags, command, own, together)


def _parser(command: Command, known: Iterable[str], *, is_full: bool) -> argparse.ArgumentParser:
    parser = Parser(
        prog=command.name,
        usage=f"{command.name} PATTERN... --output DIR [options]",
        description=command.description,
        epilog=_EPILOG if is_full else f"{HELP_ALL} shows all options. {_EPILOG}",
        allow_abbrev=False,
        argument_default=None,
    )
    parser.add_argument(HELP_ALL, action="help", help="show all options and exit")
    parser.add_argument(
        "--config", metavar="FILE", help="a YAML file with options; flags override it"
    )
    groups: dict[str, Any] = {}
    for name in known:
        field = ClassifyOptions.model_fields[name]
        title = told(name)["group"]
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        kind = argument_kind(name, field.annotation, field.default)
        is_shown = is_full or told(name)["in_brief"]
        group.add_argument(
            f"--{name}", help=_help(field) if is_shown else argparse.SUPPRESS, **kind
        )
    return parser


def _help(field: FieldInfo) -> str:
    default = f" (default: {field.default})" if _worth_showing(field) else ""
    return f"{field.description}{default}"


def _worth_showing(field: FieldInfo) -> bool:
    return bool(field.default) and field.default is not True and not field.is_required()


def argument_kind(name: str, annotation: Any, default: Any) -> dict[str, Any]:
    """How argparse reads an option; values stay strings here, pydantic checks them."""
    metavar = {"metavar": told(name)["metavar"] or name.upper()}
    if annotation is bool and default is False:
        return {"action": "store_const", "const": True}
    if name == "input":
        return {"nargs": "+", "action": "extend", **metavar}
    if name == "embeddings":
        return {"nargs": "?", "const": "float32", **metavar}
    return {"action": "append", **metavar} if is_list(name) else metavar


def validated(values: Mapping[str, Any], from_flags: set[str]) -> ClassifyOptions:
    """Options of some values.

    Args:
      values: by name.
      from_flags: names of those that messages show as flags.

    Raises:
      UsageError: a value is invalid.
    """
    try:
        return ClassifyOptions.model_validate(values)
    except ValidationError as error:
        raise UsageError(_one_line(error, from_flags)) from None


def _one_line(error: ValidationError, from_flags: set[str]) -> str:
    problems = error.errors()
    # pydantic also counts what of a list is no good
    said = [each for each in problems if each["type"] != "too_short"] or problems
    return "; ".join(_in_words(problem, from_flags) for problem in said)


def _in_words(problem: Any, from_flags: set[str]) -> str:
    name = str(problem["loc"][0])
    where = f"--{name}" if name in from_flags else name
    if problem["type"] == "missing":
        return f"{where} is required"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {name} in the config file{nearest(name, ClassifyOptions.model_fields)}"
    said = _OF_LISTS.get(problem["type"], problem["msg"]).removeprefix("Value error, ")
    given = printable(masked_value(name, problem["input"]), _LONGEST_VALUE)
    return f"{where} {given}: {said[:1].lower()}{said[1:]}"


_OF_LISTS = {"tuple_type": "must be a list", "too_short": "name at least one"}


def _read_config(path: str | None, known: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """A config file's options, and those under `beam:` as flags."""
    if path is None:
        return {}, []
    values = read_config(path)
    beam = values.pop("beam", {})
    if not isinstance(beam, dict):
        raise UsageError(f"--config {path}: beam: must be a mapping of Beam's options")
    values = _with_underscored_keys(values, path)
    for name in set(values) & set(ClassifyOptions.model_fields):
        if is_list(name) and isinstance(values[name], str):
            values[name] = [values[name]]
    for name in values:
        if name not in known:
            hint = nearest(str(name), [*known, "beam"])
            raise UsageError(f"--config {path}: unknown key {printable(name, 100)}{hint}")
    return values, list(_as_flags(beam))


def _with_underscored_keys(values: Mapping[str, Any], path: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        name = name if name in ClassifyOptions.model_fields else key
        if name in named:
            raise UsageError(f"--config {path}: {name} is given twice")
        named[name] = value
    return named


def _as_flags(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield f"--{name}"
        elif isinstance(value, (list, tuple, set, frozenset)):
            yield from (f"--{name}={item}" for item in value)
        elif isinstance(value, dict):
            yield f"--{name}={json.dumps(value)}"
        elif value is not False and value is not None:
            yield f"--{name}={value}"
