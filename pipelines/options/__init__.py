"""The options of a run, and reading them from a command line and a config file."""

from earmark.pipelines.options.command_line import (
    argument_kind,
    parse,
    parse_keywords,
    validated,
)
from earmark.pipelines.options.commands import CLASSIFY, EMBED, Command
from earmark.pipelines.options.model import (
    DERIVABLE,
    OWN_PLACE,
    ClassifyKeywords,
    ClassifyOptions,
    EmbedKeywords,
    ModelKeywords,
    UriKeywords,
    look_every_s,
    told,
)
from earmark.pipelines.options.parser import Parser

__all__ = [
    "CLASSIFY",
    "DERIVABLE",
    "EMBED",
    "OWN_PLACE",
    "ClassifyKeywords",
    "ClassifyOptions",
    "Command",
    "EmbedKeywords",
    "ModelKeywords",
    "Parser",
    "UriKeywords",
    "argument_kind",
    "look_every_s",
    "parse",
    "parse_keywords",
    "told",
    "validated",
]
