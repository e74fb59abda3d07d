"""A local run, round by round: each hears a part of the archive and commits it.

So memory does not grow with the archive. What is to be heard is kept in a file meanwhile.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.errors import RunError
from pipelines.graph import ClassifyRound, Hearing
from pipelines.local_runner import local_runner
from transforms import progress
from transforms.elements import AudioObject
from transforms.listing import list_audio
from transforms.matching import Found

ROUND_S = 120.0
"""About how long a round takes."""

ROUND_OBJECTS = 2000
"""At most so many objects are heard in a round, since the engine keeps what it knows of each."""

FIRST_ROUND_BYTES = 2 << 30
"""The size of the first round, before it is known how fast bytes are heard."""


def run_in_rounds(hearing: Hearing, beam_options: PipelineOptions) -> None:
    """Hear an archive in threads of this process, and commit it round by round.

    Raises:
      ListingError: a manifest broke on the way.
      RuntimeError: a worker failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    with new_plan() as plan:
        plan.add(list_audio(options.input, all_files=options.all_files))
        progress.board(run_id).listed(*plan.size())
        skipped = plan.skipped()
        for number, objects in enumerate(rounds(plan.objects()), start=1):
            pipeline = beam.Pipeline(runner=local_runner(), options=beam_options)
            _ = pipeline | ClassifyRound(hearing, number, objects, skipped)
            pipeline.run().wait_until_finish()
            skipped = {}


class Plan:
    """What there is to hear, each object once, in the order of their URIs."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("pragma synchronous = off")
        database.execute(
            "create table object (uri blob primary key, size integer, version text, kind text)"
            " without rowid"
        )

    def add(self, found: Iterable[Found]) -> None:
        """Note what was found; what is meant by one pattern is heard, even if others skip it."""
        rows = ((_encoded(o.uri), o.size_bytes, o.version, skipped_as) for o, skipped_as in found)
        self._database.executemany(
            "insert into object values (?, ?, ?, ?) on conflict (uri) do update set"
            " size = excluded.size, version = excluded.version, kind = excluded.kind"
            " where (excluded.kind is null, excluded.version) > (kind is null, version)",
            rows,
        )

    def skipped(self) -> dict[str, int]:
        """How many files are left out since by name they can't be audio, by extension."""
        return dict(
            self._database.execute(
                "select kind, count(*) from object where kind is not null group by kind"
            )
        )

    def size(self) -> tuple[int, int]:
        """How many objects there are to hear, and of how many bytes."""
        objects, size_bytes = self._database.execute(
            "select count(*), sum(size) from object where kind is null"
        ).fetchone()
        return objects, size_bytes or 0

    def objects(self) -> Iterator[AudioObject]:
        """All that is to be heard."""
        rows = self._database.execute(
            "select uri, size, version from object where kind is null order by uri"
        )
        return (AudioObject(_decoded(uri), size, version) for uri, size, version in rows)


@contextmanager
def new_plan() -> Iterator[Plan]:
    """An empty plan, in a file that is gone afterwards.

    Raises:
      RunError: there is no room for it.
    """
    with (
        tempfile.TemporaryDirectory(prefix="earmark-") as folder,
        closing(sqlite3.connect(f"{folder}/plan.sqlite", isolation_level=None)) as database,
    ):
        try:
            yield Plan(database)
        except sqlite3.OperationalError as error:
            raise RunError(f"cannot list in the folder for temporary files: {error}") from error


def rounds(
    objects: Iterable[AudioObject], clock: Callable[[], float] = time.monotonic
) -> Iterator[tuple[AudioObject, ...]]:
    """Put objects together into rounds of about ROUND_S, as fast as the last one went.

    Args:
      objects: what is to be heard.
      clock: the time in seconds; a round is taken to last until the next is asked for.
    """
    largest_bytes = float(FIRST_ROUND_BYTES)
    members: list[AudioObject] = []
    size_bytes = 0
    for each in objects:
        is_full = size_bytes + (each.size_bytes or 0) > largest_bytes
        if members and (is_full or len(members) == ROUND_OBJECTS):
            began = clock()
            yield tuple(members)
            largest_bytes = max(1.0, size_bytes) * ROUND_S / max(clock() - began, 1e-3)
            members, size_bytes = [], 0
        members.append(each)
        size_bytes += each.size_bytes or 0
    if members:
        yield tuple(members)


def _encoded(uri: str) -> bytes:
    return uri.encode("utf-8", "surrogateescape")


def _decoded(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
