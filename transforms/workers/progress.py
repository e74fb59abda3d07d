"""The progress of a local run, for display.

Beam publishes metrics only at the end of a bundle, and a local run has few bundles. So the stages
also record what they do on a board of their own process. Rows never depend on it: where workers are
other processes or machines, nobody reads theirs.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from earmark.shared import shared
from earmark.transforms.elements import Span


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
    """

    listed: int = 0
    listed_bytes: int = 0
    finished: int = 0
    finished_bytes: int = 0
    failed: int = 0
    audio_s: float = 0.0


class Board:
    """Counts of one run in this process; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Snapshot()
        self._unfinished: dict[str, tuple[int, bool]] = {}

    def listed(self, objects: int, size_bytes: int) -> None:
        """Objects were found."""
        with self._lock:
            now = self._now
            self._now = replace(
                now, listed=now.listed + objects, listed_bytes=now.listed_bytes + size_bytes
            )

    def heard_s(self, seconds: float) -> None:
        """Some audio was scored."""
        with self._lock:
            self._now = replace(self._now, audio_s=self._now.audio_s + seconds)

    def finished(self, span: Span, *, failed: bool) -> None:
        """A span was decoded to its end, or failed; its object is finished with the last of them.

        Args:
          span: the part of a recording.
          failed: not a single sample of it was decoded.
        """
        with self._lock:
            left, all_failed = self._unfinished.pop(span.clip.uri, (span.count, True))
            left, all_failed = left - 1, all_failed and failed
            if left:
                self._unfinished[span.clip.uri] = (left, all_failed)
            now = self._now
            self._now = replace(
                now,
                finished=now.finished + (not left),
                finished_bytes=now.finished_bytes + (span.clip.size_bytes or 0) // span.count,
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
            return self._now


def board(run_id: str) -> Board:
    """The one board of a run in this process."""
    return shared(Board, run_id)
