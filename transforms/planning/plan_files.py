"""A round's plan as a file, for workers that are not where it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam

from earmark.transforms.elements import AudioObject, ToHear
from earmark.transforms.storage import read_uri, write_whole


@dataclass
class ReadPlan(beam.PTransform):  # type: ignore[misc]
    """What a round is to hear, from the file that `write_plan` wrote; gives ToHear.

    Attributes:
      path: where the file is; any filesystem that Beam knows.
    """

    path: str

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[ToHear]:
        """Apply the transform."""
        return root | beam.Impulse() | "Read" >> beam.FlatMap(lambda _: _read_plan(self.path))


def write_plan(path: str, planned: Iterable[ToHear]) -> None:
    """Write what a round is to hear, an object a line."""
    lines = (json.dumps([*each.object, each.old_file]) for each in planned)
    write_whole(path, "\n".join(lines))


def _read_plan(path: str) -> Iterator[ToHear]:
    for line in read_uri(path).splitlines():
        uri, size_bytes, version, old_file = json.loads(line)
        yield ToHear(AudioObject(uri, size_bytes, version), old_file)
