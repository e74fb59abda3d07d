"""Times of recordings by another clock, told by what is known of them without asking them again."""

from __future__ import annotations

from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from earmark.transforms.audio import Clock, RecordedAt, UntoldError, recorded_anew, recorded_at
from tests.transforms.audio.files import HARP_BEGAN, harp
from tests.transforms.audio.test_recording_time import (
    FMT,
    SAMPLES,
    audiomoth,
    bext,
    guano,
    opensoundscape,
    wav,
)

CLOCKS = [
    Clock(pattern, ZoneInfo(zone))
    for pattern in (None, "rec_%d%m%y-%H%M")
    for zone in ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
]
CONTENTS = {
    "nothing": (),
    "bext": (bext(b"2024-05-28", b"10:00:00"),),
    "bext in an hour that is left out": (bext(b"2024-03-31", b"02:30:00"),),
    "bext in an hour that comes after it": (bext(b"2024-03-31", b"03:30:00"),),
    "bext in an hour that comes twice": (bext(b"2024-10-27", b"02:30:00"),),
    "bext of a clock that was not set": (bext(b"1970-01-01", b"00:10:00"),),
    "guano with a zone": (guano("GUANO|Version: 1.0\nTimestamp: 2024-05-28T10:00:00+02:00\n"),),
    "guano without one": (guano("GUANO|Version: 1.0\nTimestamp: 2024-05-28T10:00:00\n"),),
    "opensoundscape": (opensoundscape("2024-05-28T10:00:00"),),
    "audiomoth": (audiomoth("10:00:00 28/05/2024"),),
}
NAMES = [
    *("20240528_103000.wav", "20240331_023000.wav", "20241027_023000.wav"),
    *("19700101_000000.wav", "rec_280524-1030.wav", "rec_010170-0000.wav", "x.wav"),
    *("20240528_103000Z.wav", "20240528_103000_rec_290524-1030.wav", "5ECD8A00.wav"),
]


@pytest.mark.parametrize("content", CONTENTS)
def test_what_is_told_is_what_the_recording_itself_would_say(tmp_path, content):
    path, told = tmp_path / "recording", 0
    path.write_bytes(wav(*CONTENTS[content], FMT, SAMPLES))
    for name, before, now in product(NAMES, CLOCKS, CLOCKS):
        known = at(path, name, before)
        try:
            found = recorded_anew(known, f"/a/{name}", before, now)
        except UntoldError:
            continue
        told += 1
        assert found == at(path, name, now), (name, before, now)
    assert told > 0


def at(path: Path, name: str, clock: Clock) -> RecordedAt | None:
    pattern, zone = clock
    return recorded_at(path, f"/a/{name}", time_pattern=pattern, time_zone=zone)


@pytest.mark.parametrize("content", ["nothing", "bext", "audiomoth"])
def test_a_forgotten_zone_or_pattern_is_always_told(tmp_path, content):
    """Of recordings in which nothing is said, or by recorders whose times are known to be local."""
    path = tmp_path / "recording"
    path.write_bytes(wav(*CONTENTS[content], FMT, SAMPLES))
    utc = CLOCKS[0]
    for now in CLOCKS:
        for name in ("20240528_103000.wav", "x.wav", "rec_280524-1030.wav"):
            if now.time_pattern is not None and content == "nothing" and name[0] == "2":
                continue  # a name that the usual ways tell, and the pattern does not
            known = at(path, name, utc)
            assert recorded_anew(known, f"/a/{name}", utc, now) == at(path, name, now)


def test_times_of_harp_are_in_utc_by_any_clock(tmp_path):
    path = harp(tmp_path / "recording", [0], [np.zeros(1000, np.int16)])
    for before, now in product(CLOCKS, CLOCKS):
        known = at(path, "20240528_103000.x.wav", before)
        assert known == RecordedAt(HARP_BEGAN, "harp")
        assert recorded_anew(known, "/a/20240528_103000.x.wav", before, now) == known


@pytest.mark.parametrize("source", ["guano", "opensoundscape"])
def test_metadata_that_may_name_a_zone_has_to_be_asked(source):
    known = RecordedAt(datetime(2024, 5, 28, 10, tzinfo=timezone.utc), source)
    with pytest.raises(UntoldError):
        recorded_anew(known, "/a/x.wav", CLOCKS[0], CLOCKS[1])
    pattern = Clock("%Y%m%d_%H%M%S", CLOCKS[0].time_zone)
    assert recorded_anew(known, "/a/x.wav", CLOCKS[0], pattern) == known
