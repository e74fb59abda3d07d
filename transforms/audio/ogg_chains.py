"""Ogg files, stream by stream: what was recorded anew was often just written behind the last.

libav reads a chain of streams as one, and gives up where codec, rate or channels change. So each
link of a chain is opened as a file of its own, and brought to the rate and channels of the first.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.transforms.audio.containers import read_promise
from earmark.transforms.audio.libav_decoder import LibavDecoder, open_libav
from earmark.transforms.audio.sniffing import Sniffed
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    NoSamplesError,
    ReadError,
    TruncatedError,
)


@contextmanager
def open_ogg(file: BinaryIO, sniffed: Sniffed) -> Iterator[OggDecoder]:
    """Opens the first of an Ogg file's streams that can be decoded, and decodes the first of it.

    Raises:
      AudioError: that of open_libav, for the first of all.
    """
    links = find_links(file, sniffed.start)
    trouble: AudioError | None = None
    for link in links:
        with ExitStack() as stack:
            try:
                first = stack.enter_context(_open_link(file, link))
            except ReadError:
                raise
            except AudioError as error:
                trouble = trouble or error
                continue
            yield OggDecoder(file, first, links, trouble)
            return
    raise trouble or NoSamplesError("there is not one sample in it")


class Link(NamedTuple):
    """One of the streams, or groups of simultaneous streams, that a file is a chain of."""

    start: int
    end: int


def find_links(file: BinaryIO, start: int) -> Iterator[Link]:
    """Finds where the streams of an Ogg file begin and end (RFC 3533, 4).

    A link begins with a page for each of its simultaneous streams that is marked as their first.
    """
    group_end = None
    for page in _first_pages(file, start):
        if group_end is not None and page.start > group_end:
            yield Link(start, page.start)
            start = page.start
        group_end = page.end
    yield Link(start, file.seek(0, io.SEEK_END))


def _first_pages(file: BinaryIO, start: int) -> Iterator[Link]:
    """Yields the pages that are marked as the first of a stream."""
    for at in _find_all(file, start, re.compile(rb"OggS\0[\2\3\6\7]")):
        file.seek(at)
        head = file.read(27 + 255)
        if len(head) > 27:
            segments = head[26]
            yield Link(at, at + 27 + segments + sum(head[27 : 27 + segments]))


def _find_all(file: BinaryIO, start: int, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """Yields where a pattern of six bytes lies."""
    offset, overlap = start, 5
    while len(block := _read_at(file, offset, _BLOCK_BYTES)) > overlap:
        yield from (offset + match.start() for match in pattern.finditer(block))
        offset += len(block) - overlap


_BLOCK_BYTES = 1 << 20


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


class OggDecoder:
    """An Ogg file of which a stream has been opened; to be read once.

    Attributes:
      header: what that stream is; the length of a chain is told by no header.
      can_seek: False: chunks() always starts with the first sample.
    """

    library = "libav"
    can_seek = False

    def __init__(
        self,
        file: BinaryIO,
        first: LibavDecoder,
        later: Iterator[Link],
        trouble: AudioError | None,
    ) -> None:
        self._file = file
        self._first = first
        self._trouble = trouble  # with streams before the first that could be opened
        self._second = next(later, None)
        self._later = later
        is_whole = self._second is None and trouble is None
        self.header = first.header if is_whole else replace(first.header, declared_samples=None)

    def chunks(self, wanted: int, start: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yields float32 [n, channels] in [-1, 1]: n is `wanted` for most chunks, `start` always 0.

        Each stream is heard as far as it goes; what was wrong is told behind the last of them.

        Raises:
          TruncatedError: one of the streams ends before its time.
          DamagedError: one could not be decoded, or not to its end.
          ReadError: at once; the file could not be read on.
        """
        try:
            if self._second is None and self._trouble is None:
                yield from self._first.chunks(wanted)
            else:
                yield from self._chain(wanted)
        except OSError as error:
            raise ReadError(error.strerror or str(error)) from error

    def _chain(self, wanted: int) -> Iterator[NDArray[np.float32]]:
        trouble = self._trouble
        for link in self._links():
            try:
                with link as decoder:
                    yield from decoder.chunks(wanted, like=self._first)
            except NoSamplesError:
                continue
            except ReadError:
                raise
            except AudioError as error:
                trouble = trouble or error
        if trouble:
            kind = TruncatedError if isinstance(trouble, TruncatedError) else DamagedError
            raise kind(f"one of the streams that the file is a chain of: {trouble}")

    def _links(self) -> Iterator[AbstractContextManager[LibavDecoder]]:
        yield nullcontext(self._first)
        if self._second is not None:
            for link in chain([self._second], self._later):
                yield _open_link(self._file, link)


@contextmanager
def _open_link(file: BinaryIO, link: Link) -> Iterator[LibavDecoder]:
    part, sniffed = io.BufferedReader(_Part(file, link)), Sniffed("ogg", "ogg", 0)
    with open_libav(part, sniffed, read_promise(part, sniffed)) as decoder:
        yield decoder


class _Part(io.RawIOBase):
    """A part of a file, as a file of its own."""

    def __init__(self, file: BinaryIO, bounds: Link) -> None:
        self._file = file
        self._bounds = bounds
        self._at = bounds.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        wanted = max(0, min(len(view), self._bounds.end - self._at))
        content = _read_at(self._file, self._at, wanted)
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start, end = self._bounds
        origins = {io.SEEK_SET: start, io.SEEK_CUR: self._at, io.SEEK_END: end}
        self._at = max(start, origins[whence] + offset)
        return self._at - start
