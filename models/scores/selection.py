"""Which classes count, and from which score on: label lists, patterns and thresholds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import ModelError, nearest
from earmark.models.metadata import fits_float32
from earmark.models.scores.heads import Head

_SHOWN = 100
"""How many characters of a file's content a message shows."""

DEFAULT_MIN_SCORE = 0.1


def score_thresholds(
    heads: Sequence[Head],
    min_score: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
) -> NDArray[np.float32]:
    """The lowest score that counts for each class, of all heads one after another.

    Args:
      heads: the model's chosen heads.
      min_score: the threshold of all classes; None for the one in each head's metadata, or
        DEFAULT_MIN_SCORE where there is none.
      thresholds: thresholds of single classes, by label.
      allow: labels or patterns (`*`, `?`) of the only classes that count.
      deny: labels or patterns of classes that do not count.

    Returns:
      float32 [classes]; infinite for a class that does not count.

    Raises:
      ModelError: no head has a label, a pattern matches no label, or both lists are given.
    """
    if allow and deny:
        raise ModelError("labels can be allowed or denied, not both at once")
    labels = [label for head in heads for label in head.labels]
    least = np.array(
        [_default_threshold(head, min_score) for head in heads for _ in head.labels], np.float32
    )
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
    """Read CSV with the columns label and min_score; labels with a comma are quoted.

    Raises:
      ModelError: the text is not such a CSV; the message names the line.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    thresholds: dict[str, float] = {}
    for number, row in _rows(reader):
        if not thresholds and row == ["label", "min_score"]:
            continue
        if len(row) != 2:
            raise ModelError(
                f"line {number} is {','.join(row)[:_SHOWN]!r}, not label,min_score"
                ' (put a label with a comma in quotes: "Child speech, kid speaking",0.3)'
            )
        label, score = row
        if label in thresholds:
            raise ModelError(f"line {number}: {label[:_SHOWN]} stands in it twice")
        thresholds[label] = _number(score, number)
    if not thresholds:
        raise ModelError("it holds no thresholds: lines of label,min_score are expected")
    return thresholds


def parse_label_list(text: str) -> list[str]:
    """Read a list of labels or patterns, one per line, without white space around them."""
    return [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]


def _default_threshold(head: Head, min_score: float | None) -> float:
    if min_score is not None:
        return min_score
    return DEFAULT_MIN_SCORE if head.score_threshold is None else head.score_threshold


def _rows(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV that are not empty, each with its number."""
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
    if not fits_float32(number):
        raise ModelError(
            f"line {line}: the min_score {text[:_SHOWN]!r} is not a number that float32 holds"
        )
    return number


def _named(label: str, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes have a label."""
    if label not in labels:
        raise ModelError(f"the model has no label {label!r}{nearest(label, labels, show=repr)}")
    return np.array([each == label for each in labels])


def _matching(pattern: str, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which classes have a label that a pattern matches, or that is the pattern itself."""
    if pattern in labels or not any(sign in pattern for sign in "*?"):
        return _named(pattern, labels)
    fits = np.array([fnmatchcase(each, _literal_brackets(pattern)) for each in labels])
    if not fits.any():
        raise ModelError(f"no label of the model fits the pattern {pattern!r}")
    return fits


def _literal_brackets(pattern: str) -> str:
    """The pattern with `[` taken literally: labels may have brackets, patterns have no sets."""
    return pattern.replace("[", "[[]")
