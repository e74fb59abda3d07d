"""Score calibration, as TFLite Model Metadata describes it and the Task Library applies it.

    calibrated = scale / (1 + exp(-(slope * transform(score) + offset)))

with parameters of its own for each class. A class without them, and a score below a class's
minimum, get the default score.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import ModelError
from earmark.models.metadata import TRANSFORMATIONS, fits_float32

_LOG_FLOOR = float(np.float32(1e-16))
"""Where the logarithm is clamped; below, it continues as its own mirror image."""


class Sigmoid(NamedTuple):
    """The parameters of one class; scores below min_score are not calibrated."""

    scale: float
    slope: float
    offset: float
    min_score: float | None = None


@dataclass(frozen=True)
class Calibration:
    """How the scores of a head are calibrated.

    Attributes:
      transformation: what is applied to a score first: identity, log or inverse_logistic.
      default_score: the score of a class without parameters, and of scores below its minimum.
      sigmoids: the parameters of each class; None for one that always gets the default score.
    """

    transformation: str
    default_score: float
    sigmoids: tuple[Sigmoid | None, ...]

    @property
    def max_score(self) -> float:
        """The highest score that calibration can give."""
        return max([self.default_score, *(each.scale for each in self.sigmoids if each)])

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrate scores, float32 [n, classes]; NaN stays NaN."""
        scale, slope, offset, least = self._columns
        with np.errstate(over="ignore", invalid="ignore"):
            transformed = _TRANSFORMS[self.transformation](scores)
            exponent = transformed * slope + offset
            rising = scale / (1.0 + np.exp(-exponent.astype(np.float64)))
            power = np.exp(exponent.astype(np.float64)).astype(np.float32)
            falling = (scale * power).astype(np.float64) / (1.0 + power.astype(np.float64))
            calibrated = np.where(exponent >= 0, rising, falling).astype(np.float32)
        default = np.float32(self.default_score)
        return np.where(np.isnan(scores) | (scores >= least), calibrated, default)

    @cached_property
    def _columns(self) -> tuple[NDArray[np.float32], ...]:
        """The scale, slope, offset and minimum score of the classes, float32 [classes] each."""
        rows = [
            (0, 0, 0, math.nan)  # which no score reaches
            if each is None
            else (*each[:3], -math.inf if each.min_score is None else each.min_score)
            for each in self.sigmoids
        ]
        return tuple(np.array(rows, np.float32).reshape(-1, 4).T)


def parse_sigmoids(text: str) -> tuple[Sigmoid | None, ...]:
    """Read a score calibration file: a line `scale,slope,offset[,min_score]` for each class.

    An empty line is a class without parameters, and so is an empty end after the last line end.

    Raises:
      ModelError: a line has another form, a negative scale, or a number that does not fit float32.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    return tuple(_sigmoid(line, number) for number, line in enumerate(lines, 1))


def make_calibration(
    transformation: str, default_score: float, text: str, classes: int
) -> Calibration:
    """Make the calibration of a head from the text of a score calibration file.

    The text may end with a line end or without.

    Raises:
      ModelError: there are not as many lines as classes, a line is wrong, or the default score
        does not fit float32.
    """
    if not fits_float32(default_score):
        raise ModelError(
            f"score calibration: the default score {default_score:g} does not fit float32"
        )
    if transformation not in TRANSFORMATIONS:
        known = ", ".join(TRANSFORMATIONS)
        raise ModelError(
            f"score calibration: unknown transformation {transformation}; there is {known}"
        )
    sigmoids = parse_sigmoids(text)
    if len(sigmoids) == classes + 1 and sigmoids[-1] is None:  # the last line has its end
        sigmoids = sigmoids[:-1]
    if len(sigmoids) != classes:
        raise ModelError(
            f"score calibration: it has {len(sigmoids)} lines, but there are {classes} classes"
        )
    return Calibration(transformation, default_score, sigmoids)


def _sigmoid(line: str, number: int) -> Sigmoid | None:
    if not line.strip():
        return None
    try:
        numbers = [float(each) for each in line.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (3, 4) or not all(map(fits_float32, numbers)):
        raise ModelError(
            f"score calibration: line {number} is {line.strip()[:100]!r}, not"
            " scale,slope,offset or scale,slope,offset,min_score"
        )
    if numbers[0] < 0:
        raise ModelError(f"score calibration: line {number} has the negative scale {numbers[0]:g}")
    return Sigmoid(*numbers)


def _clamped_log(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithm, mirrored at _LOG_FLOOR."""
    wide = scores.astype(np.float64)
    mirrored = 2 * math.log(_LOG_FLOOR) - np.log(np.maximum(2 * _LOG_FLOOR - wide, _LOG_FLOOR))
    inner = np.log(np.maximum(wide, _LOG_FLOOR))
    return np.where(wide < _LOG_FLOOR, mirrored, inner).astype(np.float32)


def _inverse_logistic(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return _clamped_log(scores) - _clamped_log(np.float32(1) - scores)


_Transform = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_TRANSFORMS: dict[str, _Transform] = {
    "identity": lambda scores: scores,
    "log": _clamped_log,
    "inverse_logistic": _inverse_logistic,
}
