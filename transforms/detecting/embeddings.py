"""Embeddings on their way from frames to rows.

They take four kilobytes per frame, a hundred times as much as detections. So they wait in files
beside the output, and only the files' names cross the shuffle; small numbers of embeddings, as of
short clips, cross it themselves.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from apache_beam.transforms.window import BoundedWindow, IntervalWindow
from numpy.typing import NDArray

from earmark.transforms.elements import (
    EmbeddingPart,
    Embeddings,
    FrameScores,
    Span,
    StoredEmbeddings,
)
from earmark.transforms.storage import join, read_uri, write_whole

ROWS_ASIDE = 1024
"""How many embeddings of a span are kept in memory before they go to a file: 4 MB of YAMNet's."""

BYTES_ALONG = 1 << 16
"""How many bytes of a span's embeddings may cross the shuffle."""


@dataclass(frozen=True)
class EmbeddingSpool:
    """Where embeddings wait until rows are written.

    Attributes:
      folder: of the files, which are to go when their rows are committed; empty where
        nothing is written, and they are held in memory.
      dtype: float32 or float16, as rows will have it.
    """

    folder: str
    dtype: str

    def of_window(self, window: BoundedWindow) -> EmbeddingSpool:
        """Where those of a stream's window wait; in a run that ends there are no others."""
        if not self.folder or not isinstance(window, IntervalWindow):
            return self
        return replace(self, folder=join(self.folder, f"{window.start.micros // 1_000_000:010d}"))

    def take(self, parts: Sequence[EmbeddingPart], block: FrameScores) -> list[EmbeddingPart]:
        """A span's embeddings with those of a block; none of a frame that was not scored."""
        more = [*parts, self._of(block)]
        held = [part for part in more if isinstance(part, Embeddings)]
        if not self.folder or sum(len(part.frame) for part in held) < ROWS_ASIDE:
            return more
        stored = [part for part in more if not isinstance(part, Embeddings)]
        return [*stored, self._store(_joined(held), block.span)]

    def finish(self, parts: Sequence[EmbeddingPart], span: Span) -> list[EmbeddingPart]:
        """A span's embeddings at its end, as they cross the shuffle."""
        held = [part for part in parts if isinstance(part, Embeddings) and len(part.frame)]
        stored: list[EmbeddingPart] = [part for part in parts if not isinstance(part, Embeddings)]
        if not held:
            return stored
        rest = _joined(held)
        if not self.folder or (not stored and rest.values.nbytes <= BYTES_ALONG):
            return [rest]
        return [*stored, self._store(rest, span)]

    def _of(self, block: FrameScores) -> Embeddings:
        values = block.embeddings
        if values is None:
            raise ValueError("the block has no embeddings")
        scored = np.flatnonzero(~np.isnan(values).any(axis=1))
        channel, frame = np.divmod(scored, max(1, len(values) // block.channels))
        return Embeddings(
            (block.first_frame + frame).astype(np.int32),
            channel.astype(np.int32),
            _as_dtype(values[scored], self.dtype),
        )

    def _store(self, part: Embeddings, span: Span) -> StoredEmbeddings:
        first, clip = int(part.frame[0]), span.clip
        key = f"{clip.uri}\0{clip.version}\0{span.index}\0{first}\0{len(part.frame)}"
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        content = io.BytesIO()
        np.savez(content, frame=part.frame, channel=part.channel, values=part.values)
        path = join(self.folder, f"{name}.npz")
        write_whole(path, content.getvalue(), outlives_power=False)
        return StoredEmbeddings(path, first, len(part.frame))


def first_frame(part: EmbeddingPart) -> int:
    """The least frame of a part that is not empty."""
    return part.first_frame if isinstance(part, StoredEmbeddings) else int(part.frame[0])


def rows_of(part: EmbeddingPart) -> int:
    """How many embeddings there are in a part."""
    return part.rows if isinstance(part, StoredEmbeddings) else len(part.frame)


def loaded(parts: Sequence[EmbeddingPart]) -> Iterator[Embeddings]:
    """A clip's embeddings part by part, each of them in memory for as long as it is looked at."""
    for part in parts:
        if isinstance(part, Embeddings):
            yield part
            continue
        with np.load(io.BytesIO(read_uri(part.path)), allow_pickle=False) as file:
            yield Embeddings(file["frame"], file["channel"], file["values"])


def mean_embedding(parts: Sequence[EmbeddingPart]) -> NDArray[np.float32] | None:
    """The mean over a clip's embeddings, float32 [embedding_size]; None where there are none.

    They are added up one by one, so that it does not depend on the parts.
    """
    total, count = None, 0
    for part in loaded(parts):
        if total is None:
            total = np.zeros(part.values.shape[1])
        for row in part.values:
            total += row
        count += len(part.values)
    return None if total is None else (total / count).astype(np.float32)


def _as_dtype(values: NDArray[np.float32], dtype: str) -> NDArray[np.floating]:
    """Numbers converted to a type, those outside its range clamped."""
    most = np.float32(np.finfo(dtype).max)
    return np.clip(values, -most, most).astype(dtype)


def _joined(parts: Sequence[Embeddings]) -> Embeddings:
    frame = np.concatenate([part.frame for part in parts])
    channel = np.concatenate([part.channel for part in parts])
    order = np.lexsort((channel, frame))
    values = np.concatenate([part.values for part in parts])
    return Embeddings(frame[order], channel[order], values[order])
