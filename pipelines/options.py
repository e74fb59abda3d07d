"""The options of a run: from flags, from a config file, and Beam's own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from apache_beam.options.pipeline_options import PipelineOptions
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from pipelines.engines import job_server, known_flags
from pipelines.errors import UsageError, nearest
from transforms.notifications import parse_source
from transforms.patterns import masked_flags
from transforms.recording_time import check_time_pattern
from transforms.resampling import SEGMENT_S

_T = TypeVar("_T")


class ClassifyOptions(BaseModel):
    """What to hear, with which model, and what counts as heard."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: tuple[str, ...] = Field(
        min_length=1,
        description="a folder, file, pattern (** is any depth) or URI of recordings, or a manifest "
        "(CSV, JSON lines or Parquet with a column uri); what is in tar, tar.gz and zip files is "
        "heard, too; several may be given",
    )
    output: str = Field(description="the folder or URI that the tables go to")
    model: str = Field(
        "yamnet", description="a .tflite file or URI, yamnet, or builtin (small, for trying out)"
    )
    labels: str | None = Field(
        None, description="a file with a name for each class, one a line, in the model's order"
    )
    sample_rate: int | None = Field(
        None, ge=1000, le=384_000, description="Hz; for models whose metadata doesn't say it"
    )
    min_score: float = Field(0.1, ge=0, le=1, description="a detection's score is this or more")
    top_k: int | None = Field(
        None, ge=1, description="at most so many detections in a frame; default: all"
    )
    hop_s: float | None = Field(
        None,
        gt=0,
        le=3600,
        description="seconds from frame to frame; default: a frame's length, no overlap",
    )
    events_gap_s: float = Field(
        0.0, ge=0, description="detections of a label this far apart or less are one event; seconds"
    )
    span_s: int = Field(
        600,
        gt=0,
        le=1_000_000,
        multiple_of=SEGMENT_S,
        description="longer recordings are cut into spans that are decoded side by side; seconds, "
        "a multiple of 60; no row depends on it",
    )
    num_shards: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="files for each table, of each round; default: one, on other engines as suits "
        "their size",
    )
    commit_every_s: float | None = Field(
        None,
        gt=0,
        description="a run commits what it has heard about every so many seconds, once the "
        "recordings that it has begun are finished; default: 120, on other engines 1800; a watch "
        "on another engine goes by window_s",
    )
    watch: bool = Field(
        False, description="go on for ever: hear new recordings as they appear; Ctrl-C ends it"
    )
    window_s: int = Field(
        300,
        ge=1,
        le=86_400,
        description="a watch commits what it has heard every so many seconds",
    )
    notifications: str | None = Field(
        None,
        description="a watch of Dataflow's or Flink's is told what is new rather than looking for "
        "it: pubsub://PROJECT/SUBSCRIPTION or kafka://HOST:PORT,.../TOPIC; see docs/streams.md",
    )
    retry_failed: bool = Field(
        False, description="try again what earlier runs found damaged, too, not just unreadable"
    )
    time_pattern: str | None = Field(
        None,
        description="how a name tells when its recording began, as for strptime, such as "
        "rec_%%d%%m%%y-%%H%%M",
    )
    time_zone: str = Field(
        "UTC", description="of times of recording that name none, such as Europe/Berlin"
    )
    all_files: bool = Field(
        False, description="hear files of any name, not just those that can be audio by name"
    )
    dry_run: bool = Field(
        False, description="write nothing: say what there is to hear and how long it will take"
    )
    verbose: bool = Field(False, description="show what libraries log")

    @field_validator("input", "output", "model", "labels")
    @classmethod
    def _usable_name(cls, given: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for name in [given] if isinstance(given, str) else given or ():
            if not name or "\0" in name:
                raise ValueError("no name: it is empty, or holds a NUL")
            name.encode("utf-8", "surrogateescape")
        return given

    @field_validator("notifications")
    @classmethod
    def _known_source(cls, source: str | None) -> str | None:
        if source is not None:
            parse_source(source)
        return source

    @field_validator("notifications", "window_s")
    @classmethod
    def _of_a_watch(cls, given: _T, others: ValidationInfo) -> _T:
        if given is not None and not others.data.get("watch"):
            raise ValueError("is for a watch: add --watch, or leave it out")
        return given

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; write it like Europe/Berlin") from None
        return name

    @field_validator("time_pattern")
    @classmethod
    def _valid_pattern(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            check_time_pattern(pattern)
        return pattern


def look_every_s(options: ClassifyOptions) -> float:
    """How often a watch looks for new recordings: some times in a window, at most each second."""
    return max(1.0, min(30.0, options.window_s / 5))


def parse(arguments: Sequence[str], prog: str) -> tuple[ClassifyOptions, list[str]]:
    """Read a command line.

    Args:
      arguments: what follows the command's name.
      prog: the command's name, for the help.

    Returns:
      earmark's options, and Beam's as flags.

    Raises:
      UsageError: a flag, a key or a value that isn't known or doesn't fit.
    """
    given, beam_flags = _parser(prog).parse_known_args(list(arguments))
    flags = {name: value for name, value in vars(given).items() if value is not None}
    config, config_beam_flags = _read_config(flags.pop("config", None))
    _check_beam_flags(config_beam_flags + beam_flags)
    return _validated({**config, **flags}, from_flags=set(flags)), config_beam_flags + beam_flags


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Write down, in Parquet, what is heard where in an archive of audio.",
        epilog="Beam's own options go with these: --runner, --direct_num_workers, ...",
        allow_abbrev=False,
        argument_default=None,
    )
    parser.add_argument("--config", metavar="FILE", help="a YAML file with options; flags go first")
    for name, field in ClassifyOptions.model_fields.items():
        shown = f" (default: {field.default})" if _worth_showing(field) else ""
        kind = _argument_kind(name, field.annotation)
        parser.add_argument(f"--{name}", help=f"{field.description}{shown}", **kind)
    return parser


def _worth_showing(field: FieldInfo) -> bool:
    return bool(field.default) and not field.is_required()


class Parser(argparse.ArgumentParser):
    """A parser that raises a UsageError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong."""
        raise UsageError(f"{message}; see {self.prog} --help")


def _argument_kind(name: str, annotation: Any) -> dict[str, Any]:
    """How argparse reads an option; values stay strings here, pydantic checks them."""
    if annotation is bool:
        return {"action": "store_const", "const": True}
    if name == "input":
        return {"nargs": "+", "action": "extend", "metavar": "PATTERN"}
    return {"metavar": {"output": "DIR", "labels": "FILE"}.get(name, name.upper())}


def _validated(values: Mapping[str, Any], from_flags: set[str]) -> ClassifyOptions:
    try:
        return ClassifyOptions.model_validate(values)
    except ValidationError as error:
        raise UsageError(_one_line(error, from_flags)) from None


def _one_line(error: ValidationError, from_flags: set[str]) -> str:
    return "; ".join(_in_words(problem, from_flags) for problem in error.errors())


def _in_words(problem: Any, from_flags: set[str]) -> str:
    name = str(problem["loc"][0])
    where = f"--{name}" if name in from_flags else name
    if problem["type"] == "missing":
        return f"--{name} is needed"
    if problem["type"] == "extra_forbidden":
        return f"unknown key {name} in the config file{nearest(name, ClassifyOptions.model_fields)}"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{where} {problem['input']}: {said[:1].lower()}{said[1:]}"


def _read_config(path: str | None) -> tuple[dict[str, Any], list[str]]:
    """A config file's options, and those under `beam:` as flags."""
    if path is None:
        return {}, []
    values = _load_yaml(path)
    beam = values.pop("beam", {})
    if not isinstance(beam, dict):
        raise UsageError(f"{path}: beam: holds Beam's options by name, not {beam!r}")
    if isinstance(values.get("input"), str):
        values["input"] = [values["input"]]
    for name in values:
        if name not in ClassifyOptions.model_fields:
            hint = nearest(str(name), [*ClassifyOptions.model_fields, "beam"])
            raise UsageError(f"{path}: unknown key {name}{hint}")
    return values, list(_as_flags(beam))


def _load_yaml(path: str) -> dict[str, Any]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"--config {path}: {reason}") from None
    try:
        values = yaml.load(text, _EachKeyOnce)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {path}: holds no options; write them as 'name: value' lines")
    return values


class _EachKeyOnce(yaml.SafeLoader):
    """YAML where a key that stands twice is an error; by itself the library ignores the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"{key} stands in it twice")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _as_flags(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield f"--{name}"
        elif isinstance(value, list):
            yield from (f"--{name}={item}" for item in value)
        elif isinstance(value, dict):
            yield f"--{name}={json.dumps(value)}"
        elif value is not False and value is not None:
            yield f"--{name}={value}"


def _check_beam_flags(flags: Sequence[str]) -> None:
    """Refuse what Beam and the engine don't know either; Beam would only warn, and ignore it."""
    parser = Parser(prog="earmark classify", allow_abbrev=False)
    for kind in _subclasses(PipelineOptions):
        if "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    engine: frozenset[str] = frozenset()
    if unknown:
        endpoint = job_server(PipelineOptions(list(flags)))
        engine = known_flags(endpoint) if endpoint else engine
        unknown = [word for word in unknown if word.split("=")[0] not in engine]
    if unknown:
        word = unknown[0].split("=")[0]
        known = [f"--{name}" for name in ("config", *ClassifyOptions.model_fields)]
        hint = nearest(word, [*known, *_flags_of(parser), *sorted(engine)])
        raise UsageError(f"unknown argument {masked_flags([unknown[0]])[0]}{hint}")


def _flags_of(parser: argparse.ArgumentParser) -> Iterable[str]:
    return [flag for action in parser._actions for flag in action.option_strings]


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
