"""`earmark classify`, also `python -m earmark.pipelines.classify`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

from earmark.pipelines.collecting import uncollected

if TYPE_CHECKING:
    from earmark.pipelines.options import Command
    from earmark.pipelines.runs import Outcome, Run


def command(arguments: Sequence[str]) -> None:
    """Process an archive: see `process`."""
    # Imported here, once libraries have been told to be quiet: Beam logs while it is imported.
    from earmark.pipelines.options import CLASSIFY

    process(arguments, CLASSIFY)


def process(arguments: Sequence[str], asked: Command) -> None:
    """Process an archive as a command line asks.

    Args:
      arguments: what follows the command's name.
      asked: the command.

    Raises:
      UsageError: the options, the input, the model or the output cannot be used.
      RunError: the run failed.
    """
    with uncollected():
        run = _prepared(arguments, asked)
    if run.options.dry_run:
        _look_ahead(run)
    else:
        _check_heard(show_run(run), run)


def _prepared(arguments: Sequence[str], asked: Command) -> Run:
    from earmark.pipelines.console import quiet_libraries
    from earmark.pipelines.options import parse
    from earmark.shared import shared
    from earmark.transforms.decoding.pool import DecoderPool

    options, beam_flags = parse(arguments, asked)
    quiet_libraries(not options.verbose)
    if not (options.dry_run or beam_flags):
        shared(DecoderPool).start()  # it gets ready on another core while Beam is imported here
    from earmark.pipelines.runs import prepare

    return prepare(options, beam_flags)


def _look_ahead(run: Run) -> None:
    from earmark.pipelines.console import screen
    from earmark.pipelines.errors import UsageError
    from earmark.pipelines.runs import advised
    from earmark.pipelines.screen import show_forecast
    from earmark.transforms.errors import ExpectedError
    from earmark.transforms.output import BrokenTableError, HistoryError, OtherSettingsError
    from earmark.transforms.storage import shown, unusable_errors

    try:
        show_forecast(run, screen())
    except OtherSettingsError as error:
        said = advised(error, run.options)
        raise UsageError(f"--output {shown(run.options.output)}: {said}") from error
    except (HistoryError, BrokenTableError) as error:
        raise UsageError(f"--output {shown(run.options.output)}: {error}") from error
    except ExpectedError as error:
        raise UsageError(str(error)) from error
    except unusable_errors() as error:
        raise UsageError(str(error)) from error


def show_run(run: Run) -> Outcome:
    """Execute a run and show its progress and summary."""
    from earmark.pipelines.console import say, screen
    from earmark.pipelines.runs import carry_out
    from earmark.pipelines.screen import show_end

    outcome = carry_out(run, say, _shown(run))
    _print_to_stdout(lambda: show_end(outcome, run.options.output, screen()))
    return outcome


def _check_heard(outcome: Outcome, run: Run) -> None:
    """Check that something could be heard, of what is new, or ever.

    Recordings that earlier runs could not read either are no failure of this one, unless the whole
    output has nothing else.
    """
    from earmark.pipelines.console import counted
    from earmark.pipelines.errors import RunError
    from earmark.transforms.output import read

    record, planned = outcome.record, outcome.planned
    if record is None or record["totals"]["clips"] or run.options.watch:
        return
    tables = read(run.options.output)
    if planned.objects > planned.retried or not ("clips" in tables and tables["clips"].count()):
        failed = counted(sum(record["totals"]["failures"].values()), "recording")
        raise RunError(f"nothing could be heard: {failed} failed; failures/ says why")


@contextmanager
def _shown(run: Run) -> Iterator[None]:
    from earmark.pipelines.console import BesideProgress, screen
    from earmark.pipelines.screen import show_start, watch

    console = screen(errors=True)
    show_start(run, console)
    # Beam prints the exceptions of workers before it raises them in this thread
    beside = BesideProgress(console, is_shown=run.options.verbose)
    with watch(run.settings.run_id, console), redirect_stderr(beside):
        yield


def _print_to_stdout(show: Callable[[], None]) -> None:
    """Show a run's summary; failing to print it does not make the run fail."""
    from earmark.pipelines.console import UnshownError, say
    from earmark.pipelines.streams import lose_stdout

    try:
        show()
    except UnshownError as error:
        say(f"cannot print the summary: {error}")
        lose_stdout()


if __name__ == "__main__":
    from earmark.pipelines.cli import run_command

    run_command(["classify", *sys.argv[1:]])
