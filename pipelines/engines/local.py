"""Running in this process: Beam's own engine, with a thread for each core.

Its workers are handed their work in memory. Beam's other way to have several, over gRPC, listens on
all addresses of the machine without asking who calls, and serves any file that the user can read.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from inspect import Signature
from types import MethodType
from typing import Any, TypeVar

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms import core
from apache_beam.typehints.decorators import get_signature

from earmark.pipelines.engines.base import Dealt, Engine, Graph, Round, RoundSize, cores
from earmark.pipelines.engines.memory import give_back, share_arenas
from earmark.pipelines.errors import UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.shared import is_inherited, shared
from earmark.transforms.decoding.splitting import SplitLongClips, is_small
from earmark.transforms.elements import Listed
from earmark.transforms.storage import normal_path
from earmark.transforms.workers import sharing

MAX_WORKERS = 64
"""As many threads as are of use in one process."""

ROUND_OBJECTS = 1000
"""At most so many objects are processed in a round: what is heard of each waits in memory."""

_FILES_FOR_A_RUN = 64
_FILES_FOR_A_WORKER = 8
"""Pipes of its decoder, the recording, files that it writes."""

_View = TypeVar("_View", bound=PipelineOptions)

_IN_MEMORY = "in_memory"
_THREADS = (_IN_MEMORY, "multi_threading")


class LocalEngine(Engine):
    """Threads of this process.

    Args:
      flags: Beam's options.

    Raises:
      UsageError: they ask for what cannot be had.
    """

    shares_process = True
    notice = "finishing the recordings in progress, and committing"
    commit_every_s = 120.0
    num_shards = 1

    def __init__(self, flags: Sequence[str], is_stream: bool = False) -> None:
        self.options = _Options(list(flags))
        self.is_left = False
        self.first_size = RoundSize(ROUND_OBJECTS, float("inf"))
        use_all_cores(self.options, flags)

    def path(self, path: str) -> str:
        """A local path: a relative one stays so."""
        return normal_path(path) if os.path.isabs(path) else path

    def check(self, named: Mapping[str, Iterable[str]]) -> None:
        """Check that Beam's threads are this process's; workers can see what it can."""
        if is_inherited(_Turn):
            raise UsageError(
                "this process was forked from one that had run a pipeline, and lacks its threads; "
                "start it in another way, as with multiprocessing.get_context('spawn')"
            )

    @property
    def open_files(self) -> int:
        """How many files it may have open."""
        return _FILES_FOR_A_RUN + _FILES_FOR_A_WORKER * self.threads

    def check_watch(
        self, notifications: str | None, *, retry_failed: bool, num_shards: int | None
    ) -> None:
        """Check that it isn't to be notified."""
        if notifications is not None:
            raise UsageError(
                f"--notifications {notifications}: a local watch lists its inputs itself; leave "
                "this out, or name a --runner"
            )

    def run_round(self, this: Round, graph: Graph, interrupts: Interrupts) -> set[str] | None:
        """Process a round; it ends when its time is over, with what has been begun by then."""
        share_arenas()
        stop = partial(sharing.stop, this.run_id)
        with sharing.queue(this.run_id, this.seconds) as left, interrupts.stopping(stop):
            if interrupts.number is not None:
                return None
            pipeline = beam.Pipeline(runner=local_runner(), options=self._options_for(this))
            _ = pipeline | graph(DealToThreads(this))
            pipeline.run().wait_until_finish()
        give_back()
        return left

    def _options_for(self, this: Round) -> PipelineOptions:
        """Beam's options for a round, with no more threads than there may be spans.

        Each takes part in each stage of the pipeline, even if it has nothing to do there.
        """
        options = copy.deepcopy(self.options)
        if all(is_small(each.object) for each in this.members):
            threads = min(self.threads, len(this.members))
            options.view_as(DirectOptions).direct_num_workers = threads
        return options

    def next_size(self, last: RoundSize, took_s: float, seconds: float) -> RoundSize:
        """As much as may be begun: what more is listed beforehand only waits in memory."""
        return RoundSize(min(ROUND_OBJECTS, 2 * last.objects + 64), float("inf"))


@dataclass
class DealToThreads(beam.PTransform):  # type: ignore[misc]
    """Deal a round out to threads of this process."""

    this: Round

    def expand(self, root: beam.pvalue.PBegin) -> Dealt:
        """Apply the transform."""
        planned = root | "Planned" >> beam.Create(self.this.members)
        shared = (
            planned
            | "Objects" >> beam.Map(lambda each: each.object)
            | SplitLongClips(self.this.span_s)
            | sharing.ShareAmongThreads(self.this.run_id)
        )
        listed = shared.clips | "Listed" >> beam.Map(Listed, self.this.skipped)
        return Dealt(planned, shared.spans, listed)


class _Options(PipelineOptions):  # type: ignore[misc]
    """Beam's options, of which each view is made once.

    Beam asks for hundreds while it builds a pipeline, and would make a parser for each.
    """

    def view_as(self, cls: type[_View]) -> _View:
        """Return a view of these options, which changes with them."""
        views = self.__dict__.setdefault("_views", {})  # Beam refuses other attributes to be set
        if cls not in views:
            views[cls] = super().view_as(cls)
        view: _View = views[cls]
        return view


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


def _signature(function: Any) -> Signature:
    """The signature of a function; of a method, it is found out only once."""
    if isinstance(function, MethodType):
        return _signature_of_method(function.__func__)
    signature: Signature = get_signature(function)
    return signature


@lru_cache(maxsize=1024)
def _signature_of_method(function: Any) -> Signature:
    signature: Signature = get_signature(MethodType(function, object()))
    return signature


# Beam looks at each method of each DoFn for parameters that hold state, again and again while it
# builds a pipeline and in each stage and worker: a fifth of what a round of few recordings takes.
core.get_signature = _signature


def local_runner() -> FnApiRunner:
    """The engine that runs a pipeline in threads of this process, without opening a port.

    It is what Beam's DirectRunner falls back on: that one first tries to download another.
    """
    return _InMemoryRunner()


class _Turn:
    """Of the one pipeline that runs."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class _InMemoryRunner(FnApiRunner):  # type: ignore[misc]
    """Runs one pipeline of this process at a time.

    Beam deals the bundles of a stage out to workers by a number that all pipelines count up, so
    two pipelines could have a worker process two bundles at once, which loses elements: what
    carries them in memory is not meant for that.
    """

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        with shared(_Turn).lock:
            return super().run_pipeline(pipeline, options)
