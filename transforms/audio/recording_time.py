"""When a recording began: what the file itself says, else what its name says.

The time that a file system keeps for a file is never asked: it is that of the last copy.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from earmark.transforms.errors import ReadError

_MAX_CHUNK_BYTES = 1 << 18
_MAX_METADATA_CHUNKS = 16
_MAX_NAME_CHARACTERS = 4096  # longer ones stand in archives only
_MAX_CHUNKS = 10_000


class RecordedAt(NamedTuple):
    """When a recording began.

    Attributes:
      time: in UTC, with its fraction of a second where one is known.
      source: what said so: guano, opensoundscape, audiomoth, bext or name.
    """

    time: datetime
    source: str


def recorded_at(
    path: str | os.PathLike[str],
    uri: str | None = None,
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
    4. the origination date and time of Broadcast Wave
       (EBU Tech 3285, https://tech.ebu.ch/docs/tech/tech3285.pdf).

    Then the name: the four digits of a year, month and day, then hour, minute and second, with the
    usual separators or none, a fraction of the second and an offset from UTC where they are given
    (20240528_100000, 2024-05-28T10-00-00Z, 2024-05-28 10.00, 20240528T100000.250+0200); or, as old
    AudioMoths name files, nothing but 8 hex digits that count seconds since 1970. A date alone is
    not a time.

    A time that names no offset is of time_zone. One that a change of clocks makes happen twice is
    taken as the first; one that it leaves out is taken as the clock not yet changed (fold=0).

    Args:
      path: the local file with the content.
      uri: the object's URI, whose base name may hold the time; None where it is the path.
      time_pattern: how names hold the time, in place of the usual ways; see check_time_pattern.
      time_zone: of times that name none.

    Returns:
      None where nothing says so, or only with a time that there is not.

    Raises:
      ReadError: the file could not be read.
    """
    uri = os.fspath(path) if uri is None else uri
    try:
        stated = _stated_in(path, time_zone)
    except OSError as error:
        raise ReadError(f"{uri}: {error.strerror}") from error
    if stated is not None:
        return stated
    named = (
        _named_as_usual(_base_name(uri), time_zone)
        if time_pattern is None
        else _named_by_pattern(uri, time_pattern, time_zone)
    )
    return RecordedAt(named, "name") if named else None


def check_time_pattern(pattern: str) -> None:
    """Check how names are said to hold the time.

    A pattern is written as for strptime: %Y %y %m %b %B %d %j %H %I %p %M %S %f %z, with %a and %A
    for the days of the week, and %% for the sign itself. Numbers have their usual width, with
    zeros in front; %-m %-d %-H %-I %-M %-S may do without. It is looked for anywhere in the base
    name, or anywhere in the whole URI if it holds a slash, but never in the midst of more digits.

    Raises:
      ValueError: in one line: a directive that is not known or comes twice, or no year, month, day
        or hour.
    """
    directives = [name for name in _DIRECTIVE.findall(pattern) if name != "%"]
    for name in directives:
        if name not in _DIRECTIVES:
            known = " ".join(f"%{known}" for known in _DIRECTIVES)
            raise ValueError(f"time pattern {pattern!r}: {'%' + name!r} is none of {known}")
    plain = [name.lstrip("-") for name in directives]
    for name in plain:
        if plain.count(name) > 1:
            raise ValueError(f"time pattern {pattern!r}: %{name} may come only once")
    for unit, ways in _MUST_GIVE.items():
        if not any(way <= set(plain) for way in ways):
            raise ValueError(
                f"time pattern {pattern!r} does not give the {unit}; it must give year, month, day "
                "and hour, as in %Y%m%d_%H%M%S"
            )


# in the file


def _stated_in(path: str | os.PathLike[str], time_zone: tzinfo) -> RecordedAt | None:
    with Path(path).open("rb") as file:
        chunks = list(islice(_metadata_chunks(file), _MAX_METADATA_CHUNKS))
    for source, wanted, read in _SOURCES:
        for chunk_id, content in chunks:
            time = read(content, time_zone) if chunk_id == wanted else None
            if time is not None:
                return RecordedAt(time, source)
    return None


def _metadata_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """The id and content of each chunk of a WAV file that may hold the time; it ends at damage."""
    wanted = {chunk_id for _, chunk_id, _ in _SOURCES}
    for chunk_id, start, size in _walk_chunks(file):
        if chunk_id in wanted:
            file.seek(start)
            yield chunk_id, file.read(min(size, _MAX_CHUNK_BYTES))


def _walk_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """The id, start and size of each chunk; no size is believed beyond the end of the file.

    Chunk: 4 bytes of id, 4 of size, the content, a byte of padding if it is odd. In RF64 and BW64
    the size of `data` is in `ds64` (EBU Tech 3306).
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    form = file.read(12)
    if form[:4] not in (b"RIFF", b"RF64", b"BW64") or form[8:] != b"WAVE":
        return
    position, data_bytes = 12, 0xFFFFFFFF
    for _ in range(_MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if not _CHUNK_HEADER.fullmatch(header):
            return
        chunk_id, size = struct.unpack("<4sI", header)
        position += 8
        if chunk_id == b"ds64":
            data_bytes = _data_bytes(file.read(16))
        elif chunk_id == b"data" and size == 0xFFFFFFFF:
            size = data_bytes
        yield chunk_id, position, size
        position += size + size % 2
        if position >= end:
            return


def _data_bytes(ds64: bytes) -> int:
    return int(struct.unpack("<8xQ", ds64)[0]) if len(ds64) == 16 else 0xFFFFFFFF


def _guano_time(chunk: bytes, time_zone: tzinfo) -> datetime | None:
    line = _GUANO_TIMESTAMP.search(chunk.decode("utf-8", "replace"))
    return _read_time(line[1], time_zone) if line else None


def _opensoundscape_time(chunk: bytes, time_zone: tzinfo) -> datetime | None:
    _, marker, kept = _comment(chunk).partition("opso_metadata")
    if not marker:
        return None
    try:
        # numbers are not wanted, and long ones take Python time that grows as their square
        start = json.loads(kept, parse_int=float).get("recording_start_time")
    except (ValueError, AttributeError, RecursionError):
        return None
    return _read_time(start, time_zone) if isinstance(start, str) else None


def _audiomoth_time(chunk: bytes, _: tzinfo) -> datetime | None:
    said = _AUDIOMOTH_COMMENT.search(_comment(chunk))
    if said is None:
        return None
    offset = f"{said['sign']}{said['hours']:0>2}:{said['minutes'] or '00'}" if said["sign"] else "Z"
    iso = f"{said['year']}-{said['month']}-{said['day']}T{said['time']}{offset}"
    return _read_time(iso, timezone.utc)


def _bext_time(chunk: bytes, time_zone: tzinfo) -> datetime | None:
    """OriginationDate, 10 bytes, and OriginationTime, 8; any sign may separate their digits."""
    date, time = chunk[320:330], chunk[330:338]
    text = b" ".join((date, time)).decode("ascii", "replace")
    return _read_time(re.sub(r"\D", "-", text), time_zone)


def _comment(chunk: bytes) -> str:
    """The comment, ICMT, of a LIST chunk of the kind INFO; empty where there is none."""
    position = 4
    while chunk.startswith(b"INFO") and position + 8 <= len(chunk):
        entry_id, size = struct.unpack_from("<4sI", chunk, position)
        position += 8
        if entry_id == b"ICMT":
            return chunk[position : position + size].rstrip(b"\0").decode("utf-8", "replace")
        position += size + size % 2
    return ""


_CHUNK_HEADER = re.compile(rb"[ -~]{4}.{4}", re.DOTALL)
_GUANO_TIMESTAMP = re.compile(r"^[^\S\n]*Timestamp[^\S\n]*:(.{0,200})", re.MULTILINE)
_AUDIOMOTH_COMMENT = re.compile(
    r"Recorded at (?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) "
    r"(?P<day>\d\d)/(?P<month>\d\d)/(?P<year>\d{4})"
    r"(?: \(UTC(?:(?P<sign>[+-])(?P<hours>\d\d?)(?::(?P<minutes>\d\d))?)?\))?"
)
_SOURCES: tuple[tuple[str, bytes, Callable[[bytes, tzinfo], datetime | None]], ...] = (
    ("guano", b"guan", _guano_time),
    ("opensoundscape", b"LIST", _opensoundscape_time),
    ("audiomoth", b"LIST", _audiomoth_time),
    ("bext", b"bext", _bext_time),
)


# in the name


def _base_name(uri: str) -> str:
    return _readable(uri).rpartition("/")[2]


def _readable(uri: str) -> str:
    return unquote(uri) if uri.startswith("file:") else uri


def _named_as_usual(name: str, time_zone: tzinfo) -> datetime | None:
    return _read_time(name, time_zone) or _hex_time(PurePosixPath(name).stem)


def _hex_time(stem: str) -> datetime | None:
    if not re.fullmatch("[0-9A-Fa-f]{8}", stem):
        return None
    time = datetime.fromtimestamp(int(stem, 16), timezone.utc)
    return time if 2010 <= time.year < 2100 else None


def _named_by_pattern(uri: str, pattern: str, time_zone: tzinfo) -> datetime | None:
    text = (_readable(uri) if "/" in pattern else _base_name(uri))[-_MAX_NAME_CHARACTERS:]
    for found in _pattern_regex(pattern).finditer(text):
        try:
            time = datetime.strptime(found[0], pattern.replace("%-", "%"))
            return _to_utc(time, time_zone)
        except (ValueError, OverflowError):  # looks like a time, but there is none such
            continue
    return None


@lru_cache
def _pattern_regex(pattern: str) -> re.Pattern[str]:
    check_time_pattern(pattern)
    ways = {**_DIRECTIVES, "%": "%"}
    texts_and_directives = enumerate(_DIRECTIVE.split(pattern))
    parts = [ways[part] if index % 2 else re.escape(part) for index, part in texts_and_directives]
    # digits are taken whole: neither edge may lie between two of them
    edge = r"(?:(?<!\d)|(?!\d))"
    return re.compile(edge + "".join(parts) + edge, re.IGNORECASE)


_DIRECTIVE = re.compile(r"%(-?.|$)", re.DOTALL)
_TWO_DIGITS = ("m", "d", "H", "I", "M", "S")
_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "j": r"\d{3}",
    **dict.fromkeys(_TWO_DIGITS, r"\d{2}"),
    **{f"-{name}": r"\d{1,2}" for name in _TWO_DIGITS},
    "f": r"\d{1,6}",
    **dict.fromkeys(("b", "B", "a", "A"), r"[^\W\d_]{1,20}"),
    "p": "[ap]m",
    "z": r"(?:Z|[+-]\d\d:?\d\d)",
}
_MUST_GIVE = {
    "year": ({"Y"}, {"y"}),
    "month": ({"m"}, {"b"}, {"B"}, {"j"}),
    "day": ({"d"}, {"j"}),
    "hour": ({"H"}, {"I", "p"}),
}


# times written as digits


def _read_time(text: str, time_zone: tzinfo) -> datetime | None:
    """The first time in a text that there is, in UTC."""
    return next(filter(None, (_time(found, time_zone) for found in _TIME.finditer(text))), None)


def _time(found: re.Match[str], time_zone: tzinfo) -> datetime | None:
    try:
        time = datetime(
            int(found["year"]),
            int(found["month"]),
            int(found["day"]),
            _hour(int(found["hour"]), found["half"]),
            int(found["minute"]),
            int(found["second"] or 0),
            int(f"{found['fraction'] or '':0<6.6}"),
            _offset(found["offset"]),
        )
        return _to_utc(time, time_zone)
    except (ValueError, OverflowError):
        return None


def _hour(hour: int, half: str | None) -> int:
    if half is None or hour > 12:
        return hour
    return hour % 12 + (12 if half in "pP" else 0)


def _offset(text: str | None) -> timezone | None:
    """The offset of +02, -0330, +05:45; UTC where it is called by name."""
    if text is None:
        return None
    digits = text[1:].replace(":", "")
    if not digits.isdecimal():
        return timezone.utc
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-offset if text[0] == "-" else offset)


def _to_utc(time: datetime, time_zone: tzinfo) -> datetime:
    return (time if time.tzinfo else time.replace(tzinfo=time_zone)).astimezone(timezone.utc)


_TIME = re.compile(
    r"""
    (?<!\d)
    (?P<year>(?:19|20)\d\d) (?P<dash>[-_.\ ]?) (?P<month>\d\d) (?P=dash) (?P<day>\d\d)
    (?: [Tt] | [-_.$\ ]{1,3} | [_\ ]at[_\ ] | (?<=\d{8}) )
    (?P<hour>\d\d) (?P<colon>[-_.:h\ ]?) (?P<minute>\d\d)
    (?:
        (?: (?P=colon) | (?<=h\d\d)m ) (?P<second>\d\d)
        (?: [.,] (?P<fraction>\d{1,9}) (?= Z | UTC | GMT | [^0-9A-Za-z] | $ ) )?
    )?
    # hour and minute alone: only where a sign parts them or T leads them, and nothing goes on
    (?(second) | (?: (?<=[Tt]\d{4}) | (?<=\d[-_.:h\ ]\d\d) ) (?! (?P=colon)\d ) )
    (?: [_\ ]? (?P<half>[AaPp])[Mm] (?![A-Za-z]) )?
    (?P<offset>
        Z (?![0-9A-Za-z])
        | [-_\ ]? (?:UTC|GMT) (?! [0-9A-Za-z] | [+-]\d )
        # numbers of a sequence follow times, too: -0000 and -0012 are none, and neither is -02
        | (?!-0000) [+-] (?:0\d|1[0-4]) :? (?:00|15|30|45) (?!\d)
        | [+] (?:0\d|1[0-4]) (?!\d)
    )?
    (?!\d)
    """,
    re.VERBOSE,
)
