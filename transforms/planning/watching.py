"""Looking again and again for recordings that are new or have changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import apache_beam as beam
from apache_beam.coders import PickleCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.userstate import BagRuntimeState, BagStateSpec

from earmark.transforms.archives import archives_of
from earmark.transforms.elements import AudioObject, ToHear
from earmark.transforms.listing import list_audio, list_meant
from earmark.transforms.output import read_history, without_own_files
from earmark.transforms.planning.plan import Plan, Retry, new_plan
from earmark.transforms.storage import STORE_ERRORS, ListingError, find, reason, shown

AT_MOST = 20_000
"""So many objects may be under way at once in a stream; what more there is waits for them."""

PATIENCE_S = 3600.0
"""How long it is tried to look up what a stream was notified of."""

_LOOK_UP_THREADS = 16
FAILED_LOOKS: tuple[type[Exception], ...] = (*STORE_ERRORS, ListingError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """What is watched.

    Attributes:
      patterns: what to look for: see `list_audio`.
      all_files: hear files of any name.
      output: the folder that holds the tables' folders; what runs write there is not looked for.
      settings: how rows are to have been made: see `Provenance.settings`.
    """

    patterns: tuple[str, ...]
    all_files: bool
    output: str
    settings: Mapping[str, str]


class Watch:
    """What is new or has changed, from look to look; for one thread at a time.

    An object counts once it has not changed between two looks: a recorder may still be writing it.

    Attributes:
      plan: what the last look has found.
    """

    plan: Plan

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._resources = ExitStack()
        self._files_read: set[str] = set()
        self.plan = self._resources.enter_context(new_plan())

    def close(self) -> None:
        """Give back what it holds."""
        self._resources.close()

    def look(self) -> None:
        """See what there is, and what of it has been heard.

        Raises:
          ListingError: a manifest broke on the way.
          HistoryError: the output holds rows that were made otherwise.
          OSError: a store cannot be reached, or another of its errors.
        """
        self.plan.look_again()
        found = list_audio(self._watched.patterns, all_files=self._watched.all_files)
        self.plan.add(without_own_files(found, self._watched.output))
        self.note_history()

    def look_up(self, uris: Collection[str], given_up: Container[str]) -> Missed:
        """See what patterns mean of some objects; what has been heard is as it was noted.

        Args:
          uris: which ones.
          given_up: those that are to be failures if they still cannot be looked up.
        """
        watched = self._watched
        self.plan.look_again()
        with ThreadPoolExecutor(_LOOK_UP_THREADS) as threads:
            found = dict(zip(uris, threads.map(find, uris), strict=True))
        unseen = {uri for uri, each in found.items() if each and each.size_bytes is None}
        unseen = {uri for uri in unseen if uri not in given_up}
        there = [each for uri, each in found.items() if each is not None and uri not in unseen]
        for each in there:
            self.plan.add(list_meant(each, watched.patterns, watched.all_files))
        return Missed({uri for uri, each in found.items() if each is None}, unseen)

    def note_history(self) -> None:
        """See what has been heard; raises as look."""
        watched = self._watched
        self.plan.note(read_history(watched.output, watched.settings, known=self._files_read))


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
    """Look for what is new or has changed, for ever; from ticks to ToHear.

    A tick is an element None, in the moment in which a look is due. What is committed already, and
    what is on its way to it, is left out: the latter is kept in Beam's state, so that a stream
    that is restored from a snapshot knows what the snapshot holds. Of what could not be read,
    nothing is tried again.

    An element that is a string is the URI of an object that is known to be new; it is looked up at
    the next tick, or once what is under way of it is committed. If there are such, patterns are
    listed only until all that was there before has been found. Of what is notified

    - what has been heard as it is, as after a message that came twice, is left out;
    - what is gone is left out, and counted;
    - what cannot be looked up is tried again for an hour, and then heard as any object that
      cannot be read: it becomes a failure.

    Attributes:
      watched: what is looked for.
      every_s: seconds between looks. A stream that was stopped gets the ticks that it has missed
        all at once, when one look does for all.
      notified: whether URIs come, too.
    """

    watched: Watched
    every_s: float
    notified: bool = False

    def expand(self, ticks: beam.PCollection[str | None]) -> beam.PCollection[ToHear]:
        """Apply the transform."""
        return (
            ticks
            | "Together" >> beam.Map(_with_one_key).with_output_types(tuple[str, str | None])
            | "Look" >> beam.ParDo(_LookFn(self)).with_output_types(ToHear)
        )


def _with_one_key(tick: str | None) -> tuple[str, str | None]:
    return "", tick


_UNDER_WAY = beam.DoFn.StateParam(BagStateSpec("under_way", PickleCoder()))
_NOTIFIED = beam.DoFn.StateParam(BagStateSpec("notified", PickleCoder()))
_LISTED = beam.DoFn.StateParam(BagStateSpec("listed", PickleCoder()))


class _LookFn(beam.DoFn):  # type: ignore[misc]
    """Looks at ticks. Its state:

    - under_way: (URI, size, version, old file) of what was given, and is not committed as far as is
      known.
    - notified: (URI, since when it cannot be looked up, or None) of what is to be looked up.
    - listed: holds anything once patterns need not be listed any more.
    """

    def __init__(self, stage: WatchAudio) -> None:
        self._stage = stage

    def setup(self) -> None:
        self._watch = Watch(self._stage.watched)
        self._due = 0.0
        self._looks = 0

    def teardown(self) -> None:
        self._watch.close()

    def process(
        self,
        element: tuple[str, str | None],
        under_way: BagRuntimeState = _UNDER_WAY,
        notified: BagRuntimeState = _NOTIFIED,
        listed: BagRuntimeState = _LISTED,
    ) -> Iterator[ToHear]:
        _, uri = element
        if uri is not None:
            notified.add((uri, None))
            return
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + self._stage.every_s / 2
        by_listing = not self._stage.notified or not any(True for _ in listed.read())
        try:
            if by_listing:
                found = self._list(under_way, listed)
            else:
                found = self._look_up(under_way, notified)
        except FAILED_LOOKS as error:
            Metrics.counter(WatchAudio, "failed_looks").inc()
            _log.warning("a look for new recordings failed, the next will do: %s", reason(error))
            return
        yield from found

    def _list(self, under_way: BagRuntimeState, listed: BagRuntimeState) -> list[ToHear]:
        self._watch.look()
        self._looks += 1
        busy = self._busy(under_way)
        found = self._choose(busy, settled=True)
        _replace(under_way, map(_plain, [*busy, *found]))
        # what had not settled by the second look has come, or changed, while it was notified of
        if self._looks > 1 and len(busy) + len(found) < AT_MOST:
            listed.add(True)
        return found

    def _look_up(self, under_way: BagRuntimeState, notified: BagRuntimeState) -> list[ToHear]:
        waiting = _waiting(notified)
        if not waiting:
            return []
        self._watch.note_history()
        busy = self._busy(under_way)
        uris = [each.object.uri for each in busy]
        held = {each for uri in uris for each in (uri, *archives_of(uri))}
        room = max(0, AT_MOST - len(busy))
        turn = list(islice((uri for uri in waiting if uri not in held), room))
        now = time.time()
        given_up = {uri for uri, since in waiting.items() if since and now - since > PATIENCE_S}
        missed = self._watch.look_up(turn, given_up)
        found = self._choose(busy, settled=False)
        _replace(under_way, map(_plain, [*busy, *found]))
        _count_missed(missed)
        done = set(turn) - missed.unseen
        if len(found) == room:  # there may be more of what was looked up
            done &= missed.gone | {each.object.uri for each in found}
        later = {uri: since for uri, since in waiting.items() if uri not in done}
        later |= {uri: waiting[uri] or now for uri in missed.unseen}
        _replace(notified, later.items())
        return found

    def _busy(self, under_way: BagRuntimeState) -> list[ToHear]:
        every = (ToHear(AudioObject(*each), old_file) for *each, old_file in under_way.read())
        return [each for each in every if not self._watch.plan.is_heard(each)]

    def _choose(self, busy: list[ToHear], settled: bool) -> list[ToHear]:
        room = max(0, AT_MOST - len(busy))
        objects = [each.object for each in busy]
        self._watch.plan.choose(Retry.NOTHING, settled=settled, under_way=objects, at_most=room)
        return list(self._watch.plan.to_hear())


def _plain(each: ToHear) -> tuple[object, ...]:
    return (*each.object, each.old_file)


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
