"""What is due, by kind of file: how much there is of each, and some of each to begin with."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from earmark.transforms.elements import PlannedObject
from earmark.transforms.storage import OTHERS

SAMPLES = 5
"""How many objects of each kind are in its sample."""

_KINDS = 20
"""How many kinds are counted separately; all others are counted together."""


@dataclass
class Kind:
    """Objects whose names have the same extension.

    Attributes:
      name: the extension, such as .wav.
      objects: how many are to be processed.
      size_bytes: their total size.
      sample: some of them, chosen by a hash of their URIs.
    """

    name: str
    objects: int = 0
    size_bytes: int = 0
    sample: list[PlannedObject] = field(default_factory=list)


def kinds_of(due: Iterable[PlannedObject]) -> list[Kind]:
    """What is due by kind, the largest in bytes first."""
    kinds: dict[str, Kind] = {}
    samples: dict[str, list[tuple[int, PlannedObject]]] = {}
    for each in due:
        name = each.object.extension
        name = name if name in kinds or len(kinds) < _KINDS else OTHERS
        kind = kinds.setdefault(name, Kind(name))
        kind.objects += 1
        kind.size_bytes += each.object.size_bytes or 0
        if each.object.size_bytes:
            _sample(each, samples.setdefault(name, []))
    for name, sample in samples.items():
        kinds[name].sample = [each for _, each in sorted(sample)]
    return sorted(kinds.values(), key=lambda kind: -kind.size_bytes)


def samples_first(kinds: Iterable[Kind], due: Iterable[PlannedObject]) -> Iterator[PlannedObject]:
    """What is due, beginning with one of each kind, so that the speed of each is known early."""
    by_turns = chain.from_iterable(zip_longest(*(kind.sample for kind in kinds)))
    first = [each for each in by_turns if each is not None]
    uris = {each.object.uri for each in first}
    return chain(first, (each for each in due if each.object.uri not in uris))


def _sample(each: PlannedObject, sample: list[tuple[int, PlannedObject]]) -> None:
    place = -zlib.crc32(each.object.uri.encode("utf-8", "surrogateescape"))
    heapq.heappush(sample, (place, each))
    if len(sample) > SAMPLES:
        heapq.heappop(sample)
