"""Results of clips, as aggregating makes them of two frames with two labels each."""

from __future__ import annotations

import numpy as np

from earmark.transforms.detecting.aggregating import Tally, summarise_clip
from earmark.transforms.detecting.embeddings import EmbeddingSpool
from earmark.transforms.elements import (
    AudioHeader,
    AudioObject,
    ClipResult,
    Ending,
    FailedClip,
    FrameScores,
    HeadLabels,
    Span,
    Trouble,
)
from earmark.transforms.frames.levels import measure
from earmark.transforms.settings import Decoding, FrameGrid, Settings

HEADS = (HeadLabels("scores", ("wind", "bird")),)
GRID = FrameGrid(10, 10, 10)
RUN = "20261101T120000Z-0123abcd"
SETTINGS = Settings(
    *(Decoding(GRID), HEADS, np.full(2, 0.1, np.float32)),
    run_id=RUN,
    model_name="toy",
    model_sha256="f" * 64,
)


def scored(
    uri: str, version: str = "1", score: float = 0.5, aside: EmbeddingSpool | None = None
) -> ClipResult:
    span = Span(AudioObject(uri, 123, version))
    level = measure(np.full((10, 1), 0.5, np.float32))
    ending = Ending(AudioHeader("wav", "pcm_s16", 10, 1, 20), 20, 2, level)
    tally = Tally()
    frames = np.full((2, 2), score, np.float32)
    tally.add(FrameScores(span, 0, frames, embeddings=frames if aside else None), SETTINGS, aside)
    tally.add(FrameScores(span, 2, np.empty((0, 2), np.float32), 0, ending), SETTINGS)
    return summarise_clip(tally, SETTINGS)


def failed(uri: str, version: str = "1") -> ClipResult:
    return FailedClip(AudioObject(uri, None, version), Trouble("read", "io", "no luck"))
