"""Ogg files, stream by stream: what was recorded anew was often just written behind the last.

libav reads a chain of streams as one, and gives up where codec, rate or channels change. So each
link of a chain is opened as a file of its own, and brought to the rate and channels of the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.formats import Format
from earmark.transforms.audio.libav_decoder import LibavDecoder, open_libav
from earmark.transforms.elements import Silence
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    NoSamplesError,
    ReadError,
    TruncatedError,
)
from earmark.transforms.samples import Samples


@contextmanager
def open_ogg(content: FilePart, format_: Format) -> Iterator[OggDecoder]:
    """Opens the first of an Ogg file's streams that can be decoded, and decodes the first of it.

    Raises:
      AudioError: that of open_libav, for the first of all.
    """
    links = find_links(content)
    trouble: AudioError | None = None
    for link in links:
        with ExitStack() as stack:
            try:
                first = stack.enter_context(_open_link(link, format_))
            except ReadError:
                raise
            except AudioError as error:
                trouble = trouble or error
                continue
            yield OggDecoder(format_, first, links, trouble)
            return
    raise trouble or NoSamplesError("it contains no samples")


def find_links(content: FilePart) -> Iterator[FilePart]:
    """Finds the streams, or groups of simultaneous streams, that a file is a chain of.

    A link begins with a page for each of its simultaneous streams that is marked as their first
    (RFC 3533, 4).
    """
    start, group_end = 0, None
    for page, page_end in _first_pages(content):
        if group_end is not None and page > group_end:
            yield content.part(start, page)
            start = page
        group_end = page_end
    yield content.part(start)


def _first_pages(content: FilePart) -> Iterator[tuple[int, int]]:
    """Yields where pages begin and end that are marked as the first of a stream."""
    for at in _find_all(content, re.compile(rb"OggS\0[\2\3\6\7]")):
        head = content.read_at(at, 27 + 255)
        if len(head) > 27:
            segments = head[26]
            yield at, at + 27 + segments + sum(head[27 : 27 + segments])


def _find_all(content: FilePart, pattern: re.Pattern[bytes]) -> Iterator[int]:
    """Yields where a pattern of six bytes lies."""
    offset, overlap = 0, 5
    while len(block := content.read_at(offset, _BLOCK_BYTES)) > overlap:
        yield from (offset + match.start() for match in pattern.finditer(block))
        offset += len(block) - overlap


_BLOCK_BYTES = 1 << 20


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
        format_: Format,
        first: LibavDecoder,
        later: Iterator[FilePart],
        trouble: AudioError | None,
    ) -> None:
        self._format = format_
        self._first = first
        self._trouble = trouble  # with streams before the first that could be opened
        self._second = next(later, None)
        self._later = later
        is_whole = self._second is None and trouble is None
        self.header = first.header if is_whole else replace(first.header, declared_samples=None)

    def chunks(self, wanted: int, start: int = 0) -> Iterator[Samples | Silence]:
        """Yields samples [n, channels]: n is `wanted` for most chunks, `start` always 0.

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

    def _chain(self, wanted: int) -> Iterator[Samples | Silence]:
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
                yield _open_link(link, self._format)


def _open_link(link: FilePart, format_: Format) -> AbstractContextManager[LibavDecoder]:
    return open_libav(link, format_, format_.read_length(link))
