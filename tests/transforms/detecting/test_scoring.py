from __future__ import annotations

from typing import ClassVar

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import GlobalWindow

from earmark.models.classifier import Prediction
from earmark.pipelines.engines.local import local_runner
from earmark.transforms.detecting.scoring import ScoreFrames, _ScoreFn, score_block, score_blocks
from earmark.transforms.elements import AudioObject, Ending, FrameBlock, SignalLevel, Span

SPAN = Span(AudioObject("/a.wav", 1, "v"))


class Loudness:
    """A classifier of two classes: the mean and the largest sample of a frame."""

    together = 4

    def predict(self, frames: np.ndarray) -> Prediction:
        assert np.isfinite(frames).all()
        scores = np.stack([frames.mean(axis=1), frames.max(axis=1)], axis=1)
        return Prediction(scores, None, None)


def test_frames_are_scored_in_their_order():
    frames = np.arange(12, dtype=np.float32).reshape(3, 4)
    scored = score_block(FrameBlock(SPAN, 7, frames), Loudness())
    assert (scored.span, scored.first_frame, scored.invalid_samples) == (SPAN, 7, 0)
    np.testing.assert_allclose(scored.scores, [[1.5, 3], [5.5, 7], [9.5, 11]])


def test_frames_with_samples_that_are_no_numbers_are_not_scored():
    frames = np.ones((4, 3), np.float32)
    frames[1, 2] = np.nan
    frames[3, 0] = np.inf
    scored = score_block(FrameBlock(SPAN, 0, frames), Loudness())
    assert scored.invalid_samples == 2
    np.testing.assert_array_equal(np.isnan(scored.scores).all(axis=1), [False, True, False, True])
    np.testing.assert_array_equal(scored.scores[[0, 2]], np.ones((2, 2)))


def test_the_ending_passes_through():
    ending = Ending(None, 0, 0, SignalLevel())
    block = FrameBlock(SPAN, 3, np.empty((0, 4), np.float32), ending)
    scored = score_block(block, Loudness())
    assert scored.ending is ending
    assert scored.scores.shape == (0, 2)


@pytest.mark.parametrize(
    ("together", "at_once"), [(4, [5, 4, 2]), (1, [1, 1, 3, 2, 1, 1, 1, 1]), (100, [11])]
)
def test_blocks_are_scored_as_many_at_once_as_the_classifier_takes(together, at_once):
    class Classifier(Loudness):
        asked: ClassVar[list[int]] = []

        def predict(self, frames):
            self.asked.append(len(frames))
            return super().predict(frames)

    Classifier.together = together
    lengths = [1, 1, 0, 3, 2, 1, 0, 1, 1, 1, 0]
    frames = np.random.default_rng(0).uniform(0, 1, (sum(lengths), 4)).astype(np.float32)
    parts = np.split(frames, np.cumsum(lengths)[:-1])
    blocks = [FrameBlock(SPAN, i, part) for i, part in enumerate(parts)]
    stage, window = _ScoreFn(Classifier), GlobalWindow()
    stage.setup()
    stage.start_bundle()
    scored = [each.value for block in blocks for each in stage.process(block, window)]
    scored += [each.value for each in stage.finish_bundle()]
    assert [each for each in Classifier.asked if each] == at_once
    assert [each.first_frame for each in scored] == list(range(len(lengths)))
    for part, got in zip(parts, scored, strict=True):
        expected = np.array([[frame.mean(), frame.max()] for frame in part]).reshape(-1, 2)
        np.testing.assert_allclose(got.scores, expected, rtol=1e-6)


def test_a_frame_that_is_not_scored_takes_no_scores_of_other_blocks():
    frames = np.arange(12, dtype=np.float32).reshape(3, 4)
    frames[1, 0] = np.nan
    blocks = [FrameBlock(SPAN, i, frames[i : i + 1]) for i in range(3)]
    first, second, third = score_blocks(blocks, Loudness())
    assert [each.invalid_samples for each in (first, second, third)] == [0, 1, 0]
    np.testing.assert_allclose(first.scores, [[1.5, 3]])
    assert np.isnan(second.scores).all()
    np.testing.assert_allclose(third.scores, [[9.5, 11]])


def test_each_worker_scores_with_the_classifier_it_loaded():
    blocks = [FrameBlock(SPAN, i, np.full((1, 4), i, np.float32)) for i in range(10)]

    def right(scores):
        got = sorted((s.first_frame, s.scores[0, 0]) for s in scores)
        assert got == [(i, float(i)) for i in range(10)]

    options = PipelineOptions(direct_num_workers=2, direct_running_mode="in_memory")
    with beam.Pipeline(local_runner(), options=options) as pipeline:
        scored = pipeline | beam.Create(blocks) | beam.Reshuffle() | ScoreFrames(Loudness)
        assert_that(scored, right)
