"""`--watch`: a run that goes on for ever, and processes new recordings as they appear."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from itertools import count

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState

from earmark.pipelines.console import say
from earmark.pipelines.engines import await_end, is_local, is_template, named
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.pipelines.options import ClassifyOptions, look_every_s
from earmark.pipelines.runs.graph import ClassifyStream, Hearing, scope
from earmark.pipelines.runs.notifications import describing_kafka
from earmark.pipelines.runs.rounds import retry, run_here
from earmark.transforms import workers
from earmark.transforms.output import leave_locked
from earmark.transforms.planning import FAILED_LOOKS, Planner, Retry
from earmark.transforms.storage import reason

_ENDED = (PipelineState.DONE, PipelineState.CANCELLED, PipelineState.DRAINED)


def check_watch(options: ClassifyOptions, beam_options: PipelineOptions) -> None:
    """Check that a watch on another engine is asked for nothing that it doesn't do.

    Raises:
      UsageError: it is.
    """
    if not options.watch or is_local(beam_options):
        return
    if options.retry_failed:
        raise UsageError("--retry_failed: a watch on an engine tries nothing again; a run does")
    if options.num_shards is not None:
        raise UsageError(
            f"--num_shards {options.num_shards}: each window of a watch on an engine is a file"
        )


def watch_here(hearing: Hearing, beam_options: PipelineOptions, interrupts: Interrupts) -> None:
    """Process what is new in threads of this process, again and again, until a signal comes.

    What came in a window is processed and committed at its end, in rounds as any run's; what was
    there before the watch, at once.

    Raises:
      RunError: the engine lost an object.
      RuntimeError: a worker failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    board, numbers, over = workers.board(run_id), count(1), threading.Event()
    again, due = retry(options), time.monotonic()
    told = Counter[str]()

    def is_over() -> bool:
        return interrupts.number is not None

    with closing(Planner(scope(options, hearing.made_by))) as planner:
        while not is_over():
            try:
                planner.look(is_over)
                with interrupts.stopping(over.set):
                    over.wait(look_every_s(options))
                planner.look(is_over)
            except FAILED_LOOKS as error:
                say(f"a look for new recordings failed, the next will do: {reason(error)}")
            else:
                planned = planner.plan.count(again, settled=True)
                board.listed(planned.objects, planned.size_bytes)
                with interrupts.stopping(lambda: workers.stop(run_id)):
                    skipped = Counter(planner.plan.skipped())
                    members, new = planner.plan.due(again, settled=True), dict(skipped - told)
                    run_here(hearing, beam_options, members, new, interrupts, numbers)
                again = Retry.NOTHING
                told |= skipped if planned.objects else Counter()
            due = max(due + options.window_s, time.monotonic())
            with interrupts.stopping(over.set):
                over.wait(due - time.monotonic())


def watch_elsewhere(
    hearing: Hearing, beam_options: PipelineOptions, interrupts: Interrupts
) -> None:
    """Have another engine process what is new, until a signal comes here or it is stopped there.

    Raises:
      RunError: the job came to an end that nobody has asked for, or the topic can't be read.
      RuntimeError: it failed; Beam tells how.
    """
    job = named(beam_options, hearing.made_by.run_id)
    pipeline = beam.Pipeline(options=job)
    with describing_kafka(hearing.options, beam_options):
        _ = pipeline | ClassifyStream(hearing)
    if is_template(beam_options):
        pipeline.run()
        leave_locked(hearing.options.output, hearing.made_by.run_id)
        return
    state = await_end(pipeline.run, interrupts, job)
    if state not in _ENDED:
        raise RunError(f"the job has ended: {state}")
