"""The answers of decoder processes, on their way through a pipe.

A crafted recording that takes a decoder over can write anything there. So answers are numbers and
text, never pickled objects, and are checked when they are read. An answer is one byte for its kind,
four for the length of what follows, and JSON; Frames are followed by their samples as in memory,
if these are not in memory that is shared.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

from earmark.transforms.decoding.messages import Answer, Ended, Frames, Length, Reached, Ready
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
from earmark.transforms.errors import AudioError, CrashedError

MAX_CHANNELS = 1024
"""The most channels that a decoder may return."""

MAX_LENGTH_S = 1 << 25
"""About a year; a recording that claims to be longer is not cut into spans."""

_HEAD = struct.Struct("<cI")
_MOST_BYTES = 1 << 23  # a hundred thousand gaps
_MOST_SAMPLES = (1 << 63) - 1
_MOST_FRAMES = (1 << 31) - 1
_ENERGY_BITS = 512  # the squares of float32, summed up over as many as there can be
_NAME_CHARACTERS = 100
_MESSAGE_CHARACTERS = 4000
_STAGES = ("read", "decode")

_Part = TypeVar("_Part")


def packed(answer: Answer) -> bytes:
    """An answer as bytes for the pipe."""
    kind = next(kind for kind, (of, _, _) in _KINDS.items() if isinstance(answer, of))
    body = json.dumps(_KINDS[kind][1](answer)).encode("ascii")
    return _HEAD.pack(kind, len(body)) + body


def read_answer(pipe: BinaryIO) -> Answer:
    """The next answer from the pipe; the samples after Frames are left there.

    Raises:
      EOFError: the pipe ends first.
      CrashedError: the bytes are not a valid answer.
      Also what reading from the pipe raises.
    """
    kind, size = _HEAD.unpack(_exactly(pipe, _HEAD.size))
    if kind not in _KINDS or size > _MOST_BYTES:
        raise nonsense()
    body = _exactly(pipe, size)
    try:
        return _KINDS[kind][2](json.loads(body.decode("ascii")))
    except (ValueError, RecursionError) as error:
        raise nonsense() from error


def nonsense() -> CrashedError:
    """The error for a decoder with invalid answers."""
    return CrashedError("the decoder returned an invalid answer")


def _exactly(pipe: BinaryIO, size: int) -> bytes:
    content = pipe.read(size)
    if len(content) < size:
        raise EOFError
    return content


# what an answer consists of, and back


def _of_frames(answer: Frames) -> list[Any]:
    so_far = _of_ending(answer.so_far)
    return [answer.first_frame, *answer.shape, answer.channels, so_far, answer.slot]


def _of_ending(ending: Ending) -> list[Any]:
    header, level, time, trouble = ending.header, ending.level, ending.recorded_at, ending.trouble
    return [
        header
        and [
            header.format,
            header.codec,
            header.sample_rate_hz,
            header.channels,
            header.declared_samples,
            header.tracks,
        ],
        ending.samples,
        ending.frames,
        [*vars(level).values()],
        time and time.isoformat(),
        ending.recorded_at_source,
        ending.place,
        trouble and [*trouble[:2], trouble.message[:_MESSAGE_CHARACTERS]],
        ending.gaps,
    ]


def _frames(fields: object) -> Frames:
    first, rows, values, channels, so_far, slot = _list(fields, 6)
    return Frames(
        _integer(first, 0, _MOST_FRAMES),
        (_integer(rows, 1, _MOST_FRAMES), _integer(values, 1, _MOST_FRAMES)),
        _integer(channels, 1, MAX_CHANNELS),
        _ending(so_far),
        _if_any(slot, lambda each: _integer(each, 0, SLOTS - 1)),
    )


def _ending(fields: object) -> Ending:
    header, samples, frames, level, recorded_at, source, place, trouble, gaps = _list(fields, 9)
    return Ending(
        _if_any(header, _header),
        _integer(samples, 0, _MOST_SAMPLES),
        _integer(frames, 0, _MOST_FRAMES),
        _level(level),
        _if_any(recorded_at, _time),
        _if_any(source, _text),
        _if_any(place, _place),
        _if_any(trouble, _trouble),
        tuple(_gaps(gaps)),
    )


def _header(fields: object) -> AudioHeader:
    format_, codec, sample_rate_hz, channels, declared, tracks = _list(fields, 6)
    return AudioHeader(
        _text(format_),
        _text(codec),
        _integer(sample_rate_hz, 1, _MOST_FRAMES),
        _integer(channels, 1, MAX_CHANNELS),
        _if_any(declared, lambda samples: _integer(samples, 0, _MOST_SAMPLES)),
        _integer(tracks, 0, _MOST_FRAMES),
    )


def _level(fields: object) -> SignalLevel:
    values, energy, peak, clipped, silent, apart, mixed = _list(fields, 7)
    values = _integer(values, 0, _MOST_SAMPLES)
    if not isinstance(peak, float):
        raise ValueError("a peak that is no number")
    return SignalLevel(
        values,
        _integer(energy, 0, 1 << _ENERGY_BITS),
        peak,
        _integer(clipped, 0, values),
        _integer(silent, 0, values),
        _integer(apart, 0, 1 << _ENERGY_BITS),
        _integer(mixed, 0, 1 << _ENERGY_BITS),
    )


def _trouble(fields: object) -> Trouble:
    stage, reason, message = _list(fields, 3)
    reasons = {kind.reason for kind in AudioError.__subclasses__()}
    if stage not in _STAGES or _text(reason) not in reasons:
        raise ValueError("a trouble that is none")
    return Trouble(stage, reason, _text(message, _MESSAGE_CHARACTERS))


def _gaps(fields: object) -> Iterator[Gap]:
    """Gaps in their order, of which none overlap."""
    if not isinstance(fields, list):
        raise ValueError("gaps that are none")
    reached = 0
    for each in fields:
        start, stop, why = _list(each, 3)
        if why not in WHYS:
            raise ValueError("a gap for no known reason")
        start = _integer(start, reached, _MOST_SAMPLES)
        reached = _integer(stop, start + 1, _MOST_SAMPLES)
        yield Gap(start, reached, why)


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_text(value))
    if time.tzinfo is None:
        raise ValueError("a time without its offset")
    return time


def _place(fields: object) -> Place:
    degrees = _list(fields, 2)
    if not all(isinstance(each, float) for each in degrees):
        raise ValueError("a place without its degrees")
    return Place.of("{!r} {!r}".format(*degrees))


def _if_any(value: object, read: Callable[[object], _Part]) -> _Part | None:
    return None if value is None else read(value)


def _list(value: object, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise ValueError("other fields than an answer has")
    return value


def _integer(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("a number out of its range")
    return value


def _text(value: object, most: int = _NAME_CHARACTERS) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise ValueError("a text that is none, or too long")
    value.encode("utf-8")
    return value


def _ready(fields: object) -> Ready:
    _list(fields, 0)
    return Ready()


def _reached(fields: object) -> Reached:
    return Reached(_integer(_list(fields, 1)[0], 0, _MOST_SAMPLES))


def _length(fields: object) -> Length:
    seconds, sound = _list(fields, 2)
    return Length(
        _if_any(seconds, lambda each: _integer(each, 0, MAX_LENGTH_S)), _if_any(sound, _sound)
    )


def _sound(fields: object) -> PlainSound:
    head_bytes, start, stop, second_bytes = _list(fields, 4)
    start = _integer(start, 0, _MOST_SAMPLES)
    return PlainSound(
        _integer(head_bytes, start, _MOST_SAMPLES),
        start,
        _integer(stop, start, _MOST_SAMPLES),
        _integer(second_bytes, 1, _MOST_SAMPLES),
    )


_KINDS: dict[bytes, tuple[type, Callable[[Any], list[Any]], Callable[[object], Answer]]] = {
    b"F": (Frames, _of_frames, _frames),
    b"E": (Ended, lambda ended: _of_ending(ended.ending), lambda fields: Ended(_ending(fields))),
    b"P": (Reached, list, _reached),
    b"L": (Length, list, _length),
    b"R": (Ready, list, _ready),
}
