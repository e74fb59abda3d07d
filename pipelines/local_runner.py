"""Running in this process: Beam's own engine, with a thread for each core."""

from __future__ import annotations

import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers

from pipelines.errors import UsageError

MAX_WORKERS = 64
"""As many threads as are of use in one process."""

_THREADS = "multi_threading"
_LOCAL_RUNNERS = ("directrunner", "direct", "switchingdirectrunner", "fnapirunner")


def is_local(options: PipelineOptions) -> bool:
    """Whether the workers are to be threads of this process."""
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    return runner.lower().rsplit(".", 1)[-1] in _LOCAL_RUNNERS


def use_all_cores(options: PipelineOptions, flags: Sequence[str]) -> None:
    """Have a thread for each core, unless the flags say how many.

    Raises:
      UsageError: the flags ask for what cannot be had.
    """
    given = {flag.split("=")[0] for flag in flags}
    direct = options.view_as(DirectOptions)
    if "--direct_num_workers" not in given:
        direct.direct_num_workers = cores()
    elif not 0 <= direct.direct_num_workers <= MAX_WORKERS:
        asked = direct.direct_num_workers
        raise UsageError(f"--direct_num_workers {asked}: 1 to {MAX_WORKERS}, or 0 for a core each")
    if "--direct_running_mode" in given and direct.direct_running_mode != _THREADS:
        mode = direct.direct_running_mode
        raise UsageError(f"--direct_running_mode {mode}: earmark runs with {_THREADS} only")
    direct.direct_running_mode = _THREADS


def worker_threads(options: PipelineOptions) -> int:
    """How many recordings are heard at the same time; as on this machine for other engines."""
    asked: int = options.view_as(DirectOptions).direct_num_workers
    return asked or cores()


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
