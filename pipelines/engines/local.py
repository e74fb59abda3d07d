"""Running in this process: Beam's own engine, with a thread for each core.

Its workers are handed their work in memory. Beam's other way to have several, over gRPC, listens on
all addresses of the machine without asking who calls, and serves any file that the user can read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult

from earmark.pipelines.errors import UsageError

MAX_WORKERS = 64
"""As many threads as are of use in one process."""

_IN_MEMORY = "in_memory"
_THREADS = (_IN_MEMORY, "multi_threading")
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
    if "--direct_running_mode" in given and direct.direct_running_mode not in _THREADS:
        mode = direct.direct_running_mode
        raise UsageError(f"--direct_running_mode {mode}: a local run has threads of one process")
    direct.direct_running_mode = _IN_MEMORY


def worker_threads(options: PipelineOptions) -> int:
    """How many recordings are heard at the same time; as on this machine for other engines."""
    asked: int = options.view_as(DirectOptions).direct_num_workers
    return asked or cores()


def local_runner() -> FnApiRunner:
    """The engine that runs a pipeline in threads of this process, without opening a port.

    It is what Beam's DirectRunner falls back on: that one first tries to download another.
    """
    return _InMemoryRunner()


_ONE_AT_A_TIME = threading.Lock()


class _InMemoryRunner(FnApiRunner):  # type: ignore[misc]
    """Runs one pipeline of this process at a time.

    Beam deals the bundles of a stage out to workers by a number that all pipelines count up, so
    two pipelines could have a worker process two bundles at once, which loses elements: what
    carries them in memory is not meant for that.
    """

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> PipelineResult:
        with _ONE_AT_A_TIME:
            return super().run_pipeline(pipeline, options)


def cores() -> int:
    """The cores that this process may use, where the system tells them from those there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
