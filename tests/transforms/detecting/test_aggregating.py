from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import datetime, timezone

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from earmark.pipelines.engines.local import local_runner
from earmark.transforms.detecting.aggregating import (
    AggregateClips,
    Tally,
    find_hits,
    summarise_clip,
)
from earmark.transforms.detecting.events import merge_events
from earmark.transforms.elements import (
    AudioHeader,
    AudioObject,
    Detections,
    Ending,
    FailedClip,
    FrameScores,
    Gap,
    HeadLabels,
    Place,
    ScoredClip,
    SignalLevel,
    Span,
    Trouble,
)
from earmark.transforms.settings import Decoding, FrameGrid, Settings

CLIP = AudioObject("/a/clip.wav", 1000, "v1")
WHOLE = Span(CLIP)
GRID = FrameGrid(sample_rate_hz=10, frame_samples=10, hop_samples=10)
HEADER = AudioHeader("wav", "pcm_s16", 10, 1, None)
LABELS = ("bird", "frog", "rain")


def scores_block(scores, first_frame=0, invalid=0, span=WHOLE):
    return FrameScores(span, first_frame, np.array(scores, np.float32).reshape(-1, 3), invalid)


def ending_block(frames, samples=None, trouble=None, header=HEADER, span=WHOLE):
    samples = frames * 10 if samples is None else samples
    ending = Ending(header, samples, frames, SignalLevel(), trouble=trouble)
    return FrameScores(span, frames, np.empty((0, 3), np.float32), 0, ending)


def detecting(min_score=0.1, top_k=None, grid=GRID):
    least = np.full(len(LABELS), min_score, np.float32)
    return Settings(Decoding(grid), (HeadLabels("scores", LABELS),), least, top_k)


def summarise(blocks, **how):
    settings = detecting(**how)
    tally = Tally()
    for block in blocks:
        tally.add(block, settings)
    return summarise_clip(tally, settings)


def rows(clip):
    d = clip.detections
    starts, ends = GRID.start_s(d.frame), GRID.end_s(d.frame, clip.duration_s)
    return [
        (LABELS[i], s, e, round(float(v), 3))
        for i, s, e, v in zip(d.label_index, starts, ends, d.score, strict=True)
    ]


def hits_at(*frames):
    return Detections(
        np.array(frames, np.int32),
        np.zeros(len(frames), np.int32),
        np.ones(len(frames), np.float32),
        np.zeros(len(frames), np.int32),
    )


def test_detections_are_the_scores_at_or_above_the_threshold():
    clip = summarise([scores_block([[0.5, 0.1, 0.0], [0.09, 0.2, 0.0]]), ending_block(2, 17)])
    assert rows(clip) == [
        ("bird", 0.0, 1.0, 0.5),
        ("frog", 0.0, 1.0, 0.1),
        ("frog", 1.0, 1.7, 0.2),
    ]
    assert (clip.status, clip.frames, clip.duration_s) == ("scored", 2, 1.7)


def test_top_k_keeps_the_best_and_of_equals_the_first():
    scores = np.array([[0.3, 0.9, 0.3], [0.2, 0.2, 0.2]], np.float32)
    hits = find_hits(FrameScores(Span(CLIP), 7, scores), detecting(min_score=0.25, top_k=2))
    assert list(zip(hits.frame, hits.label_index, strict=True)) == [(7, 0), (7, 1)]


@given(
    scores=st.lists(
        st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=3, max_size=3), max_size=12
    ),
    min_score=st.sampled_from([0.0, 0.1, 0.3]),
    top_k=st.one_of(st.none(), st.integers(1, 4)),
)
def test_hits_agree_with_a_plain_loop(scores, min_score, top_k):
    expected = []
    for frame, row in enumerate(scores):
        ranked = sorted(range(3), key=lambda i: (-row[i], i))[:top_k]
        expected += [(frame, i) for i in sorted(ranked) if row[i] >= min_score]
    hits = find_hits(scores_block(scores), detecting(min_score, top_k))
    assert list(zip(hits.frame.tolist(), hits.label_index.tolist(), strict=True)) == expected


class Nowhere:
    """Where frogs are implausible in May, and there is nothing but birds at other times."""

    def plausible(self, latitude, longitude, moment):
        assert (latitude, longitude) in [(50.8, 12.9), (1.0, 2.0)]
        in_may = moment is not None and moment.month == 5
        return np.array([True, False, in_may])


def summarise_at(place, moment, top_k=None, usual=None):
    """What is heard in two frames where all of birds, frogs and rain are, frogs the loudest."""
    settings = replace(detecting(top_k=top_k), usual_place=usual)
    tally = Tally()
    tally.add(scores_block([[0.3, 0.9, 0.5], [0.4, 0.9, 0.0]]), replace(settings, top_k=None))
    source = moment and "name"
    ending = Ending(HEADER, 20, 2, SignalLevel(), moment, source, place)
    tally.add(FrameScores(WHOLE, 2, np.empty((0, 3), np.float32), 0, ending), settings)
    return summarise_clip(tally, settings, Nowhere())


MAY = datetime(2024, 5, 28, tzinfo=timezone.utc)


def test_what_is_implausible_is_left_out_before_the_best_are_chosen():
    clip = summarise_at(Place(50.8, 12.9), MAY, top_k=1)
    assert rows(clip) == [("bird", 1.0, 2.0, 0.4), ("rain", 0.0, 1.0, 0.5)]
    assert [label.label for label in clip.labels] == ["rain", "bird"]
    assert clip.implausible == {"frog": 2}
    assert clip.place == (50.8, 12.9)


def test_without_a_time_what_is_plausible_all_year_counts():
    clip = summarise_at(Place(50.8, 12.9), None)
    assert [row[0] for row in rows(clip)] == ["bird", "bird"]
    assert clip.implausible == {"frog": 2, "rain": 1}


def test_without_a_place_everything_is_plausible():
    clip = summarise_at(None, MAY, top_k=1)
    assert [row[0] for row in rows(clip)] == ["frog", "frog"]
    assert (clip.implausible, clip.place) == ({}, None)


def test_the_usual_place_is_that_of_recordings_that_name_none():
    assert summarise_at(None, MAY, usual=Place(1, 2)).implausible == {"frog": 2}
    clip = summarise_at(Place(50.8, 12.9), MAY, usual=Place(1, 2))
    assert clip.place == (50.8, 12.9)


@given(data=st.data())
def test_the_order_and_grouping_of_blocks_do_not_matter(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    scores = rng.choice([0.0, 0.2, 0.4, 0.9], size=(12, 3)).astype(np.float32)
    settings = detecting()
    cuts = sorted(data.draw(st.sets(st.integers(1, 11))))
    parts = [
        scores_block(part, first)
        for first, part in zip([0, *cuts], np.split(scores, cuts), strict=True)
    ]
    shuffled = data.draw(st.permutations([*parts, ending_block(12)]))
    middle = data.draw(st.integers(0, len(shuffled)))
    merged = Tally()
    for group in (shuffled[:middle], shuffled[middle:]):
        tally = Tally()
        for block in group:
            tally.add(block, settings)
        merged.merge(tally)
    whole = summarise([scores_block(scores), ending_block(12)])
    got = summarise_clip(merged, settings)
    assert rows(got) == rows(whole)
    assert got.labels == whole.labels


def test_consecutive_detections_of_a_label_are_one_event():
    scores = [[0.5, 0, 0], [0.7, 0.4, 0], [0, 0.4, 0], [0.3, 0, 0]]
    clip = summarise([scores_block(scores), ending_block(4, 38)])
    events = merge_events(clip.detections, GRID, 0.0, clip.duration_s)
    got = list(
        zip(
            events.label_index.tolist(),
            events.start_s.tolist(),
            events.end_s.tolist(),
            events.max_score.round(3).tolist(),
            events.mean_score.round(3).tolist(),
            events.frames.tolist(),
            strict=True,
        )
    )
    assert got == [
        (0, 0.0, 2.0, pytest.approx(0.7), pytest.approx(0.6), 2),
        (0, 3.0, 3.8, pytest.approx(0.3), pytest.approx(0.3), 1),
        (1, 1.0, 3.0, pytest.approx(0.4), pytest.approx(0.4), 2),
    ]


@pytest.mark.parametrize(("gap_s", "events"), [(0.0, 3), (0.9, 3), (1.0, 2), (2.0, 1)])
def test_events_merge_over_gaps_up_to_the_one_given(gap_s, events):
    hits = hits_at(0, 2, 5)
    assert len(merge_events(hits, GRID, gap_s, 100.0).frames) == events


@pytest.mark.parametrize("apart", range(2, 80))
def test_a_gap_of_exactly_the_one_given_is_merged(apart):
    grid = FrameGrid(16_000, 15_600, 15_600)
    hits = hits_at(0, apart)
    gap_s = round((apart - 1) * 0.975, 3)
    assert len(merge_events(hits, grid, gap_s, 100.0).frames) == 1
    assert len(merge_events(hits, grid, gap_s - 0.001, 100.0).frames) == 2


@pytest.mark.parametrize("hop", [5, 10, 30])
def test_frames_that_follow_each_other_are_one_event_at_any_hop(hop):
    grid = FrameGrid(10, 10, hop)
    hits = hits_at(3, 4, 5)
    events = merge_events(hits, grid, 0.0, 1000.0)
    assert events.frames.tolist() == [3]
    assert events.start_s[0] == pytest.approx(3 * hop / 10)
    assert events.end_s[0] == pytest.approx((5 * hop + 10) / 10)


def test_labels_of_a_clip_come_best_first_with_the_time_they_cover():
    grid_overlap = FrameGrid(10, 10, 5)
    settings = detecting(grid=grid_overlap)
    tally = Tally()
    tally.add(scores_block([[0.2, 0.9, 0], [0.4, 0.3, 0], [0, 0, 0], [0.3, 0, 0]]), settings)
    tally.add(ending_block(4, 25), settings)
    clip = summarise_clip(tally, settings)
    assert [label.label for label in clip.labels] == ["frog", "bird"]
    frog, bird = clip.labels
    assert frog.seconds == pytest.approx(1.5)
    assert bird.seconds == pytest.approx(2.5)
    assert bird.max_score == pytest.approx(0.4)
    assert bird.mean_score == pytest.approx(0.3)


def test_a_frame_with_a_score_that_is_no_number_gives_no_rows():
    nan = float("nan")
    clip = summarise([scores_block([[0.9, nan, 0.9], [0.9, 0, 0]]), ending_block(2)])
    assert rows(clip) == [("bird", 1.0, 2.0, 0.9)]
    assert (clip.status, clip.reason) == ("partial", "invalid_scores")
    assert "1 frames" in clip.message


def test_a_frame_with_an_embedding_that_is_no_number_is_counted():
    block = scores_block([[0.9, 0, 0], [0.9, 0, 0]])
    values = np.array([[1, 2], [np.nan, 2]], np.float32)
    clip = summarise([replace(block, embeddings=values), ending_block(2)])
    assert (clip.status, clip.reason) == ("partial", "invalid_scores")
    assert "1 frames a score or an embedding that is NaN" in clip.message
    assert len(rows(clip)) == 2


def test_each_head_has_its_own_best():
    heads = (HeadLabels("birds", ("wren", "crow")), HeadLabels("hours", ("day", "night", "dawn")))
    least = np.array([0.1, 0.5, 0.1, np.inf, 0.1], np.float32)
    scores = np.array([[0.3, 0.4, 0.2, 0.9, 0.2], [0.2, 0.6, 0.05, 0.9, 0.05]], np.float32)
    hits = find_hits(FrameScores(WHOLE, 0, scores), Settings(Decoding(GRID), heads, least, 1))
    assert list(zip(hits.frame, hits.label_index, strict=True)) == [(0, 0), (0, 2), (1, 1)]


def test_channels_are_told_apart_and_do_not_merge():
    scores = np.array([[0.9, 0, 0], [0.9, 0, 0], [0, 0, 0], [0.9, 0, 0]], np.float32)
    block = FrameScores(WHOLE, 0, scores, channels=2)  # two frames of one channel, then the other's
    clip = summarise([block, ending_block(2)])
    hits = clip.detections
    assert list(zip(hits.channel, hits.frame, strict=True)) == [(0, 0), (0, 1), (1, 1)]
    events = merge_events(hits, GRID, 0.0, clip.duration_s)
    assert list(zip(events.channel, events.frames, strict=True)) == [(0, 2), (1, 1)]
    assert clip.labels[0].seconds == pytest.approx(2.0)
    assert clip.frames == 2


def test_frames_of_invalid_samples_make_a_clip_partial_and_are_counted():
    nan = float("nan")
    block = scores_block([[nan] * 3, [0.9, 0, 0], [nan] * 3], invalid=2)
    clip = summarise([block, ending_block(3)])
    assert (clip.status, clip.reason) == ("partial", "invalid_samples")
    assert "2 of 3 frames" in clip.message
    assert rows(clip) == [("bird", 1.0, 2.0, 0.9)]


def test_trouble_after_some_samples_makes_a_clip_partial():
    trouble = Trouble("decode", "truncated", "ends early")
    clip = summarise([scores_block([[0.9, 0, 0]]), ending_block(1, trouble=trouble)])
    assert isinstance(clip, ScoredClip)
    assert (clip.status, clip.reason, clip.message) == ("partial", "truncated", "ends early")


def test_trouble_before_any_sample_is_a_failure():
    trouble = Trouble("read", "io", "Permission denied")
    failed = summarise([ending_block(0, trouble=trouble, header=None)])
    assert failed == FailedClip(CLIP, trouble)


def test_a_block_that_is_missing_is_found_out():
    with pytest.raises(RuntimeError, match="3 frames were decoded, 1 came"):
        summarise([scores_block([[0.9, 0, 0]]), ending_block(3)])


def spans(count):
    return [Span(CLIP, i, count, i, i + 1 if i + 1 < count else None) for i in range(count)]


def test_spans_are_put_together_in_their_order_whatever_that_of_their_blocks():
    parts = spans(3)
    blocks = [scores_block([[0.9, 0, 0]], index, span=span) for index, span in enumerate(parts)]
    blocks += [ending_block(1, span=span) for span in parts]
    clip = summarise(blocks[::-1])
    assert rows(clip) == [("bird", 0.0, 1.0, 0.9), ("bird", 1.0, 2.0, 0.9), ("bird", 2.0, 3.0, 0.9)]
    assert (clip.status, clip.frames, clip.duration_s) == ("scored", 3, 3.0)


def test_a_clip_ends_at_the_first_trouble_whatever_was_heard_behind_it():
    parts = spans(3)
    trouble = Trouble("decode", "damaged", "a lost frame")
    clip = summarise(
        [
            *(scores_block([[0.9, 0, 0]], i, span=span) for i, span in enumerate(parts)),
            ending_block(1, span=parts[0]),
            ending_block(1, samples=5, trouble=trouble, span=parts[1]),
            ending_block(1, trouble=Trouble("decode", "damaged", "another"), span=parts[2]),
        ]
    )
    assert rows(clip) == [("bird", 0.0, 1.0, 0.9), ("bird", 1.0, 1.5, 0.9)]
    assert (clip.status, clip.message, clip.frames) == ("partial", "a lost frame", 2)


def with_gaps(block, *gaps):
    return replace(block, ending=replace(block.ending, gaps=tuple(Gap(*gap) for gap in gaps)))


def test_a_gap_that_lies_in_two_spans_is_one():
    first, second = spans(2)
    clip = summarise(
        [
            with_gaps(ending_block(0, samples=10, span=first), (3, 5, "paused"), (8, 10, "paused")),
            with_gaps(ending_block(0, samples=10, span=second), (10, 14, "paused")),
        ]
    )
    assert clip.gaps == ((0.3, 0.5, "paused"), (0.8, 1.4, "paused"))
    assert (clip.status, clip.duration_s, clip.heard_s) == ("scored", 2.0, pytest.approx(1.2))


@pytest.mark.parametrize("why", ["late_start", "paused", "trigger", "duty_cycle", "drift"])
def test_a_gap_that_the_recorder_made_leaves_a_clip_whole(why):
    clip = summarise([with_gaps(ending_block(0, samples=20), (5, 9, why))])
    assert (clip.status, clip.reason, clip.gaps) == ("scored", None, ((0.5, 0.9, why),))


def test_a_gap_of_lost_sound_makes_a_clip_partial():
    gaps = (5, 9, "missing"), (11, 12, "damaged"), (14, 16, "damaged")
    clip = summarise([with_gaps(ending_block(0, samples=20), *gaps)])
    assert (clip.status, clip.reason) == ("partial", "damaged")
    assert "0.300 s" in clip.message
    assert "2 places, first at 1.100 s" in clip.message
    assert "0.400 s" in clip.message


def test_what_the_end_of_a_clip_lacks_is_a_gap_behind_it():
    header = replace(HEADER, declared_samples=50)
    trouble = Trouble("decode", "truncated", "cut")
    clip = summarise([ending_block(0, samples=20, trouble=trouble, header=header)])
    assert clip.gaps == ((2.0, 5.0, "truncated"),)
    assert (clip.reason, clip.duration_s, clip.heard_s) == ("truncated", 2.0, 2.0)


def test_a_span_that_is_missing_is_found_out():
    first, second = spans(2)
    with pytest.raises(RuntimeError, match="came without their ending"):
        summarise([scores_block([[0.9, 0, 0]], span=first), ending_block(1, span=first)])
    with pytest.raises(RuntimeError, match="came without their ending"):
        summarise([ending_block(0, span=second)])


def test_each_clip_comes_out_once_from_two_workers():
    clips = [AudioObject(f"/a/{i}.wav", 1, "v") for i in range(20)]
    clips.append(AudioObject("/a/0.wav", 1, "w"))  # as a stream's window may hold it
    blocks = [
        block
        for span in map(Span, clips)
        for block in (
            scores_block([[0.9, 0, 0]], 0, span=span),
            scores_block([[0, 0.8, 0]], 1, span=span),
            ending_block(2, span=span),
        )
    ]

    def every_clip_once(results):
        assert sorted(r.clip for r in results) == sorted(clips)
        assert all(len(r.detections.score) == 2 for r in results)

    options = beam.options.pipeline_options.PipelineOptions(
        direct_num_workers=2, direct_running_mode="in_memory"
    )
    with beam.Pipeline(local_runner(), options=options) as pipeline:
        results = pipeline | beam.Create(blocks) | beam.Reshuffle() | AggregateClips(detecting())
        assert_that(results, every_clip_once)


def test_the_place_that_the_first_span_names_is_that_of_all():
    first, second = (Span(CLIP, index, 2) for index in range(2))
    told = Ending(HEADER, 10, 1, SignalLevel(), MAY, "name", Place(50.8, 12.9))
    scores = [[0.3, 0.9, 0.5]]
    blocks = [
        scores_block(scores, 1, span=second),
        replace(ending_block(1, span=second), first_frame=2),
        scores_block(scores, 0, span=first),
        FrameScores(first, 1, np.empty((0, 3), np.float32), 0, told),
    ]

    def only_rain(results):
        (clip,) = results
        assert rows(clip) == [("rain", 0.0, 1.0, 0.5), ("rain", 1.0, 2.0, 0.5)]

    with beam.Pipeline(local_runner()) as pipeline:
        stage = AggregateClips(detecting(top_k=1), load_places=Nowhere)
        assert_that(pipeline | beam.Create(blocks) | stage, only_rain)


@given(
    st.lists(
        st.tuples(
            *[st.integers(0, 2**31 - 1)] * 3,
            *[st.floats(width=32)] * 2,
        )
    ),
    st.sampled_from([1, 100]),
    st.booleans(),
)
def test_detections_come_through_a_shuffle_as_they_were(hits, times, is_calibrated):
    hits *= times
    columns = zip(*hits, strict=True) if hits else [()] * 5
    frame, label_index, channel, score, raw_score = columns
    sent = Detections(
        np.array(frame, np.int32),
        np.array(label_index, np.int32),
        np.array(score, np.float32),
        np.array(channel, np.int32),
        np.array(raw_score, np.float32) if is_calibrated else None,
    )
    got = pickle.loads(pickle.dumps(sent))
    for column in ("frame", "label_index", "score", "channel", "raw_score"):
        there, here = getattr(sent, column), getattr(got, column)
        if there is None:
            assert here is None
        else:
            assert (there.dtype, there.tobytes()) == (here.dtype, here.tobytes())
