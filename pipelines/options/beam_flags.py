"""Beam's flags on a command line, as the installed Beam and the engine know them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from earmark.pipelines.engines import known_flags
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options.beam_source import unknown_flag
from earmark.pipelines.options.commands import Command
from earmark.pipelines.options.parser import Parser, flags_of, with_underscores


def sorted_out(words: Sequence[str], command: Command) -> tuple[list[str], list[str]]:
    """Of words that are not earmark's options or their values: recordings, and Beam's flags."""
    parser = _beams_parser(command)
    switches = {flag for each in parser._actions if each.nargs == 0 for flag in each.option_strings}
    recordings: list[str] = []
    beam_flags: list[str] = []
    is_value = False
    for word in with_underscores(words, list(flags_of(parser))):
        is_flag = word.startswith("-")
        (beam_flags if is_flag or is_value else recordings).append(word)
        is_value = is_flag and "=" not in word and word not in switches
    return recordings, beam_flags


def check_flags(
    flags: Sequence[str], command: Command, own: Sequence[str], together: Sequence[str]
) -> None:
    """Refuse flags that neither Beam nor the engine knows; Beam would only warn and ignore them."""
    parser = _beams_parser(command)
    _, unknown = parser.parse_known_args(list(flags))
    engine: Mapping[str, bool] = {}
    if unknown:
        engine = known_flags(PipelineOptions(list(together)))
        _refuse_twice(unknown, engine)
        unknown = [word for word in unknown if word.split("=")[0] not in engine]
    if unknown:
        raise unknown_flag(unknown[0], command, own, [*flags_of(parser), *sorted(engine)])


def _refuse_twice(words: Iterable[str], engine: Mapping[str, bool]) -> None:
    """Refuse a single-valued flag of the engine that is given twice."""
    names = [word.split("=")[0] for word in words if word.startswith("--")]
    for name in names:
        if names.count(name) > 1 and not engine.get(name, True):
            raise UsageError(f"{name}: given twice, but takes one value")


def _beams_parser(command: Command) -> Parser:
    """A parser of all flags of the installed Beam."""
    # a notebook may have made a class of options twice
    parser = Parser(prog=command.name, allow_abbrev=False, conflict_handler="resolve")
    for kind in _subclasses(PipelineOptions):
        if "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)
    return parser


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
