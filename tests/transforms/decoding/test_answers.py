from __future__ import annotations

import io
import json
import math
import os
import pickle
import struct
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.transforms.decoding.answers import packed, read_answer
from earmark.transforms.decoding.messages import Ended, Frames, Length, Reached, Ready
from earmark.transforms.decoding.slots import SLOTS
from earmark.transforms.elements import (
    WHYS,
    AudioHeader,
    Ending,
    Gap,
    Place,
    PlainSound,
    SignalLevel,
    Trouble,
)
from earmark.transforms.errors import CrashedError

UTC = timezone.utc
LARGE = (1 << 63) - 1

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=100)
counts = st.integers(0, LARGE)
headers = st.builds(
    AudioHeader,
    texts,
    texts,
    st.integers(1, (1 << 31) - 1),
    st.integers(1, 1024),
    st.none() | counts,
    st.integers(0, 1000),
)
energies = st.integers(0, 1 << 512)
levels = st.tuples(counts, energies, st.floats(), counts, counts, energies, energies).map(
    lambda of: SignalLevel(max(of[0], *of[3:5]), *of[1:])
)
offsets = st.integers(-86_399, 86_399).map(lambda s: timezone(timedelta(seconds=s)))
times = st.datetimes(timezones=offsets | st.just(UTC)).map(lambda time: time.replace(fold=0))
troubles = st.builds(
    Trouble,
    st.sampled_from(["read", "decode"]),
    st.sampled_from(["io", "damaged", "killed", "truncated"]),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=4000),
)


def gaps_between(places: list[int]) -> tuple[Gap, ...]:
    pairs = zip(sorted(places)[::2], sorted(places)[1::2], strict=False)
    return tuple(Gap(start, stop, WHYS[start % len(WHYS)]) for start, stop in pairs)


endings = st.builds(
    Ending,
    st.none() | headers,
    counts,
    st.integers(0, (1 << 31) - 1),
    levels,
    st.none() | times,
    st.none() | texts,
    st.none() | st.builds(Place, st.floats(-90, 90), st.floats(-180, 180)),
    st.none() | troubles,
    st.lists(st.integers(0, 1 << 40), unique=True).map(gaps_between),
)
places = st.tuples(counts, counts, counts, st.integers(1, LARGE)).map(
    lambda of: PlainSound(max(of[:2]), min(of[:2]), max(min(of[:2]), of[2]), of[3])
)
small = st.integers(1, 1024)
slots = st.none() | st.integers(0, SLOTS - 1)
answers = (
    st.just(Ready())
    | st.builds(Reached, counts)
    | st.builds(Length, st.none() | st.integers(0, 1 << 25), st.none() | places)
    | st.builds(Ended, endings)
    | st.builds(Frames, st.integers(0, 1 << 30), st.tuples(small, small), small, endings, slots)
)


def read(content: bytes) -> Any:
    return read_answer(io.BytesIO(content))


def message(kind: bytes, fields: object) -> bytes:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return struct.pack("<cI", kind, len(body)) + body


@given(answer=answers)
def test_an_answer_comes_back_as_it_was(answer):
    back = read(packed(answer))
    assert type(back) is type(answer)
    assert repr(back) == repr(answer)  # in which NaN is NaN


@pytest.mark.parametrize("peak", [math.inf, -math.inf, math.nan, 0.0, -0.0, 5e-324, 0.1, 1e308])
def test_a_level_comes_back_to_the_bit(peak):
    level = SignalLevel(5, 1 << 300, peak, 1, 2)
    back = read(packed(Ended(Ending(None, 0, 0, level)))).ending.level
    assert struct.pack("d", back.peak) == struct.pack("d", peak)
    assert back.energy == 1 << 300


@pytest.mark.parametrize(
    "offset", [UTC, timezone(timedelta(hours=-9, minutes=-30)), timezone(timedelta(seconds=3725))]
)
def test_a_time_comes_back_with_its_microseconds_and_its_offset(offset):
    time = datetime(2024, 5, 28, 10, 0, 0, 123_457, offset)
    back = read(packed(Ended(Ending(None, 0, 0, SignalLevel(), time)))).ending.recorded_at
    assert (back, back.utcoffset()) == (time, time.utcoffset())


def test_a_message_that_is_long_is_cut():
    told = Trouble("decode", "damaged", "\N{SNOWMAN}" * 100_000)
    back = read(packed(Ended(Ending(None, 0, 0, SignalLevel(), trouble=told)))).ending.trouble
    assert back == told._replace(message="\N{SNOWMAN}" * 4000)


def test_samples_are_left_in_the_pipe():
    answer = Frames(3, (2, 5), 1, Ending(None, 0, 2, SignalLevel()))
    pipe = io.BytesIO(packed(answer) + b"samples")
    assert read_answer(pipe) == answer
    assert pipe.read() == b"samples"


def test_what_ends_too_early_has_ended():
    whole = packed(Ended(Ending(None, 0, 0, SignalLevel())))
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            read(whole[:length])


class _Takeover:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("taken_over",)


def test_nothing_that_comes_is_carried_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(_Takeover()), message(b"E", pickle.dumps(_Takeover()))):
        with pytest.raises((CrashedError, EOFError)):
            read(content + bytes(1 << 17))
    assert list(tmp_path.iterdir()) == []


PLACE = [60, 44, 100, 16]
HEADER = ["wav", "pcm_s16", 8000, 2, None, 1]
LEVEL = [4, 5, 0.5, 1, 2, 7, 6]
RECORDED_AT = "2024-05-28T10:00:00+00:00"
TROUBLE = ["decode", "io", "gone"]
GAPS = [[5, 9, "damaged"], [9, 20, "paused"]]
ENDING = [HEADER, 100, 3, LEVEL, RECORDED_AT, "name", [50.8, -12.9], TROUBLE, GAPS]


def with_(fields: list[Any], place: int, value: object) -> list[Any]:
    return [*fields[:place], value, *fields[place + 1 :]]


SENSELESS_ENDINGS = [
    [],
    ENDING[:-1],
    [*ENDING, 1],
    *(with_(ENDING, place, {}) for place in range(8)),
    *(with_(ENDING, place, "text") for place in (0, 1, 2, 3, 4, 6, 7)),
    *(with_(ENDING, 1, value) for value in (-1, 1.0, True, None, 1 << 63)),
    *(with_(ENDING, 2, value) for value in (-1, 1.5, False, None, 1 << 31)),
    with_(ENDING, 4, "2024-05-28T10:00:00"),
    *(with_(ENDING, 5, value) for value in (5, "x" * 101, "\ud800")),
    *(with_(ENDING, 6, [50.8, value]) for value in (5, "5.0", None, True, math.nan, 180.5)),
    *(with_(ENDING, 6, place) for place in ([], [50.8], [90.5, 0.0], [-math.inf, 0.0])),
    *(with_(ENDING, 0, with_(HEADER, 0, value)) for value in (None, 3, "x" * 101, "\udcff")),
    *(with_(ENDING, 0, with_(HEADER, 2, value)) for value in (0, -8000, 8e3, 1 << 31)),
    *(with_(ENDING, 0, with_(HEADER, 3, value)) for value in (0, 1025, True)),
    *(with_(ENDING, 0, with_(HEADER, 4, value)) for value in (-1, 1 << 63, "5")),
    *(with_(ENDING, 0, with_(HEADER, 5, value)) for value in (-1, 1 << 31, None)),
    *(with_(ENDING, 3, with_(LEVEL, place, -1)) for place in (0, 1, 3, 4, 5, 6)),
    *(with_(ENDING, 3, with_(LEVEL, 2, value)) for value in (None, 1, "0.5", True)),
    *(with_(ENDING, 3, with_(LEVEL, place, 5)) for place in (3, 4)),  # of four values
    *(with_(ENDING, 3, with_(LEVEL, place, (1 << 512) + 1)) for place in (1, 5, 6)),
    *(with_(ENDING, 7, trouble) for trouble in ([], ["decode", "io"], ["x", "io", ""])),
    *(with_(ENDING, 7, ["decode", reason, ""]) for reason in ("", "fine", None, 5, [], {})),
    *(with_(ENDING, 7, ["decode", "io", said]) for said in (5, None, "x" * 4001, "\ud800")),
    *(with_(ENDING, 7, [stage, "io", "gone"]) for stage in ([], {}, None)),
    *(with_(ENDING, 8, gaps) for gaps in (None, 5, [5], [[]], [[1, 2]], [[1, 2, "damaged", 3]])),
    *(with_(ENDING, 8, [[1, 2, why]]) for why in ("", None, 5, [], {}, "nothing")),
    *(with_(ENDING, 8, [[*place, "damaged"]]) for place in ((2, 2), (3, 2), (-1, 2), (1.0, 2))),
    *(with_(ENDING, 8, [[*place, "damaged"]]) for place in ((0, 1 << 63), (True, 2), (0, "2"))),
    with_(ENDING, 8, [*GAPS, [19, 30, "damaged"]]),
]

SENSELESS = [
    message(b"X", []),
    message(b"\x80", []),
    struct.pack("<cI", b"E", (1 << 23) + 1) + bytes(1 << 24),
    struct.pack("<cI", b"E", (1 << 32) - 1) + bytes(1 << 17),
    *(message(kind, b"") for kind in (b"R", b"P", b"L", b"E", b"F")),
    *(message(b"E", body) for body in (b"\xff\xfe", b"{", b"[" * 60_000, b"9" * 60_000, b"nope")),
    *(message(b"R", fields) for fields in (None, [1], {}, 5)),
    *(message(b"P", [value]) for value in (-1, None, 1.0, True, "1", [])),
    *(message(b"L", [value, None]) for value in (-1, 1.0, True, "1", (1 << 25) + 1)),
    *(message(b"L", [1, value]) for value in (5, [], PLACE[:3], [*PLACE, 1])),
    *(message(b"L", [1, with_(PLACE, place, -1)]) for place in range(4)),
    *(message(b"L", [1, with_(PLACE, place, 1.0)]) for place in range(4)),
    *(message(b"L", [1, with_(PLACE, place, 1 << 63)]) for place in range(4)),
    *(message(b"L", [1, with_(PLACE, place, 43)]) for place in (0, 2)),  # before the start
    message(b"L", [1, with_(PLACE, 3, 0)]),
    message(b"L", [1]),
    *(message(b"E", fields) for fields in (None, 5, {}, "text", *SENSELESS_ENDINGS)),
    *(message(b"F", [0, 16, 15600, 1, fields]) for fields in SENSELESS_ENDINGS),
    *(
        message(b"F", with_([0, 16, 15600, 1, ENDING, None], place, value))
        for place in range(4)
        for value in (-1, 1 << 31, 1.0, None, "1", True, [])
    ),
    *(message(b"F", with_([0, 16, 15600, 1, ENDING, None], place, 0)) for place in (1, 2, 3)),
]


@pytest.mark.parametrize("content", SENSELESS)
def test_what_makes_no_sense_is_a_decoder_that_came_to_grief(content):
    with pytest.raises(CrashedError, match="an invalid answer"):
        read(content)


@given(kind=st.sampled_from(b"FEPLRX"), junk=st.binary(max_size=300), as_json=st.booleans())
def test_junk_is_never_a_bug_of_ours(kind, junk, as_json):
    body = json.dumps(list(junk)).encode() if as_json else junk
    with suppress(CrashedError, EOFError):
        read(message(bytes([kind]), body))


def test_the_sensible_ending_of_these_tests_is_one():
    assert read(message(b"E", ENDING)).ending.trouble.message == "gone"
    assert read(message(b"F", [0, 16, 15600, 1, ENDING, None])).shape == (16, 15600)
