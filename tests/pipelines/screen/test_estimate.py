"""The time that is left, while a simulated run goes on whose end is known."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
import pytest

from earmark.pipelines.screen.estimate import estimate
from earmark.transforms.elements import AudioObject, PlannedObject, Span
from earmark.transforms.planning import kinds_of, samples_first
from earmark.transforms.workers import Board, KindProgress, Snapshot, UnderWay, sharing
from earmark.transforms.workers import progress as progress_module


class Sound(NamedTuple):
    """What files of a kind are like: bytes and time for a second of sound, length, spans."""

    bytes_per_s: float
    time_per_s: float
    length_s: float
    spans: int = 1


MP3 = Sound(16_000, 0.03, 180)
LOUD_MP3 = Sound(40_000, 0.035, 240)
WAV = Sound(176_400, 0.018, 180)
NARROW_WAV = Sound(16_000, 0.012, 600)
ULTRASONIC = Sound(768_000, 0.12, 60)
LONG_WAV = Sound(96_000, 0.016, 7200, spans=12)
FLAC = Sound(70_000, 0.022, 300)
OPUS = Sound(6_000, 0.04, 400)

ARCHIVES = {
    "mp3 first, wav last": [("a/{}.mp3", MP3, 60), ("z/{}.wav", WAV, 60)],
    "wav first, mp3 last": [("a/{}.wav", WAV, 60), ("z/{}.mp3", MP3, 60)],
    "few": [("a/{}.mp3", MP3, 12), ("z/{}.wav", WAV, 12)],
    "five kinds": [
        *[("a/{}.opus", OPUS, 40), ("b/{}.mp3", LOUD_MP3, 40), ("c/{}.flac", FLAC, 40)],
        *[("d/{}.wav", ULTRASONIC, 80), ("e/{}.aiff", WAV, 5)],
    ],
    "days and minutes": [("a/{}.mp3", MP3, 300), ("z/{}.wav", LONG_WAV, 9)],
    "one kind": [("a/{}.wav", NARROW_WAV, 40)],
    "broken ones": [("a/{}.mp3", Sound(16_000, 0.0, 0.0), 50), ("b/{}.wav", WAV, 60)],
}


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("round_objects", [2000, 30])
@pytest.mark.parametrize("archive", ARCHIVES)
def test_from_a_tenth_of_a_run_on_the_time_left_is_right_within_a_factor(
    archive, round_objects, threads, monkeypatch
):
    looks, took_s = simulated(ARCHIVES[archive], threads, round_objects, monkeypatch)
    late = [(at, now) for at, now in looks if 0.1 * took_s <= at <= 0.95 * took_s]
    assert len(late) > 20
    for at, now in late:
        found = estimate(now, at)
        assert found is not None
        left_s = took_s - at
        is_close = abs(found.left_s - left_s) < took_s / 50  # as when the last files end
        assert is_close or 1 / 1.5 <= found.left_s / left_s <= 1.5, (at / took_s, found)
        assert found.share == pytest.approx(at / took_s, abs=0.15)


def test_the_share_never_falls_much_and_ends_at_all(monkeypatch):
    looks, _ = simulated(ARCHIVES["mp3 first, wav last"], 2, 2000, monkeypatch)
    shares = [found.share for at, now in looks if (found := estimate(now, at))]
    assert all(after > before - 0.05 for before, after in pairwise(shares))
    assert shares[-1] > 0.97


def test_recordings_of_unknown_size_are_no_trouble():
    begun = UnderWay(".wav", 0, heard_s=10.0, took_s=1.0)
    kinds = {".wav": KindProgress(), ".mp3": KindProgress(1000, 500, 1, 10.0, 1.0)}
    now = Snapshot(3, 2000, 1, 500, 0, 20.0, kinds, (begun,), 1, 2.0)
    found = estimate(now, 2.0)
    assert found is not None
    assert 0 < found.left_s < 10


def test_of_workers_elsewhere_the_time_left_goes_by_what_is_committed():
    board = Board()
    board.listed(10, {".wav": 1000})
    assert estimate(board.snapshot(), 60) is None
    board.committed(4, 400, 0, 30.0)
    assert estimate(board.snapshot(), 60) == pytest.approx((90, 0.4))


def simulated(archive, threads, round_objects, monkeypatch):
    """Snapshots of a run's board with their moments, and how long the run takes."""
    moment, thread = 0.0, 0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: moment)
    monkeypatch.setattr(progress_module.threading, "get_ident", lambda: thread)
    board, looks, number = Board(), [], count()
    for due in rounds(board, archive, round_objects):
        queue = sharing._Queue(float("inf"))
        for span in due:
            queue.put(span)
        waiting = [(moment, next(number), each, None) for each in range(threads)]
        while waiting:
            moment, _, thread, steps = heapq.heappop(waiting)
            looks.append((moment, board.snapshot()))
            steps = steps or worked(board, queue)
            after_s = next(steps, None)
            if after_s is not None:
                heapq.heappush(waiting, (moment + after_s, next(number), thread, steps))
    return looks, moment


def rounds(board: Board, archive, round_objects: int) -> Iterator[list[Span]]:
    """The spans of each round, in the order in which a run takes them."""
    rng = np.random.default_rng(1)
    planned = []
    for name, sound, files in archive:
        for index in range(files):
            seconds = sound.length_s * rng.uniform(0.5, 1.5)
            size = int(max(seconds, 60) * sound.bytes_per_s * rng.uniform(0.95, 1.05))
            SOUNDS[name.format(index)] = seconds, sound
            planned.append(PlannedObject(AudioObject(name.format(index), size, "")))
    kinds = kinds_of(planned)
    board.listed(len(planned), {kind.name: kind.size_bytes for kind in kinds})
    due = list(samples_first(kinds, planned))
    assert sorted(due) == sorted(planned)
    for start in range(0, len(due), round_objects):
        yield [
            Span(each.object, index, SOUNDS[each.object.uri][1].spans)
            for each in due[start : start + round_objects]
            for index in range(SOUNDS[each.object.uri][1].spans)
        ]


SOUNDS: dict[str, tuple[float, Sound]] = {}


def worked(board: Board, queue: sharing._Queue) -> Iterator[float]:
    """What a thread does with a queue; yields how long each step takes."""
    while (taken := queue.take()) is not None:
        span, _ = taken
        seconds, sound = SOUNDS[span.clip.uri]
        seconds /= sound.spans
        board.began(span)
        yield 0.001
        for _ in range(20):
            board.heard_s(seconds / 20)
            yield seconds / 20 * sound.time_per_s
        board.finished(span, failed=not seconds)
