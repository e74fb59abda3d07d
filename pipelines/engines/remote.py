"""Remote engines: a round is a job of theirs, a watch is one job without an end."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import PipelineResult, PipelineRunner, PipelineState, create_runner

from earmark.models.errors import nearest
from earmark.pipelines.engines.base import Dealt, Graph, Round, RoundSize, StreamEngine
from earmark.pipelines.engines.kafka import check_reader_of_kafka, describing_kafka
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.transforms.decoding.splitting import SplitLongClips
from earmark.transforms.elements import Listed
from earmark.transforms.planning import ReadPlan, write_plan
from earmark.transforms.sources import PubSub, parse_source
from earmark.transforms.workers.spreading import SpreadObjects

FIRST_OBJECTS = 10_000
FIRST_BYTES = 10 * 1000**3
"""As much as a first round processes, when nobody knows yet how fast the engine is."""

_GROWTH = 10
_LARGEST_OBJECTS = 1_000_000

_ENDED = (PipelineState.DONE, PipelineState.CANCELLED, PipelineState.DRAINED)


class RemoteEngine(StreamEngine):
    """Any engine that Beam has a runner for.

    Args:
      flags: Beam's options.
      is_stream: whether a stream is to be run.

    Raises:
      UsageError: the runner is not known, or the options lack something.
    """

    shares_process = False
    notice = "cancelling the job; the next run repeats what was done since the last commit"
    commit_every_s = 1800.0  # it takes a while to begin a job
    num_shards = None
    reads_pubsub = False

    def __init__(self, flags: Sequence[str], is_stream: bool = False) -> None:
        given = PipelineOptions(list(flags))
        runner = _runner(given.view_as(StandardOptions).runner)
        self.options = PipelineOptions([*flags, *self.needed_flags(given, flags, is_stream)])
        self.is_left = self.options.view_as(GoogleCloudOptions).template_location is not None
        everything = RoundSize(sys.maxsize, float("inf"))
        self.first_size = everything if self.is_left else RoundSize(FIRST_OBJECTS, FIRST_BYTES)
        if errors := PipelineOptionsValidator(self.options, runner).validate():
            raise UsageError("; ".join(" ".join(error.split()).rstrip(".") for error in errors))

    def needed_flags(
        self, options: PipelineOptions, given: Sequence[str], is_stream: bool
    ) -> list[str]:
        """What it needs to be told beside the flags that are given."""
        is_said = options.view_as(StandardOptions).streaming
        return ["--streaming"] if is_stream and not is_said else []

    def check(self, named: Mapping[str, Iterable[str]]) -> None:
        """Check nothing: what workers can see is not known."""

    def check_watch(
        self, notifications: str | None, *, retry_failed: bool, num_shards: int | None
    ) -> None:
        """Check what a stream does not do, and whether the topic can be read."""
        if retry_failed:
            raise UsageError(
                "--retry_failed: a watch on an engine does not retry; a run without --watch does"
            )
        if num_shards is not None:
            raise UsageError(
                f"--num_shards {num_shards}: a watch on an engine writes one file per window"
            )
        if notifications is None:
            return
        is_pubsub = isinstance(parse_source(notifications), PubSub)
        if is_pubsub and not self.reads_pubsub:
            said = "only Dataflow reads Pub/Sub; name a Kafka topic"
            raise UsageError(f"--notifications {notifications}: {said}")
        if not is_pubsub:
            check_reader_of_kafka(notifications, self.options)

    def run_round(self, this: Round, graph: Graph, interrupts: Interrupts) -> set[str] | None:
        """Have a round processed by a job, which reads it from a file."""
        key = write_plan(this.plan, this.members)
        listed = Listed(len(this.members), this.skipped)
        job = self.named(f"{this.run_id}-{this.name}")
        pipeline = beam.Pipeline(options=job)
        _ = pipeline | graph(DealToWorkers(this.plan, key, listed, this.span_s))
        if self.is_left:
            pipeline.run()
            return None
        state = self.await_end(pipeline.run, interrupts, job)
        if interrupts.number is not None:
            return None
        if state != PipelineState.DONE:
            raise RunError(f"the job did not finish by itself: {state}")
        return set()

    def next_size(self, last: RoundSize, took_s: float, seconds: float) -> RoundSize:
        """As much as will take the time that a round is to last, going by the last one."""
        fits = min(_GROWTH, seconds / took_s)
        objects = max(1, min(_LARGEST_OBJECTS, round(last.objects * fits)))
        return RoundSize(objects, max(1, round(last.size_bytes * fits)))

    def run_stream(
        self, stream: beam.PTransform, run_id: str, topic: str | None, interrupts: Interrupts
    ) -> None:
        """Have a stream run as one job."""
        job = self.named(run_id)
        pipeline = beam.Pipeline(options=job)
        with describing_kafka(topic, self.options):
            _ = pipeline | stream
        if self.is_left:
            pipeline.run()
            return
        state = self.await_end(pipeline.run, interrupts, job)
        if state not in _ENDED:
            raise RunError(f"the job has ended: {state}")

    def named(self, what: str) -> PipelineOptions:
        """Its options with a name for a job: that which they give, else one that no other has.

        Args:
          what: the job is for, which no other job is.
        """
        own = copy.deepcopy(self.options)
        cloud = own.view_as(GoogleCloudOptions)
        cloud.job_name = self.job_name(cloud.job_name, what.lower())
        return own

    def job_name(self, given: str | None, what: str) -> str:
        """The name of a job, by the one that the options give and what the job is for."""
        return given or f"earmark-{what}"

    def await_end(
        self, start: Callable[[], PipelineResult], interrupts: Interrupts, job: PipelineOptions
    ) -> str:
        """Start a job and wait until it has ended; if a signal comes, it is cancelled.

        Args:
          start: begins the job.
          interrupts: whether to stop.
          job: its options.

        Returns:
          The job's last state.

        Raises:
          RunError: the engine failed, or is out of reach.
          RuntimeError: a worker failed; Beam tells how.
        """
        threading.excepthook = _quiet_reader
        try:
            begun = start()
        except (grpc.RpcError, grpc.FutureTimeoutError) as error:
            raise RunError("the job server no longer answers, and did not take the job") from error
        with interrupts.stopping(partial(self._cancel, begun, job)):
            try:
                begun.wait_until_finish()
            except Exception as error:
                if interrupts.number is not None:
                    return str(PipelineState.CANCELLED)
                if isinstance(error, grpc.RpcError):
                    raise RunError(
                        "the job server no longer answers; the job may still be running: cancel it"
                        " before running the same command again"
                    ) from error
                if not _is_of_the_job(error):
                    raise
                if begun.state != PipelineState.CANCELLED:
                    raise _failure(str(error)) from error
        return str(begun.state)

    def _cancel(self, begun: PipelineResult, job: PipelineOptions) -> None:
        """Have a job cancelled, without waiting for it."""

        def cancel_it() -> None:
            with suppress(Exception):
                self.cancel_there(job)
            with suppress(Exception):  # it may be over, or out of reach: nothing is to be done
                begun.cancel()

        threading.Thread(target=cancel_it, daemon=True).start()

    def cancel_there(self, job: PipelineOptions) -> None:
        """Cancel what Beam does not."""


@dataclass
class DealToWorkers(beam.PTransform):  # type: ignore[misc]
    """Deal a round out to workers that read it from a file.

    Attributes:
      plan: the file that says what is to be processed.
      key: what addresses in it are encrypted with.
      listed: how much that is.
      span_s: longer recordings are cut into spans of this length.
    """

    plan: str
    key: bytes
    listed: Listed
    span_s: int

    def expand(self, root: beam.pvalue.PBegin) -> Dealt:
        """Apply the transform."""
        planned = root | ReadPlan(self.plan, self.key)
        spans = (
            planned
            | "Objects" >> beam.Map(lambda each: each.object)
            | SpreadObjects()
            | SplitLongClips(self.span_s)
            | "SpreadSpans" >> beam.Reshuffle()
        )
        return Dealt(planned, spans, root | "Listed" >> beam.Create([self.listed], reshuffle=False))


def _runner(name: str) -> PipelineRunner:
    try:
        return create_runner(name)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        hint = nearest(name, StandardOptions.KNOWN_RUNNER_NAMES)
        raise UsageError(f"--runner {name}: no such runner{hint}") from error


def _quiet_reader(failed: threading.ExceptHookArgs) -> None:
    """Beam's thread that reads messages ends with a traceback when its connection is lost.

    Whoever waits for the job is told the same.
    """
    if not isinstance(failed.exc_value, grpc.RpcError):
        threading.__excepthook__(failed)


def _is_of_the_job(error: Exception) -> bool:
    """Whether an engine says with it that a job has failed, or was cancelled."""
    return isinstance(error, RuntimeError) or type(error).__name__ == "DataflowRuntimeException"


def _failure(message: str) -> RuntimeError | RunError:
    """An error for a job that failed: a worker in Python tells its traceback, an engine doesn't."""
    if "Traceback (most recent call last)" in message:
        return RuntimeError(message)
    return RunError(next(iter(message.splitlines()), "the job failed"))
