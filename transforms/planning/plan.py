"""Planning what to process: objects that are new, have changed, or could not be read before.

A plan is an index of the last listing and of the output's rows, on disk since both may be long. All
of it comes from these and from the listing before the last; it is deleted with its process.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from enum import Enum
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from earmark.transforms.elements import Address, AudioObject, Found, PlannedObject
from earmark.transforms.errors import PASSING_REASONS, ExpectedError
from earmark.transforms.output import Processed, is_since_planned
from earmark.transforms.storage import KINDS, OTHERS, is_same_version


class PlanError(ExpectedError):
    """There is no room for a plan; the message is one line."""


class State(Enum):
    """What an object is to a run or a watch; docs/streams.md says what moves it to the next."""

    NOTIFIED = "notified"
    """A message names it, and it has not been looked up. In the engine's state."""

    SETTLING = "settling"
    """The last listing has a version of it that the one before had not. In a plan."""

    DUE = "due"
    """It is to be processed, once there is room. In a plan."""

    UNDER_WAY = "under way"
    """It is being processed. In the engine's state, or in the round of a run on this machine."""

    PROCESSED = "processed"
    """The output has rows of this version. In the output."""

    FAILED = "failed"
    """The output says why this version could not be read, or not to its end. In the output."""

    SKIPPED = "skipped"
    """By its name it can't be audio. In a plan, and in the run's file."""


class Retry(Enum):
    """Which failed objects are due again, though they have not changed."""

    NOTHING = "nothing"
    UNREADABLE = "unreadable"
    FAILED = "failed"


class Planned(NamedTuple):
    """What is to be processed of an archive, and what was before.

    Attributes:
      objects: how many are due.
      size_bytes: of those.
      done: how many others are processed, or failed.
      changed: how many of those that are due have rows of another version.
      retried: how many of them have failed before.
      moved: how many were given another root.
    """

    objects: int
    size_bytes: int
    done: int
    changed: int
    retried: int
    moved: int = 0


class Plan:
    """What there is and what of it has rows, each object once, in the order of their URIs."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._kinds: set[str] = set()
        self._look = 0
        database.execute("pragma synchronous = off")
        database.create_function("same_version", 2, is_same_version, deterministic=True)
        database.create_function("upwards", 1, _upwards, deterministic=True)
        database.create_function("name_and", 2, _name_and, deterministic=True)
        database.execute(
            "create table found (uri blob primary key, size integer, version text, kind text,"
            " look integer, version_before text, address text) without rowid"
        )
        database.execute(
            "create table processed (uri blob primary key, version text, reason text, file text,"
            " size integer) without rowid"
        )

    def look(self, found: Iterable[Found]) -> None:
        """Replace the listing by a new one, even if that ends in an error.

        An object that one pattern includes is included, even if others skip it.
        """
        self._look += 1
        self._insert(
            "insert into found values (?, ?, ?, ?, ?, null, ?) on conflict (uri) do update set"
            " version_before = iif(look < excluded.look, version, version_before),"
            " size = excluded.size, version = excluded.version, kind = excluded.kind,"
            " look = excluded.look, address = excluded.address where look < excluded.look"
            " or (excluded.kind is null, excluded.version) > (kind is null, version)",
            (
                (_encoded(o.uri), o.size_bytes, o.version, kind, self._look, _url(o.address))
                for o, kind in found
            ),
        )
        self._database.execute("delete from found where look < ?", (self._look,))

    def note(self, history: Iterable[Processed]) -> None:
        """Add objects that have rows, from this run or others."""
        rows = ((_encoded(p.uri), p.version, p.reason, p.file, p.size_bytes) for p in history)
        self._insert("insert or replace into processed values (?, ?, ?, ?, ?)", rows)

    def move(self, old: str, new: str) -> None:
        """Note that objects with rows have another root.

        They keep their version, unless the last look has found one of the same size there.
        """
        for statement in _MOVE:
            self._database.execute(statement, _moving(old, new))

    def count_known_under_both(self, old: str, new: str) -> int:
        """How many objects with rows have counterparts with rows under another root."""
        is_known = "place in (select uri from processed)"
        return self._counted(f"({_AT_NEW_ROOT}) where {is_known}", _moving(old, new))

    def count_listed_at(self, old: str, new: str) -> int:
        """How many objects with rows the last look has found under another root, of equal size."""
        is_there = "found.uri = place and found.size is known.size"
        listed = f"({_AT_NEW_ROOT}) as known join found on {is_there}"
        return self._counted(listed, _moving(old, new))

    def due(self, retry: Retry, *, settled: bool = False) -> Iterator[PlannedObject]:
        """All objects that are due now.

        Args:
          retry: which failed objects are due again, though they have not changed.
          settled: only objects that had the same version at the look before.
        """
        for uri, size, version, url, file in self._database.execute(
            f"select uri, size, version, address, file from ({_STATES}) where state = 'due'"
            " order by uri",
            {"retry": retry.value, "settled": settled},
        ):
            address = None if url is None else Address(url)
            yield PlannedObject(AudioObject(_decoded(uri), size, version, address), file)

    def count(self, retry: Retry, *, settled: bool = False) -> Planned:
        """How much is due, and how much is done; arguments as of `due`."""
        (counts,) = self._database.execute(
            "select sum(state = 'due'), sum(size * (state = 'due')),"
            " sum(state in ('processed', 'failed')), sum(state = 'due' and not is_same),"
            f" sum(state = 'due' and is_same) from ({_STATES})",
            {"retry": retry.value, "settled": settled},
        )
        return Planned(*(each or 0 for each in counts))

    def is_processed(self, planned: PlannedObject) -> bool:
        """Whether an object has got rows since it was planned, in failures/ too."""
        found = self._database.execute(
            "select version, file from processed where uri = ?", (_encoded(planned.object.uri),)
        ).fetchone()
        if found is None:
            return False
        version, file = found
        is_same = is_same_version(version, planned.object.version)
        return is_same or is_since_planned(file, planned.old_file)

    def is_listed(self, uri: str) -> bool:
        """Whether the last look has found an object."""
        row = "select 1 from found where uri = ?"
        return self._database.execute(row, (_encoded(uri),)).fetchone() is not None

    def known_version(self, uri: str) -> str | None:
        """The version of an object that its row has; None if it has none."""
        row = "select version from processed where uri = ?"
        found = self._database.execute(row, (_encoded(uri),)).fetchone()
        return None if found is None else str(found[0])

    def count_known_below(self, root: str) -> int:
        """How many objects with rows lie under a root."""
        return self._counted(f"processed where {_BELOW}", _below(root))

    def count_moving(self, old: str, new: str) -> int:
        """How many objects with rows lie under an old root, and not under a new one inside it."""
        return self._counted(f"({_AT_NEW_ROOT})", _moving(old, new))

    def count_new_below(self, root: str) -> int:
        """How many listed objects without rows lie under a root."""
        return self._counted(f"({_NEW}) where {_BELOW}", _below(root))

    def alike(self, least_bytes: int) -> Iterator[tuple[str, str]]:
        """Known objects that the last look has not found, each with a new one that is like it.

        They have the same base name and size; of several, the one with the most folders of equal
        names above it, so that sites whose recorders give the same names are told apart.

        Args:
          least_bytes: smaller objects are left out.
        """
        for statement in _FIND_ALIKE:
            self._database.execute(statement, {"least": least_bytes})
        for new, *others in self._database.execute(_ALIKE):
            known = max(others, key=partial(_steps_alike, new))
            if _steps_alike(new, known):
                yield _decoded(_upwards(known)), _decoded(_upwards(new))

    def _counted(self, rows: str, where: Mapping[str, bytes | int]) -> int:
        (count,) = self._database.execute(f"select count(*) from {rows}", where).fetchone()
        return int(count)

    def skipped(self) -> dict[str, int]:
        """How many files are skipped because their names rule out audio, by extension.

        The first call chooses the most frequent extensions to count separately. Later calls count
        the same ones, so that a watch can compute what has come since.
        """
        counts: dict[str, int] = {}
        for kind, count in self._database.execute(
            "select kind, count(*) as files from found where kind is not null group by kind"
            " order by files desc, kind"
        ):
            if len(self._kinds) < KINDS:
                self._kinds.add(kind)
            name = kind if kind in self._kinds else OTHERS
            counts[name] = counts.get(name, 0) + count
        return counts

    def _insert(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._database.execute("begin")
        try:
            self._database.executemany(statement, rows)
        finally:  # what came before a store broke off is true, and is not read again
            self._database.execute("commit")


# of what is signed and can't be looked up, the signature has most likely expired
_STATES = f"""
    select uri, size, version, address, file, is_same, case
        when kind is not null then '{State.SKIPPED.value}'
        when is_same and reason is null then '{State.PROCESSED.value}'
        when is_same and not (:retry = '{Retry.FAILED.value}'
            or (:retry = '{Retry.UNREADABLE.value}' and reason in {PASSING_REASONS}))
            then '{State.FAILED.value}'
        when :settled and version_before is not version then '{State.SETTLING.value}'
        else '{State.DUE.value}' end as state
    from (
        select uri, found.size as size, kind, found.version as version, version_before, address,
            reason, file, iif(processed.version is null, null, address is not null
                and found.version = '' or same_version(processed.version, found.version)) as is_same
        from found left join processed using (uri)
    )
"""


_NEW = """
    select uri, size from found where kind is null
        and not exists (select 1 from processed where processed.uri = found.uri)
"""
_BELOW = "(uri = :root or (uri >= :inside and uri < :behind) or (uri >= :member and uri < :last))"
_STAYS = _BELOW.replace(":", ":stays_")
_MOVING = f"{_BELOW} and not {_STAYS}"
_AT_NEW_ROOT = f"""
    select cast(:new || substr(uri, :length + 1) as blob) as place, version, reason, file, size
    from processed where {_MOVING}
"""

_MOVE = (
    "drop table if exists moved",
    f"""create table moved as select place, coalesce((select version from found
        where found.uri = place and found.size = known.size), version), reason, file, size
        from ({_AT_NEW_ROOT}) as known""",
    f"delete from processed where {_MOVING}",
    "insert or replace into processed select * from moved",
    "drop table moved",
)

_FIND_ALIKE = (
    "drop table if exists fresh",
    "drop table if exists gone",
    f"""create table fresh as select upwards(uri) as place, size from ({_NEW}) where size >= :least
        order by uri""",
    "create index fresh_places on fresh (size, place)",
    """create table gone as select upwards(uri) as place, size from processed
        where size >= :least and exists (select 1 from fresh)
        and not exists (select 1 from found where found.uri = processed.uri)
        and exists (select 1 from fresh where fresh.size = processed.size and fresh.place
            between name_and(processed.uri, '/') and name_and(processed.uri, '0'))""",
    "create index gone_places on gone (size, place)",
)
# what ends alike is side by side when it is sorted by its steps, the last first
_ALIKE = """
    select place,
        (select max(place) from gone where size = fresh.size and place <= fresh.place),
        (select min(place) from gone where size = fresh.size and place >= fresh.place)
    from fresh
"""


def _upwards(uri: bytes) -> bytes:
    """The steps of a URI, the last one first."""
    return b"/".join(reversed(uri.split(b"/")))


def _name_and(uri: bytes, sign: str) -> bytes:
    """The base name of a URI, followed by a sign."""
    return uri.rpartition(b"/")[2] + sign.encode()


def _steps_alike(one: bytes, other: bytes | None) -> int:
    """How many steps two places have in common."""
    pairs = zip(one.split(b"/"), (other or b"").split(b"/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _below(root: str) -> dict[str, bytes]:
    """The bounds of what lies under a root, or in an archive that is one; "0" follows "/"."""
    begin = _encoded(root.rstrip("/"))
    bounds = {"inside": b"/", "behind": b"0", "member": b"!/", "last": b"!0"}
    return {"root": begin, **{name: begin + sign for name, sign in bounds.items()}}


def _moving(old: str, new: str) -> dict[str, bytes | int]:
    """What moves from one root to another; what lies under a new one inside the old one stays."""
    before, after = _below(old), _below(new)
    is_inside = after["root"].startswith((before["inside"], before["member"]))
    stays = after if is_inside else dict.fromkeys(after, b"")
    return {
        **before,
        "length": len(before["root"]),
        "new": after["root"],
        **{f"stays_{name}": bound for name, bound in stays.items()},
    }


@contextmanager
def new_plan() -> Iterator[Plan]:
    """An empty plan, in a file that is deleted afterwards; for one thread at a time.

    Raises:
      PlanError: there is no room for it.
    """
    # a database without a name lies in a temporary file that SQLite deletes whatever happens
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False, factory=_Database)
    with closing(database), _no_room_told():
        yield Plan(database)


class _Database(sqlite3.Connection):
    """A database that raises PlanError where there is no room."""

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
        raise PlanError(
            f"cannot store the list of objects in the temporary folder: {error}"
        ) from error


def _url(address: Address | None) -> str | None:
    return None if address is None else address.url


def _encoded(uri: str) -> bytes:
    return uri.encode("utf-8", "surrogateescape")


def _decoded(uri: bytes) -> str:
    return uri.decode("utf-8", "surrogateescape")
