"""What is to be heard of what there is: what is new, has changed, or could not be read before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from enum import Enum
from typing import Any, NamedTuple

from earmark.transforms.elements import AudioObject, Found, ToHear
from earmark.transforms.errors import PASSING_REASONS
from earmark.transforms.output import Heard, is_since_planned
from earmark.transforms.storage import KINDS, OTHERS, is_same_version


class PlanError(Exception):
    """There is no room for a plan. One line says it."""


class Retry(Enum):
    """What is heard again, though it has not changed since an earlier run."""

    NOTHING = "nothing"
    UNREADABLE = "unreadable"
    FAILED = "failed"


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


class Plan:
    """What there is to hear, each object once, in the order of their URIs."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._kinds: set[str] = set()
        database.execute("pragma synchronous = off")
        database.create_function("same_version", 2, is_same_version, deterministic=True)
        for table in ("object", "before"):
            database.execute(
                f"create table {table} (uri blob primary key, size integer, version text,"
                " kind text) without rowid"
            )
        database.execute(
            "create table heard (uri blob primary key, version text, reason text, file text)"
            " without rowid"
        )
        database.execute("create table chosen (uri blob primary key, why text) without rowid")
        database.execute("create table busy (uri blob primary key) without rowid")

    def add(self, found: Iterable[Found]) -> None:
        """Note what was found; what is meant by one pattern is heard, even if others skip it."""
        rows = ((_encoded(o.uri), o.size_bytes, o.version, skipped_as) for o, skipped_as in found)
        self._insert(
            "insert into object values (?, ?, ?, ?) on conflict (uri) do update set"
            " size = excluded.size, version = excluded.version, kind = excluded.kind"
            " where (excluded.kind is null, excluded.version) > (kind is null, version)",
            rows,
        )

    def note(self, history: Iterable[Heard]) -> None:
        """Note what has been heard, by this run or by others."""
        rows = ((_encoded(h.uri), h.version, h.reason, h.file) for h in history)
        self._insert("insert or replace into heard values (?, ?, ?, ?)", rows)

    def choose(
        self,
        retry: Retry,
        *,
        settled: bool = False,
        under_way: Iterable[AudioObject] = (),
        at_most: int = -1,
    ) -> Planned:
        """Decide what is to be heard of what was found: what is new, has changed, or failed.

        Args:
          retry: what is heard again though it has not changed.
          settled: only what had the same version before `look_again`.
          under_way: what is being heard; no version of it is chosen.
          at_most: so many objects; of more, the first.
        """
        self._database.execute("delete from chosen")
        self._database.execute("delete from busy")
        self._insert("insert into busy values (?)", ((_encoded(o.uri),) for o in under_way))
        self._database.execute(
            "insert into chosen select uri, case when heard.uri is null then 'new'"
            " when same_version(heard.version, object.version) then 'retried' else 'changed' end"
            " from object left join heard using (uri) where kind is null and (heard.uri is null"
            " or not same_version(heard.version, object.version)"
            " or (? and heard.reason in"
            f" ({', '.join('?' * len(PASSING_REASONS))}))"
            " or (? and heard.reason is not null))"
            " and (not ? or exists (select 1 from before"
            " where before.uri = object.uri and before.version = object.version))"
            " and uri not in (select uri from busy)"
            " order by uri limit ?",
            (
                retry is not Retry.NOTHING,
                *PASSING_REASONS,
                retry is Retry.FAILED,
                settled,
                at_most,
            ),
        )
        return self._planned()

    def look_again(self) -> None:
        """Forget what was found, but for its versions."""
        self._database.execute("alter table before rename to spare")
        self._database.execute("alter table object rename to before")
        self._database.execute("alter table spare rename to object")
        self._database.execute("delete from object")

    def is_heard(self, planned: ToHear) -> bool:
        """Whether an object has been heard since it was planned, or tried in vain."""
        found = self._database.execute(
            "select version, file from heard where uri = ?", (_encoded(planned.object.uri),)
        ).fetchone()
        if found is None:
            return False
        version, file = found
        is_same = is_same_version(version, planned.object.version)
        return is_same or is_since_planned(file, planned.old_file)

    def skipped(self) -> dict[str, int]:
        """How many files are left out since by name they can't be audio, by extension.

        The first time, those of which there are most have counts of their own. They keep them, so
        that a watch can tell what has come since.
        """
        counts: dict[str, int] = {}
        for kind, count in self._database.execute(
            "select kind, count(*) as files from object where kind is not null group by kind"
            " order by files desc, kind"
        ):
            if len(self._kinds) < KINDS:
                self._kinds.add(kind)
            name = kind if kind in self._kinds else OTHERS
            counts[name] = counts.get(name, 0) + count
        return counts

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
        try:
            self._database.executemany(statement, rows)
        finally:  # what came before a store broke off is true, and is not read again
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
    """An empty plan, in a file that is gone afterwards; for one thread at a time.

    Raises:
      PlanError: there is no room for it.
    """
    # a database without a name lies in a temporary file that SQLite deletes whatever happens
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False, factory=_Database)
    with closing(database), _no_room_told():
        yield Plan(database)


class _Database(sqlite3.Connection):
    """One that tells where there is no room, wherever it is used."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        with _no_room_told():
            return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        with _no_room_told():
            return super().executemany(*arguments)


@contextmanager
def _no_room_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise PlanError(f"cannot list in the folder for temporary files: {error}") from error


def _encoded(uri: str) -> bytes:
    return uri.encode("utf-8", "surrogateescape")


def _decoded(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
