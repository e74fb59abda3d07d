from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from earmark.transforms.decoding import splitting
from earmark.transforms.decoding.splitting import split_clip
from earmark.transforms.elements import AudioObject, Span


@pytest.fixture(autouse=True)
def _nothing_is_short(monkeypatch):
    monkeypatch.setattr(splitting, "_SHORT_BYTES", 0)


def recording(tmp_path, kind: str, samples: int) -> AudioObject:
    path = tmp_path / f"a.{kind}"
    sf.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, samples), 8000)
    return AudioObject(str(path), path.stat().st_size, "v")


@pytest.mark.parametrize("kind", ["wav", "flac", "aiff", "w64", "rf64", "caf"])
@pytest.mark.parametrize(
    ("samples", "starts"),
    [
        (79_999, [0]),
        (80_000, [0]),
        (80_001, [0, 10]),
        (8000 * 35, [0, 10, 20, 30]),
    ],
)
def test_a_recording_longer_than_a_span_is_cut_at_whole_spans(tmp_path, kind, samples, starts):
    clip = recording(tmp_path, kind, samples)
    stops = [*starts[1:], None]
    expected = [
        Span(clip, i, len(starts), start, stop)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]
    assert list(split_clip(clip, 10)) == expected


@pytest.mark.parametrize("kind", ["mp3", "ogg"])
def test_what_can_only_be_read_from_its_start_is_one_span(tmp_path, kind):
    clip = recording(tmp_path, kind, 8000 * 35)
    assert list(split_clip(clip, 10)) == [Span(clip)]


def test_what_cannot_be_opened_is_left_to_be_told_by_decoding(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF, and then nothing of the kind")
    for name in ("a.wav", "gone.wav"):
        clip = AudioObject(str(tmp_path / name), 34, "v")
        assert list(split_clip(clip, 10)) == [Span(clip)]


def test_an_object_elsewhere_is_read_once_as_a_whole():
    clip = AudioObject("gs://bucket/day.wav", 10**10, "v")
    assert list(split_clip(clip, 10)) == [Span(clip)]
