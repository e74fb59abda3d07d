"""The commands that process recordings, and what tells their options apart."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from earmark.pipelines.options.model import ClassifyOptions, told


class Command(NamedTuple):
    """A command that processes recordings.

    Attributes:
      name: as it is typed.
      description: what it does, for its help.
      defaults: values of options that differ from those of `earmark classify`.
      without: options of `earmark classify` that it does not have.
      fixed: values of those options, where they differ from the defaults.
    """

    name: str
    description: str
    defaults: Mapping[str, Any] = MappingProxyType({})
    without: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = MappingProxyType({})


CLASSIFY = Command(
    "earmark classify", "Write down, in Parquet, what is heard where in an archive of audio."
)
EMBED = Command(
    "earmark embed",
    "Write the embedding of each frame of an archive of audio to Parquet.",
    defaults={"embeddings": "float32"},
    without=tuple(name for name in ClassifyOptions.model_fields if told(name)["of_scores"]),
    fixed={"heads": ()},
)
