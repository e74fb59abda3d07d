"""What a run needs of an engine, which carries out its pipelines."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from earmark.pipelines.interrupts import Interrupts
from earmark.transforms.elements import Listed, PlannedObject, Span
from earmark.transforms.storage import normal_path


class RoundSize(NamedTuple):
    """How much a round processes.

    Attributes:
      objects: how many.
      size_bytes: of those.
    """

    objects: int
    size_bytes: float


@dataclass(frozen=True)
class Round:
    """A round of a run.

    Attributes:
      run_id: names the run.
      name: of the round in it.
      members: what is to be processed.
      skipped: what the listing left out, to be said in this round's file.
      plan: the file that may say all this to workers.
      span_s: longer recordings are cut into spans of this length.
      seconds: how long the round is to last.
    """

    run_id: str
    name: str
    members: tuple[PlannedObject, ...]
    skipped: Mapping[str, int]
    plan: str
    span_s: int
    seconds: float


class Dealt(NamedTuple):
    """A round as it is dealt out to workers.

    Attributes:
      planned: its members.
      spans: the parts of those, each for a worker.
      listed: how much was begun, in one part or several, of which each says what was skipped.
    """

    planned: beam.PCollection[PlannedObject]
    spans: beam.PCollection[Span]
    listed: beam.PCollection[Listed]


Graph: TypeAlias = Callable[[beam.PTransform], beam.PTransform]
"""A round's graph, once it is known how the round is dealt out: a transform that gives Dealt."""


class Engine(ABC):
    """Where pipelines run.

    Attributes:
      options: Beam's own.
      shares_process: whether workers are threads of this process: they are in its folder, read what
        it reads, note on its board how far they are, and end with it. Those of other engines may go
        on when their job has ended.
      is_left: whether a job is only written down, to be run when nobody waits for it here.
      notice: what is said when a signal comes.
      commit_every_s: how long a round lasts, unless the options of a run say so.
      num_shards: into how many files a round writes each table, likewise; None for as many as suit
        its size.
      first_size: of a run's first round.
    """

    shares_process: ClassVar[bool]
    notice: ClassVar[str]
    commit_every_s: ClassVar[float]
    num_shards: ClassVar[int | None]
    options: PipelineOptions
    is_left: bool
    first_size: RoundSize

    @property
    def threads(self) -> int:
        """How many recordings are processed at the same time; of other engines, a guess."""
        asked: int = self.options.view_as(DirectOptions).direct_num_workers
        return asked or cores()

    @property
    def open_files(self) -> int:
        """How many files it may have open in this process."""
        return 0

    def path(self, path: str) -> str:
        """A local path in a form that is the same for all workers."""
        return normal_path(path)

    @abstractmethod
    def check(self, named: Mapping[str, Iterable[str]]) -> None:
        """Check that runs are possible here.

        Args:
          named: paths and URIs that workers read or write, by the option that names them.

        Raises:
          UsageError: they are not.
        """

    @abstractmethod
    def check_watch(
        self, notifications: str | None, *, retry_failed: bool, num_shards: int | None
    ) -> None:
        """Check that a watch is asked for nothing that can't be had of it.

        Args:
          notifications: what tells it what is new, as the option names it.
          retry_failed: whether it is to try again what has failed.
          num_shards: files for each table.

        Raises:
          UsageError: it is.
        """

    @abstractmethod
    def run_round(self, this: Round, graph: Graph, interrupts: Interrupts) -> set[str] | None:
        """Have a round processed and committed.

        Args:
          this: the round.
          graph: makes its graph.
          interrupts: whether to stop.

        Returns:
          The URIs of members that were not begun; None if the round is not committed, since it was
          interrupted, or left to the engine.

        Raises:
          RunError: the engine failed, or is out of reach.
          RuntimeError: a worker failed; Beam tells how.
        """

    @abstractmethod
    def next_size(self, last: RoundSize, took_s: float, seconds: float) -> RoundSize:
        """How large the next round is to be.

        Args:
          last: the size of the last.
          took_s: how long that took.
          seconds: how long a round is to last.
        """


class StreamEngine(Engine):
    """One whose jobs can go on for ever; of others, a watch is rounds again and again."""

    @abstractmethod
    def run_stream(
        self, stream: beam.PTransform, run_id: str, topic: str | None, interrupts: Interrupts
    ) -> None:
        """Have a stream run until a signal comes, or it is stopped there.

        Args:
          stream: its graph.
          run_id: names the run.
          topic: where notifications come from that feed it, as the option names it.
          interrupts: whether to stop.

        Raises:
          RunError: the job came to an end that nobody has asked for, or the topic can't be read.
          RuntimeError: it failed; Beam tells how.
        """


def cores() -> int:
    """The cores that this process may use, where the system tells them from those there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
