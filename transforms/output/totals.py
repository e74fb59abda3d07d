"""Totals over the rows of clips, for a run's file and its summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from earmark.transforms.elements import ClipResult, ScoredClip
from earmark.transforms.output.tables import TABLES


@dataclass
class LabelTotal:
    """How often a label was detected: in how many clips, for how long, and its best score."""

    clips: int = 0
    seconds: float = 0.0
    max_score: float = 0.0

    def add(self, other: LabelTotal) -> None:
        """Add another total of the same label."""
        self.clips += other.clips
        self.seconds += other.seconds
        self.max_score = max(self.max_score, other.max_score)


@dataclass
class Totals:
    """Totals over rows.

    Attributes:
      rows: how many there are, by table.
      partial: how many clips are partial, by reason.
      failures: how many objects failed, by reason.
      implausible: how many detections were left out as implausible, by label.
      audio_s: seconds of audio that were decoded.
      labels: by label.
    """

    rows: dict[str, int] = field(default_factory=dict)
    partial: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    implausible: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0
    labels: dict[str, LabelTotal] = field(default_factory=dict)

    @property
    def rows_of_objects(self) -> dict[str, int]:
        """The rows in tables that have one for each object, by table."""
        return {table.name: self.rows.get(table.name, 0) for table in TABLES if table.is_of_objects}

    @property
    def objects(self) -> int:
        """How many objects have a row."""
        return sum(self.rows_of_objects.values())

    def count(self, result: ClipResult, names_heads: bool = False) -> None:
        """Add one clip, except its rows; names_heads distinguishes labels of several heads."""
        if not isinstance(result, ScoredClip):
            _add_counts(self.failures, {result.trouble.reason: 1})
            return
        self.audio_s += result.heard_s
        if result.reason:
            _add_counts(self.partial, {result.reason: 1})
        _add_counts(self.implausible, result.implausible)
        names: set[str] = set()
        for label in result.labels:
            name = f"{label.head}: {label.label}" if names_heads else label.label
            clips = int(name not in names)  # of two labels of one name, the clip counts once
            self._label(name).add(LabelTotal(clips, label.seconds, label.max_score))
            names.add(name)

    def add(self, others: Iterable[Totals]) -> Totals:
        """Add the totals of other rows; returns self."""
        for other in others:
            _add_counts(self.rows, other.rows)
            _add_counts(self.partial, other.partial)
            _add_counts(self.failures, other.failures)
            _add_counts(self.implausible, other.implausible)
            self.audio_s += other.audio_s
            for name, total in other.labels.items():
                self._label(name).add(total)
        return self

    def as_record(self) -> dict[str, Any]:
        """The totals as in the run's file: each table's rows, failures by reason."""
        rows = {table.name: self.rows.get(table.name, 0) for table in TABLES}
        return {**rows, **{name: value for name, value in asdict(self).items() if name != "rows"}}

    def _label(self, name: str) -> LabelTotal:
        return self.labels.setdefault(name, LabelTotal())


def _add_counts(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count
