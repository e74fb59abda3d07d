"""Distributing objects to all workers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam

from earmark.transforms.elements import AudioObject


@dataclass
class SpreadObjects(beam.PTransform):  # type: ignore[misc]
    """Distribute objects by their URIs: AudioObject to AudioObject, each once,
    in any order.

    Not with Beam's Reshuffle, since the objects' spans are reshuffled too: of two Reshuffles
    in a row Flink drops the second, assuming that elements stay evenly distributed. Then all spans
    of a recording would be processed where it was cut.
    """

    def expand(self, objects: beam.PCollection[AudioObject]) -> beam.PCollection[AudioObject]:
        """Apply the transform."""
        return (
            objects
            | "ByUri" >> beam.Map(_keyed)
            | "Group" >> beam.GroupByKey()
            | "Objects" >> beam.FlatMap(_members)
        )


def _keyed(each: AudioObject) -> tuple[int, AudioObject]:
    return zlib.crc32(each.uri.encode("utf-8", "surrogateescape")), each


def _members(group: tuple[int, Iterable[AudioObject]]) -> Iterable[AudioObject]:
    return {each.uri: each for each in group[1]}.values()
