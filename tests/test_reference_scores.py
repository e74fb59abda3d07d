"""earmark on real recordings, beside the Task Library's scores and what people hear in them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from earmark.models.classifier import AudioClassifier
from earmark.pipelines.cli import main
from earmark.transforms.decoding.stage import decode_frames
from earmark.transforms.detecting.scoring import score_block
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.settings import Decoding, FrameGrid

CLEAR_LEAD = 0.1

RECORDINGS = (
    "1min.wav",
    "audiomoth_gps.wav",
    "birds_10s.wav",
    "great_plains_toad.wav",
    "metadata.wav",
    "silence_10s.mp3",
    "soundscape.mp3",
    "soundscape.ogg",
    "speech.wav",
    "stereo.wav",
    "veryshort.wav",
)


@pytest.fixture(scope="module")
def yamnet(yamnet_path) -> AudioClassifier:
    return AudioClassifier.from_path(yamnet_path)


@pytest.mark.parametrize("name", RECORDINGS)
def test_clear_top_labels_are_the_task_librarys(shared, yamnet, name):
    expected = np.load(shared / "golden" / "yamnet_tasklib_scores.npz")[name]
    grid = FrameGrid(yamnet.sample_rate_hz, yamnet.frame_samples, yamnet.frame_samples)
    span = Span(AudioObject(str(shared / "audio" / name), None, ""))
    scores = np.concatenate(
        [score_block(block, yamnet).scores for block in decode_frames([span], Decoding(grid))]
    )
    assert scores.shape == expected.shape
    ranked = np.sort(expected, axis=1)
    clear = ranked[:, -1] - ranked[:, -2] > CLEAR_LEAD
    np.testing.assert_array_equal(scores.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])
    if name in ("speech.wav", "great_plains_toad.wav", "silence_10s.mp3"):
        assert clear.mean() > 0.5


def test_real_recordings_come_out_as_people_hear_them(shared, yamnet_path, tmp_path, rows):
    output = tmp_path / "out"
    arguments = ["--input", f"{shared}/audio/**", "--output", str(output)]
    assert main(["classify", *arguments, "--model", str(yamnet_path)]) == 0

    clips = {
        Path(clip).name: (best, recorded_at)
        for clip, best, recorded_at in rows(output, "clips", "clip, labels[1].label, recorded_at")
    }
    failures = {
        Path(clip).name: reason for clip, reason in rows(output, "failures", "clip, reason")
    }
    heard_in = {
        (Path(clip).name, label)
        for clip, label in rows(output, "detections", "clip, label", "where score > 0.5")
    }
    assert set(clips) | set(failures) == {path.name for path in (shared / "audio").iterdir()}
    assert not set(clips) & set(failures)
    assert clips["speech.wav"][0] == "Speech"
    assert clips["great_plains_toad.wav"][0] == "Frog"
    assert clips["silence_10s.mp3"][0] == "Silence"
    assert ("1min.wav", "Bird") in heard_in
    assert clips["metadata.wav"][1] == datetime(2020, 4, 4, 10, 25, tzinfo=timezone.utc)
    assert failures == {"empty_2c.wav": "damaged"}
