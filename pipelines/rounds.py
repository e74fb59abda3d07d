"""A local run, round by round: each hears a part of the archive and commits it.

So memory does not grow with the archive. What is to be heard is kept in a file meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import count, islice
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import memory
from pipelines.errors import RunError
from pipelines.graph import ClassifyRound, Hearing
from pipelines.interrupts import Interrupts
from pipelines.local_runner import local_runner
from pipelines.options import ClassifyOptions
from transforms import sharing
from transforms.committing import read_round
from transforms.elements import AudioObject
from transforms.history import Heard
from transforms.listing import list_audio
from transforms.matching import Found
from transforms.output_folder import is_written_by_runs

ROUND_OBJECTS = 2000
"""At most so many objects are heard in a round, since the engine keeps what it knows of each."""


class Planned(NamedTuple):
    """What is to be heard of an archive, and what was heard of it before.

    Attributes:
      objects: how many are to be heard.
      size_bytes: of those.
      done: how many others have been heard, by earlier runs.
      changed: how many of those to be heard are so since they have changed.
      retried: how many are so since they could not be heard before.
    """

    objects: int
    size_bytes: int
    done: int
    changed: int
    retried: int


def run_in_rounds(
    hearing: Hearing, beam_options: PipelineOptions, plan: Plan, interrupts: Interrupts
) -> None:
    """Hear what is planned in threads of this process, and commit it round by round.

    A round ends when its time is over: what nobody has begun by then goes into the next.

    Raises:
      RunError: the engine lost an object.
      RuntimeError: a worker failed; Beam tells how.
    """
    options, run_id = hearing.options, hearing.made_by.run_id
    source, skipped = plan.to_hear(), plan.skipped()
    waiting: list[ToHear] = []
    largest = ROUND_OBJECTS
    memory.share_arenas()
    for number in count(1):
        waiting += islice(source, max(0, largest - len(waiting)))
        if not waiting or interrupts.number is not None:
            return
        members = tuple(each.object for each in waiting)
        this_round = ClassifyRound(hearing, number, members, skipped, _superseded(waiting))
        with sharing.queue(run_id, options.commit_every_s) as left:
            if interrupts.number is not None:  # it came when there was no queue to stop
                return
            pipeline = beam.Pipeline(runner=local_runner(), options=beam_options)
            _ = pipeline | this_round
            pipeline.run().wait_until_finish()
        heard = len(waiting) - len(left)
        committed = read_round(options.output, run_id, number)["listed"]["objects"]
        if committed != heard:
            raise RunError(f"{heard} objects were to be heard, but {committed} were")
        waiting = [each for each in waiting if each.object.uri in left]
        memory.give_back()
        largest, skipped = min(ROUND_OBJECTS, 2 * heard + 64), {}


def list_inputs(options: ClassifyOptions) -> Iterator[Found]:
    """What a run's patterns mean, but for what runs have written to its output.

    Raises:
      ListingError: a manifest broke on the way.
    """
    found = list_audio(options.input, all_files=options.all_files)
    return (each for each in found if not is_written_by_runs(each.object.uri, options.output))


class ToHear(NamedTuple):
    """An object that is to be heard.

    Attributes:
      object: where it is.
      old_file: the name of the file in each table's folder with its rows, where it has some.
    """

    object: AudioObject
    old_file: str | None = None


class Plan:
    """What there is to hear, each object once, in the order of their URIs."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.execute("pragma synchronous = off")
        database.execute(
            "create table object (uri blob primary key, size integer, version text, kind text)"
            " without rowid"
        )
        database.execute(
            "create table heard (uri blob primary key, version text, reason text, file text)"
            " without rowid"
        )
        database.execute("create table chosen (uri blob primary key, why text) without rowid")

    def add(self, found: Iterable[Found]) -> None:
        """Note what was found; what is meant by one pattern is heard, even if others skip it."""
        rows = ((_encoded(o.uri), o.size_bytes, o.version, skipped_as) for o, skipped_as in found)
        self._insert(
            "insert into object values (?, ?, ?, ?) on conflict (uri) do update set"
            " size = excluded.size, version = excluded.version, kind = excluded.kind"
            " where (excluded.kind is null, excluded.version) > (kind is null, version)",
            rows,
        )

    def choose(self, history: Iterable[Heard], *, retry_failed: bool) -> Planned:
        """Decide what is to be heard of what was found: what is new, has changed, or failed.

        Args:
          history: what has been heard by earlier runs.
          retry_failed: try again whatever could not be heard to its end; else only what could not
            be read.
        """
        rows = ((_encoded(h.uri), h.version, h.reason, h.file) for h in history)
        self._insert("insert or replace into heard values (?, ?, ?, ?)", rows)
        self._database.execute(
            "insert into chosen select uri, case when heard.uri is null then 'new'"
            " when heard.version != object.version then 'changed' else 'retried' end"
            " from object left join heard using (uri) where kind is null and (heard.uri is null"
            " or heard.version != object.version or heard.reason = 'io'"
            " or (? and heard.reason is not null))",
            (retry_failed,),
        )
        return self._planned()

    def skipped(self) -> dict[str, int]:
        """How many files are left out since by name they can't be audio, by extension."""
        return dict(
            self._database.execute(
                "select kind, count(*) from object where kind is not null group by kind"
            )
        )

    def to_hear(self) -> Iterator[ToHear]:
        """All that is to be heard."""
        rows = self._database.execute(
            "select uri, size, object.version, file from chosen join object using (uri)"
            " left join heard using (uri) order by uri"
        )
        for uri, size, version, file in rows:
            yield ToHear(AudioObject(_decoded(uri), size, version), file)

    def _insert(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._database.execute("begin")
        self._database.executemany(statement, rows)
        self._database.execute("commit")

    def _planned(self) -> Planned:
        objects, size_bytes, changed, retried = self._database.execute(
            "select count(*), sum(size), sum(why = 'changed'), sum(why = 'retried')"
            " from chosen join object using (uri)"
        ).fetchone()
        (listed,) = self._database.execute(
            "select count(*) from object where kind is null"
        ).fetchone()
        return Planned(objects, size_bytes or 0, listed - objects, changed or 0, retried or 0)


@contextmanager
def new_plan() -> Iterator[Plan]:
    """An empty plan, in a file that is gone afterwards.

    Raises:
      RunError: there is no room for it.
    """
    # a database without a name lies in a temporary file that SQLite deletes whatever happens
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        try:
            yield Plan(database)
        except sqlite3.OperationalError as error:
            raise RunError(f"cannot list in the folder for temporary files: {error}") from error


def _superseded(members: Iterable[ToHear]) -> dict[str, list[str]]:
    """The URIs whose old rows do not count any more, by the name of the files that hold them."""
    superseded: dict[str, list[str]] = {}
    for each in members:
        if each.old_file is not None:
            superseded.setdefault(each.old_file, []).append(each.object.uri)
    return superseded


def _encoded(uri: str) -> bytes:
    return uri.encode("utf-8", "surrogateescape")


def _decoded(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
