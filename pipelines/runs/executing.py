"""Executing a run: holding its output, and what comes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

from earmark.models.errors import ModelError
from earmark.models.sources import BUILTIN
from earmark.pipelines.console import counted
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import Interrupts, StoppedError, watch_signals
from earmark.pipelines.runs.advice import advised
from earmark.pipelines.runs.moves import settle_moves
from earmark.pipelines.runs.preparing import Run
from earmark.pipelines.runs.records import run_record
from earmark.pipelines.runs.rounds import announced, retry, run_in_rounds
from earmark.pipelines.runs.watches import watch
from earmark.transforms import workers
from earmark.transforms.errors import ExpectedError
from earmark.transforms.output import (
    JournalError,
    LockedError,
    OtherSettingsError,
    check_history,
    committed_objects,
    conclude,
    leave_locked,
    locked,
    provenance_of,
    recover,
    refuse_links,
    release,
    run_file,
    staging_folder,
)
from earmark.transforms.planning import Planned, Planner
from earmark.transforms.storage import (
    join,
    read_uri,
    reason,
    shown,
    store_errors,
    unusable_errors,
    write_whole,
)
from earmark.transforms.text import printable

_UNUSABLE_OUTPUT = (LockedError, ExpectedError)


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
      planned: what there was to process, and what had been before.
      record: the content of the run's file; None if there was nothing to do, or if it is left to
        an engine, which will write it.
      is_left: whether an engine ends the run, without us.
    """

    planned: Planned
    record: dict[str, Any] | None = None
    is_left: bool = False


def carry_out(
    run: Run, tell: Callable[[str], None], shown: AbstractContextManager[object]
) -> Outcome:
    """Carry a run out, from a command line or from Python.

    Args:
      run: what was prepared.
      tell: told, in a line, why it takes a while until it begins.
      shown: shows how it goes, once the output is held for it.

    Raises:
      UsageError: the output cannot be used.
      RunError: it was begun, and failed.
      StoppedError: a signal came; what had been heard by then is committed.
    """
    with holding_output(run, tell), shown:
        return execute(run)


@contextmanager
def holding_output(run: Run, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Have the output for this run alone, with all that earlier runs had begun to commit.

    Args:
      run: what is to write to it.
      say: told, in a line, why it takes a while.

    Raises:
      UsageError: it cannot be written to, another run is writing to it, or it holds something else.
    """
    output = run.options.output
    named = f"--output {shown(output)}"
    if os.path.isfile(output):
        raise UsageError(f"{named}: is a file; name a folder")
    with ExitStack() as stack:
        try:
            refuse_links(output)
            stack.enter_context(locked(output, run.settings.run_id, say))
            recover(output)
            check_history(output, provenance_of(run.settings))
        except OtherSettingsError as error:
            raise UsageError(f"{named}: {advised(error, run.options)}") from error
        except _UNUSABLE_OUTPUT as error:
            raise UsageError(f"{named}: {error}") from error
        except unusable_errors() as error:
            raise UsageError(f"{named}: cannot be written to: {reason(error)}") from error
        yield


def execute(run: Run) -> Outcome:
    """Carry a run out, in an output that is held.

    Raises:
      RunError: a manifest broke on the way, the output could not be written, or rows are missing.
      StoppedError: a signal came; what was finished by then is committed.
    """
    how, notice = (_watch, "ending the watch") if run.options.watch else (_run, run.engine.notice)
    try:
        with watch_signals(notice) as interrupts:
            return how(run, interrupts)
    except _expected(RuntimeError) as error:
        message = _expected_trouble(error)
        if message is None:
            raise
        with suppress(*_expected(ValueError)):  # else the next run will
            _recover(run)
        raise RunError(f"{printable(message, 1000)}; {_committed(run)}") from None


def _run(run: Run, interrupts: Interrupts) -> Outcome:
    options, engine = run.options, run.engine
    with closing(Planner(run.settings)) as planner:
        planner.look(lambda: interrupts.number is not None)
        moved = settle_moves(run, planner) if interrupts.number is None else 0
        planned = planner.plan.count(retry(options))._replace(moved=moved)
        due = announced(run, planner, retry(options))
        record = {**run_record(run), "heard_before": planned.done}
        if planned.objects and interrupts.number is None:
            skipped, ending = planner.plan.skipped(), record if engine.is_left else None
            run_in_rounds(_with_shipped_model(run), due, skipped, interrupts, count(1), ending)
    if interrupts.number is not None:
        _recover(run)
        raise StoppedError(_committed(run), interrupts.number)
    if not planned.objects:
        return Outcome(planned)
    return _left(run, planned) if engine.is_left else _concluded(run, planned, record)


def _watch(run: Run, interrupts: Interrupts) -> Outcome:
    nothing = Planned(0, 0, 0, 0, 0)
    watch(_with_shipped_model(run), interrupts)
    if run.engine.is_left:
        return _left(run, nothing)
    _recover(run)
    objects = committed_objects(run.options.output, run.settings.run_id)
    if not objects:
        return Outcome(nothing)
    return _concluded(run, nothing._replace(objects=objects), run_record(run))


def _left(run: Run, planned: Planned) -> Outcome:
    leave_locked(run.options.output, run.settings.run_id)
    return Outcome(planned, is_left=True)


def _concluded(run: Run, planned: Planned, record: dict[str, Any]) -> Outcome:
    output, run_id = run.options.output, run.settings.run_id
    conclude(output, run_id, record)
    return Outcome(planned, json.loads(read_uri(run_file(output, run_id))))


def _recover(run: Run) -> None:
    """Finish what the run has begun to commit, and undo the rest.

    A remote worker may go on after its job has ended. Without the lock it begins no other commit,
    and one that it has begun is in a journal.
    """
    output = run.options.output
    if not run.engine.shares_process:
        release(output, run.settings.run_id)
    recover(output, run.settings.run_id)


def _with_shipped_model(run: Run) -> Run:
    """The run, with a model that workers can read: a copy beside the output."""
    source = run.load.source
    is_anywhere = source.location == BUILTIN or "://" in source.location
    if is_anywhere or run.engine.shares_process:
        return run
    copy = join(staging_folder(run.options.output, run.settings.run_id), f"{source.name}.tflite")
    write_whole(copy, source.read())
    return replace(run, load=replace(run.load, source=replace(source, location=copy)))


def _committed(run: Run) -> str:
    """What there is of a run that did not come to its end, in words."""
    try:
        objects = committed_objects(run.options.output, run.settings.run_id)
    except unusable_errors(JournalError):
        return "the same command resumes from what is committed"
    if not objects:
        return "nothing was committed"
    are = "is" if objects == 1 else "are"
    return f"{counted(objects, 'object')} {are} committed; the same command resumes from there"


def _expected_trouble(error: Exception) -> str | None:
    """What an error says in a line, if it is no bug, of a worker's or of this thread's."""
    said = workers.told_by_worker(str(error))
    return " ".join(str(error).split()) if said is None and isinstance(error, _expected()) else said


def _expected(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What a run may end with, besides bugs, and others; troubles of recordings never get so far.

    Of a worker's, Beam makes a RuntimeError.
    """
    return store_errors(ExpectedError, ModelError, *others)
