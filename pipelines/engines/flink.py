"""Flink, and any other engine behind a job server, which knows flags of its own."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.runner import PipelineResult

from earmark.pipelines.engines.remote import RemoteEngine
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.interrupts import Interrupts

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
    # a worker that dies costs its own slot's work: by default all slots would begin anew
    "--execution_mode_for_batch": "BATCH_FORCED",
}
"""What a run that ends needs of Flink, unless other values are given."""


class FlinkEngine(RemoteEngine):
    """Flink, with or without a job server of its own."""

    def needed_flags(
        self, options: PipelineOptions, given: Sequence[str], is_stream: bool
    ) -> list[str]:
        """What it needs to be told, of that which the one behind the job server knows."""
        needed = super().needed_flags(options, given, is_stream)
        known = known_flags(options)
        there = {flag.split("=")[0] for flag in given}
        for name, value in (_STREAM_FLAGS if is_stream else _BATCH_FLAGS).items():
            if name in known and name not in there:
                needed.append(name if value is None else f"{name}={value}")
        return needed

    def job_name(self, given: str | None, what: str) -> str:
        """A name that no other job has, since jobs are found by it to be cancelled."""
        return f"{given or 'earmark'}-{what}"

    def await_end(
        self, start: Callable[[], PipelineResult], interrupts: Interrupts, job: PipelineOptions
    ) -> str:
        """Start a job and wait until it has ended: see RemoteEngine."""
        return super().await_end(partial(_started, start), interrupts, job)

    def cancel_there(self, job: PipelineOptions) -> None:
        """Cancel it at Flink: the job server calls it cancelled, and lets it run on."""
        for url in _jobs(job):
            urllib.request.urlopen(
                urllib.request.Request(f"{url}?mode=cancel", method="PATCH"), timeout=_TIMEOUT_S
            )


def _started(start: Callable[[], PipelineResult]) -> PipelineResult:
    try:
        return start()
    except (OSError, RuntimeError) as error:  # Java or the job server's program is missing
        said = " ".join(str(error).split())[:500]
        raise RunError(f"the job could not be started: {said}") from error


def job_server(options: PipelineOptions) -> str | None:
    """The host and port of the job server that jobs go to, if that is given."""
    endpoint: str | None = options.view_as(PortableOptions).job_endpoint
    return endpoint if endpoint and endpoint != "embed" else None


def known_flags(options: PipelineOptions) -> Mapping[str, bool]:
    """The flags of the engine behind a job server, such as Flink's --checkpointing_interval.

    With each goes whether it may be given several times. There are none without a job server.

    Raises:
      UsageError: no job server answers.
    """
    endpoint = job_server(options)
    return _flags_behind(endpoint) if endpoint else {}


@lru_cache(maxsize=8)
def _flags_behind(endpoint: str) -> Mapping[str, bool]:
    request = beam_job_api_pb2.DescribePipelineOptionsRequest()
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            described = stub.DescribePipelineOptions(
                request, timeout=_TIMEOUT_S, wait_for_ready=True
            )
        except grpc.RpcError as error:
            raise UsageError(f"--job_endpoint {endpoint}: no job server answers") from error
    array = beam_job_api_pb2.PipelineOptionType.ARRAY
    return {f"--{option.name}": option.type == array for option in described.options}


def _jobs(options: PipelineOptions) -> Iterator[str]:
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
