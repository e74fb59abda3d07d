"""The table of formats: complete, and the only place that knows them."""

from __future__ import annotations

import ast
import inspect
import re
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from earmark.transforms.audio import containers, sniffing
from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.formats import AUDIO_EXTENSIONS, FORMATS, HEADERLESS, Format
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.audio.sniffing import sniff
from earmark.transforms.errors import NotAudioError, UnsupportedError
from tests.transforms.audio.files import RATE_HZ, encode, riff, saved, tones, write

ROOM = Path(inspect.getfile(containers)).parent


def by_soundfile(format_: str, subtype: str, channels: int = 2) -> Callable[[Path], Path]:
    return lambda path: write(path, format_, subtype, tones(channels=channels))


def by_pyav(
    muxer: str, codec: str, rate_hz: int = RATE_HZ, channels: int = 2, video: bool = False
) -> Callable[[Path], Path]:
    return lambda path: encode(path, muxer, codec, tones(1.0, rate_hz, channels), rate_hz, video)


def xwma(path: Path) -> Path:
    wav = encode(path, "wav", "wmav2", tones(1.0, 44_100), 44_100).read_bytes()
    return saved(path, wav.replace(b"WAVE", b"XWMA", 1))


def oma(path: Path) -> Path:
    head = b"EA3\x01\0\x60\xff\xff" + bytes(24) + b"\x04" + bytes(63)
    return saved(path, head + (tones(1.0, 44_100) * 32767).astype(">i2").tobytes())


DSD_RATE_HZ = 2_822_400
DSD_SILENCE = b"\x69" * 2 * (DSD_RATE_HZ // 8 // 4096 * 4096)


def dsf(path: Path) -> Path:
    samples = len(DSD_SILENCE) // 2 * 8
    kind = struct.pack("<IIIIIIQII", 1, 0, 2, 2, DSD_RATE_HZ, 1, samples, 4096, 0)
    parts = [
        (b"DSD ", struct.pack("<QQ", 92 + len(DSD_SILENCE), 0)),
        (b"fmt ", kind),
        (b"data", DSD_SILENCE),
    ]
    heads = [name + struct.pack("<Q", 12 + len(content)) for name, content in parts]
    return saved(path, b"".join(h + part[1] for h, part in zip(heads, parts, strict=True)))


def dff(path: Path) -> Path:
    def chunk(name: bytes, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return name + struct.pack(">Q", len(content)) + content + bytes(len(content) % 2)

    properties = [
        chunk(b"FS  ", struct.pack(">I", DSD_RATE_HZ)),
        chunk(b"CHNL", b"\0\2SLFTSRGT"),
        chunk(b"CMPR", b"DSD \x0enot compressed\0"),
    ]
    chunks = [
        chunk(b"FVER", b"\1\5\0\0"),
        chunk(b"PROP", b"SND ", *properties),
        chunk(b"DSD ", DSD_SILENCE),
    ]
    return saved(path, chunk(b"FRM8", b"DSD ", *chunks))


def mxf(path: Path) -> Path:
    with av.open(str(path), "w", format="mxf") as container:
        pictures = container.add_stream("mpeg2video", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for number in range(25):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts = number
            container.mux(pictures.encode(picture))
            piece = np.zeros((1, RATE_HZ // 25), np.int16)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, number * RATE_HZ // 25
            container.mux(sound.encode(frame))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return path


def dv(path: Path) -> Path:
    with av.open(str(path), "w", format="dv") as container:
        pictures = container.add_stream("dvvideo", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 720, 576, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="stereo")
        for number in range(25):
            picture = av.VideoFrame(720, 576, "yuv420p")
            picture.pts = number
            container.mux(pictures.encode(picture))
            piece = np.zeros((1, 2 * RATE_HZ // 25), np.int16)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = RATE_HZ, number * RATE_HZ // 25
            container.mux(sound.encode(frame))
        container.mux(pictures.encode(None))
        container.mux(sound.encode(None))
    return path


MADE: dict[tuple[str, str], Callable[[Path], Path]] = {
    # name and demuxer of a row: what makes a second in its format
    ("wav", "wav"): by_soundfile("WAV", "PCM_16"),
    ("rf64", "wav"): by_soundfile("RF64", "PCM_24"),
    ("w64", "w64"): by_soundfile("W64", "PCM_16"),
    ("flac", "flac"): by_soundfile("FLAC", "PCM_16"),
    ("ogg", "ogg"): by_soundfile("OGG", "VORBIS"),
    ("aiff", "aiff"): by_soundfile("AIFF", "PCM_16"),
    ("caf", "caf"): by_soundfile("CAF", "PCM_16"),
    ("au", "au"): by_soundfile("AU", "PCM_16"),
    ("mp4", "mov"): by_pyav("ipod", "aac"),
    ("matroska", "matroska"): by_pyav("webm", "libopus"),
    ("asf", "asf"): by_pyav("asf", "wmav2", 44_100),
    ("avi", "avi"): by_pyav("avi", "libmp3lame", video=True),
    ("flv", "flv"): by_pyav("flv", "aac"),
    ("mpegts", "mpegts"): by_pyav("mpegts", "aac", video=True),
    ("mpeg", "mpeg"): by_pyav("mpeg", "mp2", video=True),
    ("mxf", "mxf"): mxf,
    ("wtv", "wtv"): by_pyav("wtv", "mp2", video=True),
    ("rm", "rm"): by_pyav("rm", "ac3"),
    ("amr", "amr"): by_pyav("amr", "libopencore_amrnb", 8000, 1),
    ("wavpack", "wv"): by_pyav("wv", "wavpack"),
    ("tta", "tta"): by_pyav("tta", "tta"),
    ("dsf", "dsf"): dsf,
    ("dff", "iff"): dff,
    ("svx", "iff"): by_soundfile("SVX", "PCM_S8", channels=1),
    ("xwma", "xwma"): xwma,
    ("oma", "oma"): oma,
    ("voc", "voc"): by_soundfile("VOC", "PCM_16"),
    ("nistsphere", "nistsphere"): by_soundfile("NIST", "PCM_16"),
    ("ircam", "ircam"): by_soundfile("IRCAM", "PCM_16"),
    ("ac3", "ac3"): by_pyav("ac3", "ac3"),
    ("eac3", "eac3"): by_pyav("eac3", "eac3"),
    ("adts", "aac"): by_pyav("adts", "aac"),
    ("mp3", "mp3"): by_pyav("mp3", "libmp3lame"),
    ("dv", "dv"): dv,
    ("spdif", "spdif"): by_pyav("spdif", "ac3"),
    ("latm", "loas"): by_pyav("latm", "aac"),
    ("gsm", "gsm"): lambda path: saved(path, (b"\xd0" + bytes(32)) * 50),
}

NOTHING_WRITES = {
    # of these there is only the beginning
    ("ape", "ape"): b"MAC \x96\x0f",
    ("tak", "tak"): b"tBaK\1",
    ("mpc", "mpc"): b"MP+\x07",
    ("mpc", "mpc8"): b"MPCKSH",
    ("shorten", "shn"): b"ajkg\2",
    ("qcp", "qcp"): b"RIFF\0\1\0\0QLCMfmt ",
    ("dts", "dts"): b"\x7f\xfe\x80\x01\xfc\x3c",
    ("dss", "dss"): b"\x03dss",
}

UNDECODABLE = {
    ("ds2", ""): b"\x03ds2",
    ("wac", ""): b"WAac",
    ("aa", ""): b"\0\0\1\0\x57\x90\x75\x36",
}


def key(format_: Format) -> tuple[str, str]:
    return format_.name, format_.demuxer


@pytest.mark.parametrize("format_", FORMATS, ids=lambda row: "-".join(key(row)))
def test_a_file_of_each_format_is_recognised_and_heard(tmp_path: Path, format_: Format) -> None:
    if key(format_) in NOTHING_WRITES:
        path = saved(tmp_path / "clip", NOTHING_WRITES[key(format_)] + bytes(500))
    elif key(format_) in UNDECODABLE:
        path = saved(tmp_path / "clip", UNDECODABLE[key(format_)] + bytes(500))
        with pytest.raises(UnsupportedError, match=format_.undecodable), open_audio(path):
            pass
    else:
        path = MADE[key(format_)](tmp_path / "clip")
        with open_audio(str(path)) as reader:
            assert reader.header.format == format_.name
            heard = sum(map(len, reader.blocks(RATE_HZ)))
        assert heard / reader.header.sample_rate_hz == pytest.approx(1, abs=0.1)
    with path.open("rb") as file:
        assert sniff(FilePart(file)).format is format_


def test_only_rows_have_files_here_and_each_once() -> None:
    assert Counter(map(key, FORMATS)) == Counter([*MADE, *NOTHING_WRITES, *UNDECODABLE])


@pytest.mark.parametrize("format_", FORMATS, ids=lambda row: "-".join(key(row)))
def test_each_row_is_one_that_libav_can_read_or_says_what_it_is(format_: Format) -> None:
    assert format_.undecodable or av.ContainerFormat(format_.demuxer, "r").is_input
    re.compile(format_.signature)
    assert format_.extensions == format_.extensions.lower()


def test_to_add_a_format_is_to_add_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = by_pyav("sox", "pcm_s32le")(tmp_path / "clip")
    with pytest.raises(NotAudioError), open_audio(str(path)):
        pass
    row = Format("sox", "sox", rb"\.SoX|XoS\.", "sox")
    monkeypatch.setattr(sniffing, "FORMATS", (*FORMATS, row))
    with open_audio(str(path)) as reader:
        assert reader.header.format == "sox"
        assert sum(map(len, reader.blocks(1000))) == RATE_HZ


def test_every_parser_of_a_container_belongs_to_a_row() -> None:
    parsers = {
        function
        for name, function in inspect.getmembers(containers, inspect.isfunction)
        if function.__module__ == containers.__name__ and not name.startswith("_")
    }
    used = {
        parser
        for row in FORMATS
        for parser in vars(row).values()
        if inspect.getmodule(parser) is containers
    }
    assert parsers == used


def test_no_other_module_knows_a_format_by_its_name() -> None:
    names = {name for row in FORMATS for name in (*key(row), *row.extensions.split())} - {""}
    codecs = {"flac", "alac", "gsm"}  # which are called as their files are
    elsewhere = {
        (path.name, node.value)
        for path in ROOM.glob("*.py")
        if path.name != "formats.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names - codecs
    }
    assert elsewhere == set()


@pytest.mark.parametrize(("name", "kind"), HEADERLESS.items())
def test_a_format_without_a_header_is_told_by_its_name_where_nothing_else_tells_one(
    tmp_path: Path, name: str, kind: str
) -> None:
    content = np.random.default_rng(1).bytes(20_000)
    for path, uri in (
        (saved(tmp_path / f"clip.{name.upper()}", content), None),
        (saved(tmp_path / "copy", content), f"gs://bucket/clip.{name}"),
    ):
        said = pytest.raises(UnsupportedError, match=f"by its name it is {kind} without")
        with said, open_audio(path, uri):
            pass
    wav = by_soundfile("WAV", "PCM_16")(tmp_path / f"wav.{name}")
    with open_audio(wav) as reader:
        assert reader.header.format == "wav"


def test_no_extension_stands_twice() -> None:
    counts = Counter(name for row in FORMATS for name in set(row.extensions.split()))
    assert {name for name, count in counts.items() if count > 1} == {"mpc"}  # of two kinds
    assert counts.keys() < AUDIO_EXTENSIONS


def test_a_note_is_found_before_the_sound_and_behind_it(tmp_path: Path) -> None:
    content = riff((b"guan", b"before"), (b"data", b"sound"), (b"guan", b"behind"))
    assert notes(saved(tmp_path / "clip", content)) == [b"before", b"behind"]


def test_a_note_is_found_in_big_endian_wav(tmp_path: Path) -> None:
    infos = b"INFO" + b"IART" + struct.pack(">I", 2) + b"ab" + b"ICMT" + struct.pack(">I", 4)
    content = b"RIFX" + bytes(4) + b"WAVELIST" + struct.pack(">I", 22 + 4) + infos + b"said"
    assert notes(saved(tmp_path / "clip", content)) == [b"said"]


def notes(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        format_, content = sniff(FilePart(file))
        return [note.content for note in format_.read_notes(content)]
