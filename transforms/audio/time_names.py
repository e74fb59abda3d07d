"""Times in text: in the names of recordings, and wherever else digits stand for one."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote

_MAX_NAME_CHARACTERS = 4096  # longer ones stand in archives only


def named_time(uri: str, time_pattern: str | None, time_zone: tzinfo) -> datetime | None:
    """The time in an object's name, in UTC: see `recorded_at`.

    Args:
      uri: the object's.
      time_pattern: how names hold the time, in place of the usual ways; see check_time_pattern.
      time_zone: of times that name none.
    """
    if time_pattern is not None:
        return _by_pattern(uri, time_pattern, time_zone)
    name = _base_name(uri)
    return read_time(name, time_zone) or _hex_time(PurePosixPath(name).stem)


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


def _hex_time(stem: str) -> datetime | None:
    """The time in a name as AudioMoths gave them until 2019.

    Eight digits without a letter are more often a number of a collection, as are all that would be
    of another time.
    """
    if not re.fullmatch("(?=.*[A-F])[0-9A-F]{8}", stem, re.IGNORECASE):
        return None
    time = datetime.fromtimestamp(int(stem, 16), timezone.utc)
    return time if 2016 <= time.year < 2020 else None


def _by_pattern(uri: str, pattern: str, time_zone: tzinfo) -> datetime | None:
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


def _base_name(uri: str) -> str:
    return _readable(uri).rpartition("/")[2]


def _readable(uri: str) -> str:
    return unquote(uri) if uri.startswith("file:") else uri


def read_time(text: str, time_zone: tzinfo) -> datetime | None:
    """The first time in a text that there is, in UTC."""
    return next(filter(None, (_time(found, time_zone) for found in _TIME.finditer(text))), None)


def _time(found: re.Match[str], time_zone: tzinfo) -> datetime | None:
    try:
        time = datetime(
            int(found["year"]),
            int(found["month1"] or found["month2"]),
            int(found["day1"] or found["day2"]),
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
    """The offset of +02, -0330, UTC+5:45; zero where UTC is all that is said."""
    if text is None:
        return None
    stated = re.search(r"([+-])(\d\d?):?(\d\d)?$", text)
    if stated is None:
        return timezone.utc
    offset = timedelta(hours=int(stated[2]), minutes=int(stated[3] or 0))
    return timezone(-offset if stated[1] == "-" else offset)


def _to_utc(time: datetime, time_zone: tzinfo) -> datetime:
    return (time if time.tzinfo else time.replace(tzinfo=time_zone)).astimezone(timezone.utc)


_TIME = re.compile(
    r"""
    (?<!\d)
    (?P<year>(?:19|20)\d\d)
    # where nothing parts them, a space may stand for a leading zero
    (?: (?P<dash>[-_.\ ]) (?P<month1>\d\d) (?P=dash) (?P<day1>\d\d)
        | (?P<month2>\d\d|\ \d) (?P<day2>\d\d|\ \d) )
    (?: [-_\ ]?[Tt] | [-_.$\ ]{1,3} | [_\ ]at[_\ ] | -birdnet-(?:RTSP_\d{1,3}-)?
        | (?<=\d{8}) | (?<=\d\d\d\d\ \d\d\d) | (?<=\d\d\d\d\d\d\ \d) | (?<=\d\d\d\d\ \d\ \d) )
    (?P<hour>\d\d|(?<=T)\ \d) (?P<colon>[-_.:h\ ]?)
    (?P<minute>\d\d|(?<=T\d\d|T\ \d)\ \d)
    (?:
        (?: (?P=colon) | (?<=h\d\d)m ) (?P<second>\d\d|(?<=T[\d\ ]{3}\d)\ \d)
        (?: [.,] (?P<fraction>\d{1,9}) (?= Z | UTC | GMT | [^0-9A-Za-z] | $ ) )?
    )?
    # hour and minute alone: only where a sign parts them or T leads them, and nothing goes on
    (?(second) | (?: (?<=[Tt]\d{4}) | (?<=\d[-_.:h\ ]\d\d) ) (?! (?P=colon)\d ) )
    (?: [_\ ]? (?P<half>[AaPp])[Mm] (?![A-Za-z]) )?
    (?P<offset>
        Z (?![0-9A-Za-z])
        | [-_\ (]{0,2} (?:UTC|GMT)
          (?: [+-] (?:0?\d|1[0-4]) (?: :?(?:00|15|30|45) )? )? (?! [0-9A-Za-z] | [+-]\d )
        # numbers of a sequence follow times, too: -0000 and -0012 are none, and neither is -02
        | (?!-0000) [+-] (?:0\d|1[0-4]) :? (?:00|15|30|45) (?!\d)
        | [+] (?:0\d|1[0-4]) (?!\d)
        # apart from the time it has four digits, and nothing else of a place behind it
        | [_\ ] (?!-0000) [+-] (?:0\d|1[0-4]) :? (?:00|15|30|45) (?! [.,]?\d | [+-]\d )
    )?
    (?!\d)
    """,
    re.VERBOSE,
)
