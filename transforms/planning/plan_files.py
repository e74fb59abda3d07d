"""A round's plan as a file, for remote workers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from cryptography.fernet import Fernet

from earmark.transforms.elements import Address, AudioObject, PlannedObject
from earmark.transforms.storage import read_uri, write_whole
from earmark.transforms.workers import marking


@dataclass
class ReadPlan(beam.PTransform):  # type: ignore[misc]
    """Read what a round is to process, from the file that `write_plan` wrote; gives PlannedObject.

    Attributes:
      path: where the file is, locally or in a store.
      key: what addresses in it are encrypted with.
    """

    path: str
    key: bytes

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[PlannedObject]:
        """Apply the transform."""
        return root | beam.Impulse() | "Read" >> beam.FlatMap(_read_plan, self.path, self.key)


def write_plan(path: str, planned: Iterable[PlannedObject]) -> bytes:
    """Write what a round is to process, an object a line.

    Returns:
      The key that addresses are encrypted with, since others may read the output.
    """
    key = Fernet.generate_key()
    cipher = Fernet(key)

    def encrypted(address: Address) -> str:
        return cipher.encrypt(address.url.encode()).decode("ascii")

    write_whole(path, "\n".join(json.dumps(each, default=encrypted) for each in planned))
    return key


@marking
def _read_plan(_: bytes, path: str, key: bytes) -> Iterator[PlannedObject]:
    cipher = Fernet(key)
    for line in read_uri(path).splitlines():
        (uri, size_bytes, version, encrypted), old_file = json.loads(line)
        address = None if encrypted is None else Address(cipher.decrypt(encrypted).decode())
        yield PlannedObject(AudioObject(uri, size_bytes, version, address), old_file)
