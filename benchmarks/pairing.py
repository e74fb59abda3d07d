"""Measuring things beside each other: in rounds, in turns, and compared within a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class Ratio(NamedTuple):
    """The ratios of two things, over the rounds in which both were measured."""

    median: float
    lowest: float
    highest: float


def in_rounds(contenders: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """Measure each contender once a round; every second round goes the other way about.

    What the machine does besides then hits all alike, and none always goes first.

    Returns:
      What each gave, round by round.
    """
    measured: dict[K, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            measured[name].append(contenders[name]())
    return measured


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """The ratios of what was measured in the same rounds."""
    ratios = [above / below for above, below in zip(numerators, denominators, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def slopes(small: Sequence[float], large: Sequence[float], more: float) -> list[float]:
    """What a unit took in each round, going by two sizes: so what both have in common is left out.

    Args:
      small: what the smaller size took, round by round.
      large: what the larger one took.
      more: how many units the larger one has more.
    """
    return [(above - below) / more for below, above in zip(small, large, strict=True)]
