"""What lies before the beginning of a recording, and what is none at all."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
import zlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.audio.sniffing import sniff
from earmark.transforms.errors import NotAudioError
from tests.transforms.audio.files import RATE_HZ, encode, saved, tones
from tests.transforms.audio.test_formats import dv

SECONDS = 3
MAKERS: dict[str, tuple[str, str]] = {
    "mp3": ("mp3", "libmp3lame"),
    "mp2": ("mp2", "mp2"),
    "adts": ("adts", "aac"),
    "latm": ("latm", "aac"),
    "ac3": ("ac3", "ac3"),
    "eac3": ("eac3", "eac3"),
    "mpegts": ("mpegts", "mp2"),
    "mpeg": ("mpeg", "mp2"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("made")

    def make(name: str) -> bytes:
        path = folder / name
        if not path.exists():
            muxer, codec = MAKERS[name]
            options = {"write_xing": "0", "id3v2_version": "0"} if name == "mp3" else None
            encode(path, muxer, codec, tones(SECONDS), options=options)
        return path.read_bytes()

    return make


def heard_s(path: Path) -> tuple[str, float]:
    with open_audio(path) as reader:
        samples = sum(map(len, reader.blocks(RATE_HZ)))
        return reader.header.format, samples / reader.header.sample_rate_hz


def kind_of(path: Path) -> str | None:
    with path.open("rb") as file:
        try:
            return sniff(FilePart(file)).format.name
        except NotAudioError:
            return None


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("lost_bytes", [1, 50, 100, 333])
def test_a_stream_is_heard_from_mid_frame(
    tmp_path: Path, made: Callable[[str], bytes], name: str, lost_bytes: int
) -> None:
    path = saved(tmp_path / "clip", made(name)[lost_bytes:])
    format_, seconds = heard_s(path)
    assert format_ == name.replace("mp2", "mp3")
    assert SECONDS - 0.6 < seconds < SECONDS + 0.1


def test_dv_is_heard_from_mid_frame(tmp_path: Path) -> None:
    content = dv(tmp_path / "whole").read_bytes()
    format_, seconds = heard_s(saved(tmp_path / "clip", content[100_000:]))
    assert (format_, seconds) == ("dv", pytest.approx(0.96))


@pytest.mark.parametrize("around", [(4, 0), (0, 16)], ids=["m2ts", "204"])
def test_longer_packets_of_transport_streams_are_found_in_mid_packet(
    tmp_path: Path, made: Callable[[str], bytes], around: tuple[int, int]
) -> None:
    content = made("mpegts")
    packets = (content[at : at + 188] for at in range(0, len(content), 188))
    longer = b"".join(bytes(around[0]) + each + bytes(around[1]) for each in packets)
    assert heard_s(saved(tmp_path / "clip", longer[77:]))[0] == "mpegts"


def ape_tag(size: int) -> bytes:
    def bound(flags: int) -> bytes:
        return b"APETAGEX" + struct.pack("<IIII", 2000, size + 32, 1, flags) + bytes(8)

    return bound(0xA0000000) + random.Random(2).randbytes(size) + bound(0x80000000)


def id3_tag(size: int) -> bytes:
    sync_safe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + sync_safe + b"\xff\xfb\x90\x64" * (size // 4) + bytes(size % 4)


BEFORE = {
    "ape": ape_tag(200_000),
    "id3 and padding": id3_tag(300) + bytes(150_000),
    "id3, ape and padding": id3_tag(300_000) + ape_tag(1000) + bytes(3000),
    "padding": bytes(200_000),
    "noise": random.Random(3).randbytes(700_000),
    "http": b"HTTP/1.0 200 OK\r\ncontent-type: audio/mpeg\r\n\r\n",
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", ["mp3", "mp2", "adts", "ac3"])
def test_frames_are_found_behind_tags_and_junk(
    tmp_path: Path, made: Callable[[str], bytes], name: str, before: str
) -> None:
    format_, seconds = heard_s(saved(tmp_path / "clip", BEFORE[before] + made(name)))
    assert format_ == name.replace("mp2", "mp3")
    assert seconds == pytest.approx(SECONDS, abs=0.1)


def test_files_with_a_header_are_found_behind_tags(tmp_path: Path) -> None:
    for muxer, codec in (("flac", "flac"), ("wv", "wavpack"), ("tta", "tta")):
        content = encode(tmp_path / "a", muxer, codec, tones(1)).read_bytes()
        for tags in (id3_tag(1000), id3_tag(1000) + bytes(5000), ape_tag(500)):
            assert heard_s(saved(tmp_path / "b", tags + content))[1] == pytest.approx(1, abs=0.01)


BEHIND = {
    "id3v1": b"TAG" + b"a" * 125,
    "id3v1 extended": b"TAG+" + b"b" * 223 + b"TAG" + b"a" * 125,
    "id3v2": id3_tag(5000),
    "id3v2 with footer": b"ID3\4\0\x10\0\0\x01\0" + bytes(128) + b"3DI\4\0\x10\0\0\x01\0",
    "ape": ape_tag(5000),
    "ape with a footer only": ape_tag(5000)[32:],
    "lyrics": b"LYRICSBEGIN" + b"IND0000200" + b"la " * 500 + b"001528LYRICS200TAG" + b"a" * 125,
    "old lyrics": b"LYRICSBEGIN" + b"la \xff\xfb " * 500 + b"LYRICSENDTAG" + b"a" * 125,
    "all": ape_tag(500) + b"LYRICSBEGINlaLYRICSENDTAG" + b"a" * 125 + id3_tag(200),
}


@pytest.mark.parametrize("tag", BEHIND)
@pytest.mark.parametrize("name", ["mp3", "mp2", "adts", "ac3"])
def test_tags_at_the_end_and_between_joined_files_are_no_damage(
    tmp_path: Path, made: Callable[[str], bytes], name: str, tag: str
) -> None:
    content = made(name) + BEHIND[tag]
    assert heard_s(saved(tmp_path / "a", content))[1] == pytest.approx(SECONDS, abs=0.1)
    assert heard_s(saved(tmp_path / "b", content * 3))[1] == pytest.approx(3 * SECONDS, abs=0.3)


def test_what_only_looks_like_a_tag_is_sound(tmp_path: Path, made: Callable[[str], bytes]) -> None:
    content = bytearray(made("adts"))
    whole = heard_s(saved(tmp_path / "a", bytes(content)))
    for name in (b"TAG", b"ID3\xff", b"ID3\3\0\0\xff\xff\xff\xff"):
        middle = len(content) // 2
        content[middle : middle + len(name)] = name
    with open_audio(saved(tmp_path / "b", bytes(content))) as reader:
        deque(reader.blocks(4800), maxlen=0)
    assert [gap.why for gap in reader.gaps] == ["damaged"]  # as it is
    assert whole[1] == pytest.approx(SECONDS, abs=0.1)


def texts(chance: random.Random) -> bytes:
    words = [
        "GATTACA",
        "G",
        "ID3",
        "RIFF",
        "the",
        "quick",
        "fLaC",
        "0",
        "1e-5",
        "\n",
        "MAC ",
        "TAG",
    ]
    return " ".join(chance.choice(words) for _ in range(3000)).encode()


def fasta(chance: random.Random) -> bytes:
    width = chance.choice([60, 70, 80, 187, 188])
    lines = ("".join(chance.choice("GATC") for _ in range(width)) for _ in range(200))
    return b">sequence\n" + "\n".join(lines).encode()


def image(chance: random.Random) -> bytes:
    """A PNG or a raw or PostScript bitmap, with flat areas of white and black."""
    rows = [bytes([0]) + chance.choice([b"\xff", b"\0", b"\xfb"]) * 300 for _ in range(100)]
    packed = zlib.compress(b"".join(rows), chance.choice([0, 1, 9]))
    return chance.choice([b"\x89PNG\r\n\x1a\n" + packed, b"P5 300 100 255\n" + b"".join(rows)])


def jpeg(chance: random.Random) -> bytes:
    body = chance.randbytes(20_000).replace(b"\xff", b"\xff\0")
    return b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + body + b"\xff\xd9"


def archive(chance: random.Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", chance.choice([0, 8])) as zipped:
        zipped.writestr("a.bin", chance.randbytes(5000))
        zipped.writestr("b.txt", texts(chance))
    return file.getvalue()


def numbers(chance: random.Random) -> bytes:
    rng = np.random.default_rng(chance.randrange(1 << 30))
    kind = chance.choice(["<f4", ">f8", "<i4", "u1"])
    return (rng.normal(0, 100, 5000)).astype(kind).tobytes()


def structured(chance: random.Random) -> bytes:
    return json.dumps([{"id": n, "x": chance.random()} for n in range(500)]).encode()


def few_values(chance: random.Random) -> bytes:
    values = [chance.randrange(256) for _ in range(3)] + [0xFF, 0xFB, 0x0B, 0x77, 0x56, 0xE0, 0x47]
    return bytes(chance.choice(values) for _ in range(20_000))


def random_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([100, 3300, 40_000]))


NO_AUDIO = [
    *(texts, fasta, image, jpeg, archive, numbers, structured, few_values, random_bytes),
]


@pytest.mark.parametrize("make", NO_AUDIO)
def test_what_is_no_audio_does_not_pass_as_audio(
    tmp_path: Path, make: Callable[[random.Random], bytes]
) -> None:
    count = 2000 if make is random_bytes else 100
    found = {}
    for seed in range(count):
        path = saved(tmp_path / "clip", make(random.Random(seed)))
        if kind := kind_of(path):
            found[seed] = kind
    assert found == {}


def test_audio_within_archives_images_and_documents_does_not_make_them_audio(
    tmp_path: Path, made: Callable[[str], bytes]
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("a.mp3", made("mp3"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("a.mp3")
        member.size = len(made("mp3"))
        tar.addfile(member, io.BytesIO(made("mp3")))
    jpeg_and_mp3 = jpeg(random.Random(1)) + made("mp3")
    for content in (file.getvalue(), packed.getvalue(), jpeg_and_mp3, b"%PDF-1.4 " + made("ac3")):
        assert kind_of(saved(tmp_path / "clip", content)) is None
