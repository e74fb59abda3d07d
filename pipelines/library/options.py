"""The options of the library's calls: those of the commands, by their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypedDict, Union

from earmark.pipelines.options import CLASSIFY, EMBED, ClassifyOptions, Command

_Path = Union[str, "os.PathLike[str]"]
_Labels = str | Sequence[str]


class _Model(TypedDict, total=False):
    sample_rate: int
    num_threads: int
    xnnpack: bool
    embeddings: Literal["float32", "float16"] | bool


class _Scores(TypedDict, total=False):
    labels: _Path
    locale: str
    heads: _Labels
    activation: Literal["none", "sigmoid", "softmax"]
    calibration: _Path
    calibration_transformation: Literal["identity", "log", "inverse_logistic"]
    calibration_default: float


class _Counting(TypedDict, total=False):
    min_score: float | None
    top_k: int | None
    thresholds: _Path
    allow: _Labels
    deny: _Labels
    events_gap_s: float


class _Recordings(TypedDict, total=False):
    channels: Literal["mix", "each"]
    hop_s: float | None
    span_s: int
    time_pattern: str
    time_zone: str
    all_files: bool


class _Run(TypedDict, total=False):
    config: _Path
    input: _Path | Sequence[_Path]
    output: _Path
    model: _Path
    num_shards: int
    commit_every_s: float
    watch: bool
    window_s: int
    notifications: str
    retry_failed: bool


class ModelKeywords(_Model, _Scores):
    """Options of `load_classifier`; docs/models.md says what each means."""


class UriKeywords(ModelKeywords, _Counting, _Recordings):
    """Options of `Classify`: those of `earmark classify`, without those of a run."""


class ClassifyKeywords(UriKeywords, _Run):
    """Options of `classify`: those of the command; `earmark classify --help` explains them."""


class EmbedKeywords(_Model, _Recordings, _Run):
    """Options of `embed`: those of the command; `earmark embed --help` explains them."""


_OF_A_TERMINAL = ("dry_run", "verbose")
_OF_A_RUN = ("config", *_Run.__annotations__, *_OF_A_TERMINAL)

RUN = CLASSIFY._replace(name="earmark.classify", without=_OF_A_TERMINAL)
EMBED_RUN = EMBED._replace(name="earmark.embed", without=(*EMBED.without, *_OF_A_TERMINAL))
URIS = CLASSIFY._replace(
    name="earmark.Classify",
    without=tuple(name for name in _OF_A_RUN if name != "model"),
    fixed={"input": ("uris",), "output": "nowhere"},
)


def _with_only(name: str, *options: str) -> Command:
    """A call that has but some options of `Classify`."""
    without = tuple(each for each in ClassifyOptions.model_fields if each not in options)
    return URIS._replace(name=name, without=without)


MODEL = _with_only("earmark.load_classifier", "model", *ModelKeywords.__annotations__)
FRAMES = _with_only("earmark.frames", "hop_s", "channels")
LABEL = _with_only("earmark.label", "hop_s", "channels", "top_k", "min_score")
