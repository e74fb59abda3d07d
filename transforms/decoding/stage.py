"""From recordings to frames, in processes that a bad recording may crash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from earmark.shared import shared
from earmark.transforms import workers
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.decoding.spans import parts_read
from earmark.transforms.elements import Ending, FrameBlock, SignalLevel, Span
from earmark.transforms.errors import AudioError, trouble_of
from earmark.transforms.settings import Decoding


@dataclass
class DecodeFrames(beam.PTransform):  # type: ignore[misc]
    """Decode recordings into blocks of frames: Span to FrameBlock.

    Each span ends with a block that has no frames and says how decoding ended; for an object that
    cannot be decoded at all it is the only one.

    Attributes:
      decoding: how recordings become frames.
      run_id: of the run on whose board progress is noted.
    """

    decoding: Decoding
    run_id: str = ""

    def expand(self, spans: beam.PCollection[Span]) -> beam.PCollection[FrameBlock]:
        """Apply the transform."""
        return spans | "Decode" >> beam.ParDo(_DecodeFn(self))


class _DecodeFn(beam.DoFn):  # type: ignore[misc]
    def __init__(self, stage: DecodeFrames) -> None:
        self._stage = stage
        self._decoded = Metrics.counter(DecodeFrames, "spans")
        self._samples = Metrics.counter(DecodeFrames, "samples")
        self._troubled = Metrics.counter(DecodeFrames, "spans_with_trouble")

    @workers.marking
    def process(self, span: Span) -> Iterator[FrameBlock]:
        board, decoding = workers.board(self._stage.run_id), self._stage.decoding
        board.began(span)
        for block in decode_frames(span, decoding):
            board.heard_s(len(block.frames) // block.channels * decoding.grid.hop_s)
            if block.ending is not None:
                self._decoded.inc()
                self._samples.inc(block.ending.samples)
                self._troubled.inc(int(block.ending.trouble is not None))
                board.finished(span, failed=block.ending.samples == 0)
            yield block


def decode_frames(span: Span, decoding: Decoding) -> Iterator[FrameBlock]:
    """Decode a span of a recording; errors are reported by the last block.

    A remote recording is downloaded here; decoding is done by another process.

    Args:
      span: the part of a recording.
      decoding: how it becomes frames.

    Yields:
      Blocks of frames, then one without frames that holds the Ending.
    """
    clip = span.clip
    span = replace(span, clip=clip.without_address())
    try:
        with local_copy(clip, parts_read(span, decoding.grid)) as path:
            yield from shared(DecoderPool).decode(span, path, decoding)
    except AudioError as error:
        grid = decoding.grid
        none = np.empty((0, grid.frame_samples * decoding.use.in_frame), np.float32)
        nothing = Ending(None, 0, 0, SignalLevel(), trouble=trouble_of(error))
        yield FrameBlock(span, grid.first_from(span.start_s), none, nothing)
