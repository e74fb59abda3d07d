"""When a recording began, and where: what the file itself says; of the time, else its name.

The time that a file system keeps for a file is never asked: it is that of the last copy.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone, tzinfo
from typing import BinaryIO, NamedTuple

from earmark.transforms.audio.containers import Note
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.harp import raw_files
from earmark.transforms.audio.sniffing import sniff
from earmark.transforms.audio.time_names import named_time, read_time
from earmark.transforms.elements import Place
from earmark.transforms.errors import NotAudioError, ReadError


class RecordedAt(NamedTuple):
    """When a recording began.

    Attributes:
      time: in UTC, with its fraction of a second where one is known; None where the recorder's
        clock was never set.
      source: what said so: guano, opensoundscape, audiomoth, harp, bext or name; unset_clock where
        there is no time for that reason.
    """

    time: datetime | None
    source: str


class Origin(NamedTuple):
    """When and where a recording was made; None for what nothing says."""

    at: RecordedAt | None
    place: Place | None


def recorded_at(
    path: str | os.PathLike[str],
    uri: str | os.PathLike[str] | None = None,
    *,
    time_pattern: str | None = None,
    time_zone: tzinfo = timezone.utc,
) -> RecordedAt | None:
    """Find out when a recording began.

    What is in a WAV file (RIFF, RF64 or BW64) goes first, in this order:

    1. GUANO's `Timestamp`
       (https://github.com/riggsd/guano-spec/blob/master/guano_specification.md);
    2. the `recording_start_time` that OpenSoundscape keeps, as JSON, in the comment of what it
       writes; it moves with the cut, where the recorder's own sentence in there does not;
    3. the comment of an AudioMoth, `Recorded at 10:25:00 04/04/2020 (UTC+2) by AudioMoth ...`
       (https://github.com/OpenAcousticDevices/AudioMoth-Firmware-Basic, setHeaderComment);
    4. the time of the first raw file in HARP's table, in UTC;
    5. the origination date and time of Broadcast Wave
       (EBU Tech 3285, https://tech.ebu.ch/docs/tech/tech3285.pdf).

    Then the name: the four digits of a year, month and day, then hour, minute and second, with the
    usual separators or none, a fraction of the second and an offset from UTC where they are given
    (20240528_100000, 2024-05-28T10-00-00Z, 2024-05-28 10.00, 20240528T100000.250+0200,
    20240528_100000_-0400); or, as AudioMoths named files up to 2019, nothing but 8 hex digits, with
    a letter among them, that count seconds since 1970. A date alone is not a time.

    The day at which clocks begin that were never set is not a time either: 1970-01-01, in what a
    recorder noted also 1904-01-01 and 1980-01-01, and for AudioMoth all before 2016. If nothing
    else tells the time, such a recording's source is `unset_clock`. What time_pattern finds counts.

    A time that names no offset is of time_zone. One that a change of clocks makes happen twice is
    taken as the first; one that it leaves out is taken as the clock not yet changed (fold=0).

    Args:
      path: the local file with the content; its name means nothing.
      uri: the object's URI, whose base name may hold the time; None where it is the path.
      time_pattern: how names hold the time, in place of the usual ways; see check_time_pattern.
      time_zone: of times that name none.

    Returns:
      None where nothing says so, or only with a time that there is not.

    Raises:
      ReadError: the file could not be read.
    """
    return origin_of(path, uri, time_pattern=time_pattern, time_zone=time_zone).at


def origin_of(
    path: str | os.PathLike[str],
    uri: str | os.PathLike[str] | None = None,
    *,
    time_pattern: str | None = None,
    time_zone: tzinfo = timezone.utc,
) -> Origin:
    """Find out when a recording began, and where: takes, and raises, what `recorded_at` does.

    The place is GUANO's `Loc Position`, a latitude and a longitude. AudioMoths with GPS, or a place
    in their settings, write no other (AudioMoth-GPS-Sync, writeGuanoData). 0, 0 is what a receiver
    gives that found no satellites, and no place.
    """
    uri = os.fspath(path if uri is None else uri)
    try:
        notes = _notes_in(path)
    except OSError as error:
        raise ReadError(f"{uri}: {error.strerror}") from error
    named = named_time(uri, time_pattern, time_zone)
    found = [*_stated_in(notes, time_zone), *([RecordedAt(named, "name")] if named else [])]
    never_set = RecordedAt(None, "unset_clock") if found else None
    asked_for = "name" if time_pattern else None
    usable = (each for each in found if each.source == asked_for or _is_set(each))
    return Origin(next(usable, never_set), _place_in(notes))


class Clock(NamedTuple):
    """How times are read that don't speak for themselves: see `recorded_at`."""

    time_pattern: str | None
    time_zone: tzinfo


class UntoldError(Exception):
    """What is known of a recording does not tell what `recorded_at` would say of it."""


def recorded_anew(
    known: RecordedAt | None, uri: str, before: Clock, now: Clock
) -> RecordedAt | None:
    """What `recorded_at` would say by another clock, by what it has said and the name alone.

    Args:
      known: what it has said, to the millisecond at least.
      uri: the object's URI.
      before: the clock by which it has said so.
      now: the other clock.

    Raises:
      UntoldError: the recording itself has to be asked.
    """
    if known is not None and known.source not in ("name", "unset_clock"):
        return RecordedAt(_restated(known, before, now), known.source)
    named = named_time(uri, *now)
    if named is not None:
        is_meant = now.time_pattern is not None or _is_set(RecordedAt(named, "name"))
        return RecordedAt(named, "name") if is_meant else RecordedAt(None, "unset_clock")
    if known is None:
        return None
    if named_time(uri, *before) is not None:  # something else in it may be of an unset clock
        raise UntoldError
    return known


def _restated(known: RecordedAt, before: Clock, now: Clock) -> datetime | None:
    """The time of metadata by another clock."""
    is_of_any_clock = known.source in _OF_ANY_CLOCK or before.time_zone == now.time_zone
    if is_of_any_clock or known.time is None:
        return known.time
    if known.source != "bext":  # which never names a zone; the others may, or may not
        raise UntoldError
    local = known.time.astimezone(before.time_zone).replace(tzinfo=None)
    # of a time that a change of clocks leaves out the same is stored as of another one
    if any(
        _in_utc(local - timedelta(minutes=minutes), before) == known.time
        for minutes in range(15, 181, 15)
    ):
        raise UntoldError
    return _in_utc(local, now)


_OF_ANY_CLOCK = ("audiomoth", "harp")
"""Sources whose times always name their zone, or are in UTC."""


def _in_utc(local: datetime, clock: Clock) -> datetime:
    return local.replace(tzinfo=clock.time_zone).astimezone(timezone.utc)


def _notes_in(path: str | os.PathLike[str]) -> list[Note]:
    with _opened(path) as file:
        try:
            format_, content = sniff(FilePart(file))
        except NotAudioError:
            return []
        return list(format_.read_notes(content))


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        # a pipe that nobody writes to would wait to be opened
        return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no name of a file: {error}") from error


def _stated_in(notes: list[Note], time_zone: tzinfo) -> Iterator[RecordedAt]:
    for source, kind, read in _SOURCES:
        for note in notes:
            time = read(note.content, time_zone) if note.kind == kind else None
            if time is not None:
                yield RecordedAt(time, source)


def _is_set(found: RecordedAt) -> bool:
    """Whether a time is of a clock that was set: not of the day on which clocks begin."""
    time, source = found
    if time is None or (source == "audiomoth" and time.year < _FIRST_AUDIOMOTHS):
        return False
    years = (1970,) if source == "name" else (1904, 1970, 1980)
    first_days = (datetime(year, 1, 1, tzinfo=timezone.utc) for year in years)
    # a day is one anywhere from 14 hours before UTC to 12 behind it
    return not any(-14 <= (time - day).total_seconds() / 3600 < 36 for day in first_days)


_FIRST_AUDIOMOTHS = 2016


def _guano_time(chunk: bytes, time_zone: tzinfo) -> datetime | None:
    stamp = _guano_field("Timestamp", chunk)
    return None if stamp is None else read_time(stamp, time_zone)


def _place_in(notes: list[Note]) -> Place | None:
    positions = (_guano_field("Loc Position", each.content) for each in notes if _is_guano(each))
    for position in positions:
        with suppress(ValueError):
            if position is not None and any(place := Place.of(position)):
                return place
    return None


def _is_guano(note: Note) -> bool:
    return note.kind == "guano"


def _guano_field(name: str, chunk: bytes) -> str | None:
    spaces = r"[^\S\n]*"
    field = re.compile(f"^{spaces}{name}{spaces}:(.{{0,200}})", re.MULTILINE)
    line = field.search(chunk.decode("utf-8", "replace"))
    return line and line[1]


def _opensoundscape_time(comment: bytes, time_zone: tzinfo) -> datetime | None:
    _, marker, kept = _text(comment).partition("opso_metadata")
    if not marker:
        return None
    try:
        # numbers are not wanted, and long ones take Python time that grows as their square
        start = json.loads(kept, parse_int=float).get("recording_start_time")
    except (ValueError, AttributeError, RecursionError):
        return None
    return read_time(start, time_zone) if isinstance(start, str) else None


def _audiomoth_time(comment: bytes, _: tzinfo) -> datetime | None:
    said = _AUDIOMOTH_COMMENT.search(_text(comment))
    if said is None:
        return None
    offset = f"{said['sign']}{said['hours']:0>2}:{said['minutes'] or '00'}" if said["sign"] else "Z"
    iso = f"{said['year']}-{said['month']}-{said['day']}T{said['time']}{offset}"
    return read_time(iso, timezone.utc)


def _bext_time(chunk: bytes, time_zone: tzinfo) -> datetime | None:
    """OriginationDate, 10 bytes, and OriginationTime, 8; any sign may separate their digits."""
    date, time = chunk[320:330], chunk[330:338]
    text = b" ".join((date, time)).decode("ascii", "replace")
    return read_time(re.sub(r"\D", "-", text), time_zone)


def _harp_time(chunk: bytes, _: tzinfo) -> datetime | None:
    return next((file.time for file in raw_files(chunk)), None)


def _text(comment: bytes) -> str:
    return comment.rstrip(b"\0").decode("utf-8", "replace")


_AUDIOMOTH_COMMENT = re.compile(
    r"Recorded at (?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4})"
    r"(?: \(UTC(?:(?P<sign>[+-])(?P<hours>\d\d?)(?::(?P<minutes>\d\d))?)?\))?"
)
_SOURCES: tuple[tuple[str, str, Callable[[bytes, tzinfo], datetime | None]], ...] = (
    ("guano", "guano", _guano_time),
    ("opensoundscape", "comment", _opensoundscape_time),
    ("audiomoth", "comment", _audiomoth_time),
    ("harp", "harp", _harp_time),
    ("bext", "bext", _bext_time),
)
