"""The options of a run, and reading them from a command line and a config file."""

from earmark.pipelines.options.command_line import (
    CLASSIFY,
    EMBED,
    Command,
    Parser,
    argument_kind,
    parse,
    parse_keywords,
    validated,
)
from earmark.pipelines.options.model import (
    DERIVABLE,
    ClassifyKeywords,
    ClassifyOptions,
    EmbedKeywords,
    ModelKeywords,
    UriKeywords,
    look_every_s,
    told,
)
from earmark.pipelines.options.model_use import (
    ModelLoader,
    find_model,
    min_score_of,
    reachable_thresholds,
    with_known_use,
)
from earmark.pipelines.options.resolving import (
    filled,
    read_calibration,
    read_text,
    resolved,
    stated,
)

__all__ = [
    "CLASSIFY",
    "DERIVABLE",
    "EMBED",
    "ClassifyKeywords",
    "ClassifyOptions",
    "Command",
    "EmbedKeywords",
    "ModelKeywords",
    "ModelLoader",
    "Parser",
    "UriKeywords",
    "argument_kind",
    "filled",
    "find_model",
    "look_every_s",
    "min_score_of",
    "parse",
    "parse_keywords",
    "reachable_thresholds",
    "read_calibration",
    "read_text",
    "resolved",
    "stated",
    "told",
    "validated",
    "with_known_use",
]
