"""Ways to decode a file, each a library by itself: what it gives is left where it gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# a library is imported by the way that needs it: some are in environments of their own


@dataclass(frozen=True)
class Way:
    """A way to decode.

    Attributes:
      decode: decodes a file, and gives its seconds.
      suffixes: of the files that it is for; none stands for all.
      requirements: what it needs besides earmark's environment, as pip takes them.
    """

    decode: Callable[[str], float]
    suffixes: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    def takes(self, path: Path) -> bool:
        """Whether it is for a file of this name."""
        return not self.suffixes or path.suffix in self.suffixes


def with_numpy(path: str) -> float:
    """Read a wav of 16 bits to int16."""
    import wave

    import numpy as np

    with wave.open(path) as header:
        samples, channels = header.getnframes(), header.getnchannels()
        seconds = samples / header.getframerate()
    header_bytes = Path(path).stat().st_size - 2 * channels * samples
    np.fromfile(path, "<i2", offset=header_bytes)
    return float(seconds)


def with_soundfile_int16(path: str) -> float:
    """Decode to int16."""
    return _with_soundfile(path, "int16")


def with_soundfile_float32(path: str) -> float:
    """Decode to float32."""
    return _with_soundfile(path, "float32")


def with_pyav(path: str) -> float:
    """Decode to what the codec gives."""
    import av

    with av.open(path) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        samples: int = sum(frame.samples for frame in container.decode(stream))
        return samples / int(stream.rate)


def with_libflac(path: str) -> float:
    """Decode FLAC to int32, a plane for each channel."""
    ffi, library = _libflac()
    seconds = [0.0]

    @ffi.callback("int(void*, const FrameStart*, const int32_t* const*, void*)")  # type: ignore[untyped-decorator]
    def take(decoder: object, frame: Any, planes: object, own: object) -> int:
        seconds[0] += frame.blocksize / frame.sample_rate
        return 0

    ignore = ffi.callback("void(void*, int, void*)", lambda decoder, status, own: None)
    decoder = library.FLAC__stream_decoder_new()
    library.FLAC__stream_decoder_init_file(decoder, path.encode(), take, ffi.NULL, ignore, ffi.NULL)
    library.FLAC__stream_decoder_process_until_end_of_stream(decoder)
    library.FLAC__stream_decoder_delete(decoder)
    return seconds[0]


def with_dr_flac(path: str) -> float:
    """Decode FLAC to int16."""
    miniaudio = import_module("miniaudio")
    decoder = miniaudio.lib.ma_dr_flac_open_file(path.encode(), miniaudio.ffi.NULL)
    _read_all(miniaudio, miniaudio.lib.ma_dr_flac_read_pcm_frames_s16, decoder)
    miniaudio.lib.ma_dr_flac_close(decoder)
    return float(miniaudio.flac_get_file_info(path).duration)


def with_dr_mp3(path: str) -> float:
    """Decode mp3 to int16."""
    miniaudio = import_module("miniaudio")
    decoder = miniaudio.ffi.new("ma_dr_mp3*")
    miniaudio.lib.ma_dr_mp3_init_file(decoder, path.encode(), miniaudio.ffi.NULL)
    read = miniaudio.lib.ma_dr_mp3_read_pcm_frames_s16
    samples = _read_all(miniaudio, read, decoder)
    miniaudio.lib.ma_dr_mp3_uninit(decoder)
    return samples / int(decoder.sampleRate)


_MINIAUDIO = ("miniaudio==1.71",)

WAYS = {
    "numpy": Way(with_numpy, (".wav",)),
    "soundfile, int16": Way(with_soundfile_int16),
    "soundfile, float32": Way(with_soundfile_float32),
    "PyAV": Way(with_pyav),
    "libFLAC": Way(with_libflac, (".flac",)),
    "dr_flac": Way(with_dr_flac, (".flac",), _MINIAUDIO),
    "dr_mp3": Way(with_dr_mp3, (".mp3",), _MINIAUDIO),
}
"""dr_flac and dr_mp3 are in the package miniaudio; libFLAC is what earmark takes from flacarray."""

_BLOCK_SAMPLES = 1 << 15
_MOST_CHANNELS = 8


def _with_soundfile(path: str, kind: str) -> float:
    import soundfile

    samples, rate_hz = soundfile.read(path, dtype=kind, always_2d=True)
    return len(samples) / float(rate_hz)


def _libflac() -> tuple[Any, Any]:
    """cffi's FFI, and libFLAC, which flacarray's extension holds.

    Raises:
      ImportError: there is no flacarray.
    """
    package = find_spec("flacarray")
    places = package.submodule_search_locations if package else []
    extension = PathFinder.find_spec("_libflacarray", places)
    if extension is None:
        raise ImportError("flacarray is not installed")
    ffi = import_module("cffi").FFI()
    ffi.cdef(_OF_LIBFLAC)
    return ffi, ffi.dlopen(extension.origin)


_OF_LIBFLAC = """
    typedef struct { uint32_t blocksize, sample_rate; } FrameStart;
    void* FLAC__stream_decoder_new(void);
    int FLAC__stream_decoder_init_file(
        void*, const char*, int (*)(void*, const FrameStart*, const int32_t* const*, void*),
        void*, void (*)(void*, int, void*), void*);
    int FLAC__stream_decoder_process_until_end_of_stream(void*);
    void FLAC__stream_decoder_delete(void*);
"""


def _read_all(miniaudio: Any, read: Callable[[Any, int, Any], int], decoder: Any) -> int:
    """Read block after block to the same place; gives how many samples there were."""
    block = miniaudio.ffi.new("short[]", _BLOCK_SAMPLES * _MOST_CHANNELS)
    samples = 0
    while count := read(decoder, _BLOCK_SAMPLES, block):
        samples += count
    return samples
