"""Which classes count, and from which score on: lists of labels, patterns and thresholds."""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import ModelError
from earmark.models.scores.heads import Head

_MOST = float(np.finfo(np.float32).max)
_SHOWN = 100
"""Characters that a message shows of what a file holds."""

DEFAULT_MIN_SCORE = 0.1


def least_scores(
    heads: Sequence[Head],
    min_score: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
) -> NDArray[np.float32]:
    """The least score that counts, of each class of all heads one after another.

    Args:
      heads: of the model.
      min_score: of all classes; None for what the model's metadata says of each head, and
        DEFAULT_MIN_SCORE where it says nothing.
      thresholds: by label, of some classes.
      allow: labels or patterns (`*`, `?`) of the only classes that count.
      deny: the same of classes that don't.

    Returns:
      float32 [classes]; infinite for a class that doesn't count.

    Raises:
      ModelError: a label that no head has, a pattern that fits none, or both lists.
    """
    if allow and deny:
        raise ModelError("labels can be allowed or denied, not both at once")
    labels = [label for head in heads for label in head.labels]
    least = np.array([_least(head, min_score) for head in heads for _ in head.labels], np.float32)
    for label, threshold in (thresholds or {}).items():
        least[_named(label, labels)] = threshold
    for listed, counts in ((allow, True), (deny, False)):
        if listed:
            named = np.zeros(len(labels), np.bool_)
            for pattern in listed:
                named |= _matching(pattern, labels)
            least[named != counts] = np.inf
    return least


def parse_thresholds(text: str) -> dict[str, float]:
    """Read CSV with the columns label and min_score; a label with a comma stands in quotes.

    Raises:
      ModelError: it is no such CSV; the message names the line.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    thresholds: dict[str, float] = {}
    for number, row in _rows(reader):
        if not thresholds and row == ["label", "min_score"]:
            continue
        if len(row) != 2:
            raise ModelError(
                f"line {number} is {','.join(row)[:_SHOWN]!r}, not label,min_score"
                ' (a label with a comma stands in quotes: "Child speech, kid speaking",0.3)'
            )
        label, score = row
        if label in thresholds:
            raise ModelError(f"line {number}: {label[:_SHOWN]} stands in it twice")
        thresholds[label] = _number(score, number)
    if not thresholds:
        raise ModelError("it holds no thresholds: lines of label,min_score are expected")
    return thresholds


def listed_labels(text: str) -> list[str]:
    """The labels or patterns of a list, one a line; white space around them doesn't count."""
    return [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]


def _least(head: Head, min_score: float | None) -> float:
    if min_score is not None:
        return min_score
    return DEFAULT_MIN_SCORE if head.score_threshold is None else head.score_threshold


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV with the number of each, but for empty ones."""
    number = 0
    while True:
        number += 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ModelError(f"line {number} is not CSV: {error}") from error
        cells = [cell.strip() for cell in row]
        if cells not in ([], [""]):
            yield number, cells


def _number(text: str, line: int) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= _MOST:
        raise ModelError(
            f"line {line}: the min_score {text[:_SHOWN]!r} is not a number that float32 holds"
        )
    return number


def _named(label: str, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes have a label."""
    if label not in labels:
        raise ModelError(f"the model has no label {label!r}{_nearest(label, labels)}")
    return np.array([each == label for each in labels])


def _matching(pattern: str, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes have a label, or one that a pattern fits."""
    if pattern in labels or not any(sign in pattern for sign in "*?"):
        return _named(pattern, labels)
    fits = np.array([fnmatchcase(each, _literal_brackets(pattern)) for each in labels])
    if not fits.any():
        raise ModelError(f"no label of the model fits the pattern {pattern!r}")
    return fits


def _literal_brackets(pattern: str) -> str:
    """The pattern with `[` as a sign like any other: labels may hold it, classes nobody writes."""
    return pattern.replace("[", "[[]")


def _nearest(label: str, labels: Iterable[str]) -> str:
    """A hint at the label that was meant, whatever its case."""
    by_lower = {each.lower(): each for each in labels}
    near = difflib.get_close_matches(label.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
