"""From recordings to frames, in processes that a bad recording may crash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import BoundedWindow
from apache_beam.utils.windowed_value import WindowedValue

from earmark.shared import shared
from earmark.transforms import workers
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.decoding.spans import parts_read
from earmark.transforms.elements import Ending, FrameBlock, SignalLevel, Span
from earmark.transforms.errors import AudioError, trouble_of
from earmark.transforms.settings import Decoding

_TOGETHER = 32
_TOGETHER_BYTES = 1 << 20
"""So many recordings, and so many bytes, are decoded together at most."""


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
    """Decodes short recordings several at a time, so that no process waits for its next question.

    They are of one window, since what is decoded later than it came has to be told its window.
    """

    def __init__(self, stage: DecodeFrames) -> None:
        self._stage = stage
        self._decoded = Metrics.counter(DecodeFrames, "spans")
        self._samples = Metrics.counter(DecodeFrames, "samples")
        self._troubled = Metrics.counter(DecodeFrames, "spans_with_trouble")

    def start_bundle(self) -> None:
        self._waiting: list[Span] = []
        self._window: BoundedWindow | None = None

    @workers.marking
    def process(
        self, span: Span, window: BoundedWindow = beam.DoFn.WindowParam
    ) -> Iterator[WindowedValue]:
        if self._waiting and not (window == self._window and are_short([*self._waiting, span])):
            yield from self._decode()
        self._window = window
        self._waiting.append(span)
        if not are_short(self._waiting):  # others must not wait for it, nor it for them
            yield from self._decode()

    @workers.marking
    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from self._decode()

    def _decode(self) -> Iterator[WindowedValue]:
        waiting, self._waiting, window = self._waiting, [], self._window
        if window is None or not waiting:
            return
        board, decoding = workers.board(self._stage.run_id), self._stage.decoding
        end, upcoming = window.max_timestamp(), iter(waiting)
        board.began(next(upcoming))
        for block in decode_frames(waiting, decoding):
            board.heard_s(len(block.frames) // block.channels * decoding.grid.hop_s)
            if block.ending is not None:
                self._decoded.inc()
                self._samples.inc(block.ending.samples)
                self._troubled.inc(int(block.ending.trouble is not None))
                board.finished(block.span, failed=block.ending.samples == 0)
            yield WindowedValue(block, end, (window,))
            if block.ending is not None and (span := next(upcoming, None)) is not None:
                board.began(span)


def are_short(spans: Sequence[Span]) -> bool:
    """Whether spans are whole recordings, and together so short that one thread takes all."""
    sizes = [each.clip.size_bytes for each in spans if each.count == 1]
    return (
        len(sizes) == len(spans) <= _TOGETHER
        and None not in sizes
        and sum(filter(None, sizes)) <= _TOGETHER_BYTES
    )


def decode_frames(spans: Iterable[Span], decoding: Decoding) -> Iterator[FrameBlock]:
    """Decode spans of recordings one after another; errors are reported by a span's last block.

    Remote recordings are downloaded here; decoding is done by another process.

    Args:
      spans: parts of recordings.
      decoding: how they become frames.

    Yields:
      For each span blocks of frames, then one without frames that holds the Ending.
    """
    pool, here = shared(DecoderPool), list[tuple[Span, str]]()
    with ExitStack() as copies:
        for span in spans:
            clip = span.clip
            span = replace(span, clip=clip.without_address())
            try:
                path = copies.enter_context(local_copy(clip, parts_read(span, decoding.grid)))
                here.append((span, path))
            except AudioError as error:
                yield from pool.decode(here, decoding)
                yield _unread(span, error, decoding)
                here = []
        yield from pool.decode(here, decoding)


def _unread(span: Span, error: AudioError, decoding: Decoding) -> FrameBlock:
    grid = decoding.grid
    none = np.empty((0, grid.frame_samples * decoding.use.in_frame), np.float32)
    nothing = Ending(None, 0, 0, SignalLevel(), trouble=trouble_of(error))
    return FrameBlock(span, grid.first_from(span.start_s), none, nothing)
