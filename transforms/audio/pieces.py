"""Uncompressed recordings whose samples are not continuous, since their recorder paused.

Two recorders write them: AudioMoth with a trigger, and HARP with a duty cycle (`x.wav`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.harp import RawFile, raw_files
from earmark.transforms.audio.plain_sound import PlainDecoder
from earmark.transforms.audio.timeline import TOLERANCE_S
from earmark.transforms.elements import Silence
from earmark.transforms.samples import Samples


class Piece(NamedTuple):
    """Samples that follow each other without a pause.

    Attributes:
      at: where the first of them lies, in samples from the recording's start.
      first: its number in the file.
      samples: how many they are.
    """

    at: int
    first: int
    samples: int

    @property
    def end(self) -> int:
        """Where the pause begins that follows."""
        return self.at + self.samples


def pieced_decoder(content: FilePart, plain: PlainDecoder) -> PiecedDecoder | None:
    """Returns what reads a recording with its pauses, None where it has none."""
    declared, header = plain.declared, plain.header
    pieces: list[Piece] = []
    if declared.has_trigger and header.codec == "pcm_s16" and header.channels == 1:
        pieces, why = list(_around_triggers(content, declared.sound_start or 0, plain)), "trigger"
    elif declared.harp is not None:
        table = content.read_at(*declared.harp)
        pieces, why = list(_by_raw_files(raw_files(table), plain)), "duty_cycle"
    is_continuous = all(piece.at == piece.first for piece in pieces)
    return None if is_continuous else PiecedDecoder(plain, pieces, why)


class PiecedDecoder:
    """An open recording with pauses, which are silent.

    Attributes:
      header: what the recording is; the declared samples are those of its time.
      can_seek: whether chunks() can start anywhere.
    """

    library = "numpy"

    def __init__(self, plain: PlainDecoder, pieces: list[Piece], why: str) -> None:
        self._plain, self._pieces, self._why = plain, pieces, why
        end = pieces[-1].end
        pauses = end - pieces[-1].first - pieces[-1].samples
        declared = plain.header.declared_samples
        declared = None if declared is None else declared + pauses
        self.header = replace(plain.header, declared_samples=declared)
        self.can_seek = plain.can_seek and end <= _MOST_PAUSED * plain.samples

    def chunks(self, wanted: int, start: int = 0) -> Iterator[Samples | Silence]:
        """Yields samples [n, channels], n being `wanted` for most, and pauses.

        Raises:
          TruncatedError: fewer samples are there than the header declares.
          ReadError: the file could not be read on.
        """
        at, stop = start, self._plain.samples
        for piece in self._pieces[bisect_right(self._pieces, start, key=lambda each: each.end) :]:
            if piece.at > at:
                yield Silence(piece.at - at, self._why)
                at = piece.at
            end = min(piece.samples, stop - piece.first)
            for first in range(at - piece.at, end, wanted):
                yield self._plain.read(piece.first + first, min(wanted, end - first))
            at = piece.end
        self._plain.check_end(stop)


_MOST_PAUSED = 16
"""A recording that paused for most of its time is read as a whole: spans of silence are no use."""

_MOST_SAMPLES = 1 << 43
"""A year at 250 kHz: pauses that make a recording longer are none."""

_BLOCK_BYTES = 512
_BLOCKS_AT_ONCE = 2048


def _around_triggers(content: FilePart, start: int, plain: PlainDecoder) -> Iterator[Piece]:
    """Yields the pieces of a recording of AudioMoth.

    In its file, blocks of 512 bytes that begin with 32 samples of 1 or -1, and are zero behind
    these, stand for a pause of as many blocks as the signs of the 32 say, the lowest bit first
    (https://github.com/OpenAcousticDevices/AudioMoth-Firmware-Basic, encodeCompressionBuffer).
    """
    at = first = 0
    for offset, blocks in _paused_blocks(content, -(-start // _BLOCK_BYTES) * _BLOCK_BYTES):
        place = (offset - start) // 2
        if place + _BLOCK_BYTES // 2 > plain.samples or at + blocks * 256 > _MOST_SAMPLES:
            break
        if place > first:
            yield Piece(at, first, place - first)
        at += place - first + blocks * _BLOCK_BYTES // 2
        first = place + _BLOCK_BYTES // 2
    yield Piece(at, first, plain.samples - first)


def _paused_blocks(content: FilePart, offset: int) -> Iterator[tuple[int, int]]:
    """Yields the offset of each block that stands for a pause, and of how many blocks."""
    bits = 1 << np.arange(32, dtype=np.int64)
    while len(read := content.read_at(offset, _BLOCK_BYTES * _BLOCKS_AT_ONCE)) >= _BLOCK_BYTES:
        whole = len(read) // _BLOCK_BYTES
        blocks = np.frombuffer(read, "<i2", whole * _BLOCK_BYTES // 2).reshape(whole, -1)
        for index in np.flatnonzero(~blocks[:, 32:].any(axis=1)).tolist():
            signs = blocks[index, :32]
            count = int(bits[signs == 1].sum())
            if count and (np.abs(signs) == 1).all():
                yield offset + index * _BLOCK_BYTES, count
        offset += len(read)


def _by_raw_files(files: Iterable[RawFile], plain: PlainDecoder) -> Iterator[Piece]:
    """Yields the pieces of a recording of HARP, none if its table doesn't fit its samples."""
    rate_hz, began, last = plain.header.sample_rate_hz, None, Piece(0, 0, 0)
    for file in files:
        began = began or file.time
        first = plain.sample_at(file.offset)
        if first != last.first + last.samples or file.sample_rate_hz != rate_hz:
            break
        at = round((file.time - began).total_seconds() * rate_hz)
        is_pause = TOLERANCE_S * rate_hz < at - last.end < _MOST_SAMPLES
        count = min(plain.sample_at(file.offset + file.size), plain.samples) - first
        if count <= 0:
            break
        if is_pause:
            yield last
            last = Piece(at, first, count)
        else:
            last = last._replace(samples=last.samples + count)
    yield last._replace(samples=plain.samples - last.first)
