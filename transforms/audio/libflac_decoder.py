"""Decodes FLAC with libFLAC itself, which is faster than through libsndfile, and tells all damage.

libFLAC is the one in the wheel of flacarray, which exists for most machines. Where it can't be had,
libsndfile has to do: the samples are the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any

import cffi
import numpy as np

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.errors import DamagedError, ReadError
from earmark.transforms.samples import Samples


class LibflacDecoder:
    """A FLAC stream, of which libFLAC decodes what is in order; to be read once.

    Attributes:
      position: how much of the content had been read when the last good frame was.
    """

    def __init__(self, content: FilePart, channels: int, samples: int) -> None:
        """Decode nothing yet.

        Args:
          content: begins with the stream.
          channels: how many its header counts.
          samples: per channel, those that its header counts.
        """
        self._content, self._samples = content, samples
        info = content.read_at(20, 2)
        self._shape = channels, (int.from_bytes(info, "big") >> 4 & 31) + 1
        self.position = 0
        self._at = 0
        self._ahead, self._ahead_at = b"", 0  # libFLAC itself reads little at a time
        self._is_damaged = self._is_odd = False
        self._failure: BaseException | None = None

    def chunks(self, wanted: int, start: int = 0) -> Iterator[Samples]:
        """Yields samples [n, channels], n being `wanted` for most: int16 of up to 16 bits.

        It ends, without a word, before what another library should decode: frames that
        don't fit the header, or can't be reached.

        Args:
          wanted: samples per channel.
          start: the sample to begin with.

        Raises:
          DamagedError: a frame is damaged or missing; what came before is good.
          ReadError: the file could not be read on.
        """
        if not _LIBRARY:
            return
        self._blocks = _Blocks(wanted, start, self._samples, *self._shape)
        # in the frame that it seeks, libFLAC takes damage for silence
        self._next = max(0, start - _LONGEST_FRAME)
        with self._open() as decoder:
            if self._next:
                self._enter(decoder)
            while self._next < self._samples and self._process(decoder):
                if self._blocks.full:
                    yield from self._blocks.take()
        yield from self._blocks.take_rest()
        if self._is_damaged or (self._next < self._samples and not self._is_odd):
            raise DamagedError("the flac decoder lost synchronisation")

    def _enter(self, decoder: Any) -> None:
        """Seeks; where that meets damage, libFLAC doesn't tell what is wrong, and where."""
        is_found = _LIBRARY.FLAC__stream_decoder_seek_absolute(decoder, self._next)
        if not is_found or self._is_damaged:
            self._is_damaged, self._is_odd = False, True

    def _process(self, decoder: Any) -> bool:
        """Decodes a frame, and tells whether another may follow."""
        reached = self._next
        is_alive = _LIBRARY.FLAC__stream_decoder_process_single(decoder)
        if self._next > reached:  # a good frame: nothing else is to be asked for
            return True
        if isinstance(self._failure, OSError):
            raise ReadError(self._failure.strerror or str(self._failure))
        if self._failure:
            raise self._failure
        is_over = _LIBRARY.FLAC__stream_decoder_get_state(decoder) >= _END_OF_STREAM
        return bool(is_alive) and not (is_over or self._is_damaged or self._is_odd)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        def callback(kind: str, function: Any, error: int) -> Any:
            name = f"FLAC__StreamDecoder{kind}Callback"
            return _FFI.callback(name, function, error, onerror=self._on_error)

        callbacks = (
            callback("Read", self._read, _ABORT_READING),
            callback("Seek", self._seek, _FAILED),
            callback("Tell", self._tell, _FAILED),
            callback("Length", self._length, _FAILED),
            callback("Eof", lambda decoder, own: self._at >= self._content.size, 1),
            callback("Write", self._write, _ABORT),
            _FFI.NULL,
            _FFI.callback("FLAC__StreamDecoderErrorCallback", self._on_damage),
        )
        decoder = _LIBRARY.FLAC__stream_decoder_new()
        try:
            _LIBRARY.FLAC__stream_decoder_init_stream(decoder, *callbacks, _FFI.NULL)
            yield decoder
        finally:
            _LIBRARY.FLAC__stream_decoder_delete(decoder)

    def _read(self, decoder: Any, buffer: Any, size: Any, own: Any) -> int:
        begin = self._at - self._ahead_at
        if not 0 <= begin < len(self._ahead):
            self._ahead, self._ahead_at = self._content.read_at(self._at, _READ_BYTES), self._at
            begin = 0
        piece = self._ahead[begin : begin + size[0]]
        _FFI.memmove(buffer, piece, len(piece))
        size[0] = len(piece)
        self._at += len(piece)
        return 0 if piece else _NOTHING_TO_READ

    def _seek(self, decoder: Any, offset: int, own: Any) -> int:
        self._at = offset
        return 0

    def _tell(self, decoder: Any, offset: Any, own: Any) -> int:
        offset[0] = self._at
        return 0

    def _length(self, decoder: Any, length: Any, own: Any) -> int:
        length[0] = self._content.size
        return 0

    def _write(self, decoder: Any, frame: Any, planes: Any, own: Any) -> int:
        first, samples = frame.first_sample, frame.blocksize
        if (
            first != self._next
            or (frame.channels, frame.bits_per_sample) != self._shape
            or self._is_damaged
        ):
            self._is_odd = self._is_odd or not self._is_damaged
            return _ABORT
        self._blocks.add(first, samples, planes)
        self._next += samples
        self.position = self._at
        return 0

    def _on_damage(self, decoder: Any, status: int, own: Any) -> None:
        self._is_damaged = True

    def _on_error(self, kind: Any, failure: BaseException, traceback: Any) -> None:
        self._failure = failure


class _Blocks:
    """Blocks of samples [n, channels], channel after channel, that are filled from frames."""

    def __init__(self, wanted: int, start: int, stop: int, channels: int, bits: int) -> None:
        self._size = min(wanted, max(0, stop - start), max(1, _MOST_VALUES // channels))
        self._at, self._stop = start, stop
        self._integers = np.empty((channels, self._size), np.int32)
        self._places = [_FFI.from_buffer("int32_t[]", channel) for channel in self._integers]
        self._bits = bits
        self._filled = 0
        self.full: list[Samples] = []

    def add(self, first: int, samples: int, planes: Any) -> None:
        """Take a frame, by its first sample's number; what isn't wanted of it is left out."""
        end = min(first + samples, self._stop)
        while self._at < end:
            count = min(end - self._at, self._size - self._filled)
            for channel, place in enumerate(self._places):
                source = planes[channel] + (self._at - first)
                _copy(place + self._filled, source, count * 4)
            self._at += count
            self._filled += count
            if self._filled == self._size:
                self.full.append(self._converted())

    def take(self) -> list[Samples]:
        """The blocks that are full."""
        full, self.full = self.full, []
        return full

    def take_rest(self) -> list[Samples]:
        """What the last block holds."""
        return [*self.take(), self._converted()]

    def _converted(self) -> Samples:
        integers, self._filled = self._integers[:, : self._filled], 0
        by_channel: Samples
        if self._bits > 16:
            by_channel = integers.astype(np.float32)
            by_channel *= np.float32(2.0 ** (1 - self._bits))
        else:
            by_channel = integers.astype(np.int16)
            if self._bits < 16:
                by_channel <<= 16 - self._bits
        block: Samples = by_channel.T
        return block


_MOST_VALUES = 1 << 18
_LONGEST_FRAME = 1 << 16
_READ_BYTES = 1 << 17
_END_OF_STREAM = 4
_NOTHING_TO_READ, _ABORT_READING = 1, 2
_ABORT = _FAILED = 1

_FFI = cffi.FFI()
_copy = _FFI.memmove
_FFI.cdef(
    """
    typedef struct {
        uint32_t blocksize, sample_rate, channels;
        int channel_assignment;
        uint32_t bits_per_sample;
        int number_type;
        uint64_t first_sample;
        uint8_t crc;
    } FrameHeader;  // the beginning of FLAC__Frame

    typedef int (*FLAC__StreamDecoderReadCallback)(void*, uint8_t*, size_t*, void*);
    typedef int (*FLAC__StreamDecoderSeekCallback)(void*, uint64_t, void*);
    typedef int (*FLAC__StreamDecoderTellCallback)(void*, uint64_t*, void*);
    typedef int (*FLAC__StreamDecoderLengthCallback)(void*, uint64_t*, void*);
    typedef int (*FLAC__StreamDecoderEofCallback)(void*, void*);
    typedef int (*FLAC__StreamDecoderWriteCallback)(
        void*, const FrameHeader*, const int32_t* const*, void*);
    typedef void (*FLAC__StreamDecoderErrorCallback)(void*, int, void*);

    void* FLAC__stream_decoder_new(void);
    void FLAC__stream_decoder_delete(void*);
    int FLAC__stream_decoder_init_stream(
        void*, FLAC__StreamDecoderReadCallback, FLAC__StreamDecoderSeekCallback,
        FLAC__StreamDecoderTellCallback, FLAC__StreamDecoderLengthCallback,
        FLAC__StreamDecoderEofCallback, FLAC__StreamDecoderWriteCallback, void*,
        FLAC__StreamDecoderErrorCallback, void*);
    int FLAC__stream_decoder_process_single(void*);
    int FLAC__stream_decoder_get_state(void*);
    int FLAC__stream_decoder_seek_absolute(void*, uint64_t);
    """
)


def _load() -> Any:
    """Opens flacarray's extension without importing it: libFLAC is what it is linked with."""
    package = find_spec("flacarray")
    extension = package and PathFinder.find_spec(
        "_libflacarray", package.submodule_search_locations
    )
    try:
        library = _FFI.dlopen(extension.origin) if extension else None
        return library if hasattr(library, "FLAC__stream_decoder_new") else None
    except OSError:
        return None


_LIBRARY = _load()
