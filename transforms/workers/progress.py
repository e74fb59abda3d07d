"""The progress of a local run, for display.

Beam publishes metrics only at the end of a bundle, and a local run has few bundles. So the stages
also record what they do on a board of their own process. Rows never depend on it: where workers are
other processes or machines, nobody reads theirs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from earmark.shared import shared
from earmark.transforms.elements import Span


class KindProgress(NamedTuple):
    """The counts of the objects with one extension.

    Attributes:
      listed_bytes: the size of those found so far.
      finished_bytes: the size of what was decoded to its end or failed.
      spans: in how many spans that was.
      heard_s: seconds of audio that were scored of it.
      took_s: how long that took, added up over threads.
    """

    listed_bytes: int = 0
    finished_bytes: int = 0
    spans: int = 0
    heard_s: float = 0.0
    took_s: float = 0.0


class UnderWay(NamedTuple):
    """A span that a thread is busy with.

    Attributes:
      kind: the extension of its object, or whatever such objects were listed as.
      size_bytes: its size.
      heard_s: seconds of audio scored so far.
      took_s: how long that took.
    """

    kind: str
    size_bytes: int
    heard_s: float = 0.0
    took_s: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """The counts of a board at one moment.

    Attributes:
      listed: objects found so far.
      listed_bytes: their size.
      finished: objects that were decoded to their end or failed.
      finished_bytes: their size.
      failed: how many of them failed.
      audio_s: seconds of audio scored.
      kinds: the same by extension; the name for all that are not counted separately is an
        extension too.
      under_way: what threads are busy with.
      threads: how many were busy at the same time.
      busy_s: how long it is since the first audio was scored.
    """

    listed: int = 0
    listed_bytes: int = 0
    finished: int = 0
    finished_bytes: int = 0
    failed: int = 0
    audio_s: float = 0.0
    kinds: Mapping[str, KindProgress] = field(default_factory=dict)
    under_way: tuple[UnderWay, ...] = ()
    threads: int = 0
    busy_s: float = 0.0


class Board:
    """Counts of one run in this process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Snapshot()
        self._kinds: dict[str, KindProgress] = {}
        self._others = ""
        self._unfinished: dict[str, tuple[int, bool]] = {}
        self._under_way: dict[int, UnderWay] = {}
        self._began: dict[int, float] = {}
        self._warm: set[int] = set()
        self._first: float | None = None

    def listed(self, objects: int, bytes_by_kind: Mapping[str, int], others: str = "") -> None:
        """Objects were found.

        Args:
          objects: how many.
          bytes_by_kind: their sizes by extension.
          others: the name in it for all extensions that it does not have.
        """
        with self._lock:
            self._others = others
            for kind, size_bytes in bytes_by_kind.items():
                was = self._kinds.get(kind, KindProgress())
                self._kinds[kind] = was._replace(listed_bytes=was.listed_bytes + size_bytes)
            now, size_bytes = self._now, sum(bytes_by_kind.values())
            self._now = replace(
                now, listed=now.listed + objects, listed_bytes=now.listed_bytes + size_bytes
            )

    def began(self, span: Span) -> None:
        """This thread has begun with a span."""
        extension, thread = span.clip.extension, threading.get_ident()
        kind = extension if extension in self._kinds else self._others
        with self._lock:
            self._began[thread] = time.monotonic()
            self._under_way[thread] = UnderWay(kind, _size_bytes(span))
            threads = max(self._now.threads, len(self._under_way))
            self._now = replace(self._now, threads=threads)

    def heard_s(self, seconds: float) -> None:
        """Some audio was scored of the span that this thread has begun.

        Until its first audio a thread starts its decoder, which is not the span's time.
        """
        thread = threading.get_ident()
        with self._lock:
            if self._first is None:
                self._first = time.monotonic()
            if thread not in self._warm:
                self._warm.add(thread)
                self._began[thread] = time.monotonic()
            under_way = self._under_way[thread]
            self._under_way[thread] = under_way._replace(heard_s=under_way.heard_s + seconds)
            self._now = replace(self._now, audio_s=self._now.audio_s + seconds)

    def finished(self, span: Span, *, failed: bool) -> None:
        """The span that this thread has begun was decoded to its end, or failed.

        Its object is finished with the last of its spans.

        Args:
          span: the part of a recording.
          failed: not a single sample of it was decoded.
        """
        with self._lock:
            thread = threading.get_ident()
            self._add(self._under_way.pop(thread), self._began.pop(thread))
            left, all_failed = self._unfinished.pop(span.clip.uri, (span.count, True))
            left, all_failed = left - 1, all_failed and failed
            if left:
                self._unfinished[span.clip.uri] = (left, all_failed)
            now = self._now
            self._now = replace(
                now,
                finished=now.finished + (not left),
                finished_bytes=now.finished_bytes + _size_bytes(span),
                failed=now.failed + (not left and all_failed),
            )

    def committed(self, objects: int, size_bytes: int, failed: int, audio_s: float) -> None:
        """Objects were processed by workers with boards of their own.

        Args:
          objects: how many.
          size_bytes: of those.
          failed: how many of them failed.
          audio_s: seconds of audio that were scored.
        """
        with self._lock:
            now = self._now
            self._now = replace(
                now,
                finished=now.finished + objects,
                finished_bytes=now.finished_bytes + size_bytes,
                failed=now.failed + failed,
                audio_s=now.audio_s + audio_s,
            )

    def snapshot(self) -> Snapshot:
        """The counts of this moment."""
        with self._lock:
            moment = time.monotonic()
            under_way = tuple(
                each._replace(took_s=moment - self._began[thread])
                for thread, each in self._under_way.items()
            )
            busy_s = 0.0 if self._first is None else moment - self._first
            kinds = dict(self._kinds)
            return replace(self._now, kinds=kinds, under_way=under_way, busy_s=busy_s)

    def _add(self, span: UnderWay, began: float) -> None:
        was = self._kinds.get(span.kind, KindProgress())
        self._kinds[span.kind] = was._replace(
            finished_bytes=was.finished_bytes + span.size_bytes,
            spans=was.spans + 1,
            heard_s=was.heard_s + span.heard_s,
            took_s=was.took_s + time.monotonic() - began,
        )


def board(run_id: str) -> Board:
    """The one board of a run in this process."""
    return shared(Board, run_id)


def _size_bytes(span: Span) -> int:
    return (span.clip.size_bytes or 0) // span.count
