"""A round's plan as a file, for remote workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam

from earmark.transforms.elements import PlannedObject
from earmark.transforms.storage import read_uri, write_whole
from earmark.transforms.workers import marking


@dataclass
class ReadPlan(beam.PTransform):  # type: ignore[misc]
    """Read what a round is to process, from the file that `write_plan` wrote; gives PlannedObject.

    Attributes:
      path: where the file is, locally or in a store.
    """

    path: str

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[PlannedObject]:
        """Apply the transform."""
        return root | beam.Impulse() | "Read" >> beam.FlatMap(_read_plan, self.path)


def write_plan(path: str, planned: Iterable[PlannedObject]) -> None:
    """Write what a round is to process, an object a line."""
    write_whole(path, "\n".join(map(json.dumps, planned)))


@marking
def _read_plan(_: bytes, path: str) -> Iterator[PlannedObject]:
    for line in read_uri(path).splitlines():
        yield PlannedObject.of(*json.loads(line))
