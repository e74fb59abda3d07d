from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from earmark.transforms.archives.members import member_copy, place_of
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.decoding.stage import decode_frames
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.errors import AudioError, ReadError
from earmark.transforms.settings import Decoding, FrameGrid
from earmark.transforms.storage.object_stores import ObjectStores
from earmark.transforms.storage.reading import read_uri
from earmark.transforms.storage.stored import Reading, Stored
from earmark.transforms.storage.temporary_copies import RESERVE_BYTES, temporary_copy

MB = 1 << 20
NO_ROOM = r"no room .* temporary folder .*: it has {} bytes, and .* are free, .*TMPDIR"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(name="room")
def _room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the temporary folder one on a small disk, with so much to be used."""

    def limit(bytes_: int) -> None:
        def usage(_: str) -> SimpleNamespace:
            used = sum(path.stat().st_size for path in folder.iterdir())
            return SimpleNamespace(total=1 << 40, free=bytes_ + RESERVE_BYTES - used)

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return limit


def zipped(path: Path, **sizes: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in sizes.items():
            archive.writestr(f"{name}.wav", bytes(size))


def copied(uri: str) -> bytes:
    place = place_of(uri)
    assert place is not None
    with member_copy(place) as path:
        return Path(path).read_bytes()


def test_a_member_that_is_too_large_is_a_failure_of_its_own(tmp_path, folder, room):
    zipped(tmp_path / "a.zip", small=MB, large=5 * MB)
    room(3 * MB)
    with pytest.raises(ReadError, match=NO_ROOM.format("5,242,880")) as told:
        copied(f"{tmp_path}/a.zip!/large.wav")
    assert str(folder) in str(told.value)
    assert "\n" not in str(told.value)
    assert copied(f"{tmp_path}/a.zip!/small.wav") == bytes(MB)
    assert list(folder.iterdir()) == []


def test_nothing_is_written_of_what_is_known_to_be_too_large(folder, room, monkeypatch):
    room(3 * MB)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", forbidden_writing())
    with pytest.raises(ReadError, match="no room"), temporary_copy(5 * MB):
        pytest.fail("it was begun")


def forbidden_writing() -> Callable[..., object]:
    make = tempfile.NamedTemporaryFile

    def made(**kwargs: object) -> object:
        file = make(**kwargs)
        file.write = lambda _: pytest.fail("it was written to")
        return file

    return made


def test_what_other_copies_will_take_counts_as_taken(folder, room):
    room(5 * MB)
    with temporary_copy(3 * MB) as first:
        first.write(bytes(MB))
        with pytest.raises(ReadError, match="no room"), temporary_copy(3 * MB):
            pytest.fail("it was begun")
        with temporary_copy(2 * MB) as second:
            second.write(bytes(2 * MB))
            first.write(bytes(2 * MB))
    with temporary_copy(5 * MB):
        pass


@pytest.mark.parametrize("size_bytes", [None, 3 * MB])
def test_what_is_longer_than_it_was_said_to_be_leaves_the_reserve_free(folder, room, size_bytes):
    room(5 * MB)
    with temporary_copy(size_bytes) as copy:
        for _ in range(5):
            copy.write(bytes(MB))
        with pytest.raises(ReadError, match="no room"):
            copy.write(b"x")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_is_full_all_the_same_is_told(folder, number):
    with temporary_copy(100) as copy:
        copy._file = SimpleNamespace(write=lambda _: fail(number))
        with pytest.raises(ReadError, match=os.strerror(number)) as told:
            copy.write(b"x")
    assert str(folder) in str(told.value)


def test_one_that_is_broken_is_no_matter_of_room(folder):
    with temporary_copy(100) as copy:
        copy._file = SimpleNamespace(write=lambda _: fail(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            copy.write(b"x")


def fail(number: int) -> int:
    raise OSError(number, os.strerror(number))


def test_what_is_written_in_parts_is_whole(folder):
    with temporary_copy(10) as copy:
        write = copy._file.write
        copy._file = SimpleNamespace(write=lambda part: write(part[:3]))
        copy.write(b"0123456789")
        assert Path(copy.name).read_bytes() == b"0123456789"
        assert copy.written_bytes == 10


@pytest.fixture(name="remote")
def _remote(monkeypatch) -> AudioObject:
    """An object of 5 MB in a store."""
    there = Stored("az://bucket/a.wav", 5 * MB, 1.0)
    monkeypatch.setattr(ObjectStores, "read", lambda *_: Reading(there, iter([bytes(5 * MB)])))
    return AudioObject(there.uri, 5 * MB, there.version)


def test_an_object_elsewhere_that_is_too_large_is_a_failure_of_its_own(remote, room):
    room(3 * MB)
    for listed in (remote, remote._replace(version="")):
        no_room = pytest.raises(ReadError, match=NO_ROOM.format("5,242,880"))
        with no_room, local_copy(listed):
            pytest.fail("it was copied")
    with pytest.raises(OSError, match="no room"):
        read_uri(remote.uri)
    room(5 * MB)
    with local_copy(remote) as path:
        assert Path(path).stat().st_size == 5 * MB


def test_it_has_an_ending_that_says_so(remote, room):
    room(3 * MB)
    (block,) = decode_frames([Span(remote)], Decoding(FrameGrid(16_000, 15_600, 15_600)))
    assert block.ending.trouble[:2] == ("read", "io")


LIMITED = """
import resource, sys
from tests.transforms.storage.test_temporary_copies import copied
from earmark.transforms.errors import ReadError
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
try:
    copied(sys.argv[1] + "!/large.wav")
except ReadError as error:
    print(error)
print(len(copied(sys.argv[1] + "!/small.wav")))
"""


def test_so_it_is_where_files_may_not_grow_so_large(tmp_path):
    zipped(tmp_path / "a.zip", small=MB, large=5 * MB)
    told, small = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path / "a.zip"],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert os.strerror(errno.EFBIG) in told
    assert "5,242,880 bytes" in told
    assert int(small) == MB


def test_damage_is_told_as_damage_where_there_is_room(tmp_path):
    zipped(tmp_path / "a.zip", a=MB)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[100] ^= 255
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(AudioError) as told:
        copied(f"{tmp_path}/a.zip!/a.wav")
    assert told.value.reason == "damaged"
