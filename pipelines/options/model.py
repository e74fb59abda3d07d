"""The options of a run, which command_line.py reads."""

from __future__ import annotations

import re
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from earmark.transforms.audio import check_time_pattern
from earmark.transforms.frames import SEGMENT_S
from earmark.transforms.planning import parse_source

_T = TypeVar("_T")


LISTS = ("heads", "allow", "deny")
"""Options that may be repeated, once for each value."""

_NUMBERS = (
    *("sample_rate", "calibration_default", "min_score", "top_k", "hop_s", "events_gap_s"),
    *("span_s", "num_threads", "num_shards", "commit_every_s", "window_s"),
)
_SWITCHES = ("xnnpack", "watch", "retry_failed", "all_files", "dry_run", "verbose")
_ON, _OFF = ("on", "yes", "true"), ("off", "no", "false")
_ODD_NUMBER = re.compile(r"[_\s]|^[+-]?0[0-9]")

_LONGEST_GAP_S = 1_000_000_000

_LARGEST_SCORE = 1_000_000_000
"""The bound of thresholds and default scores; models' scores are small numbers."""

_NAMES = ("labels", "locale", "heads", "calibration", "thresholds", "allow", "deny")


class ClassifyOptions(BaseModel):
    """The options of `earmark classify`: input, output, model, and how to process and score."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: tuple[str, ...] = Field(
        min_length=1,
        description="a folder, file, pattern (** is any depth) or URI of recordings, or a manifest "
        "(CSV, JSON lines or Parquet with a column uri); members of tar, tar.gz and zip files are "
        "included; several may be given",
    )
    output: str = Field(description="the folder or URI for the tables")
    model: str = Field(
        "yamnet", description="a .tflite file or URI, yamnet, or builtin (small, for trying out)"
    )
    labels: str | None = Field(
        None, description="a file with a name for each class, one per line, in the model's order"
    )
    sample_rate: int | None = Field(
        None, ge=1000, le=384_000, description="Hz; for models whose metadata doesn't give it"
    )
    locale: str | None = Field(
        None, description="the language of additional labels, if the model has them, such as de"
    )
    heads: tuple[str, ...] | None = Field(
        None,
        description="the name of a model output to use; may be repeated; default: all",
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        "none", description="for models that return logits: none, sigmoid or softmax"
    )
    calibration: str | None = Field(
        None,
        description="a file of score calibration: scale,slope,offset[,min_score] for each class, "
        "one per line; default: from the model's metadata",
    )
    calibration_transformation: Literal["identity", "log", "inverse_logistic"] = Field(
        "identity",
        description="applied to scores before calibration: identity, log or inverse_logistic",
    )
    calibration_default: float = Field(
        0.0,
        ge=-_LARGEST_SCORE,
        le=_LARGEST_SCORE,
        description="the score of a class without calibration",
    )
    min_score: float | None = Field(
        None,
        ge=-_LARGEST_SCORE,
        le=_LARGEST_SCORE,
        description="the lowest score of a detection; default: from the model's metadata, else 0.1",
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="the most detections per frame and head; default: all",
    )
    thresholds: str | None = Field(
        None,
        description="a CSV file with columns label and min_score, for individual classes",
    )
    allow: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="report only this label, pattern (*, ?), or @FILE with one per line; may be "
        "repeated",
    )
    deny: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="don't report this label, pattern (*, ?), or @FILE with one per line; may be "
        "repeated",
    )
    channels: Literal["mix", "each"] = Field(
        "mix", description="mix a recording's channels to one, or score each separately"
    )
    embeddings: Literal["float32", "float16"] | None = Field(
        None, description="also write embeddings, as float32 (if no type is given) or float16"
    )
    hop_s: float | None = Field(
        None,
        gt=0,
        le=3600,
        description="seconds from frame to frame; default: a frame's length, or the model's hop",
    )
    events_gap_s: float = Field(
        0.0,
        ge=0,
        le=_LONGEST_GAP_S,
        description="detections of a label with a gap of at most this many seconds are one event",
    )
    span_s: int = Field(
        600,
        gt=0,
        le=1_000_000,
        multiple_of=SEGMENT_S,
        description="longer recordings are cut into spans that are decoded in parallel; seconds, "
        "a multiple of 60; rows don't depend on it",
    )
    num_threads: int = Field(1, ge=1, le=256, description="interpreter threads per worker thread")
    xnnpack: bool = Field(
        True, description="whether the interpreter uses XNNPACK kernels: on or off; default: on"
    )
    num_shards: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="files per table and round; default: one, on other engines depending on size",
    )
    commit_every_s: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        description="about how often a run commits, after finishing the recordings in progress; "
        "seconds; default: 120, on other engines 1800; a watch on another engine uses window_s",
    )
    watch: bool = Field(
        False, description="keep running and process new recordings as they appear, until Ctrl-C"
    )
    window_s: int = Field(
        300,
        ge=1,
        le=86_400,
        description="how often a watch commits; seconds",
    )
    notifications: str | None = Field(
        None,
        description="for a watch on Dataflow or Flink: learn of new objects from this source "
        "instead of listing: pubsub://PROJECT/SUBSCRIPTION or kafka://HOST:PORT,.../TOPIC; see "
        "docs/streams.md",
    )
    retry_failed: bool = Field(
        False,
        description="also retry recordings that earlier runs found damaged, not just "
        "unreadable ones",
    )
    time_pattern: str | None = Field(
        None,
        description="the format of recording times in file names, as for strptime, such as "
        "rec_%%d%%m%%y-%%H%%M",
    )
    time_zone: str = Field(
        "UTC", description="the zone of recording times that name none, such as Europe/Berlin"
    )
    all_files: bool = Field(
        False, description="process files of any name, not just those whose names may be audio"
    )
    dry_run: bool = Field(
        False, description="write nothing; show how much there is to process and how long it takes"
    )
    verbose: bool = Field(False, description="show what libraries log")

    @field_validator("input", "output", "model", *_NAMES)
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

    @field_validator(*_NUMBERS, mode="before")
    @classmethod
    def _plain_number(cls, given: object) -> object:
        """Refuse what only Python takes for a number, such as 1_000."""
        if isinstance(given, bool) or (isinstance(given, str) and _ODD_NUMBER.search(given)):
            raise ValueError("a number is written like 600 or 0.5")
        return given

    @field_validator(*_SWITCHES, mode="before")
    @classmethod
    def _plain_switch(cls, given: object) -> object:
        switch = _switch(given)
        if switch is None:
            raise ValueError("must be on or off")
        return switch

    @field_validator("deny")
    @classmethod
    def _one_list(cls, given: _T, others: ValidationInfo) -> _T:
        if given is not None and others.data.get("allow") is not None:
            raise ValueError("labels can be allowed or denied, not both at once")
        return given

    @field_validator("calibration_transformation", "calibration_default")
    @classmethod
    def _of_a_calibration(cls, given: _T, others: ValidationInfo) -> _T:
        if others.data.get("calibration") is None:
            raise ValueError("needs --calibration: give its file, or leave this out")
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


def _switch(given: object) -> bool | None:
    """True for on, yes or true, False for off, no or false, None for anything else."""
    if isinstance(given, str):
        return {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}.get(given.lower())
    return given if isinstance(given, bool) else None


def look_every_s(options: ClassifyOptions) -> float:
    """How often a watch looks for new recordings: several times a window, at most every second."""
    return max(1.0, min(30.0, options.window_s / 5))


_TITLES = {
    "input and output": ("input", "output"),
    "model": (
        *("model", "labels", "sample_rate", "locale", "heads", "activation"),
        *("calibration", "calibration_transformation", "calibration_default"),
        *("num_threads", "xnnpack"),
    ),
    "detections": (
        *("min_score", "top_k", "thresholds", "allow", "deny", "events_gap_s", "embeddings"),
    ),
    "processing": (*("channels", "hop_s", "span_s", "time_pattern", "time_zone", "all_files"),),
    "run": (
        *("num_shards", "commit_every_s", "watch", "window_s", "notifications", "retry_failed"),
        *("dry_run", "verbose"),
    ),
}

GROUPS = {name: title for title, names in _TITLES.items() for name in names}
"""The title in the help that each option stands under."""
