from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.detecting import embeddings
from earmark.transforms.detecting.embeddings import (
    EmbeddingSpool,
    first_frame,
    loaded,
    mean_embedding,
    rows_of,
)
from earmark.transforms.elements import (
    AudioObject,
    Embeddings,
    FrameScores,
    Span,
    StoredEmbeddings,
)
from earmark.transforms.storage.whole_files import write_whole

SPAN = Span(AudioObject("/a/naïve.wav", 1, "v"))
SIZE = 4


def block(first: int, frames: int, channels: int = 1, nan: int | None = None) -> FrameScores:
    """Scores with embeddings that say which frame and channel they are of."""
    frame = np.tile(np.arange(first, first + frames), channels)
    channel = np.repeat(np.arange(channels), frames)
    values = np.stack([frame, channel, frame * 0.5, -frame], axis=1).astype(np.float32)
    if nan is not None:
        values[nan] = np.nan
    scores = np.zeros((len(values), 1), np.float32)
    return FrameScores(SPAN, first, scores, channels=channels, embeddings=values)


def taken(aside: EmbeddingSpool, blocks: list[FrameScores]) -> list:
    parts: list = []
    for each in blocks:
        parts = aside.take(parts, each)
    return sorted(aside.finish(parts, SPAN), key=first_frame)


def rows(parts: list) -> list[tuple]:
    return [
        (int(frame), int(channel), *map(float, values))
        for part in loaded(parts)
        for frame, channel, values in zip(part.frame, part.channel, part.values, strict=True)
    ]


def test_a_few_go_along_and_leave_no_file(tmp_path):
    parts = taken(EmbeddingSpool(str(tmp_path / "aside"), "float32"), [block(0, 3), block(3, 2)])
    assert [type(part) for part in parts] == [Embeddings]
    assert rows(parts) == [(i, 0, i, 0.0, i * 0.5, -i) for i in range(5)]
    assert not (tmp_path / "aside").exists()


@pytest.mark.parametrize("held", [1, 7, 40, 1000])
def test_however_many_are_held_all_come_by_frame_then_by_channel(tmp_path, monkeypatch, held):
    monkeypatch.setattr(embeddings, "ROWS_ASIDE", held)
    monkeypatch.setattr(embeddings, "BYTES_ALONG", 64)
    blocks = [block(first, 16, channels=2) for first in range(0, 160, 16)]
    parts = taken(EmbeddingSpool(str(tmp_path), "float32"), blocks)
    assert all(isinstance(part, StoredEmbeddings) for part in parts)
    assert sum(map(rows_of, parts)) == 320
    got = rows(parts)
    assert [row[:2] for row in got] == [(i, c) for i in range(160) for c in range(2)]
    assert all(row[2] == row[0] and row[3] == row[1] for row in got)


def test_a_frame_that_was_not_scored_has_none(tmp_path):
    parts = taken(EmbeddingSpool(str(tmp_path), "float32"), [block(0, 3, channels=2, nan=4)])
    assert [row[:2] for row in rows(parts)] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]


def test_the_same_done_twice_is_the_same_file(tmp_path):
    aside = EmbeddingSpool(str(tmp_path), "float16")
    blocks = [block(first, 400) for first in range(0, 20_000, 400)]
    first, second = taken(aside, blocks), taken(aside, blocks)
    assert first == second
    assert len(list(tmp_path.iterdir())) == len(first)
    assert next(loaded(first)).values.dtype == np.float16


def test_what_float16_does_not_hold_becomes_the_most_that_it_does(tmp_path):
    far = block(0, 2)
    values = np.array([[1e5, -1e6, 1, 0], [65_504, 1e-9, 2, 0]], np.float32)
    ((_, _, *first), (_, _, *second)) = rows(
        taken(EmbeddingSpool(str(tmp_path), "float16"), [replace(far, embeddings=values)])
    )
    assert first == [65_504, -65_504, 1, 0]
    assert second[0] == 65_504


def test_many_may_write_the_same_one_at_once(tmp_path):
    path = str(tmp_path / "aside" / "one.npz")
    with ThreadPoolExecutor(8) as pool:
        contents = (bytes([65 + i % 8]) * 50_000 for i in range(200))
        list(pool.map(lambda each: write_whole(path, each, outlives_power=False), contents))
    content = Path(path).read_bytes()
    assert len(content) == 50_000
    assert len(set(content)) == 1
    assert [each.name for each in Path(path).parent.iterdir()] == ["one.npz"]


def test_the_mean_does_not_depend_on_the_parts(tmp_path):
    values = np.random.default_rng(1).normal(size=(3000, SIZE)).astype(np.float32)
    frame = np.arange(3000, dtype=np.int32)

    def cut(*at: int) -> list[Embeddings]:
        bounds = [0, *at, 3000]
        return [
            Embeddings(frame[a:b], frame[a:b] * 0, values[a:b])
            for a, b in itertools.pairwise(bounds)
        ]

    whole = mean_embedding(cut())
    np.testing.assert_allclose(whole, values.mean(axis=0, dtype=np.float64), rtol=1e-6)
    for parts in (cut(1), cut(1000, 2999), cut(*range(7, 3000, 7))):
        np.testing.assert_array_equal(mean_embedding(parts), whole)
    assert mean_embedding([]) is None
