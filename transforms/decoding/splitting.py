"""Long recordings as spans that several workers decode at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from earmark.shared import shared
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.storage import local_path
from earmark.transforms.workers import marking

_SHORT_BYTES = 1 << 20
"""Smaller files are decoded quickly, and so are not opened to find their length."""


@dataclass
class SplitLongClips(beam.PTransform):  # type: ignore[misc]
    """Cut long recordings into spans: AudioObject to Span.

    Only local files whose format can be entered at any position without decoding what comes before
    it: remote objects are read once, from beginning to end.

    Attributes:
      span_s: how long a span is.
    """

    span_s: int

    def expand(self, objects: beam.PCollection[AudioObject]) -> beam.PCollection[Span]:
        """Apply the transform."""
        return objects | "Split" >> beam.FlatMap(split_clip, self.span_s)


@marking
def split_clip(clip: AudioObject, span_s: int) -> Iterator[Span]:
    """The spans of a recording: of span_s each, but for the last, which may be shorter."""
    length_s = _length_s(clip)
    count = 1 if length_s is None else max(1, -(-length_s // span_s))
    for index in range(count):
        stop_s = (index + 1) * span_s if index + 1 < count else None
        yield Span(clip, index, count, index * span_s, stop_s)


def _length_s(clip: AudioObject) -> int | None:
    """The length of a recording that can be cut into spans, the last second begun; else None."""
    path = local_path(clip.uri)
    if path is None or (clip.size_bytes or 0) < _SHORT_BYTES:
        return None
    return shared(DecoderPool).length_s(path)
