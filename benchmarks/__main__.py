"""`python -m benchmarks`, which is also `make bench`: earmark beside its peers, on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import formats, growth, scoring
from benchmarks.archives import FORMATS
from benchmarks.machine import described, load
from benchmarks.processes import ROOT, ProcessError
from benchmarks.setting import Setting, prepared
from benchmarks.tables import Table, render, replaced
from earmark.models.catalogue import cache_folder
from earmark.models.errors import ModelError

PAGE = ROOT / "docs" / "performance.md"
N = TypeVar("N", int, float)

SECTIONS = (*FORMATS, "scoring", "growth")


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and put them into the page if asked to."""
    options = _parser().parse_args(arguments)
    if options.write and set(options.only) != set(SECTIONS):
        sys.exit("benchmarks: --write writes all sections, of one run; leave out --only")
    about = f"{described()}\n{load().capitalize()} at the start."
    print(about, flush=True)
    try:
        with prepared(
            options.model, options.archive, options.files, options.minutes, options.repeats
        ) as setting:
            tables = _measured(setting, options.only)
    except (ModelError, ProcessError) as error:
        sys.exit(f"benchmarks: {error}")
    text = "\n".join([f"{about}\n", *map(render, tables)])
    print(f"\n{text}")
    if options.write:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--model", default="yamnet", help="as `earmark classify` takes it")
    parser.add_argument("--files", type=_positive(int), default=40, help="in each archive (40)")
    parser.add_argument("--minutes", type=_positive(float), default=5.0, help="that each lasts (5)")
    parser.add_argument("--repeats", type=_positive(int), default=5, help="rounds (5)")
    parser.add_argument(
        "--archive",
        type=Path,
        default=cache_folder() / "benchmarks",
        metavar="FOLDER",
        help="where recordings and the peers' environments are kept (%(default)s)",
    )
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="what to measure (all)"
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}"
    )
    return parser


def _positive(kind: type[N]) -> Callable[[str], N]:
    def number(text: str) -> N:
        value = kind(text)
        if value <= 0:
            raise ValueError
        return value

    return number


def _measured(setting: Setting, sections: Sequence[str]) -> list[Table]:
    tables = []
    if of_formats := [name for name in FORMATS if name in sections]:
        tables += formats.measure(setting, of_formats)
    if "scoring" in sections:
        tables += scoring.measure(setting)
    if "growth" in sections:
        tables += growth.measure(setting)
    return tables


if __name__ == "__main__":
    main(sys.argv[1:])
