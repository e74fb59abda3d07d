"""Where a pipeline runs: in this process, or on an engine elsewhere."""

from earmark.pipelines.engines.local import is_local, local_runner, use_all_cores, worker_threads
from earmark.pipelines.engines.memory import give_back, share_arenas
from earmark.pipelines.engines.remote import (
    await_end,
    check_seen_by_workers,
    engine_flags,
    is_template,
    job_server,
    known_flags,
    named,
)

__all__ = [
    "await_end",
    "check_seen_by_workers",
    "engine_flags",
    "give_back",
    "is_local",
    "is_template",
    "job_server",
    "known_flags",
    "local_runner",
    "named",
    "share_arenas",
    "use_all_cores",
    "worker_threads",
]
