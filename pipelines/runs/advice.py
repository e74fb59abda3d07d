"""What can be done where an output holds rows of other settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from earmark.pipelines.options import DERIVABLE, ClassifyOptions, told
from earmark.transforms.output import OtherSettingsError
from earmark.transforms.storage import shown


def advised(error: OtherSettingsError, options: ClassifyOptions) -> str:
    """What an error says, and what to do about it, in a line.

    Args:
      error: of a run.
      options: of the run.
    """
    values = {name: getattr(options, name, None) for name in error.there}
    if not set(values) <= set(DERIVABLE) or None in values.values():
        return str(error)
    least, asked = error.there.get("min_score"), values.get("min_score")
    if asked is not None and (least == told("min_score")["stated"] or asked < float(least or 0)):
        return f"{error.said}, and the rows hold no lower scores; name another folder"
    flags = " ".join(_flags(values))
    return (
        f"{error.said}: run `earmark rederive {shlex.quote(shown(options.output))} {flags}`, which "
        "derives them from the rows if these tell, or name another folder"
    )


def _flags(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        for each in value if isinstance(value, tuple) else [value]:
            yield f"--{name} {shlex.quote(str(each))}"
