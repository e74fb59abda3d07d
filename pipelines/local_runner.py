"""Running in this process: Beam's own engine, with a thread for each core."""

from __future__ import annotations

import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers


def is_local(options: PipelineOptions) -> bool:
    """Whether the workers are to be threads of this process."""
    return options.view_as(StandardOptions).runner in (None, "DirectRunner", "FnApiRunner")


def use_all_cores(options: PipelineOptions, flags: Sequence[str]) -> None:
    """Have a thread for each core, unless the flags say how many."""
    direct = options.view_as(DirectOptions)
    if not any(flag.split("=")[0] == "--direct_num_workers" for flag in flags):
        direct.direct_num_workers = cores()
    direct.direct_running_mode = "multi_threading"


def local_runner() -> FnApiRunner:
    """The engine that runs a pipeline in threads of this process.

    It is what Beam's DirectRunner falls back on: that one first tries to download another.
    """
    # By default a timer empties a worker's output buffer once a second, without a lock against the
    # worker that is writing to it: now and then elements of longer bundles are lost. Without the
    # timer it is emptied when it is full and when the bundle ends.
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
    return FnApiRunner()


def cores() -> int:
    """The cores that this process may use, where the system tells them from those there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
