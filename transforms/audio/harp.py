"""The raw files of HARP's recordings (`x.wav`), each with a time of its own."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import NamedTuple


class RawFile(NamedTuple):
    """What HARP recorded without a pause.

    Attributes:
      time: of its first sample.
      offset: where in the file its samples lie.
      size: how many bytes they have.
      sample_rate_hz: of them.
    """

    time: datetime
    offset: int
    size: int
    sample_rate_hz: int


def raw_files(chunk: bytes) -> Iterator[RawFile]:
    """Yields the raw files of a HARP recording; a chunk that makes no sense ends them.

    The layout is that of Triton's rdxwavhd.m (https://github.com/MarineBioAcousticsRC/Triton).
    """
    if len(chunk) < 56:
        return
    count = int.from_bytes(chunk[36:38], "little")
    # version 2, whose number may be a digit, says 4 bytes for each channel in the head and the rows
    row_bytes, rest = divmod(len(chunk) - 24, count + 1) if chunk[0] in (2, 50) else (32, 0)
    if rest:
        return
    for offset in range(24 + row_bytes, 24 + row_bytes * (count + 1), row_bytes):
        row = chunk[offset : offset + 24]
        if len(row) < 24:
            return
        year, *date, ticks_ms, place, size, _, rate_hz = struct.unpack("<6BHIIII", row)
        try:
            time = datetime(2000 + year, *date).replace(tzinfo=timezone.utc)
        except ValueError:
            return
        yield RawFile(time + timedelta(milliseconds=ticks_ms), place, size, rate_hz)
