"""What is said of an option where it is declared: a field of ClassifyOptions."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from pydantic import Field


def option(
    group: str,
    default: Any = ...,
    *,
    metavar: str = "",
    in_brief: bool = False,
    of_scores: bool = False,
    stated: bool | str = False,
    **field: Any,
) -> Any:
    """A field of ClassifyOptions, with what the command line tells of it.

    Args:
      group: the title in the help that it stands under.
      default: its value where it is not given.
      metavar: what the help calls its value; its name in capitals, if nothing is said.
      in_brief: whether `--help` shows it, not just `--help_all`.
      of_scores: whether it is for scores, so that `earmark embed` has none.
      stated: whether files state its value, since rows depend on it; a text is what they state of
        None. False where they state its effect: see earmark.transforms.output.provenance.
      **field: see pydantic's Field.
    """
    told = {
        "group": group,
        "metavar": metavar,
        "in_brief": in_brief,
        "of_scores": of_scores,
        "stated": stated,
    }
    return Field(default, json_schema_extra=cast(dict[str, Any], told), **field)


in_or_out = partial(option, "input and output")
of_model = partial(option, "model")
of_detections = partial(option, "detections")
of_processing = partial(option, "processing")
of_run = partial(option, "run")
