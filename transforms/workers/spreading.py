"""Dealing objects out to all workers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam

from earmark.transforms.elements import AudioObject


@dataclass
class SpreadObjects(beam.PTransform):  # type: ignore[misc]
    """Deal objects out by their URIs: AudioObject to the same, each once, in any order.

    Not by Beam's Reshuffle, since what comes of them is to be dealt out once more: of two in a row
    Flink leaves out the second, taking what was dealt out evenly once to be so for ever. Then all
    spans of a recording would be heard where it was cut.
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
