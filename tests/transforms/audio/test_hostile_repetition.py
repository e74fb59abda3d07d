"""What is read in a recording, or of its name, takes time that grows no faster than that does.

Nothing is timed here: where it grew as the square, these tests would hang for minutes or hours.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import timezone
from pathlib import Path

import pytest

from earmark.transforms.audio.file_parts import FilePart
from earmark.transforms.audio.mp4 import mp4_length
from earmark.transforms.audio.reading import open_audio
from earmark.transforms.audio.recording_time import recorded_at
from earmark.transforms.audio.sniffing import sniff
from earmark.transforms.errors import AudioError, NotAudioError

SIZE = 2_000_000
FMT = (b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16))

REPEATED = [
    b"\n", b" ", b"\r\n", b"\t", b"\0", b"0", b"20", b":", b"-", b"/", b"[", b'{"a":', b'"', b"\\",
    b"GUANO|", b"Timestamp", b"Timestamp:", b"Timestamp \n", b"\nTimestamp ", b"\n Timestamp: 2",
    b"2020-04-04 ", b"20200404T102500.", b"2020-04-04T10:25:00+", b"Recorded at ",
    b"Recorded at 10:25:00.", b"opso_metadata", b"\xff", b"\xe2\x98",
]  # fmt: skip


def repeated(part: bytes, size: int = SIZE) -> bytes:
    return (part * (size // len(part) + 1))[:size]


def chunk(chunk_id: bytes, content: bytes) -> bytes:
    return chunk_id + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def wav(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WAVE" + b"".join(chunk(*each) for each in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def comment(text: bytes) -> tuple[bytes, bytes]:
    return b"LIST", b"INFO" + chunk(b"ICMT", text)


METADATA: dict[str, Callable[[bytes], tuple[bytes, bytes]]] = {
    "guano": lambda text: (b"guan", text),
    "guano behind its head": lambda text: (b"guan", b"GUANO|Version: 1.0\nTimestamp:" + text),
    "comment": comment,
    "opensoundscape": lambda text: comment(b"opso_metadata" + text),
    "opensoundscape, a number": lambda text: comment(b'opso_metadata{"x":' + text),
    "audiomoth": lambda text: comment(b"Recorded at 10:25:00" + text),
    "bext": lambda text: (b"bext", bytes(320) + text),
    "info": lambda text: (b"LIST", b"INFO" + text),
}


@pytest.mark.parametrize("part", REPEATED)
@pytest.mark.parametrize("kind", METADATA)
def test_metadata(tmp_path: Path, kind: str, part: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(wav(FMT, METADATA[kind](repeated(part)), (b"data", bytes(8))))
    recorded_at(str(tmp_path / "a.wav"), "a.wav")


def test_many_pieces_of_metadata(tmp_path: Path) -> None:
    info = b"LIST", b"INFO" + repeated(b"ABCD\0\0\0\0")
    (tmp_path / "a.wav").write_bytes(wav(FMT, *[info] * 20))
    assert recorded_at(str(tmp_path / "a.wav"), "a.wav") is None


@pytest.mark.parametrize("part", [*REPEATED, b"a", b"a.", b"%20", b"20200404_102"])
@pytest.mark.parametrize("pattern", [None, "%A%b%Y%m%d_%H", "%d%B%y-%H", "/%Y%m%d%H"])
def test_names(part: bytes, pattern: str | None) -> None:
    for uri in (repeated(part).decode("latin-1"), f"file:///{repeated(part).decode('latin-1')}"):
        recorded_at("/dev/null", uri, time_pattern=pattern, time_zone=timezone.utc)


CONTENTS = {
    "riff chunks": wav(FMT) + repeated(b"ABCD\0\0\0\0", SIZE // 4),
    "riff lists": wav(FMT) + repeated(b"LIST\0\0\0\0", SIZE // 4),
    "big-endian chunks": b"FORM\0\0\0\0AIFF" + repeated(b"ABCD\0\0\0\0"),
    "caf chunks": b"caff\0\1\0\0" + repeated(b"ABCD" + bytes(8)),
    "w64 chunks": bytes.fromhex("726966662e91cf11a5d628db04c10000") + repeated(bytes(24)),
    "asf objects": bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(14 + SIZE),
    "avi lists": b"RIFF\0\0\0\0AVI " + repeated(b"LIST\0\0\0\0"),
    "boxes": b"\0\0\0\x08ftyp" + repeated(b"\0\0\0\x08moov"),
    "matroska": b"\x1a\x45\xdf\xa3" + repeated(b"\x80"),
    "voc blocks": b"Creative Voice File\x1a\x1a\0" + repeated(b"\1\0\0\0"),
    "nist lines": b"NIST_1A\n" + repeated(b"\nsample_count -i 1"),
    "flac blocks": b"fLaC" + repeated(b"\4\0\0\0"),
    "mpeg headers": repeated(b"\xff\xfb"),
    "mpeg headers of frames": repeated(b"\xff\xe2\x10\0"),
    "tags": repeated(b"ID3\3\0\0\0\0\0\0"),
    "ogg pages": repeated(b"OggS\0\2" + bytes(20) + b"\0\0", SIZE // 8),
    "ogg pages that end within others": repeated(b"OggS\0\2", SIZE // 8),
    "transport packets": repeated(b"G" + bytes(187)),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_containers(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(CONTENTS[name])
    with suppress(AudioError), open_audio(str(tmp_path / "a")) as reader:
        assert reader.header.channels > 0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where files are read from, each time."""
    offsets: list[int] = []
    read_at = FilePart.read_at

    def count(file: FilePart, offset: int, size: int) -> bytes:
        offsets.append(offset)
        return read_at(file, offset, size)

    monkeypatch.setattr(FilePart, "read_at", count)
    return offsets


def test_tags_before_the_sound_are_not_followed_without_end(
    tmp_path: Path, reads: list[int]
) -> None:
    (tmp_path / "a").write_bytes(CONTENTS["tags"])
    with (tmp_path / "a").open("rb") as file, pytest.raises(NotAudioError):
        sniff(FilePart(file))
    assert 0 < len(reads) < 200


def test_chunks_that_may_lie_behind_the_sound_are_not_tried_without_end(
    tmp_path: Path, reads: list[int]
) -> None:
    content = b"\x81" * 5000 + b"LIST\0\0\0\0" * 100_000 + b"\x81" * 99
    (tmp_path / "a").write_bytes(wav((b"data", bytes(44))) + content)
    with (tmp_path / "a").open("rb") as file:
        format_, part = sniff(FilePart(file))
        format_.read_length(part)
    assert 0 < len(reads) < 50_000


def test_boxes_that_claim_each_other_are_looked_at_once(tmp_path: Path, reads: list[int]) -> None:
    """Each moov holds a trak that claims all that follows, in which there is a mdia after mdia."""
    moov = struct.pack(">I4sI4sI4s", 24, b"moov", 0x7FFFFFFF, b"trak", 24, b"mdia")
    (tmp_path / "a").write_bytes(b"\0\0\0\x08ftyp" + moov * 9000)
    with (tmp_path / "a").open("rb") as file:
        mp4_length(FilePart(file))
    assert 0 < len(reads) < 100_000
