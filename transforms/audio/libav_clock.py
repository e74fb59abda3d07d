"""Finds the holes between what libav decodes: by timestamps, or by the bytes that are damaged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet

from earmark.transforms.audio.declared_length import DeclaredLength
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.flac_frames import first_sample
from earmark.transforms.audio.formats import Format, Timestamps
from earmark.transforms.audio.libav_packets import Packets
from earmark.transforms.audio.timeline import MOST_JUMP_S, TOLERANCE_S, Hole, Timeline

_LOOK_AHEAD_S = 12.0
_LOOK_AHEAD_PACKETS = 600

_NEAR_S = 3600.0

_MOST_DELAY_S = 1.0
"""A decoder's first frame comes of one of the first packets; farther from these, sound is lost."""

_BLOCK_BYTES = 1 << 20
_MOST_GROWTH = 3
"""A frame that is so many times as large as any before was found in garbage."""
_MOST_STUFFED_BYTES = 16


def clock_of(
    content: FilePart,
    format_: Format,
    stream: AudioStream,
    packets: Packets,
    start_s: float,
    declared: DeclaredLength,
) -> StampClock | ByteClock | PacketClock:
    """The clock of a stream.

    Args:
      content: the file.
      format_: its container.
      stream: as libav has opened it.
      packets: those of the stream.
      start_s: the first timestamp of all streams.
      declared: how long the header says that it is.
    """
    if format_.timestamps is Timestamps.NONE:
        return PacketClock()
    if format_.timestamps is Timestamps.BYTES:
        return ByteClock(format_, content, declared)
    if format_.timestamps is Timestamps.NUMBERS:
        return NumberClock(packets, Timeline(0.0), stamp=_numbers_of_flac(stream))
    zero_s = start_s if format_.timestamps is Timestamps.FROM_FIRST else 0.0
    most_late_s = _NEAR_S if format_.timestamps is Timestamps.FROM_ZERO_IF_NEAR else MOST_JUMP_S
    is_start_lost = partial(format_.is_start_lost, content)
    return StampClock(packets, Timeline(zero_s, most_late_s), is_start_lost, declared.pauses)


class StampClock:
    """The clock of a container that has timestamps.

    Attributes:
      timeline: where the sound lies.

    Args:
      packets: those of the stream.
      timeline: the clock at the start.
      is_start_lost: tells whether damage lies before the first of it.
      pauses: declared ones, which timestamps don't count: see DeclaredLength.
      stamp: the timestamp of a frame, in seconds.
    """

    def __init__(
        self,
        packets: Packets,
        timeline: Timeline,
        is_start_lost: Callable[[], bool] = lambda: False,
        pauses: Iterable[tuple[float, float]] = (),
        stamp: Callable[[AudioFrame, Packet[Any]], float | None] = lambda frame, _: frame.time,
    ) -> None:
        self._packets = packets
        self._is_start_lost = is_start_lost
        self._pauses = deque(pauses)
        self._stamp = stamp
        self.timeline = timeline
        self._first_s: float | None = None  # of the first packet, where no frame came of it
        self._last: Packet[Any] | None = None
        self._lag_s = 0.0  # how far packets are ahead of the frames that come of them

    def note(self, packet: Packet[Any], frames: list[AudioFrame]) -> None:
        """Note a packet, and the frames that came of it."""
        if not frames and self._first_s is None and packet.pts is not None:
            self._first_s = _stamp_s(packet)
        if packet.size:
            self._last = packet

    def hole_before(
        self, frame: AudioFrame, packet: Packet[Any], *, is_damaged: bool
    ) -> Hole | None:
        """The hole before a frame, which is counted; is_damaged where damage lies before it."""
        lasts_s = frame.samples / frame.sample_rate
        if self._pauses and self.timeline.reached_s + lasts_s / 2 >= self._pauses[0][0]:
            hole = self.timeline.pause(self._pauses.popleft()[1])
        else:
            hole = self._hole_by_stamp(frame, packet, lasts_s, is_damaged)
        self.timeline.add(lasts_s)
        return hole

    def hole_at_end(self) -> Hole | None:
        """The hole that packets leave which could not be decoded, and no others follow."""
        if self._last is None or self._last.pts is None or not self.timeline.has_begun:
            return None
        end_s = _stamp_s(self._last) + _duration_s(self._last)
        is_hole = self.timeline.ahead_s(end_s) > TOLERANCE_S
        return self.timeline.before(end_s, is_damaged=True) if is_hole else None

    def _hole_by_stamp(
        self, frame: AudioFrame, packet: Packet[Any], lasts_s: float, is_damaged: bool
    ) -> Hole | None:
        at_s = self._stamp(frame, packet)
        if at_s is None or (self.timeline.is_followed_by(at_s) and not is_damaged):
            return None
        if not self.timeline.has_begun:
            self._lag_s = 0.0 if packet.pts is None else _stamp_s(packet) - at_s
            early_s = self._early_s(at_s, lasts_s)
            if self._first_s is not None:
                self._first_s -= early_s
            return self._hole_at_start(at_s - early_s, is_damaged)
        ahead_s = self.timeline.ahead_s(at_s)
        if abs(ahead_s) > TOLERANCE_S and self._is_stray(at_s, ahead_s, lasts_s):
            return None
        return self.timeline.before(at_s, is_damaged=is_damaged)

    def _hole_at_start(self, at_s: float, is_damaged: bool) -> Hole | None:
        """The hole before the first frame, which may come of a later packet than the first."""
        first_s = at_s if self._first_s is None else self._first_s
        is_damaged = is_damaged or at_s - first_s > _MOST_DELAY_S
        is_damaged = is_damaged or (self.timeline.is_late(first_s) and self._is_start_lost())
        return self.timeline.first(first_s, at_s, is_damaged=is_damaged)

    def _early_s(self, at_s: float, duration_s: float) -> float:
        """How much earlier the first frame lies than its timestamp says, by those that follow.

        It is off where a later packet lies before it, but not so early that sound before it would
        lie before zero: then the clock is set back there.
        """
        if not self.timeline.is_late(at_s):
            return 0.0
        next_s = at_s + self._lag_s + duration_s
        for later in self._packets.ahead(_LOOK_AHEAD_PACKETS):
            if not (long_s := _duration_s(later)) or next_s > at_s + _LOOK_AHEAD_S:
                break
            early_s = 0.0 if later.pts is None else next_s - _stamp_s(later)
            if TOLERANCE_S < early_s <= self.timeline.late_s(at_s) + TOLERANCE_S:
                return early_s
            next_s += long_s
        return 0.0

    def _is_stray(self, at_s: float, ahead_s: float, duration_s: float) -> bool:
        """Whether the timestamp of a frame is off by itself.

        So it is where the next packet does not go on from it, or a later one goes on from where the
        clock was.

        Args:
          at_s: the timestamp.
          ahead_s: how far it lies ahead of the clock.
          duration_s: of the frame.
        """
        next_s = at_s + self._lag_s + duration_s
        expected_s = next_s - ahead_s
        is_next = True
        for later in self._packets.ahead(_LOOK_AHEAD_PACKETS):
            later_s, long_s = _stamp_s(later), _duration_s(later)
            if later.pts is not None and is_next and abs(later_s - next_s) > TOLERANCE_S:
                return True
            if not long_s or expected_s > next_s - ahead_s + _LOOK_AHEAD_S:
                return False
            if later.pts is not None and abs(later_s - expected_s) <= TOLERANCE_S:
                return True
            is_next = is_next and later.pts is None
            next_s, expected_s = next_s + long_s, expected_s + long_s
        return False


class NumberClock(StampClock):
    """The clock of a format whose header counts the samples, and whose frames have checksums."""

    def hole_before(
        self, frame: AudioFrame, packet: Packet[Any], *, is_damaged: bool
    ) -> Hole | None:
        """The hole before a frame, which is counted: between frames it is damage."""
        is_damaged = is_damaged or self.timeline.has_begun
        return super().hole_before(frame, packet, is_damaged=is_damaged)

    def hole_at_end(self) -> None:
        """None: the header's count tells what the end lacks."""

    def _is_stray(self, at_s: float, ahead_s: float, duration_s: float) -> bool:
        return False


class PacketClock:
    """The clock of a container without timestamps: packets take the time that they say."""

    def __init__(self) -> None:
        self.timeline = Timeline(0.0)
        self._lost_s = 0.0

    def note(self, packet: Packet[Any], frames: list[AudioFrame]) -> None:
        """Note a packet, and the frames that came of it."""
        if not frames:
            self._lost_s += _duration_s(packet)

    def hole_before(
        self, frame: AudioFrame, packet: Packet[Any], *, is_damaged: bool
    ) -> Hole | None:
        """The hole before a frame, which is counted."""
        lost_s, self._lost_s = self._lost_s, 0.0
        hole = self.timeline.lose(lost_s if is_damaged else 0.0)
        self.timeline.add(frame.samples / frame.sample_rate)
        return hole

    def hole_at_end(self) -> None:
        """None: what lies behind the last frame may be anything."""


class ByteClock:
    """The clock of a stream without a container: what is no frame takes as long as its bytes.

    That is exact where frames are all of one size, and an estimate by the mean of those before
    where they are not. Where a header counts the samples, and all is well behind the damage, what
    is missing is what the frames there lack.
    """

    def __init__(self, format_: Format, content: FilePart, declared: DeclaredLength) -> None:
        self._frame_bytes = format_.frame_bytes
        self._declared = declared.samples
        self._content = content
        self.timeline = Timeline(0.0)
        self._has_failed = False
        self._shift = 0  # from where libav takes packets to lie to where they do
        self._good_end = declared.header_bytes  # where the last frame ends
        self._largest = self._good_bytes = self._good_frames = self._lost_bytes = 0

    def note(self, packet: Packet[Any], frames: list[AudioFrame]) -> None:
        """Note a packet, and the frames that came of it."""
        position, size = packet.pos, packet.size
        if not frames or position is None:
            self._has_failed = self._has_failed or not frames
            return
        begin = position + self._shift
        if self._has_failed or begin != self._good_end:
            begin = self._place(bytes(packet), self._good_end)
            self._shift = begin - position
            self._lost_bytes = begin - self._good_end
            self._has_failed = False
        if size > self._largest:
            size = self._own_bytes(bytes(packet))
            self._largest = max(self._largest, size)
        self._good_end = begin + size
        self._good_bytes += size
        self._good_frames += len(frames)

    def hole_before(
        self, frame: AudioFrame, packet: Packet[Any], *, is_damaged: bool
    ) -> Hole | None:
        """The hole before a frame, which is counted."""
        hole = None
        if self._lost_bytes > _MOST_STUFFED_BYTES:
            # of the first frame that is found, libav drops what encoders put in front
            samples = max(frame.samples, round(_duration_s(packet) * frame.sample_rate))
            lost = self._lost_frames(frame, packet, samples)
            hole = self.timeline.lose(lost * samples / frame.sample_rate)
        self._lost_bytes = 0
        self.timeline.add(frame.samples / frame.sample_rate)
        return hole

    def hole_at_end(self) -> None:
        """None: what lies behind the last frame may be anything."""

    def _lost_frames(self, frame: AudioFrame, packet: Packet[Any], samples: int) -> int:
        """How many frames, of so many samples, lie before one, of which none could be decoded."""
        reached, start = self.timeline.reached_s, self._good_end - packet.size
        if not reached and self._run(start - self._lost_bytes, start)[1] == start:
            return 0  # whole frames at the start, which lean on others that lie before the file
        frames, end = self._run(start, self._content.size)
        if end >= self._content.size and self._declared is not None:
            lacking = self._declared - round(reached * frame.sample_rate)
            if (lost := -(-lacking // samples) - frames) > 0:
                return lost
        mean_bytes = (self._good_bytes + end - start) / (self._good_frames + frames)
        return max(1, round(self._lost_bytes / mean_bytes))

    def _run(self, start: int, stop: int) -> tuple[int, int]:
        """How many frames follow each other from a place up to another, and where they end."""
        count = 0
        while (
            start < stop
            and self._frame_bytes
            and (size := self._frame_bytes(self._content.read_at(start, 16)))
        ):
            start, count = start + size, count + 1
        return count, start

    def _place(self, packet: bytes, start: int) -> int:
        """Where a packet lies, which libav doesn't tell behind bytes that it has passed over."""
        offset = start
        while len(block := self._content.read_at(offset, _BLOCK_BYTES)) >= len(packet):
            if (found := block.find(packet)) >= 0:
                return offset + found
            offset += _BLOCK_BYTES - len(packet)
        return start

    def _own_bytes(self, packet: bytes) -> int:
        """How much of a packet that was decoded is a frame: the rest was found behind it."""
        size = self._frame_bytes(packet[:16]) if self._frame_bytes else None
        size = min(len(packet), size or len(packet))
        is_garbage = self._largest and size > _MOST_GROWTH * self._largest
        return self._largest if is_garbage else size


def _numbers_of_flac(
    stream: AudioStream,
) -> Callable[[AudioFrame, Packet[Any]], float | None]:
    block_samples = int.from_bytes((stream.codec_context.extradata or b"")[:2], "big")
    last: Packet[Any] | None = None

    def stamp(frame: AudioFrame, packet: Packet[Any]) -> float | None:
        nonlocal last
        is_first, last = packet is not last, packet
        sample = first_sample(bytes(packet)[:16], block_samples) if is_first else None
        return None if sample is None else sample / frame.sample_rate

    return stamp


def _stamp_s(packet: Packet[Any]) -> float:
    return float((packet.pts or 0) * (packet.time_base or 0))


def _duration_s(packet: Packet[Any]) -> float:
    return float((packet.duration or 0) * (packet.time_base or 0))
