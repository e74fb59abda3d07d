"""Packets as libav's demuxers give them, with a look at those that come next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

_MOST_RETRIES = 1000
"""How often a demuxer that gave up is asked to go on."""


class Packets:
    """The packets of one stream, in their order; to be read once.

    Attributes:
      pictures_reached_s: how far pictures have come, which lie in the same file.
      reached_bytes: where in the file the last packet of any stream begins.
    """

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        self._packets = self._of_stream(container, stream)
        self._next: deque[Packet[Any]] = deque()
        self.pictures_reached_s = 0.0
        self.reached_bytes = 0

    def __iter__(self) -> Iterator[Packet[Any]]:
        while True:
            while self._next:
                yield self._next.popleft()
            for packet in self._packets:
                yield packet
                if self._next:
                    break
            else:
                return

    def ahead(self, count: int) -> Iterator[Packet[Any]]:
        """Yields so many of the next packets, which stay where they are."""
        for index in range(count):
            if index == len(self._next):
                packet = next(self._packets, None)
                if packet is None:
                    return
                self._next.append(packet)
            yield self._next[index]

    def _of_stream(self, container: InputContainer, stream: AudioStream) -> Iterator[Packet[Any]]:
        for packet in _demux(container):
            self.reached_bytes = packet.pos or self.reached_bytes
            if packet.stream is stream:
                yield packet
            elif packet.stream.type == "video" and packet.pts is not None:
                end_s = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
                self.pictures_reached_s = max(self.pictures_reached_s, end_s)


def _demux(container: InputContainer) -> Iterator[Packet[Any]]:
    """Yields all packets, and for each stream one that flushes its decoder.

    A demuxer that finds invalid content is asked to go on behind it, as long as it gets anywhere.
    Where a stream begins in mid-file, PyAV trips over it (seen in 18.1), but not before it has
    flushed those that were there from the start.
    """
    trouble: av.error.InvalidDataError | None = None
    for _ in range(_MOST_RETRIES):
        got_on = False
        try:
            for packet in container.demux():
                got_on = got_on or packet.size > 0
                if got_on or not trouble:
                    yield packet
        except av.error.InvalidDataError as error:
            trouble = error
            if got_on:
                continue
        except IndexError as error:
            if isinstance(error, av.FFmpegError):
                raise
            return
        if trouble and not got_on:
            raise trouble
        return
