"""Which classes of a model are plausible at a place in a week of the year."""

from __future__ import annotations

import calendar
import math
import threading
from datetime import datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.models.errors import ModelError
from earmark.models.running import InterpreterPool, Output, failing_as, port_details
from earmark.models.sources import ModelSource
from earmark.shared import shared

WEEKS = 48
"""How many weeks BirdNET's models divide a year into."""

ALL_YEAR = -1
"""The week to ask for what is plausible at any time of the year."""

PLAUSIBLE = 0.03
"""From this probability on a class is plausible, as BirdNET-Analyzer and birdnetlib have it."""

_PLACES_KEPT = 1000


class PlaceModel:
    """A companion of a classifier, such as BirdNET's; any number of threads may use one at once.

    Its input is a latitude, a longitude and a week, float32 [1, 3]; its output are probabilities
    of the classifier's classes, float32 [1, classes].

    Attributes:
      classes: how many classes the classifier has.
    """

    def __init__(self, model: bytes) -> None:
        """Load a .tflite file.

        Args:
          model: the content of the file.

        Raises:
          ModelError: it is not such a model.
        """
        inputs, outputs = port_details(model)
        shapes = [list(each["shape_signature"])[1:] for each in (*inputs, *outputs)]
        if len(shapes) != 2 or shapes[0] != [3] or len(shapes[1]) != 1:
            raise ModelError(
                "the model does not tell of a latitude, a longitude and a week what is plausible"
            )
        self.classes = int(shapes[1][0])
        self._pool = InterpreterPool(model, [Output(0, self.classes)])
        self._plausible = lru_cache(_PLACES_KEPT)(self._find_plausible)

    def plausible(
        self, latitude: float, longitude: float, moment: datetime | None
    ) -> NDArray[np.bool_]:
        """Whether each class is plausible at a place at a time, bool [classes].

        Args:
          latitude: in degrees, north is positive.
          longitude: in degrees, east is positive.
          moment: of which the week counts; None for any time of the year.

        Raises:
          ModelError: the model cannot be run.
        """
        return self._plausible(latitude, longitude, ALL_YEAR if moment is None else week_of(moment))

    def _find_plausible(self, latitude: float, longitude: float, week: int) -> NDArray[np.bool_]:
        with failing_as("the model of places cannot be run"):
            given = self._pool.run(np.array([[latitude, longitude, week]], np.float32))
        return np.asarray(given[0][0] >= PLAUSIBLE)


def week_of(moment: datetime) -> int:
    """The week of a moment in its year, 1 to WEEKS, each of 7.6 days."""
    days = 366 if calendar.isleap(moment.year) else 365
    return math.ceil(moment.timetuple().tm_yday / days * WEEKS)


def load_places(source: ModelSource) -> PlaceModel:
    """A model of places, loaded once per process.

    Raises:
      ModelError: it cannot be read or used.
    """
    loaded = shared(_Loaded)
    with loaded.lock:
        if source.sha256 not in loaded.models:
            loaded.models[source.sha256] = PlaceModel(source.read())
        return loaded.models[source.sha256]


class _Loaded:
    """The models of places of this process, by their sha256; the lock is for loading one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.models: dict[str, PlaceModel] = {}
