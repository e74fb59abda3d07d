"""A run that goes on for ever: it hears new recordings as they appear."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from itertools import count

from earmark.pipelines.console import say
from earmark.pipelines.engines import StreamEngine
from earmark.pipelines.interrupts import Interrupts
from earmark.pipelines.options import look_every_s
from earmark.pipelines.runs.graph import ClassifyStream
from earmark.pipelines.runs.moves import settle_moves
from earmark.pipelines.runs.preparing import Run
from earmark.pipelines.runs.rounds import announced, retry, run_in_rounds
from earmark.transforms.planning import Planner, Retry, failed_looks
from earmark.transforms.storage import reason


def watch(run: Run, interrupts: Interrupts) -> None:
    """Process what is new, until a signal comes, or until the engine is told to stop.

    Raises:
      RunError: the engine failed, or lost an object, or the topic can't be read.
      RuntimeError: a worker failed; Beam tells how.
    """
    if isinstance(run.engine, StreamEngine):
        _settle_before(run)
        topic, run_id = run.options.notifications, run.settings.run_id
        run.engine.run_stream(ClassifyStream(run), run_id, topic, interrupts)
    else:
        watch_in_rounds(run, interrupts)


def _settle_before(run: Run) -> None:
    """Settle moves before a stream begins, which looks in workers."""
    with closing(Planner(run.settings)) as planner:
        try:
            planner.look()
        except failed_looks():  # which the stream will try again
            return
        settle_moves(run, planner)


def watch_in_rounds(run: Run, interrupts: Interrupts) -> None:
    """Look for what is new and process it, again and again, until a signal comes.

    What came in a window is processed and committed at its end, in rounds as any run's; what was
    there before the watch, at once. Raises as `watch`.
    """
    options = run.options
    numbers, over = count(1), threading.Event()
    again, due = retry(options), time.monotonic()
    told = Counter[str]()
    is_settled = False

    def is_over() -> bool:
        return interrupts.number is not None

    with closing(Planner(run.settings)) as planner:
        while not is_over():
            try:
                planner.look(is_over)
                with interrupts.stopping(over.set):
                    over.wait(look_every_s(options))
                planner.look(is_over)
            except failed_looks() as error:
                say(f"looking for new recordings failed, and will be tried again: {reason(error)}")
            else:
                if not is_settled and not is_over():
                    settle_moves(run, planner)
                    is_settled = True
                planned = planner.plan.count(again, settled=True)
                members = announced(run, planner, again, settled=True)
                skipped = Counter(planner.plan.skipped())
                new = dict(skipped - told)
                run_in_rounds(run, members, new, interrupts, numbers)
                again = Retry.NOTHING
                told |= skipped if planned.objects else Counter()
            due = max(due + options.window_s, time.monotonic())
            with interrupts.stopping(over.set):
                over.wait(due - time.monotonic())
