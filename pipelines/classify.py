"""`earmark classify`, which is also `python -m pipelines.classify`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.run import Run


def command(arguments: Sequence[str]) -> None:
    """Hear an archive.

    Raises:
      UsageError: it cannot be done as it was asked for.
      RunError: it was begun, and failed.
    """
    # Imported here, once libraries have been told to be quiet: Beam logs while it is imported.
    from pipelines.cli import quiet_libraries
    from pipelines.options import parse
    from pipelines.run import prepare

    options, beam_flags = parse(arguments, "earmark classify")
    quiet_libraries(not options.verbose)
    carry_out(prepare(options, beam_flags))


def carry_out(run: Run) -> dict[str, Any]:
    """Carry a run out and show how it goes; gives the content of the run's file."""
    from rich.console import Console

    from pipelines.progress import watch
    from pipelines.run import execute
    from pipelines.summary import show_end, show_start

    console = Console(file=sys.stderr)
    show_start(run, console)
    with watch(run.made_by.run_id, console), _worker_tracebacks(run.options.verbose):
        record = execute(run)
    show_end(record, Console())
    return record


def _worker_tracebacks(shown: bool) -> AbstractContextManager[object]:
    """Beam prints a worker's exception before it raises it again here, where it is dealt with."""
    return nullcontext() if shown else redirect_stderr(StringIO())


if __name__ == "__main__":
    from pipelines.cli import run_command

    run_command(["classify", *sys.argv[1:]])
