"""Engines elsewhere: what the one behind a job server knows, and waiting for its jobs."""

from __future__ import annotations

import copy
import json
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.runner import PipelineResult, PipelineState

from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.transforms.storage import local_path, shown

_TIMEOUT_S = 20.0

_STREAM_FLAGS = {
    # else what a snapshot holds back is overtaken by the watermark, and dropped as late
    "--finish_bundle_before_checkpointing": None,
    "--checkpointing_interval": "10000",
    # a recording of hours may be decoded for longer than Flink waits for a snapshot by itself
    "--checkpoint_timeout_millis": "3600000",
    "--externalized_checkpoints_enabled": None,
    "--retain_externalized_checkpoints_on_cancellation": None,
}
"""What a stream needs of Flink, unless other values are given."""

_BATCH_FLAGS = {
    # what dies costs its own slot's hearing: by default all slots would begin anew
    "--execution_mode_for_batch": "BATCH_FORCED",
}
"""What a run that ends needs of Flink, unless other values are given."""


@lru_cache(maxsize=8)
def known_flags(endpoint: str) -> Mapping[str, bool]:
    """The flags of the engine behind a job server, such as Flink's --checkpointing_interval.

    With each goes whether it may be given several times.

    Args:
      endpoint: the job server's host and port.

    Raises:
      UsageError: no job server answers there.
    """
    request = beam_job_api_pb2.DescribePipelineOptionsRequest()
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            described = stub.DescribePipelineOptions(
                request, timeout=_TIMEOUT_S, wait_for_ready=True
            )
        except grpc.RpcError as error:
            raise UsageError(f"--job_endpoint {endpoint}: no job server answers there") from error
    array = beam_job_api_pb2.PipelineOptionType.ARRAY
    return {f"--{option.name}": option.type == array for option in described.options}


def job_server(options: PipelineOptions) -> str | None:
    """The host and port of the job server that jobs go to, if that is given."""
    endpoint: str | None = options.view_as(PortableOptions).job_endpoint
    return endpoint if endpoint and endpoint != "embed" else None


def engine_flags(options: PipelineOptions, given: Iterable[str], is_stream: bool) -> list[str]:
    """What an engine needs to be told beside the flags that are given."""
    streaming = options.view_as(StandardOptions).streaming
    needed = ["--streaming"] if is_stream and not streaming else []
    endpoint = job_server(options)
    there = {flag.split("=")[0] for flag in given}
    wanted = _STREAM_FLAGS if is_stream else _BATCH_FLAGS
    for name, value in wanted.items() if endpoint else ():
        if name in known_flags(endpoint) and name not in there:
            needed.append(name if value is None else f"{name}={value}")
    return needed


def check_seen_by_workers(
    given: Mapping[str, Iterable[str]], beam_options: PipelineOptions
) -> None:
    """Check that workers can see what they are to read and write.

    Args:
      given: paths and URIs, by the option that names them.
      beam_options: Beam's own.

    Raises:
      UsageError: they are machines of Dataflow's, and it lies on this one.
    """
    if not (beam_options.view_as(StandardOptions).runner or "").endswith("DataflowRunner"):
        return
    for name, uris in given.items():
        for uri in uris:
            if local_path(uri) is not None:
                raise UsageError(
                    f"--{name} {shown(uri)}: Dataflow's workers cannot see it; name a gs:// URI"
                )


def is_template(options: PipelineOptions) -> bool:
    """Whether a job is only written down, to be run by Dataflow when nobody waits for it here."""
    return options.view_as(GoogleCloudOptions).template_location is not None


def named(options: PipelineOptions, run: str) -> PipelineOptions:
    """The same options with a name for the job; where they give one for Dataflow, that.

    Jobs of Flink's are found by it to be cancelled, so there each has one that no other has.

    Args:
      options: Beam's.
      run: what the job is for, which no other job is.
    """
    own = copy.deepcopy(options)
    cloud = own.view_as(GoogleCloudOptions)
    given = cloud.job_name
    if not given or job_server(options):
        cloud.job_name = f"{given or 'earmark'}-{run.lower()}"
    return own


def await_end(
    start: Callable[[], PipelineResult], interrupts: Interrupts, options: PipelineOptions
) -> str:
    """Start a job and wait until it has ended; if a signal comes, it is cancelled.

    Args:
      start: begins the job.
      interrupts: whether to stop.
      options: Beam's.

    Returns:
      The job's last state.

    Raises:
      RunError: the engine failed, or is out of reach.
      RuntimeError: a worker failed; Beam tells how.
    """
    threading.excepthook = _quiet_reader
    try:
        job = start()
    except (grpc.RpcError, grpc.FutureTimeoutError) as error:
        raise RunError("the job server does not answer any more, and takes no job") from error
    with interrupts.stopping(partial(_cancel, job, options)):
        try:
            job.wait_until_finish()
        except Exception as error:
            if interrupts.number is not None:
                return str(PipelineState.CANCELLED)
            if isinstance(error, grpc.RpcError):
                raise RunError(
                    "the job server does not answer any more; the job may go on: cancel it before"
                    " the same command is given again"
                ) from error
            if not _is_of_the_job(error):
                raise
            if job.state != PipelineState.CANCELLED:
                raise _failure(str(error)) from error
    return str(job.state)


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


def _cancel(job: PipelineResult, options: PipelineOptions) -> None:
    """Have a job cancelled, without waiting for it."""

    def cancel_it() -> None:
        # the job server calls a job of Flink's cancelled, and lets it run on
        with suppress(Exception):
            for url in _flink_jobs(options):
                urllib.request.urlopen(
                    urllib.request.Request(f"{url}?mode=cancel", method="PATCH"),
                    timeout=_TIMEOUT_S,
                )
        with suppress(Exception):  # it may be over, or out of reach: there is nothing to be done
            job.cancel()

    threading.Thread(target=cancel_it, daemon=True).start()


def _flink_jobs(options: PipelineOptions) -> Iterator[str]:
    """The addresses of the jobs under way of that name, if it is known where Flink is."""
    master = options.view_as(FlinkRunnerOptions).flink_master or ""
    if not master or master.startswith("["):
        return
    address = master if "://" in master else f"http://{master}"
    with urllib.request.urlopen(f"{address}/jobs/overview", timeout=_TIMEOUT_S) as answer:
        jobs = json.load(answer)["jobs"]
    name = options.view_as(GoogleCloudOptions).job_name
    for job in jobs:
        if job["name"] == name and job["end-time"] < 0:
            yield f"{address}/jobs/{job['jid']}"
