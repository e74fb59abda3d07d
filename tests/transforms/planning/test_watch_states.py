"""What becomes of recordings in a stream, whatever happens: held against a model in memory.

Files are written, changed and deleted, looks fail half way, workers die, the engine goes back to a
snapshot, and all is killed. The stream's looks and commits are the real ones, and so are files and
rows; the engine is played by the test, which keeps the stream's state and what it has given.
"""

from __future__ import annotations

import copy
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from apache_beam.transforms.window import IntervalWindow
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from earmark.transforms.elements import AudioObject, ClipResult, Found, PlannedObject
from earmark.transforms.listing import list_audio
from earmark.transforms.output import committing
from earmark.transforms.output.committing import recover
from earmark.transforms.output.folder import round_id, staged_journals
from earmark.transforms.output.history import read_history
from earmark.transforms.output.lock import locked
from earmark.transforms.output.provenance import provenance_of
from earmark.transforms.output.windows import commit_window
from earmark.transforms.output.writing import file_name
from earmark.transforms.planning import watching
from earmark.transforms.planning.plan import State
from tests.transforms.output.results import failed, scored
from tests.transforms.output.test_windows import BEGAN, RUN, SETTINGS
from tests.transforms.planning.test_watching import Stream

ROOT = Path(__file__).parents[3]
NAMES = ("a.wav", "b.wav", "c.wav")
ROOM = 2
WINDOW_S = 300

names = st.sampled_from(NAMES)


class Rows(NamedTuple):
    """What the output has of a recording: rows of which version, and in which file."""

    version: str
    is_failed: bool
    file: str


class Watching(RuleBasedStateMachine):
    """A stream that lists, on an engine; and what is to be.

    Attributes:
      there: the version of each file that there is.
      broken: versions that cannot be decoded.
      rows: what the output is to have.
      half: rows that a worker was about to commit when it died; they come with the next commit.
      under_way: what was given and has no rows, as far as the stream can know.
      seen: the versions that this worker has found at its last look.
      given: what the engine has got and not brought to its end, by window.
      messages: names of files that were written, one after another.
      delivered: how many of these the stream has been told.
    """

    is_notified = False

    def __init__(self) -> None:
        super().__init__()
        self._resources = ExitStack()
        self.folder = Path(tempfile.mkdtemp())
        self._resources.callback(shutil.rmtree, self.folder)
        self.output = str(self.folder / "labels")
        self._resources.enter_context(locked(self.output, RUN))
        self._resources.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.WARNING)  # of looks in vain, which there are many of
        patch = self._resources.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(watching, "AT_MOST", ROOM)
        patch.setattr(os, "fsync", lambda _: None)  # no power is cut here
        self.there: dict[str, str] = {}
        self.broken: set[str] = set()
        self.rows: dict[str, Rows] = {}
        self.half: dict[str, Rows] = {}
        self.messages: list[str] = []
        self.written = self.window = self.delivered = 0
        self.start()

    def start(self) -> None:
        """A command begins a stream, and finds what the output has."""
        recover(self.output)
        self.finish_half()
        self.stream = Stream(self.folder, [], self.is_notified, settings=SETTINGS)
        self.under_way: dict[str, PlannedObject] = {}
        self.seen: dict[str, str] = {}
        self.given: dict[int, list[PlannedObject]] = {}
        self.snapshot: Any = None

    def teardown(self) -> None:
        try:
            self.in_the_end_all_that_is_there_has_rows_of_its_last_version()
        finally:
            self.stream.close()
            self._resources.close()

    def in_the_end_all_that_is_there_has_rows_of_its_last_version(self) -> None:
        for _ in range(2 * len(NAMES)):
            self.deliver(len(self.messages))
            self.look()
            while self.given:
                self.commit()
        assert {name: rows.version for name, rows in self.rows.items() if name in self.there} == (
            self.there
        )
        assert self.stream.waiting == []

    # files

    @rule(name=names, is_broken=st.booleans())
    def write(self, name: str, is_broken: bool) -> None:
        """Write a file, or more of one that is being written."""
        self.written += 1
        (self.folder / name).write_bytes(b"1")
        os.utime(self.folder / name, ns=(0, self.written))
        version = self.there[name] = f"1-{self.written}"
        if is_broken:
            self.broken.add(version)
        self.messages.append(name)

    @rule(name=names)
    def delete(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self.there.pop(name, None)

    # the engine

    @rule()
    def begin_next_window(self) -> None:
        self.window += 1

    @rule()
    def kill_all(self) -> None:
        """Without a snapshot; another command starts anew."""
        self.stream.close()
        self.start()

    @rule()
    def begin_with_another_worker(self) -> None:
        """As from a savepoint, in which nothing is lost."""
        self.stream.restore()
        self.seen = {}

    @rule()
    def take_snapshot(self) -> None:
        cells = [cell.members for cell in self.stream.cells]
        self.snapshot = copy.deepcopy((cells, self.under_way, self.given, self.delivered))

    @precondition(lambda self: self.snapshot)
    @rule()
    def go_back_to_snapshot(self) -> None:
        cells, self.under_way, self.given, self.delivered = copy.deepcopy(self.snapshot)
        for cell, members in zip(self.stream.cells, cells, strict=True):
            cell.members = members
        self.begin_with_another_worker()

    # looks

    @rule()
    def look(self) -> None:
        found = {name_of(each.object.uri): each for each in self.stream.tick()}
        assert not found.keys() & self.known_under_way().keys() or self.half
        assert all(each.object.version == self.there[name] for name, each in found.items())
        if self.half:  # rows that come and go
            self.under_way = {
                name_of(each.object.uri): each for each in self.stream.cells[0].read()
            }
        else:
            self.under_way = self.known_under_way()
            self.check(found)
            self.under_way |= found
        if found:
            self.given.setdefault(self.window, []).extend(found.values())
        self.seen = dict(self.there)

    def check(self, found: dict[str, PlannedObject]) -> None:
        """Check what a look has given, and what it knows."""
        states = {name: self.state(name) for name in self.there}
        due = [name for name in sorted(self.there) if states[name] is State.DUE]
        assert list(found) == due[: ROOM - len(self.under_way)]
        assert {name: each.old_file for name, each in found.items()} == {
            name: rows.file if (rows := self.rows.get(name)) else None for name in found
        }
        kept = {name_of(each.object.uri) for each in self.stream.cells[0].read()}
        assert kept == found.keys() | self.under_way.keys()
        assert len(kept) <= ROOM
        plan = self.stream.states()
        assert all(plan[name] is states[name] for name in states.keys() - self.under_way.keys())

    def state(self, name: str) -> State:
        """What a file that is there is to the stream."""
        rows, version = self.rows.get(name), self.there[name]
        if name in self.under_way:
            return State.UNDER_WAY
        if rows is not None and rows.version == version:
            return State.FAILED if rows.is_failed else State.PROCESSED
        return State.DUE if self.seen.get(name) == version else State.SETTLING

    def known_under_way(self) -> dict[str, PlannedObject]:
        """What has no rows of it or of later."""
        return {name: each for name, each in self.under_way.items() if not self.has_rows(each)}

    def has_rows(self, each: PlannedObject) -> bool:
        rows = self.rows.get(name_of(each.object.uri))
        is_same = rows is not None and rows.version == each.object.version
        return is_same or self.has_later_rows(each)

    @rule(listed=st.integers(0, len(NAMES)))
    def look_in_vain(self, listed: int) -> None:
        """The store fails after so many files."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(watching, "list_audio", breaking_off(listed))
            patched.setattr(watching, "find", lambda uri: AudioObject(uri, None, ""))
            assert self.stream.tick() == []
        self.seen |= {name: self.there[name] for name in sorted(self.there)[:listed]}

    @rule(number=st.integers(1, 3))
    def deliver(self, number: int) -> None:
        """Tell the stream of files that were written."""
        if self.is_notified:
            self.stream.notify(*self.messages[self.delivered : self.delivered + number])
        self.delivered = min(len(self.messages), self.delivered + number)

    @rule(name=names)
    def say_again(self, name: str) -> None:
        self.messages.append(name)

    # commits

    @rule(name=names)
    def write_and_give(self, name: str) -> None:
        """What is quicker than anything else that could happen."""
        self.write(name, False)
        self.deliver(len(self.messages))
        self.look()
        self.look()

    @precondition(lambda self: self.given)
    @rule(name=names, moves=st.none() | st.integers(0, 10))
    def forget_commits(self, name: str, moves: int | None) -> None:
        """Go back to a snapshot of before what was given was committed, and changed again."""
        self.take_snapshot()
        self.commit(moves)
        self.write_and_give(name)
        while self.given:
            self.commit()
        self.go_back_to_snapshot()

    @precondition(lambda self: self.given)
    @rule(moves=st.integers(0, 10))
    def die_in_commit(self, moves: int) -> None:
        self.commit(moves)

    @precondition(lambda self: self.given)
    @rule()
    def commit(self, cut_off_after: int | None = None) -> None:
        """The first window comes to its end; its worker may die after so many moves."""
        number = min(self.given)
        planned = self.given[number]
        began = BEGAN + WINDOW_S * number
        window = IntervalWindow(began, began + WINDOW_S)
        results = [self.decoded(each) for each in planned]
        settings = replace(SETTINGS, output=self.output)
        self.finish_half()
        new = [each for each in planned if not self.has_later_rows(each)]
        try:
            with pytest.MonkeyPatch.context() as patched:
                if cut_off_after is not None:
                    patched.setattr(committing, "_move", moving(cut_off_after))
                committed = list(commit_window(planned, results, window, settings))
        except InterruptedError:
            (journal,) = staged_journals(self.output, RUN)
            self.half = self.rows_of(new, journal)
            self.begin_again()
        else:
            assert len(committed) == bool(new)
            self.half = self.rows_of(new, *committed)
            self.finish_half()
            del self.given[number]
            there = read_history(self.output, provenance_of(SETTINGS))
            assert (
                Counter((name_of(each.uri), *each[1:4]) for each in there) == self.expected_rows()
            )

    def begin_again(self) -> None:
        """What an engine does when a worker has died."""
        if self.snapshot:
            self.go_back_to_snapshot()
        else:
            self.kill_all()

    def finish_half(self) -> None:
        self.rows |= self.half
        self.half = {}

    def has_later_rows(self, each: PlannedObject) -> bool:
        rows = self.rows.get(name_of(each.object.uri))
        return rows is not None and rows.file != each.old_file

    def decoded(self, each: PlannedObject) -> ClipResult:
        is_broken = each.object.version in self.broken
        result = (failed if is_broken else scored)(each.object.uri)
        return replace(result, clip=each.object)

    def rows_of(self, new: list[PlannedObject], committed: str = "") -> dict[str, Rows]:
        file = file_name(round_id(RUN, Path(committed).stem), 0, 1)
        versions = {name_of(each.object.uri): each.object.version for each in new}
        return {name: Rows(v, v in self.broken, file) for name, v in versions.items()}

    def expected_rows(self) -> Counter[tuple[str, str, str | None, str]]:
        return Counter(
            (name, rows.version, "io" if rows.is_failed else None, rows.file)
            for name, rows in self.rows.items()
        )


class BeingNotified(Watching):
    """One that is told of what is new."""

    is_notified = True

    def check(self, found: dict[str, PlannedObject]) -> None:
        """Only that there is room for it: what a look gives depends on when it was told of."""
        assert len(self.under_way | found) <= ROOM


@pytest.mark.parametrize("machine", [Watching, BeingNotified])
def test_each_recording_gets_rows_of_its_last_version_once_whatever_happens(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=40, stateful_step_count=25, deadline=None, derandomize=True),
    )


def test_the_docs_have_a_row_for_each_state():
    table = (ROOT / "docs" / "streams.md").read_text().partition("| state |")[2].split("\n\n")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert rows == [state.value for state in State]


def name_of(uri: str) -> str:
    return uri.rpartition("/")[2]


def breaking_off(after: int) -> Callable[..., Iterator[Found]]:
    """A listing that fails after so many files."""

    def listing(*args: Any, **kwargs: Any) -> Iterator[Found]:
        yield from islice(list_audio(*args, **kwargs), after)
        raise ConnectionError

    return listing


def moving(times: int) -> Callable[..., None]:
    """What moves a table's files into place so many times, and then dies."""
    left, move = iter(range(times)), committing._move

    def moving_until(*args: Any) -> None:
        if next(left, None) is None:
            raise InterruptedError
        move(*args)

    return moving_until
