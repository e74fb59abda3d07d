"""`earmark rederive`: derives the rows of other settings from those that an output has."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from earmark.pipelines.collecting import uncollected
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import DERIVABLE, ClassifyOptions, Parser, argument_kind


def command(arguments: Sequence[str]) -> None:
    """Derive an output's rows anew.

    Raises:
      UsageError: there is no such output, or its rows don't tell what was asked for.
      RunError: a file cannot be read or written.
    """
    options = vars(_parser().parse_args(arguments))
    output, dry_run = options.pop("output"), options.pop("dry_run")
    given = {name: value for name, value in options.items() if value is not None}
    if not set(given) & set(DERIVABLE):
        raise UsageError(f"say what is to be other: --{', --'.join(DERIVABLE)}")
    with uncollected():
        from earmark.pipelines.rederiving import derive_anew
    derive_anew(output, given, dry_run=dry_run)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="earmark rederive",
        description="Derive the rows of other settings from those that are there, as a run would "
        "write them, by one commit and without hearing anything. What isn't given stays. Labels "
        "can only become fewer, and thresholds higher.",
        allow_abbrev=False,
    )
    parser.add_argument("output", metavar="OUTPUT", help="the output folder of a run")
    for name in (*DERIVABLE, "model"):
        field = ClassifyOptions.model_fields[name]
        of_last_run = " (default: that of the last run)" if name == "model" else ""
        kind = argument_kind(name, field.annotation, field.default)
        parser.add_argument(f"--{name}", help=f"{field.description}{of_last_run}", **kind)
    parser.add_argument("--dry_run", action="store_true", help="only say whether it can be done")
    return parser
