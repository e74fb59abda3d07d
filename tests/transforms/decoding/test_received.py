from __future__ import annotations

from dataclasses import replace

import pytest

from earmark.transforms.decoding.messages import Frames
from earmark.transforms.decoding.received import DecodedSpan
from earmark.transforms.elements import AudioHeader, AudioObject, Ending, Gap, SignalLevel, Span
from earmark.transforms.errors import CrashedError, KilledError, ReadError
from earmark.transforms.settings import ChannelUse, Decoding, FrameGrid

DECODING = Decoding(FrameGrid(16_000, 15_600, 15_600))
SPAN = Span(AudioObject("a.wav", 1, "v"), 1, 2, 60)
FIRST = 62  # the first frame that begins after 60 s
HEADER = AudioHeader("wav", "pcm_s16", 8000, 2, None)


def ending(frames: int) -> Ending:
    return Ending(HEADER, frames * 7800, frames, SignalLevel())


def frames(first: int, count: int, channels: int = 1) -> Frames:
    return Frames(first, (count * channels, 15_600), channels, ending(first + count - FIRST))


def attempt(span: DecodedSpan, *answers: Frames, end: Ending | None = None) -> list[bool]:
    """Which of the frames that come in an attempt are new."""
    span.begin()
    new = []
    for answer in answers:
        span.check(answer)
        new.append(span.is_new(answer))
    if end is not None:
        span.finish(end)
    return new


def test_what_has_come_in_an_earlier_attempt_is_not_new():
    span = DecodedSpan(SPAN, DECODING)
    assert attempt(span, frames(62, 16), frames(78, 16)) == [True, True]
    assert attempt(span, frames(62, 16)) == [False]
    everything = frames(62, 16), frames(78, 16), frames(94, 3)
    assert attempt(span, *everything, end=ending(35)) == [False, False, True]
    last = span.last_block()
    assert (last.first_frame, last.frames.shape, last.ending) == (97, (0, 15_600), ending(35))


def test_what_had_come_stays_where_the_next_attempt_ends_earlier():
    span = DecodedSpan(SPAN, DECODING)
    attempt(span, frames(62, 16), frames(78, 16))
    attempt(span, frames(62, 16))
    span.break_off(KilledError("killed"))
    last = span.last_block()
    assert last.first_frame == 94
    assert replace(last.ending, trouble=None) == ending(32)
    assert last.ending.trouble == ("decode", "killed", "killed, after 91.200 s")


@pytest.mark.parametrize(
    ("again", "end"),
    [
        ([frames(62, 10)], None),
        ([frames(62, 5), frames(67, 5)], None),
        ([frames(62, 5)], ending(5)),
        ([], ending(0)),
    ],
)
def test_a_recording_that_is_another_in_the_next_attempt_could_not_be_read(again, end):
    span = DecodedSpan(SPAN, DECODING)
    attempt(span, frames(62, 8))
    with pytest.raises(ReadError, match="has changed"):
        attempt(span, *again, end=end)


@pytest.mark.parametrize(
    "answer",
    [
        frames(61, 16),
        frames(63, 16),
        frames(62, 33),
        frames(62, 8, channels=2),
        frames(62, 16)._replace(shape=(16, 15_601)),
        frames(62, 16)._replace(so_far=ending(15)),
        frames(62, 16)._replace(so_far=replace(ending(16), header=None)),
    ],
)
def test_frames_that_were_not_asked_for_make_no_sense(answer):
    with pytest.raises(CrashedError, match="an invalid answer"):
        attempt(DecodedSpan(SPAN, DECODING), answer)


def with_gap(answer: Frames, start_s: float, stop_s: float) -> Frames:
    gap = Gap(round(start_s * 8000), round(stop_s * 8000), "paused")
    samples = round(stop_s * 8000) + answer.so_far.samples
    return answer._replace(so_far=replace(answer.so_far, samples=samples, gaps=(gap,)))


def test_gaps_of_an_attempt_that_ends_early_are_those_before_its_last_frames():
    first, second = with_gap(frames(62, 16), 60.0, 60.2), with_gap(frames(78, 16), 60.0, 60.3)
    span = DecodedSpan(SPAN, DECODING)
    attempt(span, first, second)
    span.begin()
    span.check(first)
    span.is_new(first)
    span.break_off(KilledError("killed"))
    assert span.last_block().ending.gaps == (Gap(480_000, 482_400, "paused"),)
    span = DecodedSpan(SPAN, DECODING)
    attempt(span, first)
    span.check(second)
    span.break_off(KilledError("killed"))
    assert span.last_block().ending.gaps == (Gap(480_000, 481_600, "paused"),)


def test_frames_may_be_left_out_where_gaps_are():
    so_far = frames(80, 16)._replace(so_far=ending(16))
    span = DecodedSpan(SPAN, DECODING)
    attempt(span, with_gap(so_far, 60.4, 78.0))
    span.finish(replace(ending(16), samples=200_000))
    assert span.last_block().ending.gaps == (Gap(483_200, 624_000, "paused"),)
    for start_s, stop_s in ((60.5, 78.0), (60.0, 77.9), (90.0, 100.0)):
        with pytest.raises(CrashedError, match="an invalid answer"):
            attempt(DecodedSpan(SPAN, DECODING), with_gap(so_far, start_s, stop_s))


@pytest.mark.parametrize(
    "answer", [frames(62, 32), frames(62, 33, channels=2), frames(62, 3, channels=3)]
)
def test_nor_do_frames_of_other_channels(answer):
    with pytest.raises(CrashedError, match="an invalid answer"):
        attempt(DecodedSpan(SPAN, replace(DECODING, use=ChannelUse(each=True))), answer)


def test_more_than_the_file_can_hold_makes_no_sense():
    span = DecodedSpan(SPAN, DECODING, most_s=20)
    span.check_reached(20)
    with pytest.raises(CrashedError, match="an invalid answer"):
        span.check_reached(2**63 - 1)
    with pytest.raises(CrashedError, match="an invalid answer"):
        attempt(span, frames(62, 16), frames(78, 16))


def test_an_ending_of_other_frames_than_came_makes_no_sense():
    span = DecodedSpan(SPAN, DECODING)
    with pytest.raises(CrashedError, match="an invalid answer"):
        attempt(span, frames(62, 16), end=ending(17))
