"""The options of a run; pipelines/command_line.py reads them."""

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
"""Of a class; those of models are small numbers."""

_NAMES = ("labels", "locale", "heads", "calibration", "thresholds", "allow", "deny")


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
    locale: str | None = Field(
        None, description="of labels that rows give beside the model's own, such as de"
    )
    heads: tuple[str, ...] | None = Field(
        None,
        description="an output of a model with several, by name; may be repeated; default: all",
    )
    activation: Literal["none", "sigmoid", "softmax"] = Field(
        "none", description="for models that give logits: none, sigmoid or softmax"
    )
    calibration: str | None = Field(
        None,
        description="a file of the model's score calibration: scale,slope,offset[,min_score] for "
        "each class, one a line; default: what the model's metadata says",
    )
    calibration_transformation: Literal["identity", "log", "inverse_logistic"] = Field(
        "identity", description="of scores before calibration: identity, log, inverse_logistic"
    )
    calibration_default: float = Field(
        0.0,
        ge=-_LARGEST_SCORE,
        le=_LARGEST_SCORE,
        description="the score of a class that calibration says nothing of",
    )
    min_score: float | None = Field(
        None,
        ge=-_LARGEST_SCORE,
        le=_LARGEST_SCORE,
        description="a detection's score is this or more; default: what the model's metadata says, "
        "else 0.1",
    )
    top_k: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="at most so many detections in a frame, of each head; default: all",
    )
    thresholds: str | None = Field(
        None,
        description="a CSV file with columns label and min_score, for classes that differ",
    )
    allow: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="a label or pattern (*, ?) of the only classes that count, or @FILE with one a "
        "line; may be repeated",
    )
    deny: tuple[str, ...] | None = Field(
        None, min_length=1, description="the same of classes that don't count"
    )
    channels: Literal["mix", "each"] = Field(
        "mix", description="mix those of a recording to one, or hear each by itself"
    )
    embeddings: Literal["float32", "float16"] | None = Field(
        None, description="write embeddings, too, as float32 (if nothing is said) or float16"
    )
    hop_s: float | None = Field(
        None,
        gt=0,
        le=3600,
        description="seconds from frame to frame; default: a frame's length, or the model's own",
    )
    events_gap_s: float = Field(
        0.0,
        ge=0,
        le=_LONGEST_GAP_S,
        description="detections of a label this far apart or less are one event; seconds",
    )
    span_s: int = Field(
        600,
        gt=0,
        le=1_000_000,
        multiple_of=SEGMENT_S,
        description="longer recordings are cut into spans that are decoded side by side; seconds, "
        "a multiple of 60; no row depends on it",
    )
    num_threads: int = Field(
        1, ge=1, le=256, description="of the interpreter, for each worker thread"
    )
    xnnpack: bool = Field(
        True, description="whether the interpreter uses XNNPACK's kernels: on or off; default: on"
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
        le=31_536_000,
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

    @field_validator("input", "output", "model", *_NAMES)
    @classmethod
    def _usable_name(cls, given: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for name in [given] if isinstance(given, str) else given or ():
            if not name or "\0" in name:
                raise ValueError("no name: it is empty, or holds a NUL")
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
        """Refuse what Python takes for a number, and nobody else does."""
        if isinstance(given, bool) or (isinstance(given, str) and _ODD_NUMBER.search(given)):
            raise ValueError("a number is written like 600 or 0.5")
        return given

    @field_validator(*_SWITCHES, mode="before")
    @classmethod
    def _plain_switch(cls, given: object) -> object:
        switch = _switch(given)
        if switch is None:
            raise ValueError("it is either on or off")
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
            raise ValueError("is for a calibration: name its file, or leave it out")
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


def _switch(given: object) -> bool | None:
    """What is meant by on, yes or true, by off, no or false; None for anything else."""
    if isinstance(given, str):
        return {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}.get(given.lower())
    return given if isinstance(given, bool) else None


def look_every_s(options: ClassifyOptions) -> float:
    """How often a watch looks for new recordings: some times in a window, at most each second."""
    return max(1.0, min(30.0, options.window_s / 5))


_TITLES = {
    "recordings and rows": ("input", "output"),
    "the model": (
        *("model", "labels", "sample_rate", "locale", "heads", "activation"),
        *("calibration", "calibration_transformation", "calibration_default"),
        *("num_threads", "xnnpack"),
    ),
    "what counts as heard": (
        *("min_score", "top_k", "thresholds", "allow", "deny", "events_gap_s", "embeddings"),
    ),
    "how recordings are heard": (
        *("channels", "hop_s", "span_s", "time_pattern", "time_zone", "all_files"),
    ),
    "the run": (
        *("num_shards", "commit_every_s", "watch", "window_s", "notifications", "retry_failed"),
        *("dry_run", "verbose"),
    ),
}

GROUPS = {name: title for title, names in _TITLES.items() for name in names}
"""The title in the help that each option stands under."""
