"""Long recordings as spans that several workers decode at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam

from earmark.shared import shared
from earmark.transforms.archives import split_at_archives
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.decoding.messages import Length
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.elements import AudioObject, ByteRange, Span
from earmark.transforms.errors import ReadError
from earmark.transforms.storage import local_path
from earmark.transforms.workers import marking

_SHORT_BYTES = 1 << 20
"""Smaller files are decoded quickly, and so are not opened to find their length."""

_SHORT_REMOTE_BYTES = 64 << 20
"""Smaller objects are fetched quickly, and so are not asked for in parts."""

_HEAD_BYTES = 2 << 20
_TAIL_BYTES = 1 << 20
"""How much may lie before and behind the samples of an object that is fetched in parts."""


@dataclass
class SplitLongClips(beam.PTransform):  # type: ignore[misc]
    """Cut long recordings into spans: AudioObject to Span.

    Only those whose format can be entered at any position without decoding what comes before it,
    and of remote objects only those with uncompressed samples: where these are is known from the
    first bytes, so that a worker fetches no more than its span. Others are fetched whole, once.

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
    seconds, sound = _length(clip)
    count = 1 if seconds is None else max(1, -(-seconds // span_s))
    for index in range(count):
        stop_s = (index + 1) * span_s if index + 1 < count else None
        yield Span(clip, index, count, index * span_s, stop_s, sound if count > 1 else None)


def is_small(clip: AudioObject) -> bool:
    """Whether a recording is one span whatever it holds, going by its size."""
    least = _SHORT_REMOTE_BYTES if local_path(clip.uri) is None else _SHORT_BYTES
    return (clip.size_bytes or 0) < least


def _length(clip: AudioObject) -> Length:
    """The length of a recording that can be cut into spans."""
    path = local_path(clip.uri)
    if is_small(clip):
        return Length()
    if path is not None:
        return Length(shared(DecoderPool).length(path).seconds)
    if split_at_archives(clip.uri):
        return Length()
    try:
        return _length_by_ends(clip, clip.size_bytes or 0)
    except ReadError:  # which decoding it will meet again, and tell
        return Length()


def _length_by_ends(clip: AudioObject, size_bytes: int) -> Length:
    """The length of a remote recording, from what lies before and behind its samples."""
    head = 0, _HEAD_BYTES
    length = _length_by_parts(clip, head)
    if length.sound is None or length.sound.head_bytes > _HEAD_BYTES:
        return Length()
    behind = length.sound.stop, size_bytes
    if behind[1] - behind[0] > _TAIL_BYTES:
        return Length()
    if behind[0] < behind[1] and length != _length_by_parts(clip, head, behind):
        return Length()
    return length


def _length_by_parts(clip: AudioObject, *parts: ByteRange) -> Length:
    with local_copy(clip, parts) as path:
        return shared(DecoderPool).length(path)
