"""Recordings of every format, whole, cut, damaged and hostile."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
import wave
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import soundfile
from av.audio.resampler import AudioResampler

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.elements import AudioHeader, Gap
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    EmptyFileError,
    NoAudioStreamError,
    NoSamplesError,
    NotAudioError,
    ReadError,
    TruncatedError,
    UnsupportedError,
)
from tests.transforms.audio.files import (
    RATE_HZ,
    Samples,
    add_pictures,
    encode,
    encode_pictures,
    noise,
    riff,
    saved,
    tones,
    wav_format,
    wav_with_data_size,
    write,
)


class Heard(NamedTuple):
    header: AudioHeader | None
    samples: Samples
    error: AudioError | None
    gaps: Sequence[Gap] = ()


def hear(path: Path, block_samples: int = 4800) -> Heard:
    """Reads a file as far as it goes; gaps are zeros."""
    header, blocks, error = None, [], None
    gaps: Sequence[Gap] = ()
    try:
        with open_audio(str(path)) as reader:
            header, gaps = reader.header, reader.gaps
            for block in reader.blocks(block_samples):
                blocks.append(block)
    except AudioError as trouble:
        error = trouble
    assert all(len(block) == block_samples for block in blocks[:-1])
    assert all(block.dtype == np.float32 and len(block) for block in blocks)
    samples = np.concatenate(blocks) if blocks else np.empty((0, 0), dtype=np.float32)
    return Heard(header, samples, error, gaps)


def hear_whole(path: Path) -> tuple[AudioHeader, Samples]:
    heard = hear(path)
    assert heard.error is None
    assert heard.header is not None
    return heard.header, heard.samples


PLAIN = {
    # soundfile's format and subtype: our names, and the largest error of a sample
    ("WAV", "PCM_U8"): ("wav", "pcm_u8", 2**-7),
    ("WAV", "PCM_16"): ("wav", "pcm_s16", 2**-15),
    ("WAV", "PCM_24"): ("wav", "pcm_s24", 2**-23),
    ("WAV", "PCM_32"): ("wav", "pcm_s32", 2**-23),
    ("WAV", "FLOAT"): ("wav", "pcm_f32", 0),
    ("WAV", "DOUBLE"): ("wav", "pcm_f64", 0),
    ("WAV", "ULAW"): ("wav", "pcm_mulaw", 0.04),
    ("WAV", "ALAW"): ("wav", "pcm_alaw", 0.04),
    ("WAVEX", "PCM_24"): ("wav", "pcm_s24", 2**-23),
    ("RF64", "PCM_16"): ("rf64", "pcm_s16", 2**-15),
    ("W64", "PCM_24"): ("w64", "pcm_s24", 2**-23),
    ("FLAC", "PCM_16"): ("flac", "flac", 2**-15),
    ("FLAC", "PCM_24"): ("flac", "flac", 2**-23),
    ("AIFF", "PCM_S8"): ("aiff", "pcm_s8", 2**-7),
    ("AIFF", "PCM_16"): ("aiff", "pcm_s16", 2**-15),
    ("AIFF", "FLOAT"): ("aiff", "pcm_f32", 0),
    ("CAF", "PCM_16"): ("caf", "pcm_s16", 2**-15),
    ("CAF", "PCM_24"): ("caf", "pcm_s24", 2**-23),
    ("CAF", "PCM_32"): ("caf", "pcm_s32", 2**-23),
    ("CAF", "DOUBLE"): ("caf", "pcm_f64", 0),
    ("CAF", "ALAC_16"): ("caf", "alac", 2**-15),
    ("AU", "PCM_16"): ("au", "pcm_s16", 2**-15),
    ("AU", "FLOAT"): ("au", "pcm_f32", 0),
}
PLAIN_IDS = ["-".join(key) for key in PLAIN]


@pytest.mark.parametrize("kind", PLAIN, ids=PLAIN_IDS)
def test_plain_and_lossless_sound_comes_back_to_within_a_step(
    tmp_path: Path, kind: tuple[str, str]
) -> None:
    format_, codec, tolerance = PLAIN[kind]
    written = noise(30_001)
    header, samples = hear_whole(write(tmp_path / "clip", *kind, written))
    assert header == AudioHeader(format_, codec, RATE_HZ, 2, 30_001)
    assert samples.shape == written.shape
    assert np.abs(samples - written).max() <= tolerance


@pytest.mark.parametrize("kind", PLAIN, ids=PLAIN_IDS)
def test_plain_sound_that_was_cut_yields_what_is_left_and_says_so(
    tmp_path: Path, kind: tuple[str, str]
) -> None:
    whole = write(tmp_path / "whole", *kind, noise(96_000))
    content = whole.read_bytes()
    heard = hear(saved(tmp_path / "cut", content[: len(content) * 6 // 10]))
    assert isinstance(heard.error, TruncatedError)
    assert "declares 2.000 s" in str(heard.error) or "bytes shorter" in str(heard.error)
    assert 45_000 < len(heard.samples) < 60_000
    np.testing.assert_array_equal(heard.samples, hear(whole).samples[: len(heard.samples)])


class Encoded(NamedTuple):
    """How PyAV is to make a file, and what is to be read in it."""

    muxer: str
    encoder: str
    format: str
    codec: str
    is_timed: bool
    video: bool = False
    rate_hz: int = RATE_HZ
    channels: int = 2
    options: dict[str, str] | None = None


ENCODED = {
    "m4a": Encoded("ipod", "aac", "mp4", "aac", True),
    "m4a-index-first": Encoded("mp4", "aac", "mp4", "aac", True, options={"movflags": "faststart"}),
    "alac": Encoded("ipod", "alac", "mp4", "alac", True),
    "mp4-video": Encoded("mp4", "aac", "mp4", "aac", True, video=True),
    "mov": Encoded("mov", "pcm_s16le", "mp4", "pcm_s16", True),
    "mov-big-endian": Encoded("mov", "pcm_s24be", "mp4", "pcm_s24", True),
    "3gp": Encoded("3gp", "libopencore_amrnb", "mp4", "amr_nb", True, False, 8000, 1),
    "mkv": Encoded("matroska", "aac", "matroska", "aac", True),
    "mkv-video": Encoded("matroska", "aac", "matroska", "aac", True, video=True),
    "mka-flac": Encoded("matroska", "flac", "matroska", "flac", True),
    "webm": Encoded("webm", "libopus", "matroska", "opus", True),
    "opus": Encoded("ogg", "libopus", "ogg", "opus", True),
    "oga": Encoded("ogg", "flac", "ogg", "flac", True),
    "wma": Encoded("asf", "wmav2", "asf", "wmav2", True, rate_hz=44100),
    "avi": Encoded("avi", "libmp3lame", "avi", "mp3", True, video=True),
    "flv": Encoded("flv", "aac", "flv", "aac", True),
    "wavpack": Encoded("wv", "wavpack", "wavpack", "wavpack", True),
    "tta": Encoded("tta", "tta", "tta", "tta", True),
    "mp3": Encoded("mp3", "libmp3lame", "mp3", "mp3", True),
    "mp3-mono": Encoded("mp3", "libmp3lame", "mp3", "mp3", True, False, 24000, 1),
    "mp3-no-xing": Encoded("mp3", "libmp3lame", "mp3", "mp3", False, options={"write_xing": "0"}),
    "mp2": Encoded("mp2", "mp2", "mp3", "mp2", False),
    "wav-mp3": Encoded("wav", "libmp3lame", "wav", "mp3", True),
    "wav-g726": Encoded("wav", "g726", "wav", "adpcm_g726", True, False, 8000, 1),
    "wav-ima": Encoded("wav", "adpcm_ima_wav", "wav", "adpcm_ima_wav", True),
    "adts": Encoded("adts", "aac", "adts", "aac", False),
    "ac3": Encoded("ac3", "ac3", "ac3", "ac3", False),
    "eac3": Encoded("eac3", "eac3", "eac3", "eac3", False),
    "amr": Encoded("amr", "libopencore_amrnb", "amr", "amr_nb", False, False, 8000, 1),
    "mpegts": Encoded("mpegts", "aac", "mpegts", "aac", False, video=True),
    "mpeg": Encoded("mpeg", "mp2", "mpeg", "mp2", False, video=True),
    "voc": Encoded("voc", "pcm_s16le", "voc", "pcm_s16", False),
}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Samples]]:
    """Returns the file of an entry of ENCODED, three seconds long, and the samples in it."""
    folder = tmp_path_factory.mktemp("encoded")
    made: dict[str, tuple[Path, Samples]] = {}

    def make_one(name: str) -> tuple[Path, Samples]:
        if name not in made:
            kind = ENCODED[name]
            samples = tones(3.0, kind.rate_hz, kind.channels)
            path = folder / f"clip{len(made)}"
            encode(path, kind.muxer, kind.encoder, samples, kind.rate_hz, kind.video, kind.options)
            made[name] = path, samples
        return made[name]

    return make_one


def likeness(written: Samples, samples: Samples) -> float:
    """The cross-correlation at the best shift of up to 0.1 s: 1 for equal level and shape."""
    size = 1 << 18
    first, second = written[:, 0], samples[:, 0]
    spectrum = np.fft.rfft(second, size) * np.conj(np.fft.rfft(first, size))
    return float(np.fft.irfft(spectrum)[:4800].max() / np.dot(first, first))


@pytest.mark.parametrize("name", ENCODED)
def test_compressed_sound_comes_back_alike_and_as_long(
    make: Callable[[str], tuple[Path, Samples]], name: str
) -> None:
    kind, (path, written) = ENCODED[name], make(name)
    header, samples = hear_whole(path)
    assert (header.format, header.codec) == (kind.format, kind.codec)
    assert (header.sample_rate_hz, header.channels) == (kind.rate_hz, kind.channels)
    assert samples.shape[1] == kind.channels
    assert -0.05 * kind.rate_hz < len(samples) - len(written) < 0.08 * kind.rate_hz
    is_for_speech = kind.codec == "amr_nb"
    assert likeness(written, samples) == pytest.approx(1, abs=0.4 if is_for_speech else 0.06)
    if kind.is_timed:
        assert header.declared_samples == pytest.approx(len(written), abs=0.05 * kind.rate_hz)
    else:
        assert header.declared_samples is None


@pytest.mark.parametrize("name", [name for name, kind in ENCODED.items() if kind.is_timed])
def test_compressed_sound_that_was_cut_is_found_out(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path, name: str
) -> None:
    path, written = make(name)
    content = path.read_bytes()
    heard = hear(saved(tmp_path / "cut", content[: len(content) * 6 // 10]))
    if heard.header is None:  # the index lay at the end
        assert isinstance(heard.error, DamagedError)
        assert "bytes shorter than its header says" in str(heard.error)
    else:
        assert isinstance(heard.error, TruncatedError)
        assert "could be decoded" in str(heard.error)
        assert 0 < len(heard.samples) < 0.7 * len(written)


@pytest.mark.parametrize("name", [name for name, kind in ENCODED.items() if not kind.is_timed])
def test_where_no_length_is_promised_a_cut_still_yields_the_sound_before_it(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path, name: str
) -> None:
    path, written = make(name)
    content = path.read_bytes()
    heard = hear(saved(tmp_path / "cut", content[: len(content) // 2]))
    assert 0.25 * len(written) < len(heard.samples) < 0.65 * len(written)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_is_whole_to_the_sample_and_its_last_page_is_missed(
    tmp_path: Path, subtype: str
) -> None:
    written = tones(3.0)
    whole = write(tmp_path / "whole", "OGG", subtype, written)
    header, samples = hear_whole(whole)
    assert (header.format, header.codec) == ("ogg", subtype.lower())
    assert header.declared_samples == len(samples) == len(written)
    content = whole.read_bytes()
    heard = hear(saved(tmp_path / "cut", content[: content.rindex(b"OggS")]))
    assert isinstance(heard.error, TruncatedError)
    assert "end of the stream is missing" in str(heard.error)
    assert len(heard.samples)


OGG_TOLERANCE = 512  # what libav may miss of sound that fits into one page


def ogg(path: Path, subtype: str, rate_hz: int, channels: int, seconds: float = 2.0) -> bytes:
    samples = tones(seconds, rate_hz, channels)
    return write(path, "OGG", subtype, samples, rate_hz).read_bytes()


def test_chained_ogg_streams_are_heard_to_the_last(tmp_path: Path) -> None:
    content = write(tmp_path / "one", "OGG", "VORBIS", tones(1.0)).read_bytes()
    _, samples = hear_whole(saved(tmp_path / "chain", content * 3))
    assert len(samples) == pytest.approx(3 * RATE_HZ, abs=3 * OGG_TOLERANCE)


@pytest.mark.parametrize(
    "other",
    [("VORBIS", 48000, 2), ("VORBIS", 22050, 1), ("OPUS", 48000, 1), ("OPUS", 48000, 2)],
    ids=str,
)
@pytest.mark.parametrize("first", [("VORBIS", 44100, 1), ("OPUS", 48000, 2)], ids=str)
def test_chained_ogg_streams_may_be_of_different_kinds(
    tmp_path: Path, first: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    content = ogg(tmp_path / "a", *first) + ogg(tmp_path / "b", *other)
    header, samples = hear_whole(saved(tmp_path / "chain", content + ogg(tmp_path / "c", *first)))
    _, rate_hz, channels = first
    assert (header.sample_rate_hz, header.channels) == (rate_hz, channels)
    assert header.declared_samples is None
    assert len(samples) == pytest.approx(6 * rate_hz, abs=5 * OGG_TOLERANCE)
    middle = samples[int(2.2 * rate_hz) : int(3.8 * rate_hz)]
    spectrum = np.abs(np.fft.rfft(middle[:, 0] * np.hanning(len(middle))))
    assert 435 < spectrum.argmax() / 1.6 < 500  # of stereo in mono, both pitches may be heard
    assert 0.1 < np.abs(middle).max() < 0.6


@pytest.mark.parametrize("other", [("VORBIS", 48000, 2), ("OPUS", 48000, 2)], ids=str)
@pytest.mark.parametrize("first", [("VORBIS", 44100, 1), ("OPUS", 48000, 1)], ids=str)
def test_of_chained_ogg_streams_one_that_was_cut_is_told_and_the_next_is_heard(
    tmp_path: Path, first: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    part = ogg(tmp_path / "a", *first, seconds=20.0)
    content = part[: len(part) // 2] + ogg(tmp_path / "b", *other)
    heard = hear(saved(tmp_path / "chain", content))
    assert isinstance(heard.error, TruncatedError)
    assert "chain" in str(heard.error)
    assert "end of the stream is missing" in str(heard.error)
    assert 6 < len(heard.samples) / first[1] < 13


@pytest.mark.parametrize("at", ["start", "end"])
def test_of_chained_ogg_streams_one_of_which_nothing_can_be_decoded_is_told(
    tmp_path: Path, at: str
) -> None:
    good, bad = ogg(tmp_path / "a", "VORBIS", 44100, 1), ogg(tmp_path / "b", "OPUS", 48000, 1)
    bad = bad.replace(b"OpusHead", b"Unknown!")
    heard = hear(saved(tmp_path / "chain", good + bad if at == "end" else bad + good))
    assert isinstance(heard.error, DamagedError)
    assert "chain" in str(heard.error)
    assert len(heard.samples) == pytest.approx(2 * 44100, abs=OGG_TOLERANCE)


def test_a_chain_that_cannot_be_read_on_is_a_read_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Stale file handle")

    content = ogg(tmp_path / "a", "VORBIS", 44100, 1) + ogg(tmp_path / "b", "OPUS", 48000, 1)
    with open_audio(str(saved(tmp_path / "chain", content))) as reader:
        monkeypatch.setattr(FilePart, "read_at", fail)
        with pytest.raises(ReadError, match="Stale file handle"):
            list(reader.blocks(4800))


def test_the_simultaneous_streams_of_an_ogg_file_are_no_chain(tmp_path: Path) -> None:
    written = tones(2.0)
    with av.open(str(tmp_path / "clip"), "w", format="ogg") as container:
        streams = [container.add_stream("libopus", rate=RATE_HZ, layout="stereo") for _ in "ab"]
        for start in range(0, len(written), 960):
            piece = np.ascontiguousarray(written[start : start + 960].reshape(1, -1))
            for stream in streams:
                frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    header, samples = hear_whole(tmp_path / "clip")
    assert header.declared_samples is not None
    assert len(samples) == pytest.approx(len(written), abs=1000)


def test_an_ogg_stream_that_begins_in_mid_file_does_not_stop_the_run(tmp_path: Path) -> None:
    vorbis = write(tmp_path / "v", "OGG", "VORBIS", noise(88_200, 1), 44100).read_bytes()
    opus = ogg(tmp_path / "o", "OPUS", 48000, 1)
    headers = vorbis[: vorbis.index(b"OggS", vorbis.index(b"\x05vorbis"))]
    cut = vorbis.index(b"OggS", len(vorbis) // 2)
    for at in (cut, cut + 100):  # between pages, or right through one
        content = vorbis[:at] + headers + vorbis[at:] + opus
        heard = hear(saved(tmp_path / "clip", content))
        assert isinstance(heard.error, (DamagedError, TruncatedError))
        assert len(heard.samples) > 2.3 * 44100


@pytest.mark.parametrize(
    "trouble", [IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError]
)
@pytest.mark.parametrize(
    "call",
    ["av.open", "earmark.transforms.audio.libav_packets._demux", "soundfile.SoundFile.read"],
    ids=["open", "demux", "read"],
)
def test_what_a_library_raises_on_hostile_content_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, trouble: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise trouble("a header lied")

    monkeypatch.setattr(
        call if "." in call else f"earmark.transforms.audio.libav_decoder.{call}", fail
    )
    kind = ("WAV", "PCM_16") if call.startswith("soundfile") else ("OGG", "OPUS")
    heard = hear(write(tmp_path / "clip", *kind, tones(0.1)))
    if call.startswith("soundfile"):  # the other library hears it
        assert heard.error is None
    else:
        assert isinstance(heard.error, DamagedError)
        assert "a header lied" in str(heard.error)


@pytest.mark.parametrize("block_samples", [1, 7, 1000, 10_000_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "damaged flac", "cut mp3"])
def test_the_size_of_the_blocks_does_not_change_the_samples(
    tmp_path: Path, kind: str, block_samples: int
) -> None:
    format_ = kind.split()[-1].upper()
    content = bytearray(write(tmp_path / "clip", format_, None, noise(20_000)).read_bytes())
    if kind.startswith("damaged"):
        content[len(content) // 2 : len(content) // 2 + 9] = b"\x5a" * 9
    elif kind.startswith("cut"):
        del content[len(content) // 2 :]
    path = saved(tmp_path / "clip", bytes(content))
    expected, heard = hear(path, 4800), hear(path, block_samples)
    np.testing.assert_array_equal(heard.samples, expected.samples)
    assert str(heard.error) == str(expected.error)


@pytest.mark.parametrize("name", ["clip.wav", "clip.raw", "clip.mp3", "clip", "clip%03d.png", "-"])
def test_the_name_of_a_file_plays_no_part(tmp_path: Path, name: str) -> None:
    flac = write(tmp_path / "written", "FLAC", "PCM_16", tones(0.1)).read_bytes()
    opus = encode(tmp_path / "encoded", "ogg", "libopus", tones(0.1)).read_bytes()
    assert hear_whole(saved(tmp_path / name, flac))[0].format == "flac"
    assert hear_whole(saved(tmp_path / name, opus))[0].codec == "opus"


@pytest.mark.parametrize(
    "content",
    [
        b"Dear archive,\n\nplease find attached what is not sound at all.\n" * 500,
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        b"1\n00:00:00,000 --> 00:00:05,000\nA subtitle\n",
        b"\x89PNG\r\n\x1a\n" + bytes(5000),
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(5000),
        b"%PDF-1.7\n" + bytes(range(256)) * 50,
        b"PK\x03\x04" + bytes(5000),
        b"RIFF\x00\x10\x00\x00WEBPVP8 " + bytes(5000),
        b"\x00",
        b"\xff",
        bytes(100_000),
        b"\xff" * 100_000,
        b"ID3\x03\x00\x00\x00\x00\x00\x00",
        b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + bytes(500),
    ],
)
def test_what_is_not_audio_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    assert isinstance(hear(saved(tmp_path / "clip.wav", content)).error, NotAudioError)


def test_random_bytes_do_not_pass_as_audio(tmp_path: Path) -> None:
    for seed in range(60):
        content = random.Random(seed).randbytes(20_000 + seed)
        assert isinstance(hear(saved(tmp_path / "clip.mp3", content)).error, NotAudioError)


def test_chunks_around_the_sound_of_a_wav_are_no_sound(tmp_path: Path) -> None:
    sound = np.arange(-500, 501, dtype="<i2")
    content = riff(
        (b"JUNK", b"odd"),
        (b"fmt ", wav_format()),
        (b"bext", bytes(603)),
        (b"data", sound.tobytes()),
        (b"LIST", b"INFOICMT\x05\0\0\0hello\0"),
    )
    header, samples = hear_whole(saved(tmp_path / "clip", content))
    assert header.declared_samples == 1001
    np.testing.assert_array_equal(samples[:, 0], sound / np.float32(32768))


def test_the_wave_module_agrees(tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(-(2**15), 2**15, (1000, 3), dtype="<i2")
    with wave.open(str(tmp_path / "clip"), "wb") as file:
        file.setparams((3, 2, 22050, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    header, samples = hear_whole(tmp_path / "clip")
    assert header == AudioHeader("wav", "pcm_s16", 22050, 3, 1000)
    np.testing.assert_array_equal(samples, values / np.float32(32768))


@pytest.mark.parametrize(
    "size", [0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0x7FFFFFFF - 36]
)
def test_a_size_that_a_recorder_never_filled_in_promises_nothing(tmp_path: Path, size: int) -> None:
    sound = np.arange(2000, dtype="<i2")
    _, samples = hear_whole(saved(tmp_path / "clip", wav_with_data_size(sound.tobytes(), size)))
    np.testing.assert_array_equal(samples[:, 0], sound / np.float32(32768))


def test_one_missing_sample_is_noticed_and_half_of_one_is_not(tmp_path: Path) -> None:
    sound = bytes(2000)
    short = hear(saved(tmp_path / "short", wav_with_data_size(sound, 2002)))
    assert isinstance(short.error, TruncatedError)
    assert len(short.samples) == 1000
    odd = hear(saved(tmp_path / "odd", wav_with_data_size(sound, 2001)))
    assert odd.error is None


def test_sizes_beyond_32_bits_are_taken_from_the_header_that_has_them(tmp_path: Path) -> None:
    written = write(tmp_path / "clip", "RF64", "PCM_16", tones(0.5)).read_bytes()
    at = written.index(b"ds64") + 16
    content = bytearray(written)
    content[at : at + 8] = struct.pack("<Q", 6_000_000_000)
    data = content.index(b"data")
    content[data + 4 : data + 8] = b"\xff" * 4
    heard = hear(saved(tmp_path / "cut", bytes(content)))
    assert isinstance(heard.error, TruncatedError)
    assert heard.header is not None
    assert heard.header.declared_samples == 1_500_000_000
    assert len(heard.samples) == RATE_HZ // 2


def test_nan_and_infinity_pass_through(tmp_path: Path) -> None:
    written = tones(0.1)
    written[100, 0], written[200, 1], written[-1] = np.nan, -np.inf, np.nan
    _, samples = hear_whole(write(tmp_path / "clip", "WAV", "FLOAT", written))
    np.testing.assert_array_equal(samples, written)


@pytest.mark.parametrize("channels", [1, 3, 8, 24])
@pytest.mark.parametrize("format_", ["WAV", "CAF"])
def test_any_number_of_channels_keeps_its_order(
    tmp_path: Path, format_: str, channels: int
) -> None:
    written = noise(5000, channels)
    header, samples = hear_whole(write(tmp_path / "clip", format_, "FLOAT", written))
    assert header.channels == channels
    np.testing.assert_array_equal(samples, written)


@pytest.mark.parametrize("channels", [1, 2, 7, 8, 9, 16])
def test_samples_that_a_decoder_gives_plane_by_plane_keep_their_channels(
    tmp_path: Path, channels: int
) -> None:
    written, layout = noise(9600, channels), f"{channels} channels"
    frame = av.AudioFrame.from_ndarray(written.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate, frame.pts = RATE_HZ, 0
    with av.open(str(tmp_path / "clip"), "w", format="wv") as container:
        stream = container.add_stream("wavpack", rate=RATE_HZ, layout=layout)
        stream.codec_context.format = "fltp"
        for planar in AudioResampler(format="fltp").resample(frame):
            container.mux(stream.encode(planar))
        container.mux(stream.encode(None))
    _, samples = hear_whole(tmp_path / "clip")
    np.testing.assert_array_equal(samples, written)


def test_sound_that_changes_in_mid_stream_is_brought_to_what_it_began_with(tmp_path: Path) -> None:
    stereo = encode(tmp_path / "stereo", "adts", "aac", tones(1.0)).read_bytes()
    mono = encode(tmp_path / "mono", "adts", "aac", tones(1.0, 44100, 1), 44100).read_bytes()
    header, samples = hear_whole(saved(tmp_path / "both", stereo + mono + stereo))
    assert (header.sample_rate_hz, header.channels) == (RATE_HZ, 2)
    assert len(samples) == pytest.approx(3 * RATE_HZ, abs=8000)
    middle = samples[int(1.3 * RATE_HZ) : int(1.7 * RATE_HZ)]
    assert np.abs(middle[:, 0] - middle[:, 1]).max() < 1e-6
    assert 0.1 < np.abs(middle).max() < 0.6


def id3_tag(size: int) -> bytes:
    """An ID3v2 tag with a picture in which there is a lot that looks like MPEG frames."""
    sync_safe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    picture = b"APIC" + struct.pack(">I", size - 10) + b"\0\0" + b"\xff\xfb\x90\x64" * (size // 4)
    return b"ID3\x03\x00\x00" + sync_safe + picture[:size].ljust(size, b"\0")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (id3_tag(1_000_001), b""),
        (id3_tag(500) + id3_tag(700), b""),
        (bytes(5000), b""),
        (random.Random(1).randbytes(50_000), b""),
        (b"HTTP/1.0 200 OK\r\ncontent-type: audio/mpeg\r\n\r\n", b""),
        (b"", b"TAG" + b"a" * 125),
        (b"", b"APETAGEX" + struct.pack("<III", 2000, 100, 1) + bytes(212)),
        (b"", bytes(3000)),
    ],
    ids=["picture", "two tags", "zeros", "noise", "http", "id3v1", "ape", "zeros behind"],
)
def test_an_mp3_is_heard_whatever_lies_around_it(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path, before: bytes, after: bytes
) -> None:
    path, written = make("mp3")
    bare = path.read_bytes()
    bare = bare[bare.index(b"\xff\xfb") :]
    header, samples = hear_whole(saved(tmp_path / "clip", before + bare + after))
    assert header.codec == "mp3"
    assert header.declared_samples == len(written)
    assert 0 <= len(samples) - len(written) < 1152


def test_an_mp3_s_length_may_be_declared_by_fraunhofer_s_encoder(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    bare = make("mp3-no-xing")[0].read_bytes()
    frame = bare[bare.index(b"\xff\xfb") :][:384]
    vbri = bytearray(frame)
    vbri[36:54] = b"VBRI" + struct.pack(">HHHII", 1, 0, 0, 0, 50)
    header, samples = hear_whole(saved(tmp_path / "clip", bytes(vbri) + frame * 50))
    assert header.declared_samples == 50 * 1152
    assert abs(len(samples) - 50 * 1152) <= 1152


def test_mp3s_that_were_joined_end_to_end_are_heard_to_the_last(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    path, written = make("mp3")
    _, samples = hear_whole(saved(tmp_path / "clip", path.read_bytes() * 2))
    assert len(samples) == pytest.approx(2 * len(written), abs=3 * 1152)


def test_an_mp3_of_two_frames_is_one(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    content = make("mp3-no-xing")[0].read_bytes()
    start = content.index(b"\xff\xfb")
    header, samples = hear_whole(saved(tmp_path / "clip", content[start : start + 2 * 384]))
    assert (header.codec, header.sample_rate_hz, len(samples)) == ("mp3", RATE_HZ, 2 * 1152)


def test_flac_behind_a_tag_is_heard(tmp_path: Path) -> None:
    written = write(tmp_path / "clip", "FLAC", "PCM_16", tones(0.5)).read_bytes()
    header, samples = hear_whole(saved(tmp_path / "tagged", id3_tag(1000) + written))
    assert (header.format, header.declared_samples, len(samples)) == ("flac", 24000, 24000)


def test_flac_of_unknown_length_is_heard_to_its_end(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "clip", "FLAC", "PCM_16", tones(0.5)).read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    header, samples = hear_whole(saved(tmp_path / "stream", bytes(content)))
    assert header.declared_samples is None
    assert len(samples) == RATE_HZ // 2


def test_damage_in_mid_file_leaves_a_gap_and_what_lies_behind_is_heard_in_its_place(
    tmp_path: Path,
) -> None:
    written = write(tmp_path / "clip", "FLAC", "PCM_16", noise(100_000))
    content = bytearray(written.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 10] = b"\x5a" * 10
    heard, whole = hear(saved(tmp_path / "damaged", bytes(content))), hear(written)
    assert heard.error is None
    [gap] = heard.gaps
    assert gap.why in ("damaged", "missing")
    assert 45_000 < gap.start < 50_000 < gap.stop < 55_000
    assert not heard.samples[gap.start : gap.stop].any()
    for part in (slice(0, gap.start), slice(gap.stop, None)):
        np.testing.assert_array_equal(heard.samples[part], whole.samples[part])


def test_damage_in_mid_stream_leaves_a_gap_and_what_lies_behind_is_heard_in_its_place(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    path, written = make("m4a-index-first")
    content = bytearray(path.read_bytes())
    middle = len(content) * 6 // 10
    content[middle : middle + 1500] = b"\xff" * 1500
    heard = hear(saved(tmp_path / "damaged", bytes(content)))
    assert heard.error is None
    [gap] = heard.gaps
    assert gap.why == "damaged"
    assert 0.4 * len(written) < gap.start < gap.stop < 0.8 * len(written)
    whole = hear(path).samples
    assert len(heard.samples) == len(whole)
    assert not heard.samples[gap.start : gap.stop].any()
    for part in (slice(0, gap.start - 4096), slice(gap.stop + 4096, None)):
        np.testing.assert_allclose(heard.samples[part], whole[part], atol=0.02)


def test_a_file_of_no_bytes_is_empty(tmp_path: Path) -> None:
    assert isinstance(hear(saved(tmp_path / "clip", b"")).error, EmptyFileError)


@pytest.mark.parametrize("format_", ["WAV", "AIFF", "AU", "W64"])
def test_a_header_without_sound_has_no_samples(tmp_path: Path, format_: str) -> None:
    heard = hear(write(tmp_path / "clip", format_, None, noise(0)))
    assert isinstance(heard.error, NoSamplesError)


def test_a_header_that_promises_sound_with_none_behind_it_is_damaged(tmp_path: Path) -> None:
    heard = hear(saved(tmp_path / "clip", wav_with_data_size(b"", 32000)))
    assert isinstance(heard.error, DamagedError)
    assert "32000 bytes shorter" in str(heard.error)


@pytest.mark.parametrize("name", ["a\0b.wav", "a\ud800b.wav"], ids=ascii)
def test_a_name_that_no_file_can_have_is_a_read_error(tmp_path: Path, name: str) -> None:
    assert isinstance(hear(tmp_path / name).error, ReadError)


@pytest.mark.parametrize("share", [0.02, 0.95])
@pytest.mark.parametrize("name", ["wavpack", "tta"])
def test_where_the_header_counts_samples_the_last_half_second_is_missed_too(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path, name: str, share: float
) -> None:
    path, written = make(name)
    content = path.read_bytes()
    heard = hear(saved(tmp_path / "cut", content[: round(len(content) * share)]))
    assert isinstance(heard.error, (DamagedError, TruncatedError))
    assert len(heard.samples) < len(written)


@pytest.mark.parametrize("share", [0.3, 0.99])
@pytest.mark.parametrize("format_", ["NIST", "VOC"])
def test_old_formats_of_plain_sound_are_whole_to_the_sample(
    tmp_path: Path, format_: str, share: float
) -> None:
    path, written = tmp_path / "whole", noise(20_000, 1)
    content = write(path, format_, "PCM_16", written, 16000).read_bytes()
    assert len(hear_whole(path)[1]) == len(written)
    heard = hear(saved(tmp_path / "cut", content[: round(len(content) * share)]))
    assert isinstance(heard.error, TruncatedError)
    # a packet is 1024 samples; PyAV 17, on Python 3.10, drops the one that was cut through
    assert len(heard.samples) == pytest.approx(share * len(written), abs=1100)


@pytest.mark.parametrize("name", ["mkv", "webm"])
def test_a_cut_matroska_file_is_said_to_be_cut(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path, name: str
) -> None:
    content = make(name)[0].read_bytes()
    start = hear(saved(tmp_path / "start", content[:300]))
    assert isinstance(start.error, DamagedError)
    assert f"{len(content) - 300} bytes shorter than its header says" in str(start.error)
    most = hear(saved(tmp_path / "most", content[: len(content) * 97 // 100]))
    assert isinstance(most.error, TruncatedError)


def test_a_cut_that_took_the_sound_s_part_of_the_index_is_told_as_a_cut(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    content = make("mp4-video")[0].read_bytes()
    cut = content[: content.rindex(b"trak") - 4]  # of the two, that of the sound
    heard = hear(saved(tmp_path / "cut", cut))
    assert isinstance(heard.error, DamagedError)
    assert f"{len(content) - len(cut)} bytes shorter than its header says" in str(heard.error)


def test_damaged_mpeg_audio_in_a_wav_is_told_in_words_for_an_archivist(tmp_path: Path) -> None:
    content = riff((b"fmt ", wav_format(tag=0x55)), (b"data", random.Random(3).randbytes(9000)))
    heard = hear(saved(tmp_path / "clip", content))
    assert isinstance(heard.error, DamagedError)
    assert str(heard.error) == "the content is not valid for the decoder"


def test_what_cannot_be_read_is_told_in_the_words_of_the_system(tmp_path: Path) -> None:
    assert str(hear(tmp_path / "gone").error) == "No such file or directory"
    assert str(hear(tmp_path).error) == "Is a directory"
    assert isinstance(hear(tmp_path).error, ReadError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system knows no named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert isinstance(hear(tmp_path / "pipe").error, ReadError)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_a_read_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "clip", b"RIFF")
    path.chmod(0)
    assert str(hear(path).error) == "Permission denied"


def test_a_video_without_sound_is_said_to_have_none(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip"), "w", format="mp4") as container:
        encode_pictures(container, add_pictures(container), 10)
    heard = hear(tmp_path / "clip")
    assert isinstance(heard.error, NoAudioStreamError)
    assert "video" in str(heard.error)


def test_tracks_of_sound_are_counted(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip"), "w", format="mov") as container:
        tracks = [container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono") for _ in range(2)]
        for track, level in zip(tracks, (0, 1000), strict=True):
            piece = np.full((1, RATE_HZ), level, np.int16)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    header, samples = hear_whole(tmp_path / "clip")
    assert header.tracks == 2
    assert not samples.any()  # the first is heard, even if it is silent


def test_encrypted_sound_is_not_supported(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    content = make("m4a")[0].read_bytes()
    bought = hear(saved(tmp_path / "m4p", content.replace(b"mp4a", b"drms", 1)))
    assert isinstance(bought.error, UnsupportedError)
    assert "encrypted" in str(bought.error)
    encryption = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "00112233445566778899aabbccddeeff",
        "encryption_kid": "ffeeddccbbaa99887766554433221100",
    }
    path = encode(tmp_path / "cenc", "mp4", "aac", tones(0.5), options=encryption)
    assert isinstance(hear(path).error, UnsupportedError)


def test_an_unknown_codec_in_a_known_container_is_not_supported(
    make: Callable[[str], tuple[Path, Samples]], tmp_path: Path
) -> None:
    matroska = make("mkv")[0].read_bytes().replace(b"A_AAC", b"A_XYZ")
    assert isinstance(hear(saved(tmp_path / "mkv", matroska)).error, UnsupportedError)
    wav = riff((b"fmt ", wav_format(tag=0x9999)), (b"data", bytes(3000)))
    assert isinstance(hear(saved(tmp_path / "wav", wav)).error, UnsupportedError)


@pytest.mark.parametrize("rate_hz", [4000, 384_000])
def test_rates_are_heard_up_to_their_limits(tmp_path: Path, rate_hz: int) -> None:
    path = write(tmp_path / "clip", "WAV", "PCM_16", tones(0.1, rate_hz), rate_hz)
    assert hear_whole(path)[0].sample_rate_hz == rate_hz


@pytest.mark.parametrize("rate_hz", [3999, 384_001, 2**31 - 1])
def test_rates_beyond_the_limits_are_not_supported(tmp_path: Path, rate_hz: int) -> None:
    content = riff((b"fmt ", wav_format(rate_hz=rate_hz)), (b"data", bytes(3000)))
    heard = hear(saved(tmp_path / "clip", content))
    assert isinstance(heard.error, UnsupportedError)
    assert f"{rate_hz} Hz" in str(heard.error)


@pytest.fixture
def peak_bytes() -> Iterator[Callable[[], int]]:
    """Returns what Python and numpy have allocated at most since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize("channels", [200, 1000, 65535])
def test_memory_does_not_follow_the_claims_of_a_header(
    tmp_path: Path, peak_bytes: Callable[[], int], channels: int
) -> None:
    sound = bytes(channels * 2 * 10)
    content = riff((b"fmt ", wav_format(channels=channels)), (b"data", sound))
    heard = hear(saved(tmp_path / "clip", content), 4_800_000)
    assert len(heard.samples) in (0, 10)
    flac = bytearray(write(tmp_path / "flac", "FLAC", "PCM_16", tones(0.1)).read_bytes())
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    assert isinstance(hear(saved(tmp_path / "flac", bytes(flac)), 4_800_000).error, TruncatedError)
    assert peak_bytes() < 20_000_000


def test_memory_does_not_follow_the_length_of_a_file(
    tmp_path: Path, peak_bytes: Callable[[], int]
) -> None:
    minutes = 10
    head = wav_with_data_size(b"", minutes * 60 * 32000)
    with (tmp_path / "clip").open("wb") as file:
        file.write(head)
        file.truncate(len(head) + minutes * 60 * 32000)
    with open_audio(str(tmp_path / "clip")) as reader:
        assert sum(len(block) for block in reader.blocks(15600)) == minutes * 60 * 16000
    assert peak_bytes() < 5_000_000


FUZZED = ["mp4-video", "m4a", "mkv-video", "webm", "opus", "wma", "avi", "mp3", "adts", "mpegts"]
FUZZED += ["wavpack", "flv", "amr", "wav-mp3", "ac3"]


def test_no_content_does_more_than_end_in_an_audio_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    contents = [
        write(tmp_path / "clip", *kind, tones(0.1)).read_bytes()
        for kind in [*PLAIN, ("OGG", "VORBIS"), ("OGG", "OPUS"), ("WAV", "MS_ADPCM")]
    ]
    for name in FUZZED:
        kind = ENCODED[name]
        samples = tones(0.2, kind.rate_hz, kind.channels)
        path = tmp_path / "clip"
        encode(path, kind.muxer, kind.encoder, samples, kind.rate_hz, kind.video, kind.options)
        contents.append(path.read_bytes())
    chance = random.Random(5)
    for content in contents:
        for _ in range(20):
            hear(saved(tmp_path / "clip", hurt(content, chance)))
    assert capfd.readouterr() == ("", "")


def hurt(content: bytes, chance: random.Random) -> bytes:
    """Cuts, flips bits, overwrites numbers of the header or takes a piece out."""
    hurting = bytearray(content)
    at = chance.randrange(len(content))
    way = chance.randrange(4)
    if way == 0:
        del hurting[max(at, 1) :]
    elif way == 1:
        del hurting[max(at, 1) : at + chance.randrange(2000)]
    elif way == 2:
        for _ in range(chance.randrange(1, 20)):
            hurting[chance.randrange(len(hurting))] ^= 1 << chance.randrange(8)
    else:
        at = chance.randrange(min(len(content), 600))
        number = chance.choice([b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)])
        hurting[at : at + 4] = number
    return bytes(hurting)


def test_the_library_s_damaged_recordings_are_told_apart(shared: Path) -> None:
    empty = hear(shared / "audio" / "empty_2c.wav")
    assert isinstance(empty.error, DamagedError)
    assert empty.header is None
    header, samples = hear_whole(shared / "audio" / "stereo.wav")
    assert (header.codec, header.channels, len(samples)) == ("pcm_f32", 2, 5)


@pytest.mark.parametrize(
    "name", ["speech.wav", "birds_10s.wav", "metadata.wav", "silence_10s.mp3", "soundscape.mp3"]
)
def test_real_recordings_decode_as_with_another_library(shared: Path, name: str) -> None:
    path = shared / "audio" / name
    expected, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    header, samples = hear_whole(path)
    assert header.sample_rate_hz == rate_hz
    assert header.declared_samples == len(samples) == len(expected)
    assert np.abs(samples - expected).max() < 1e-6
