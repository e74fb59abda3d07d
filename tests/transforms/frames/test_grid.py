from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.transforms.frames.grid import cut_frames
from earmark.transforms.settings import FrameGrid


def frames_of_whole_signal(signal: np.ndarray, frame: int, hop: int) -> np.ndarray:
    """The oracle: frames from 0, hop by hop, until one reaches the signal's end."""
    frames = []
    for start in range(0, len(signal), hop):
        piece = signal[start : start + frame]
        frames.append(np.pad(piece, (0, frame - len(piece))))
        if start + frame >= len(signal):
            break
    return np.array(frames, np.float32).reshape(-1, frame)


@st.composite
def chunked_signals(draw: st.DrawFn) -> list[np.ndarray]:
    lengths = draw(st.lists(st.integers(0, 40), max_size=12))
    signal = np.arange(1, sum(lengths) + 1, dtype=np.float32)
    return np.split(signal, np.cumsum(lengths)[:-1]) if lengths else []


@given(
    chunks=chunked_signals(),
    frame=st.integers(1, 25),
    hop=st.integers(1, 40),
    block_frames=st.integers(1, 7),
)
def test_frames_are_those_of_the_whole_signal(chunks, frame, hop, block_frames):
    signal = np.concatenate([np.empty(0, np.float32), *chunks])
    expected = frames_of_whole_signal(signal, frame, hop)

    blocks = list(cut_frames(chunks, FrameGrid(16000, frame, hop), block_frames))

    got = np.concatenate([np.empty((0, frame), np.float32), *(frames for _, frames in blocks)])
    np.testing.assert_array_equal(got, expected)
    assert FrameGrid(16000, frame, hop).count(len(signal)) == len(expected)
    firsts = [first for first, _ in blocks]
    assert firsts == [i * block_frames for i in range(len(blocks))]
    assert all(len(frames) == block_frames for _, frames in blocks[:-1])


def test_without_overlap_a_clip_has_as_many_frames_as_it_takes_to_hold_its_samples():
    grid = FrameGrid(16000, 15600, 15600)
    assert [grid.count(n) for n in (0, 1, 15600, 15601, 31200, 31201)] == [0, 1, 1, 2, 2, 3]


def test_blocks_hold_no_more_than_they_must():
    grid = FrameGrid(16000, 100, 100)
    held = 0
    taken = 0

    def chunks():
        nonlocal taken
        for _ in range(1000):
            taken += 50
            yield np.zeros(50, np.float32)

    for first, frames in cut_frames(chunks(), grid, 4):
        held = max(held, taken - (first + len(frames)) * 100)
    assert taken == 50_000
    assert held <= 400


def test_what_lies_between_frames_is_not_held():
    grid = FrameGrid(16000, 100, 1_000_000)
    chunks = (np.full(5000, i, np.float32) for i in range(1000))
    blocks = list(cut_frames(chunks, grid, 4))
    assert [(first, len(frames)) for first, frames in blocks] == [(0, 4), (4, 1)]
    np.testing.assert_array_equal(blocks[0][1][:, 0], [0, 200, 400, 600])


def test_times_are_in_seconds_and_end_with_the_clip():
    grid = FrameGrid(16000, 15600, 8000)
    np.testing.assert_allclose(grid.start_s(np.array([0, 1, 5])), [0, 0.5, 2.5], rtol=1e-12)
    np.testing.assert_allclose(grid.end_s(np.array([0, 1, 5]), 3.0), [0.975, 1.475, 3.0])
    assert grid.hop_s == pytest.approx(0.5)
