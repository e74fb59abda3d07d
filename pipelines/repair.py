"""`earmark repair`: sets aside the unusable files of an output, so that runs can continue."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from earmark.pipelines.collecting import uncollected
from earmark.pipelines.console import counted, say, show
from earmark.pipelines.options import Parser
from earmark.transforms.storage import join, shown
from earmark.transforms.text import printable

if TYPE_CHECKING:
    from earmark.transforms.output import Damage

_SHOWN = 20


def command(arguments: Sequence[str]) -> None:
    """Check an output, and set aside files that cannot be used.

    Raises:
      UsageError: there is no such folder, or a run is writing to it.
      RunError: a file cannot be moved.
    """
    asked = _parser().parse_args(arguments)
    with uncollected():
        from earmark.pipelines.outputs import used_output

    with used_output(asked.output) as output:
        show("".join(_look(output) if asked.dry_run else _repair(output)))


def _look(output: str) -> Iterator[str]:
    from earmark.transforms.output import find_damage

    found = list(find_damage(output))
    yield from _told(found)
    if found:
        yield "Without --dry_run they would be set aside.\n"


def _repair(output: str) -> Iterator[str]:
    from earmark.pipelines.outputs import new_run_id
    from earmark.transforms.output import SET_ASIDE, locked, repair

    run_id = new_run_id()
    with locked(output, run_id, say):
        found = repair(output, run_id)
    yield from _told(found)
    if found:
        yield (
            f"They are now in {shown(join(output, SET_ASIDE, run_id))}/, which may be deleted. "
            "The next run processes those recordings again.\n"
        )


def _told(found: Sequence[Damage]) -> Iterator[str]:
    if not found:
        yield "All files of all tables are readable, and none is missing.\n"
        return
    for damage in found[:_SHOWN]:
        yield f"{printable(damage.why)}\n"
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN:,} more\n"
    files = sum(len(damage.files) for damage in found)
    clips = len(frozenset[str]().union(*(damage.clips for damage in found)))
    yield (
        f"In all, {counted(files, 'file')} cannot be used, including those of the same rounds, "
        f"with rows of {counted(clips, 'recording')}.\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="earmark repair",
        description="Check every file of an output, finish interrupted commits, and set "
        "aside the files of rounds in which one is broken or missing: they go to "
        "OUTPUT/_set_aside/. The next run processes the recordings in them again.",
        allow_abbrev=False,
    )
    parser.add_argument("output", metavar="OUTPUT", help="the output folder of a run")
    parser.add_argument("--dry_run", action="store_true", help="only report what is wrong")
    return parser
