"""What a Dataflow Flex Template runs: its parameters become flags of `earmark classify`.

The launcher gives each parameter as --name=value, and Beam's options with them. It runs this file
by its path, which is why it lies outside of the packages: Python looks for modules beside it first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from earmark.pipelines.cli import run_command
from earmark.pipelines.options.model import ClassifyOptions

_BEFORE_A_URI = re.compile(r",(?=[a-z][a-z0-9+.-]*://)")
_SWITCHES = {
    f"--{name}"
    for name, field in ClassifyOptions.model_fields.items()
    if field.annotation is bool and field.default is False
}


def command_line(parameters: Sequence[str]) -> list[str]:
    """The flags that a template's parameters mean.

    - `--input` holds one pattern or several, with a comma before each further URI.
    - `--heads` holds one name or several, with a comma before each further one.
    - Switches such as `--all_files` are `true` or `false`.
    - `--labels={...}` are labels of the Dataflow job, not a file that names classes.

    All others stay as they are.
    """
    return [flag for parameter in parameters for flag in _flags(parameter)]


def _flags(parameter: str) -> list[str]:
    name, _, value = parameter.partition("=")
    if name == "--input":
        return [f"--input={pattern}" for pattern in _BEFORE_A_URI.split(value)]
    if name == "--heads":
        return [f"--heads={head.strip()}" for head in value.split(",")]
    if name in _SWITCHES and value.lower() in ("true", "false"):
        return [name] if value.lower() == "true" else []
    if name == "--labels" and value.startswith("{"):
        return [f"--label={value}"]  # Beam's other name for it, which earmark has no option of
    return [parameter]


if __name__ == "__main__":
    run_command(["classify", *command_line(sys.argv[1:])])
