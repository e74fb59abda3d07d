from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, StateSpec
from apache_beam.transforms.window import TimestampedValue

from earmark.transforms.elements import PlannedObject
from earmark.transforms.output.history import Processed
from earmark.transforms.planning import watching
from earmark.transforms.planning.plan import _STATES, State
from earmark.transforms.planning.watching import (
    _IS_LISTED,
    _NOTIFIED,
    _UNDER_WAY,
    WatchAudio,
    _LookFn,
)
from earmark.transforms.settings import Settings
from earmark.transforms.storage.paths import ListingError
from tests.transforms.output.results import SETTINGS

EVERY_S = 5.0


class Cell:
    """Beam's state, in a list, encoded as an engine keeps it."""

    def __init__(self, spec: StateSpec) -> None:
        self._is_value, self._coder = isinstance(spec, ReadModifyWriteStateSpec), spec.coder
        self.members: list[bytes] = []

    def add(self, member: object) -> None:
        self.members.append(self._coder.encode(member))

    def read(self) -> Any:
        members = list(map(self._coder.decode, self.members))
        return next(iter(members), None) if self._is_value else members

    def write(self, value: object) -> None:
        self.members = [self._coder.encode(value)]

    def clear(self) -> None:
        self.members.clear()


class Stream:
    """A watch of a folder, tick by tick; what it gives is committed when a test says so.

    Attributes:
      folder: what is watched.
      rows: what is committed.
    """

    def __init__(
        self,
        folder: Path,
        rows: list[Processed],
        notified: bool,
        pattern: str = "",
        settings: Settings = SETTINGS,
    ) -> None:
        self.folder, self.rows = folder, rows
        settings = replace(settings, patterns=(f"{folder}{pattern}",), output=f"{folder}/labels")
        self._stage = WatchAudio(settings, EVERY_S, notified)
        self.cells = [Cell(each.state_spec) for each in (_UNDER_WAY, _NOTIFIED, _IS_LISTED)]
        self._fn: _LookFn | None = None
        self.restore()

    def restore(self) -> None:
        """Another worker goes on with what is kept in the state."""
        self.close()
        self._fn = _LookFn(self._stage)
        self._fn.setup()

    def close(self) -> None:
        if self._fn is not None:
            self._fn.teardown()

    def tick(self, times: int = 1) -> list[PlannedObject]:
        """Ticks, each when it is due; gives what came of the last."""
        found: list[PlannedObject] = []
        for _ in range(times):
            self._fn._due = 0.0
            found = self.early_tick()
        return found

    def early_tick(self) -> list[PlannedObject]:
        """A tick right after another, as those that were missed come."""
        return list(self._fn.process(("", None), *self.cells))

    def names(self, times: int = 1) -> list[str]:
        return [os.path.relpath(each.object.uri, self.folder) for each in self.tick(times)]

    def notify(self, *names: str) -> None:
        for name in names:
            assert list(self._fn.process(("", f"{self.folder}/{name}"), *self.cells)) == []

    def commit(
        self, found: list[PlannedObject], file: str = "1.parquet", reason: str | None = None
    ):
        self.rows += [
            Processed(*(each.object.uri, each.object.version), reason, file) for each in found
        ]

    def write(self, name: str, content: str = "1") -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def states(self) -> dict[str, State]:
        """What files are to the plan, which knows nothing of those under way."""
        rows = self._fn._planner.plan._database.execute(
            f"select uri, state from ({_STATES})", {"retry": "nothing", "settled": True}
        )
        return {os.path.basename(uri).decode(): State(state) for uri, state in rows}

    @property
    def waiting(self) -> list[str]:
        return sorted(os.path.relpath(uri, self.folder) for uri, _ in self.cells[1].read())


@pytest.fixture
def rows(monkeypatch) -> list[Processed]:
    committed: list[Processed] = []
    monkeypatch.setattr(watching, "read_history", lambda *_, **__: iter(list(committed)))
    return committed


@pytest.fixture
def stream(tmp_path, rows) -> Iterator[Stream]:
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=False)
    yield stream
    stream.close()


@pytest.fixture
def notified(tmp_path, rows) -> Iterator[Stream]:
    """One that is notified of what is new, and has found that nothing was there before."""
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True)
    assert stream.tick(2) == []
    yield stream
    stream.close()


# by listing


def test_a_file_counts_once_two_looks_have_seen_it_unchanged(stream):
    stream.write("a.wav")
    assert stream.names() == []
    assert stream.names() == ["a.wav"]


def test_a_file_that_still_grows_waits(stream):
    for content in ("1", "12", "123"):
        stream.write("a.wav", content)
        assert stream.names() == []
    [found] = stream.tick()
    assert found.object.size_bytes == 3


def test_what_is_under_way_does_not_come_again(stream):
    stream.write("a.wav")
    assert stream.names(2) == ["a.wav"]
    assert stream.names(2) == []
    stream.write("a.wav", "12")
    stream.write("b.wav")
    assert stream.names(2) == ["b.wav"]


def test_what_is_committed_does_not_come_again_until_it_changes(stream):
    stream.write("a.wav")
    stream.commit(stream.tick(2))
    assert stream.names(2) == []
    stream.write("a.wav", "12")
    [again] = stream.tick(2)
    assert (again.object.size_bytes, again.old_file) == (2, "1.parquet")


def test_what_changed_while_it_was_heard_comes_again_once_that_is_committed(stream):
    stream.write("a.wav")
    first = stream.tick(2)
    stream.write("a.wav", "12")
    assert stream.tick(2) == []
    stream.commit(first, reason="io")
    [again] = stream.tick()
    assert (again.object.size_bytes, again.old_file) == (2, "1.parquet")


def test_what_could_not_be_heard_is_not_tried_again(stream):
    stream.write("a.wav")
    stream.commit(stream.tick(2), reason="io")
    assert stream.names(2) == []


def test_a_restored_state_does_not_repeat_what_is_under_way(stream):
    stream.write("a.wav")
    assert stream.names(2) == ["a.wav"]
    stream.restore()
    stream.write("b.wav")
    assert stream.names(2) == ["b.wav"]


def test_what_a_restored_state_has_under_way_does_not_keep_a_later_version_from_being_heard(stream):
    """The snapshot is of before two versions were committed; a third comes."""
    stream.write("a.wav")
    first = stream.tick(2)
    snapshot = [list(cell.members) for cell in stream.cells]
    stream.commit(first, file="1.parquet")
    stream.write("a.wav", "12")
    [second] = stream.tick(2)
    assert second.old_file == "1.parquet"
    stream.commit([second], file="2.parquet")
    for cell, members in zip(stream.cells, snapshot, strict=True):
        cell.members[:] = members
    stream.restore()
    assert stream.tick(2) == []
    stream.write("a.wav", "123")
    [third] = stream.tick(2)
    assert (third.object.size_bytes, third.old_file) == (3, "2.parquet")


def test_ticks_that_come_all_at_once_are_one_look(stream):
    stream.write("a.wav")
    assert stream.tick() == []
    assert stream.early_tick() == []
    assert stream.names() == ["a.wav"]


def test_what_runs_write_is_not_looked_for(stream):
    shard = "20261101T120000Z-0123cdef-00001-00000-of-00001"
    stream.write(f"labels/clips/{shard}.parquet")
    stream.write(f"labels/clips/{shard}.wav")
    stream.write("labels/clips/1.wav")
    stream.write("labels/mine.wav")
    mine = [f"labels/clips/{name}.wav" for name in ("1", shard)]
    assert stream.names(2) == [*mine, "labels/mine.wav"]


def test_of_very_much_only_so_many_are_under_way(stream, monkeypatch):
    monkeypatch.setattr(watching, "AT_MOST", 2)
    for name in "abcde":
        stream.write(f"{name}.wav")
    first = stream.tick(2)
    assert len(first) == 2
    assert stream.tick() == []
    stream.commit(first[:1])
    assert stream.names() == ["c.wav"]


def test_what_is_deleted_while_there_is_no_room_for_it_does_not_come(stream, monkeypatch):
    monkeypatch.setattr(watching, "AT_MOST", 1)
    for name in "ab":
        stream.write(f"{name}.wav")
    first = stream.tick(2)
    (stream.folder / "b.wav").unlink()
    assert stream.tick() == []
    stream.commit(first)
    assert stream.tick(2) == []


@pytest.mark.parametrize(
    "error", [ConnectionError("no route\nto anywhere"), ListingError("cannot be listed")]
)
def test_a_look_that_fails_half_way_is_made_up_for_by_the_next(stream, monkeypatch, error):
    stream.write("a.wav")
    stream.tick()
    list_audio = watching.list_audio

    def break_off(*args, **kwargs):
        yield next(list_audio(*args, **kwargs))
        raise error

    stream.write("b.wav")
    with monkeypatch.context() as patched:
        patched.setattr(watching, "list_audio", break_off)
        assert stream.tick(3) == []
    assert stream.names() == ["a.wav"]
    assert stream.names() == ["b.wav"]


def test_a_history_that_breaks_off_is_not_taken_for_none(stream, monkeypatch):
    """What of it was read is known, and is not read again."""
    stream.write("a.wav")
    stream.write("b.wav")
    first = stream.tick(2)
    stream.restore()
    known: list[Processed] = []
    stream.commit(first)

    def break_off(*_, **__):
        if known:
            return
        known.append(stream.rows[0])
        yield known[0]
        raise TimeoutError

    monkeypatch.setattr(watching, "read_history", break_off)
    assert stream.tick(3) == []


# by notifications


def test_what_was_there_before_is_listed(tmp_path, rows):
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True)
    stream.write("a.wav")
    stream.write("b.txt")
    assert stream.names() == []
    assert stream.names() == ["a.wav"]
    stream.write("c.wav")
    assert stream.names(3) == []


def test_it_is_listed_until_all_of_it_was_given(tmp_path, rows, monkeypatch):
    monkeypatch.setattr(watching, "AT_MOST", 2)
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True)
    for name in "abc":
        stream.write(f"{name}.wav")
    first = stream.tick(2)
    stream.notify("c.wav")
    assert stream.tick() == []
    stream.commit(first)
    last = stream.tick()
    assert [each.object.uri[-5:] for each in last] == ["c.wav"]
    stream.commit(last)
    assert stream.tick(2) == []
    assert stream.waiting == []


def test_a_worker_that_begins_anew_while_it_is_listed_misses_nothing(tmp_path, rows):
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True)
    stream.write("a.wav")
    stream.tick()
    stream.restore()
    assert stream.tick() == []
    assert stream.names() == ["a.wav"]


def test_a_failed_listing_does_not_count_as_one(tmp_path, rows, monkeypatch):
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True)
    stream.write("a.wav")
    with monkeypatch.context() as patched:
        patched.setattr(watching, "list_audio", lambda *_, **__: iter([1 / 0]))
        patched.setattr(watching, "failed_looks", lambda: (ZeroDivisionError,))
        assert stream.tick(3) == []
    assert stream.tick() == []
    assert stream.names() == ["a.wav"]


def test_after_a_snapshot_it_is_not_listed_again(notified):
    notified.write("a.wav")
    notified.restore()
    assert notified.tick(3) == []


def test_what_is_notified_comes_with_the_next_tick(notified):
    notified.write("a.wav")
    notified.write("b.wav")
    assert notified.tick(2) == []
    notified.notify("b.wav")
    assert notified.names() == ["b.wav"]
    assert notified.tick(2) == []


def test_what_is_notified_before_a_snapshot_comes_after_it(notified):
    notified.write("a.wav")
    notified.notify("a.wav")
    notified.restore()
    assert notified.names() == ["a.wav"]
    notified.restore()
    notified.notify("a.wav")
    assert notified.tick(2) == []


def test_what_is_notified_while_all_is_listed_waits(tmp_path, rows):
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True)
    assert stream.tick() == []
    stream.write("a.wav")
    stream.notify("a.wav")
    assert stream.tick() == []  # the second listing: it has not settled
    assert stream.names() == ["a.wav"]


def test_notifications_that_come_twice_count_once(notified):
    notified.write("a.wav")
    notified.notify("a.wav", "a.wav")
    found = notified.tick()
    assert len(found) == 1
    notified.notify("a.wav")
    notified.commit(found)
    notified.notify("a.wav")
    assert notified.tick(2) == []
    assert notified.waiting == []


def test_what_changes_while_it_is_under_way_comes_again_once_that_is_committed(notified):
    notified.write("a.wav")
    notified.notify("a.wav")
    first = notified.tick()
    notified.write("a.wav", "12")
    notified.notify("a.wav")
    assert notified.tick(2) == []
    assert notified.waiting == ["a.wav"]
    notified.commit(first)
    [again] = notified.tick()
    assert (again.object.size_bytes, again.old_file) == (2, "1.parquet")
    notified.commit([again], "2.parquet")
    assert notified.tick(2) == []


def test_what_is_gone_is_left_out(notified, caplog):
    notified.write("a.wav")
    notified.notify("gone.wav", "a.wav", "gone.zip")
    with caplog.at_level(logging.WARNING):
        assert notified.names() == ["a.wav"]
    assert notified.waiting == []
    assert "of new recordings 2 are gone" in caplog.text


def test_what_cannot_be_looked_up_is_tried_again_and_then_fails(notified, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(watching.time, "time", lambda: now)
    (notified.folder / "a.wav").mkdir()  # which is no file
    notified.write("b.wav")
    notified.notify("a.wav", "b.wav")
    assert notified.names() == ["b.wav"]
    assert notified.names(2) == []
    assert notified.waiting == ["a.wav"]
    now += watching.PATIENCE_S + 1
    notified.notify("a.wav")
    [found] = notified.tick()
    assert (found.object.uri[-5:], found.object.size_bytes) == ("a.wav", None)
    assert notified.waiting == []


def test_what_can_be_looked_up_in_the_end_is_heard(notified):
    (notified.folder / "a.wav").mkdir()
    notified.notify("a.wav")
    assert notified.tick() == []
    (notified.folder / "a.wav").rmdir()
    notified.write("a.wav")
    assert notified.names() == ["a.wav"]
    assert notified.waiting == []


def test_a_look_that_fails_loses_no_notification(notified, monkeypatch):
    notified.write("a.wav")
    notified.notify("a.wav")

    def fail(*_, **__):
        raise TimeoutError

    with monkeypatch.context() as patched:
        patched.setattr(watching, "read_history", fail)
        assert notified.tick() == []
    assert notified.names() == ["a.wav"]


def test_of_very_many_notifications_only_so_many_are_under_way(notified, monkeypatch):
    monkeypatch.setattr(watching, "AT_MOST", 2)
    for name in "edcba":
        notified.write(f"{name}.wav")
        notified.notify(f"{name}.wav")
    seen = []
    for _ in range(3):
        found = notified.tick()
        assert len(found) <= 2
        assert notified.tick() == []
        notified.commit(found)
        seen += [each.object.uri[-5:] for each in found]
    assert sorted(seen) == ["a.wav", "b.wav", "c.wav", "d.wav", "e.wav"]
    assert notified.waiting == []


def test_an_idle_stream_asks_nobody(notified, monkeypatch):
    def fail(*_, **__):
        raise AssertionError

    for name in ("read_history", "list_audio", "find"):
        monkeypatch.setattr(watching, name, fail)
    assert notified.tick(3) == []


# archives


def fill_archive(path: Path, *names: str, content: str = "1") -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, content)


def test_an_archive_stands_for_its_members(notified):
    fill_archive(notified.folder / "x.zip", "a.wav", "b.txt", "c.wav")
    notified.notify("x.zip")
    assert notified.names() == ["x.zip!/a.wav", "x.zip!/c.wav"]
    assert notified.waiting == []


def test_of_an_archive_those_members_come_that_a_pattern_names(tmp_path, rows):
    (tmp_path / "in").mkdir()
    stream = Stream(tmp_path / "in", rows, notified=True, pattern="/*.zip!/2024/*")
    stream.tick(2)
    fill_archive(stream.folder / "x.zip", "2023/a.wav", "2024/b.wav")
    stream.notify("x.zip")
    assert stream.names() == ["x.zip!/2024/b.wav"]


def test_an_archive_waits_while_members_of_it_are_under_way(notified):
    fill_archive(notified.folder / "x.zip", "a.wav", "b.wav")
    notified.notify("x.zip")
    first = notified.tick()
    fill_archive(notified.folder / "x.zip", "a.wav", "b.wav", "c.wav", content="12")
    notified.notify("x.zip")
    notified.commit(first[:1])
    assert notified.tick(2) == []
    notified.commit(first[1:])
    again = notified.tick()
    assert [(each.object.uri[-5:], each.old_file) for each in again] == [
        ("a.wav", "1.parquet"),
        ("b.wav", "1.parquet"),
        ("c.wav", None),
    ]


def test_of_a_very_large_archive_the_members_come_by_and_by(notified, monkeypatch):
    monkeypatch.setattr(watching, "AT_MOST", 2)
    fill_archive(notified.folder / "x.zip", *(f"{name}.wav" for name in "abcde"))
    notified.write("y.wav")
    notified.notify("x.zip", "y.wav")
    seen = []
    for _ in range(5):
        found = notified.tick()
        seen += [os.path.relpath(each.object.uri, notified.folder) for each in found]
        notified.commit(found)
    assert sorted(seen) == sorted([*(f"x.zip!/{name}.wav" for name in "abcde"), "y.wav"])
    assert notified.waiting == []


# with an engine


def test_an_engine_gives_what_is_new_at_the_ticks_that_find_it(tmp_path, rows, monkeypatch):
    """In its state, and with their times: that of a notification does not count."""
    before, new = str(tmp_path / "a.wav"), str(tmp_path / "b.wav")
    for path in (before, new):
        Path(path).write_text("1")
    list_audio = watching.list_audio
    monkeypatch.setattr(watching, "list_audio", lambda _, **how: list_audio([before], **how))
    steps = [None, None, new, new, None, None, "/elsewhere/c.wav", new, None, None]
    timed = [TimestampedValue(step, second) for second, step in enumerate(steps)]
    settings = replace(SETTINGS, patterns=(str(tmp_path),), output=str(tmp_path / "labels"))
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        found = (
            pipeline
            | beam.Create(timed)
            | beam.Map(lambda step: step).with_output_types(str | None)
            | WatchAudio(settings, every_s=0.0, notified=True)
            | beam.Map(lambda each, at=beam.DoFn.TimestampParam: (each.object.uri, int(at)))
        )
        assert_that(found, equal_to([(before, 1), (new, 4)]))
