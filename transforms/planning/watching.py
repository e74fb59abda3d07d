"""Looking for recordings that are new or have changed: once, or again and again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.coders import BooleanCoder, Coder
from apache_beam.metrics import Metrics
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
)

from earmark.transforms.archives import archives_of
from earmark.transforms.elements import Address, PlannedObject
from earmark.transforms.listing import list_audio, list_meant
from earmark.transforms.output import provenance_of, read_history, without_own_files
from earmark.transforms.planning.plan import Plan, Retry, new_plan
from earmark.transforms.settings import Settings
from earmark.transforms.storage import ListingError, find, reason, shown, store_errors
from earmark.transforms.workers import marking

AT_MOST = 20_000
"""So many objects may be under way at once in a stream; what more there is waits for them."""

PATIENCE_S = 3600.0
"""How long it is tried to look up what a stream was notified of."""

_LOOK_UP_THREADS = 16

_log = logging.getLogger(__name__)


class Planner:
    """Plans what a run is to process, from look to look; for one thread at a time.

    Attributes:
      plan: what the last look has found.
    """

    plan: Plan

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._provenance = provenance_of(settings)
        self._resources = ExitStack()
        self._files_read: set[str] = set()
        self.plan = self._resources.enter_context(new_plan())

    def close(self) -> None:
        """Give back what it holds."""
        self._resources.close()

    def look(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """See what there is, and what of it has rows.

        Args:
          is_over: whether to stop listing.

        Raises:
          ListingError: a manifest broke on the way.
          HistoryError: the output holds rows that were made otherwise.
          OSError: a store cannot be reached, or another of its errors.
        """
        asked = self._settings
        found = list_audio(asked.patterns, all_files=asked.all_files, uri_column=asked.uri_column)
        self.plan.look(takewhile(lambda _: not is_over(), without_own_files(found, asked.output)))
        self.note_history()

    def look_up(self, uris: Collection[str], given_up: Container[str]) -> Missed:
        """See what patterns mean of some objects; what has rows is as it was noted.

        Args:
          uris: which ones.
          given_up: those that are due, too, if they cannot be looked up, and become failures.
        """
        with ThreadPoolExecutor(_LOOK_UP_THREADS) as threads:
            found = dict(zip(uris, threads.map(find, uris), strict=True))
        unseen = {uri for uri, each in found.items() if each and each.size_bytes is None}
        unseen = {uri for uri in unseen if uri not in given_up}
        there = [each for uri, each in found.items() if each is not None and uri not in unseen]
        patterns, all_files = self._settings.patterns, self._settings.all_files
        meant = (list_meant(each, patterns, all_files) for each in there)
        self.plan.look(chain.from_iterable(meant))
        return Missed({uri for uri, each in found.items() if each is None}, unseen)

    def note_history(self) -> None:
        """See what has rows; raises as `look`."""
        output, known = self._settings.output, self._files_read
        self.plan.note(read_history(output, self._provenance, known=known))


def failed_looks() -> tuple[type[Exception], ...]:
    """What a look raises that may succeed another time."""
    return store_errors(ListingError)


class Missed(NamedTuple):
    """What has not been found.

    Attributes:
      gone: what isn't there.
      unseen: what may be there, and cannot be looked up.
    """

    gone: set[str]
    unseen: set[str]


@dataclass
class WatchAudio(beam.PTransform):  # type: ignore[misc]
    """Look for what is new or has changed, for ever; from ticks to PlannedObject.

    A tick is an element None, in the moment in which a look is due. What has rows already, and what
    is on its way to them, is left out: the latter is kept in Beam's state, so that a stream that is
    restored from a snapshot knows what the snapshot holds. No failed object is tried again.

    An element that is a string is the URI of an object that is known to be new; it is looked up at
    the next tick, or once what is under way of it is committed. If there are such, patterns are
    listed only until all that was there before has been found. Of what is notified

    - what has rows of its version, as after a message that came twice, is left out;
    - what is gone is left out, and counted;
    - what cannot be looked up is tried again for an hour, and then planned as any object that
      cannot be read: it becomes a failure.

    Attributes:
      settings: of the run: what is looked for, and how its rows are made.
      every_s: seconds between looks. A stream that was stopped gets the ticks that it has missed
        all at once, when one look does for all.
      notified: whether URIs come, too.
    """

    settings: Settings
    every_s: float
    notified: bool = False

    def expand(self, ticks: beam.PCollection[str | None]) -> beam.PCollection[PlannedObject]:
        """Apply the transform."""
        return (
            ticks
            | "Together" >> beam.Map(_with_one_key).with_output_types(tuple[str, str | None])
            | "Look" >> beam.ParDo(_LookFn(self)).with_output_types(PlannedObject)
        )


def _with_one_key(tick: str | None) -> tuple[str, str | None]:
    return "", tick


class Notified(NamedTuple):
    """An object that a message has named.

    Attributes:
      uri: of the object.
      unseen_since_s: since when it cannot be looked up, in seconds since 1970; None if nobody has
        tried, or it could be.
    """

    uri: str
    unseen_since_s: float | None = None


class _ArrayCoder(Coder):  # type: ignore[misc]
    """Encodes tuples as JSON: names that are no UTF-8, too, and whatever their class is called."""

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def encode(self, value: object) -> bytes:
        return json.dumps(value, separators=(",", ":"), default=_without_address).encode("ascii")

    def decode(self, encoded: bytes) -> Any:
        return self._make(*json.loads(encoded))

    def is_deterministic(self) -> bool:
        return True


def _without_address(_: Address) -> None:
    """What of an address outlasts a snapshot."""


_UNDER_WAY = beam.DoFn.StateParam(BagStateSpec("under_way", _ArrayCoder(PlannedObject.of)))
_NOTIFIED = beam.DoFn.StateParam(BagStateSpec("notified", _ArrayCoder(Notified)))
_IS_LISTED = beam.DoFn.StateParam(ReadModifyWriteStateSpec("is_listed", BooleanCoder()))


class _LookFn(beam.DoFn):  # type: ignore[misc]
    """Looks at ticks. Its state:

    - under_way: PlannedObjects that were given, and have no rows as far as is known.
    - notified: of what is to be looked up.
    - is_listed: true once patterns need not be listed any more.
    """

    def __init__(self, stage: WatchAudio) -> None:
        self._stage = stage

    def setup(self) -> None:
        self._planner = Planner(self._stage.settings)
        self._due = 0.0
        self._looks = 0

    def teardown(self) -> None:
        self._planner.close()

    @marking
    def process(
        self,
        element: tuple[str, str | None],
        under_way: BagRuntimeState = _UNDER_WAY,
        notified: BagRuntimeState = _NOTIFIED,
        is_listed: ReadModifyWriteRuntimeState = _IS_LISTED,
    ) -> Iterator[PlannedObject]:
        _, uri = element
        if uri is not None:
            notified.add(Notified(uri))
            return
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._stage.every_s / 2
        try:
            if self._stage.notified and is_listed.read():
                found = self._look_up(under_way, notified)
            else:
                found = self._list(under_way, is_listed)
        except failed_looks() as error:
            Metrics.counter(WatchAudio, "failed_looks").inc()
            _log.warning(
                "looking for new recordings failed, and will be tried again: %s", reason(error)
            )
            return
        yield from found

    def _list(
        self, under_way: BagRuntimeState, is_listed: ReadModifyWriteRuntimeState
    ) -> list[PlannedObject]:
        self._planner.look()
        self._looks += 1
        busy = self._busy(under_way)
        found = self._give(busy, under_way, settled=True)
        # what had not settled by the second look has come, or changed, while it was notified of
        if self._stage.notified and self._looks > 1 and len(busy) + len(found) < AT_MOST:
            is_listed.write(True)
        return found

    def _look_up(
        self, under_way: BagRuntimeState, notified: BagRuntimeState
    ) -> list[PlannedObject]:
        waiting = _waiting(notified)
        if not waiting:
            return []
        self._planner.note_history()
        busy = self._busy(under_way)
        room, now = _room(busy), time.time()
        held = {name for each in busy for name in (each.object.uri, *archives_of(each.object.uri))}
        turn = list(islice((uri for uri in waiting if uri not in held), room))
        given_up = {uri for uri, since in waiting.items() if since and now - since > PATIENCE_S}
        missed = self._planner.look_up(turn, given_up)
        found = self._give(busy, under_way, settled=False)
        _count_missed(missed)
        done = set(turn) - missed.unseen
        if len(found) == room:  # there may be more of what was looked up
            done &= missed.gone | {each.object.uri for each in found}
        later = {uri: since for uri, since in waiting.items() if uri not in done}
        later |= {uri: waiting[uri] or now for uri in missed.unseen}
        _replace(notified, map(Notified._make, later.items()))
        return found

    def _busy(self, under_way: BagRuntimeState) -> list[PlannedObject]:
        return [each for each in under_way.read() if not self._planner.plan.is_processed(each)]

    def _give(
        self, busy: list[PlannedObject], under_way: BagRuntimeState, settled: bool
    ) -> list[PlannedObject]:
        """What is due and is not under way in any version, as far as there is room; now it is."""
        uris = {each.object.uri for each in busy}
        due = self._planner.plan.due(Retry.NOTHING, settled=settled)
        found = list(islice((each for each in due if each.object.uri not in uris), _room(busy)))
        _replace(under_way, [*busy, *found])
        return found


def _room(busy: Collection[PlannedObject]) -> int:
    return max(0, AT_MOST - len(busy))


def _waiting(notified: BagRuntimeState) -> dict[str, float | None]:
    """What is to be looked up, each once, and since when that has failed."""
    waiting: dict[str, float | None] = {}
    for uri, since in notified.read():
        waiting[uri] = waiting.get(uri) or since
    return waiting


def _count_missed(missed: Missed) -> None:
    for name, uris in missed._asdict().items():
        if uris:
            Metrics.counter(WatchAudio, name).inc(len(uris))
            _log.warning("of new recordings %d are %s: %s, ...", len(uris), name, shown(min(uris)))


def _replace(bag: BagRuntimeState, members: Iterable[object]) -> None:
    bag.clear()
    for each in members:
        bag.add(each)
