"""The options of a run, and reading them from a command line and a config file."""

from earmark.pipelines.options.command_line import (
    CLASSIFY,
    EMBED,
    Command,
    Parser,
    parse,
    parse_keywords,
)
from earmark.pipelines.options.model import ClassifyOptions, look_every_s
from earmark.pipelines.options.model_use import (
    ModelLoader,
    ModelUse,
    find_model,
    read_calibration,
    read_model_use,
    read_text,
)

__all__ = [
    "CLASSIFY",
    "EMBED",
    "ClassifyOptions",
    "Command",
    "ModelLoader",
    "ModelUse",
    "Parser",
    "find_model",
    "look_every_s",
    "parse",
    "parse_keywords",
    "read_calibration",
    "read_model_use",
    "read_text",
]
