"""Files of audio, made with soundfile or PyAV, or byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]
RATE_HZ = 48000

SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "MS_ADPCM"),
    "rf64": ("RF64", "PCM_24"),
    "w64": ("W64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "au": ("AU", "ULAW"),
}
"""What soundfile makes files of each kind with, by the end of their names."""


def tones(seconds: float = 1.0, rate_hz: int = RATE_HZ, channels: int = 2) -> Samples:
    """A swelling tone in each channel, each of its own pitch: [n, channels]."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    swell = 0.2 + 0.1 * np.sin(2 * np.pi * 1.5 * time_s)
    pitches = [swell * np.sin(2 * np.pi * (440 + 110 * c) * time_s) for c in range(channels)]
    return np.stack(pitches, axis=1).astype(np.float32)


def noise(samples: int, channels: int = 2) -> Samples:
    values = np.random.default_rng(7).uniform(-1, 1, (samples, channels))
    return values.astype(np.float32)


def write(
    path: Path, format_: str, subtype: str | None, samples: Samples, rate_hz: int = RATE_HZ
) -> Path:
    """Writes with soundfile, in pieces: its Vorbis encoder overflows its stack on long ones."""
    channels = samples.shape[1]
    with soundfile.SoundFile(
        path, "w", rate_hz, channels, format=format_, subtype=subtype
    ) as sound:
        for start in range(0, len(samples), 4096):
            sound.write(samples[start : start + 4096])
    return path


def encode(
    path: Path,
    muxer: str,
    codec: str,
    samples: Samples,
    rate_hz: int = RATE_HZ,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes with PyAV, with or without moving pictures beside the sound."""
    with av.open(str(path), "w", format=muxer, options=options or {}) as container:
        pictures = add_pictures(container) if video else None
        layout = {1: "mono", 2: "stereo"}[samples.shape[1]]
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = 128_000 if rate_hz > 8000 else 12_200
        if pictures is not None:
            encode_pictures(container, pictures, round(len(samples) / rate_hz * 10))
        for start in range(0, len(samples), 1024):
            piece = np.ascontiguousarray(samples[start : start + 1024].T)
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def mux_parts(
    path: Path,
    muxer: str,
    codec: str,
    parts: Sequence[tuple[float, NDArray[Any]]],
    rate_hz: int = RATE_HZ,
    options: dict[str, str] | None = None,
) -> Path:
    """Writes mono parts of a recording, [n] each, at their times in seconds."""
    with av.open(str(path), "w", format=muxer, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        if not codec.startswith("pcm"):
            stream.bit_rate = 96_000
        resampler = av.AudioResampler(stream.format, "mono", rate_hz)
        for start_s, samples in parts:
            step = stream.codec_context.frame_size or 1024
            for first in range(0, len(samples), step):
                piece = (samples[first : first + step] * 32767).astype(np.int16)[None]
                frame = av.AudioFrame.from_ndarray(piece, "s16", "mono")
                frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
                frame.pts = round(start_s * rate_hz) + first
                for each in resampler.resample(frame):
                    container.mux(stream.encode(each))
        container.mux(stream.encode(None))
    return path


def add_pictures(container: Any) -> Any:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    return stream


def encode_pictures(container: Any, stream: Any, count: int) -> None:
    for number in range(count):
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 10)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def riff(*chunks: tuple[bytes, bytes], form: bytes = b"WAVE", size: int | None = None) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4 if size is None else size) + form + body


def wav_format(
    tag: int = 1, channels: int = 1, rate_hz: int = 16000, bits: int = 16, align: int | None = None
) -> bytes:
    align = channels * bits // 8 if align is None else align
    byte_rate = rate_hz * align & 0xFFFFFFFF
    return struct.pack("<HHIIHH", tag, channels, rate_hz, byte_rate, align & 0xFFFF, bits)


def wav_with_data_size(sound: bytes, size: int) -> bytes:
    head = riff((b"fmt ", wav_format()), size=0xFFFFFFFF)
    return head + b"data" + struct.pack("<I", size) + sound


HARP_BEGAN = datetime(2011, 1, 30, 10, 0, 0, 250_000, tzinfo=timezone.utc)


def harp(
    path: Path,
    starts_s: Sequence[float],
    sounds: Sequence[NDArray[np.int16]],
    rate_hz: int = 16_000,
    version: int = 1,
) -> Path:
    """An xwav whose raw files begin so many seconds after HARP_BEGAN, as Triton writes it."""
    channels = 4 if version in (2, 50) else 0
    table_bytes = 64 - 8 + channels + len(starts_s) * (32 + channels)
    place = 12 + 24 + 8 + table_bytes + 8
    head = struct.pack("<B10s4s4s8sB8sHiih", version, *[b"x"] * 4, 1, b"d", len(starts_s), 0, 0, 9)
    table = head + bytes(channels + 8)
    for start_s, sound in zip(starts_s, sounds, strict=True):
        at = HARP_BEGAN + timedelta(seconds=start_s)
        date = (at.year - 2000, at.month, at.day, at.hour, at.minute, at.second)
        sizes = (place, sound.nbytes, sound.nbytes // 500)
        table += struct.pack("<6BHIII", *date, round(at.microsecond / 1000), *sizes)
        table += struct.pack("<IB7x", rate_hz, 1) + bytes(channels)
        place += sound.nbytes
    samples = np.concatenate(sounds).tobytes()
    parts = (b"fmt ", wav_format(rate_hz=rate_hz)), (b"harp", table), (b"data", samples)
    return saved(path, riff(*parts))


AUDIOMOTH_COMMENT = (
    b"Recorded at 10:00:00 28/05/2024 (UTC) by AudioMoth 24526B065D325963 at medium gain while "
    b"battery was 4.1V and temperature was 12.6C. Amplitude threshold was 512."
)


def pause(blocks: int) -> bytes:
    """What AudioMoth writes for a pause of so many blocks of 512 bytes."""
    signs = [1 if blocks >> bit & 1 else -1 for bit in range(32)]
    return np.array(signs + [0] * 224, "<i2").tobytes()


def audiomoth(path: Path, body: bytes, comment: bytes = AUDIOMOTH_COMMENT) -> Path:
    """A file as AudioMoth writes it: its header has 488 bytes, and blocks are counted from it."""
    comment = comment.ljust(384, b"\0")
    infos = b"INFOICMT" + struct.pack("<I", 384) + comment + b"IART" + struct.pack("<I", 32)
    infos += b"AudioMoth 24526B065D325963".ljust(32, b"\0")
    content = riff((b"fmt ", wav_format()), (b"LIST", infos), (b"data", bytes(24) + body))
    assert content.index(b"data") + 8 == 488
    return saved(path, content)


def saved(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
