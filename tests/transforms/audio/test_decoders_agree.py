"""libsndfile and libav on the same files: what one hears, the other must, and earmark too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earmark.transforms.audio.reading import open_audio

Samples = NDArray[np.float32]

LOSSLESS = 0.0
LOSSY = 1e-3
OPUS = 0.03  # libav's own decoder isn't exact in transients; but for one in a hundred it is LOSSY
BY_SOUNDFILE = {
    **{
        ("WAV", subtype): LOSSLESS
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW", "ALAW")
    },
    ("RF64", "PCM_16"): LOSSLESS,
    ("W64", "PCM_24"): LOSSLESS,
    ("AIFF", "PCM_16"): LOSSLESS,
    ("AIFF", "PCM_24"): LOSSLESS,
    ("CAF", "PCM_16"): LOSSLESS,
    ("CAF", "PCM_24"): LOSSLESS,
    ("AU", "PCM_16"): LOSSLESS,
    ("FLAC", "PCM_16"): LOSSLESS,
    ("FLAC", "PCM_24"): LOSSLESS,
    ("MP3", "MPEG_LAYER_III"): LOSSY,
    ("OGG", "VORBIS"): LOSSY,
    ("OGG", "OPUS"): OPUS,
}
BY_LIBAV = {"mp3": ("libmp3lame", LOSSY), "ogg": ("libopus", OPUS), "flac": ("flac", LOSSLESS)}
SAMPLES = [48_000, 100_003]


def recording(samples: int) -> Samples:
    """A chirp in one channel and bursts of noise in the other: [samples, 2]."""
    time_s = np.arange(samples) / 48_000
    chirp = 0.4 * np.sin(2 * np.pi * (200 * time_s + 900 * time_s**2))
    bursts = np.random.default_rng(3).normal(0, 0.1, samples) * (np.sin(9 * time_s) > 0)
    return np.stack([chirp, bursts], axis=1).astype(np.float32)


def with_libav(path: Path) -> Samples:
    pieces = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt")
        for decoded in container.decode(audio=0):
            decoded.pts = None
            for frame in resampler.resample(decoded):
                pieces.append(frame.to_ndarray().reshape(-1, 2))
    return np.concatenate(pieces)


def with_earmark(path: Path) -> Samples:
    with open_audio(str(path)) as reader:
        samples = np.concatenate(list(reader.blocks(10_000)))
        assert reader.header.declared_samples == len(samples)
    return samples


def assert_alike(path: Path, written: Samples, tolerance: float) -> None:
    by_soundfile, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert by_soundfile.shape == written.shape
    for other in (with_libav(path), with_earmark(path)):
        assert other.shape == by_soundfile.shape
        difference = np.abs(other - by_soundfile)
        assert difference.max() <= tolerance
        assert np.quantile(difference, 0.99) <= min(tolerance, LOSSY)


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("kind", BY_SOUNDFILE, ids="-".join)
def test_what_libsndfile_wrote_is_heard_alike(
    tmp_path: Path, kind: tuple[str, str], samples: int
) -> None:
    (format_, subtype), path, written = kind, tmp_path / "clip", recording(samples)
    with soundfile.SoundFile(path, "w", 48_000, 2, subtype, format=format_) as sound:
        for start in range(0, samples, 4096):  # its Vorbis encoder overflows its stack on long ones
            sound.write(written[start : start + 4096])
    assert_alike(path, written, BY_SOUNDFILE[kind])


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("muxer", BY_LIBAV)
def test_what_libav_wrote_is_heard_alike(tmp_path: Path, muxer: str, samples: int) -> None:
    (encoder, tolerance), path, written = BY_LIBAV[muxer], tmp_path / "clip", recording(samples)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=48_000, layout="stereo")
        for start in range(0, samples, 4096):
            piece = np.ascontiguousarray(written[start : start + 4096]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert_alike(path, written, tolerance)
