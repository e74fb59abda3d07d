"""Where decoded sound lies on the clock of its container, by the timestamps of what was decoded.

Frames follow each other without a gap as long as their timestamps agree with the count of samples,
up to a tolerance. Where a timestamp lies ahead of the count, sound is missing in between. What that
means for rows is in docs/time.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

TOLERANCE_S = 0.05
"""How far timestamps may lie from the count of samples: containers round them, encoders jitter."""

EXACT_S = 0.005
"""The same behind damage, where a gap is expected, and only rounding has to be ruled out."""

STEP_S = 0.015
"""Timestamps that ran ahead by smaller steps than this follow another clock; nothing is missing."""

MOST_JUMP_S = 86_400.0
"""Timestamps that jump farther than this are not those of one recording."""

_SOON_S = 30.0


class Hole(NamedTuple):
    """Time that passed without sound, in seconds, and why: see `Gap`."""

    seconds: float
    why: str


class Timeline:
    """The clock of a stream.

    Attributes:
      reached_s: where the next sample lies, in seconds from the clip's start.
    """

    def __init__(self, zero_s: float, most_late_s: float = MOST_JUMP_S) -> None:
        """Set the clock.

        Args:
          zero_s: the timestamp of the clip's start.
          most_late_s: sound that begins later than this was recorded from a stream that ran.
        """
        self._zero_s = zero_s
        self._most_late_s = most_late_s
        self._offset_s: float | None = None
        self._ahead_s = 0.0
        self._former_s, self._set_at_s = 0.0, -math.inf  # before the clock was set, and when it was
        self.reached_s = 0.0

    def first(self, packet_s: float, frame_s: float, *, is_damaged: bool) -> Hole | None:
        """The hole before the first frame.

        Args:
          packet_s: the timestamp of the first packet; a decoder may be some packets late.
          frame_s: that of the first frame.
          is_damaged: whether packets before it could not be decoded.
        """
        is_late = self.is_late(frame_s if is_damaged else packet_s)
        late_s = frame_s - self._zero_s if is_late else 0.0
        self._offset_s = frame_s - late_s
        return self._passed(late_s, "damaged" if is_damaged else "late_start")

    def is_late(self, first_s: float) -> bool:
        """Whether sound whose first timestamp is this begins after the clip does."""
        return TOLERANCE_S < self.late_s(first_s) < self._most_late_s

    def late_s(self, first_s: float) -> float:
        """How far behind the clip's start a first timestamp lies."""
        return first_s - self._zero_s

    @property
    def has_begun(self) -> bool:
        """Whether there was a first frame."""
        return self._offset_s is not None

    def ahead_s(self, frame_s: float) -> float:
        """How far a timestamp lies ahead of the count of samples, or with a minus behind it."""
        return frame_s - (self._offset_s or 0.0) - self.reached_s

    def is_followed_by(self, frame_s: float) -> bool:
        """Whether a timestamp agrees with the count of samples; it is noted if so."""
        if self._offset_s is None:
            return False
        ahead_s = frame_s - self._offset_s - self.reached_s
        if not -TOLERANCE_S <= ahead_s <= TOLERANCE_S:
            return False
        self._ahead_s = ahead_s
        return True

    def before(self, frame_s: float, *, is_damaged: bool) -> Hole | None:
        """The hole before a frame whose timestamp is to be believed.

        A timestamp that lies behind sets the clock back: sound is never dropped. Where timestamps
        soon jump to where the clock was going, those in between were damaged.
        """
        if self._is_back(frame_s):
            self._offset_s = self._former_s
        ahead_s, step_s = self.ahead_s(frame_s), self.ahead_s(frame_s) - self._ahead_s
        self._ahead_s = ahead_s
        if ahead_s < -TOLERANCE_S or ahead_s > MOST_JUMP_S:
            self._former_s, self._set_at_s = self._offset_s or 0.0, self.reached_s
            self._offset_s = frame_s - self.reached_s
            self._ahead_s = 0.0
        elif is_damaged and ahead_s > EXACT_S:
            return self._passed(ahead_s, "damaged")
        elif ahead_s > TOLERANCE_S:
            return self._passed(ahead_s, "missing" if step_s > STEP_S else "drift")
        return None

    def _is_back(self, frame_s: float) -> bool:
        """Whether a timestamp is better explained by what the clock was before it was set."""
        former_ahead_s = frame_s - self._former_s - self.reached_s
        is_soon = self.reached_s - self._set_at_s < _SOON_S
        return is_soon and -TOLERANCE_S <= former_ahead_s < self.ahead_s(frame_s) - TOLERANCE_S

    def lose(self, seconds: float) -> Hole | None:
        """The hole that damage has left, where only its length is known."""
        return self._passed(seconds, "damaged")

    def pause(self, seconds: float) -> Hole | None:
        """The hole of a pause that is declared, and that timestamps don't count."""
        self._offset_s = (self._offset_s or 0.0) - seconds
        return self._passed(seconds, "paused")

    def add(self, seconds: float) -> None:
        """Count sound."""
        self.reached_s += seconds

    def _passed(self, seconds: float, why: str) -> Hole | None:
        self.reached_s += seconds
        self._ahead_s = 0.0
        return Hole(seconds, why) if seconds > 0 else None
