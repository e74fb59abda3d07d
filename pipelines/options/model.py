"""The options of a run, which command_line.py reads."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar, Union, cast, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from earmark.pipelines.options.fields import (
    in_or_out,
    of_detections,
    of_model,
    of_processing,
    of_run,
)
from earmark.transforms.audio import check_time_pattern
from earmark.transforms.elements import Place
from earmark.transforms.frames import SEGMENT_S
from earmark.transforms.sources import parse_source
from earmark.transforms.storage import parse_root

_T = TypeVar("_T")


_ON, _OFF = ("on", "yes", "true"), ("off", "no", "false")
_ODD_NUMBER = re.compile(r"[_\s]|^[+-]?0[0-9]")

OWN_PLACE = "own"

_LONGEST_GAP_S = 1_000_000_000

_LARGEST_SCORE = 1_000_000_000
"""The bound of thresholds and default scores; models' scores are small numbers."""

_NAMES = ("labels", "locale", "heads", "calibration", "thresholds", "allow", "deny")


DERIVABLE = (
    *("min_score", "thresholds", "allow", "deny"),
    *("events_gap_s", "time_zone", "time_pattern"),
)
"""Options whose rows may follow from those of other values: see `earmark rederive`."""


def told(name: str) -> Mapping[str, Any]:
    """What `option` was told of an option: its group, metavar, in_brief and so on."""
    return cast(Mapping[str, Any], ClassifyOptions.model_fields[name].json_schema_extra)


def kinds_of(field: FieldInfo) -> set[Any]:
    """The types that an option's values may have."""
    return set(get_args(field.annotation)) or {field.annotation}


def is_list(name: str) -> bool:
    """Whether an option has several values."""
    kinds = kinds_of(ClassifyOptions.model_fields[name])
    return name == "input" or tuple[str, ...] in kinds


class ClassifyOptions(BaseModel):
    """The options of `earmark classify`: input, output, model, and how to process and score."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: tuple[str, ...] = in_or_out(
        min_length=1,
        description="a folder, file, pattern (** is any depth) or URI of recordings, or a manifest "
        "(CSV, JSON lines or Parquet with a column uri); members of tar, tar.gz and zip files are "
        "included; several may be given, also without --input",
        metavar="PATTERN",
        in_brief=True,
    )
    output: str = in_or_out(
        description="the folder or URI for the tables", metavar="DIR", in_brief=True
    )
    uri_column: str = in_or_out(
        "uri", description="the column of manifests that names the recordings", metavar="NAME"
    )
    model: str = of_model(
        "yamnet",
        description="a .tflite file or URI, builtin (small, for trying out), or a name of"
        " `earmark model list`",
        in_brief=True,
    )
    labels: str | None = of_model(
        None,
        description="a file with a name for each class, one per line, in the model's order",
        metavar="FILE",
        of_scores=True,
    )
    sample_rate: int | None = of_model(
        None, ge=1000, le=384_000, description="Hz; for models whose metadata doesn't give it"
    )
    locale: str | None = of_model(
        None,
        description="the language of additional labels, if the model has them, such as de",
        of_scores=True,
        stated=True,
    )
    heads: tuple[str, ...] | None = of_model(
        None,
        description="the name of a model output to use; may be repeated; default: all",
        metavar="HEAD",
        of_scores=True,
    )
    activation: Literal["none", "sigmoid", "softmax"] = of_model(
        "none",
        description="for models that return logits: none, sigmoid or softmax",
        of_scores=True,
        stated=True,
    )
    sensitivity: float = of_model(
        1.0,
        ge=0.5,
        le=1.5,
        description="of sigmoid, 0.5 to 1.5: above 1 it is flatter, and more scores reach a "
        "threshold, as in birdnetlib",
        of_scores=True,
        stated=True,
    )
    calibration: str | None = of_model(
        None,
        description="a file of score calibration: scale,slope,offset[,min_score] for each class, "
        "one per line; default: from the model's metadata",
        metavar="FILE",
        of_scores=True,
        stated="of the model",
    )
    calibration_transformation: Literal["identity", "log", "inverse_logistic"] = of_model(
        "identity",
        description="applied to scores before calibration: identity, log or inverse_logistic",
        of_scores=True,
    )
    calibration_default: float = of_model(
        0.0,
        ge=-_LARGEST_SCORE,
        le=_LARGEST_SCORE,
        description="the score of a class without calibration",
        of_scores=True,
    )
    min_score: float | None = of_detections(
        None,
        ge=-_LARGEST_SCORE,
        le=_LARGEST_SCORE,
        description="the lowest score of a detection; default: from the model's metadata, else 0.1",
        in_brief=True,
        of_scores=True,
        stated="of the model",
    )
    top_k: int | None = of_detections(
        None,
        ge=1,
        le=1_000_000,
        description="the most detections per frame and head; default: all",
        of_scores=True,
        stated="all",
    )
    thresholds: str | None = of_detections(
        None,
        description="a CSV file with columns label and min_score, for individual classes",
        metavar="FILE",
        of_scores=True,
        stated=True,
    )
    allow: tuple[str, ...] | None = of_detections(
        None,
        min_length=1,
        description="report only this label, pattern (*, ?), or @FILE with one per line; may be "
        "repeated",
        metavar="LABEL",
        in_brief=True,
        of_scores=True,
        stated=True,
    )
    deny: tuple[str, ...] | None = of_detections(
        None,
        min_length=1,
        description="don't report this label, pattern (*, ?), or @FILE with one per line; may be "
        "repeated",
        metavar="LABEL",
        of_scores=True,
        stated=True,
    )
    channels: Literal["mix", "each"] = of_processing(
        "mix", description="mix a recording's channels to one, or score each separately"
    )
    embeddings: Literal["float32", "float16"] | None = of_processing(
        None,
        description="write embeddings, as float32 (if no type is given) or float16",
        metavar="DTYPE",
        in_brief=True,
        stated=True,
    )
    hop_s: float | None = of_processing(
        None,
        gt=0,
        le=3600,
        description="seconds from frame to frame; default: a frame's length, or the model's hop",
    )
    place: str | None = of_detections(
        None,
        description="leave out what is implausible where and when recordings were made, by the "
        "model's companion (BirdNET): own, which is GUANO's Loc Position, or LAT,LON for those "
        "that don't say it",
        metavar="LAT,LON|own",
        of_scores=True,
        stated=True,
    )
    events_gap_s: float = of_detections(
        0.0,
        ge=0,
        le=_LONGEST_GAP_S,
        description="detections of a label with a gap of at most this many seconds are one event",
        of_scores=True,
        stated=True,
    )
    span_s: int = of_processing(
        600,
        gt=0,
        le=1_000_000,
        multiple_of=SEGMENT_S,
        description="longer recordings are cut into spans that are decoded in parallel; seconds, "
        "a multiple of 60; rows don't depend on it",
    )
    num_threads: int = of_model(
        1, ge=1, le=256, description="interpreter threads per worker thread"
    )
    xnnpack: bool = of_model(
        True,
        description="whether the interpreter uses XNNPACK kernels: on or off; default: on",
        metavar="on|off",
        stated=True,
    )
    num_shards: int | None = of_run(
        None,
        ge=1,
        le=100_000,
        description="files per table and round; default: one, on other engines depending on size",
    )
    commit_every_s: float | None = of_run(
        None,
        gt=0,
        le=31_536_000,
        description="about how often a run commits, after finishing the recordings in progress; "
        "seconds; default: 120, on other engines 1800; a watch on another engine uses window_s",
    )
    watch: bool = of_run(
        False, description="keep running and process new recordings as they appear, until Ctrl-C"
    )
    window_s: int = of_run(300, ge=1, le=86_400, description="how often a watch commits; seconds")
    notifications: str | None = of_run(
        None,
        description="for a watch on Dataflow or Flink: learn of new objects from this source "
        "instead of listing: pubsub://PROJECT/SUBSCRIPTION or kafka://HOST:PORT,.../TOPIC; see "
        "docs/streams.md",
    )
    retry_failed: bool = of_run(
        False,
        description="also retry recordings that earlier runs found damaged, not just "
        "unreadable ones",
        in_brief=True,
    )
    root: tuple[str, ...] | None = of_run(
        None,
        min_length=1,
        description="the archive has moved: rows of clips under OLD are given the root NEW, and "
        "these are not processed again; may be repeated",
        metavar="OLD=NEW",
    )
    as_new: bool = of_run(
        False,
        description="process recordings as new even if clips of the same names and sizes are known "
        "under another root",
    )
    time_pattern: str | None = of_processing(
        None,
        description="the format of recording times in file names, as for strptime, such as "
        "rec_%%d%%m%%y-%%H%%M",
        stated="",
    )
    time_zone: str = of_processing(
        "UTC",
        description="the zone of recording times that name none, such as Europe/Berlin",
        in_brief=True,
        stated=True,
    )
    all_files: bool = of_processing(
        False, description="process files of any name, not just those whose names may be audio"
    )
    dry_run: bool = of_run(
        False,
        description="write nothing; show how much there is to process and how long it takes",
        in_brief=True,
    )
    verbose: bool = of_run(False, description="show what libraries log")

    @field_validator("input", "output", "uri_column", "model", *_NAMES)
    @classmethod
    def _usable_name(cls, given: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for name in [given] if isinstance(given, str) else given or ():
            if not name or "\0" in name:
                raise ValueError("is empty or contains a NUL")
            name.encode("utf-8", "surrogateescape")
        return given

    @field_validator("embeddings", mode="before")
    @classmethod
    def _dtype(cls, given: object) -> object:
        switch = _switch(given)  # as config files have it
        return given if switch is None else ("float32" if switch else None)

    @field_validator("*", mode="before")
    @classmethod
    def _plain(cls, given: object, field: ValidationInfo) -> object:
        """Take switches by their words; refuse what only Python takes for a number, as 1_000."""
        kinds = kinds_of(cls.model_fields[str(field.field_name)])
        if bool in kinds:
            given = _switch(given)
            if given is None:
                raise ValueError("must be on or off")
        elif kinds & {int, float} and (
            isinstance(given, bool) or (isinstance(given, str) and _ODD_NUMBER.search(given))
        ):
            raise ValueError("a number is written like 600 or 0.5")
        return given

    @field_validator("deny")
    @classmethod
    def _one_list(cls, given: _T, others: ValidationInfo) -> _T:
        if given is not None and others.data.get("allow") is not None:
            raise ValueError("labels can be allowed or denied, not both at once")
        return given

    @field_validator("place")
    @classmethod
    def _known_place(cls, given: str | None) -> str | None:
        if given is None or given == OWN_PLACE:
            return given
        try:
            return "{},{}".format(*Place.of(given))
        except ValueError:
            raise ValueError(
                "must be own, or a latitude and a longitude in degrees, such as 50.8,12.9"
            ) from None

    @field_validator("calibration_transformation", "calibration_default")
    @classmethod
    def _of_a_calibration(cls, given: _T, others: ValidationInfo) -> _T:
        if others.data.get("calibration") is None:
            raise ValueError("needs --calibration: give its file, or leave this out")
        return given

    @field_validator("root")
    @classmethod
    def _both_roots(cls, given: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for each in given or ():
            parse_root(each)
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
            raise ValueError("needs --watch: add it, or leave this out")
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
    """How often a watch looks for new recordings: several times a window, at most every second."""
    return max(1.0, min(30.0, options.window_s / 5))


_Path = Union[str, "os.PathLike[str]"]
_Labels = str | Sequence[str]


class _OfModel(TypedDict, total=False):
    sample_rate: int | None
    num_threads: int
    xnnpack: bool
    embeddings: Literal["float32", "float16"] | bool | None


class _OfScores(TypedDict, total=False):
    labels: _Path | None
    locale: str | None
    heads: _Labels | None
    activation: Literal["none", "sigmoid", "softmax"]
    sensitivity: float
    calibration: _Path | None
    calibration_transformation: Literal["identity", "log", "inverse_logistic"]
    calibration_default: float


class _OfDetections(TypedDict, total=False):
    min_score: float | None
    top_k: int | None
    thresholds: _Path | None
    allow: _Labels | None
    deny: _Labels | None
    place: str | None
    events_gap_s: float


class _OfProcessing(TypedDict, total=False):
    channels: Literal["mix", "each"]
    hop_s: float | None
    span_s: int
    time_pattern: str | None
    time_zone: str
    all_files: bool


class _OfRun(TypedDict, total=False):
    config: _Path | None
    input: _Path | Sequence[_Path]
    output: _Path
    uri_column: str
    model: _Path
    num_shards: int | None
    commit_every_s: float | None
    watch: bool
    window_s: int
    notifications: str | None
    retry_failed: bool
    root: str | Sequence[str] | None
    as_new: bool


class ModelKeywords(_OfModel, _OfScores):
    """Options of `load_classifier`; docs/models.md says what each means."""


class UriKeywords(ModelKeywords, _OfDetections, _OfProcessing):
    """Options of `Classify`: those of `earmark classify`, without those of a run."""


class ClassifyKeywords(UriKeywords, _OfRun):
    """Options of `classify`: those of the command; `earmark classify --help` explains them."""


class EmbedKeywords(_OfModel, _OfProcessing, _OfRun):
    """Options of `embed`: those of the command; `earmark embed --help` explains them."""


def _switch(given: object) -> bool | None:
    """True for on, yes or true, False for off, no or false, None for anything else."""
    if isinstance(given, str):
        return {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}.get(given.lower())
    return given if isinstance(given, bool) else None
