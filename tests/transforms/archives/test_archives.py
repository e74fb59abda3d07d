from __future__ import annotations

import gzip
import io
import os
import random
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.shared import lending
from earmark.transforms.archives import gzip_streams
from earmark.transforms.archives import members as archives
from earmark.transforms.archives.gzip_streams import GzipReader
from earmark.transforms.archives.members import is_archive, member_copy, place_of
from earmark.transforms.elements import AudioObject
from earmark.transforms.errors import (
    AudioError,
    DamagedError,
    EmptyFileError,
    ReadError,
    UnsupportedError,
)
from earmark.transforms.listing.member_listing import list_with_members

Tree = dict[str, bytes]


def write_tar(path: Path, tree: Tree, mode: str = "w") -> None:
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as archive:
        for name, content in tree.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), 1_700_000_000
            archive.addfile(entry, io.BytesIO(content))


def write_tar_gz(path: Path, tree: Tree) -> None:
    write_tar(path, tree, "w:gz")


def write_zip(path: Path, tree: Tree, method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in tree.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)


def write_deflated(path: Path, tree: Tree) -> None:
    write_zip(path, tree, zipfile.ZIP_DEFLATED)


KINDS: dict[str, Callable[[Path, Tree], None]] = {
    "a.tar": write_tar,
    "a.tar.gz": write_tar_gz,
    "b.TGZ": write_tar_gz,
    "a.zip": write_zip,
    "deflated.zip": write_deflated,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def listed(pattern: Path | str, all_files: bool = False) -> list[AudioObject]:
    return [f.object for f in list_with_members(str(pattern), all_files) if f.skipped_as is None]


def skipped(pattern: Path | str) -> list[str]:
    return [f.skipped_as for f in list_with_members(str(pattern)) if f.skipped_as is not None]


def content(uri: str) -> bytes:
    place = place_of(uri)
    assert place is not None
    with member_copy(place) as path:
        return Path(path).read_bytes()


def readable(path: Path) -> tuple[Tree, list[AudioError]]:
    """What of an archive can be read, by name, and the troubles with the rest."""
    good, troubles = {}, []
    for each in listed(path):
        try:
            good[each.uri.removeprefix(f"{path}!/")] = content(each.uri)
        except AudioError as error:
            troubles.append(error)
    return good, troubles


def refused(uri: str) -> AudioError:
    with pytest.raises(AudioError) as told:
        content(uri)
    return told.value


ENDINGS = [".wav", ".FLAC", ".txt", "", "!/x.wav", ".tar!/é ü.mp3"]
steps = st.text(
    st.characters(exclude_characters="/\0\\", exclude_categories=("Cs",)), min_size=1, max_size=8
).filter(lambda step: step not in (".", ".."))
names = st.lists(steps, min_size=1, max_size=5).map("/".join)
trees = st.dictionaries(
    st.tuples(names, st.sampled_from(ENDINGS)).map("".join),
    st.binary(max_size=3000) | st.binary(max_size=300).map(lambda part: part * 400),
    max_size=8,
)


class TestMembers:
    @kinds
    @given(tree=trees)
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_each_is_listed_once_and_read_in_any_order_by_many_threads(
        self, kind: str, tree: Tree, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.mktemp("in !") / kind
        KINDS[kind](path, tree)
        found = listed(path, all_files=True)
        assert sorted(each.uri for each in found) == sorted(f"{path}!/{name}" for name in tree)
        assert all(each.size_bytes == len(tree[each.uri[len(f"{path}!/") :]]) for each in found)
        uris = [each.uri for each in found] * 2
        random.Random(1).shuffle(uris)
        with ThreadPoolExecutor(4) as threads:
            contents = list(threads.map(content, uris))
        assert contents == [tree[uri[len(f"{path}!/") :]] for uri in uris]

    @kinds
    def test_an_archive_of_nothing_is_whole(self, tmp_path: Path, kind: str) -> None:
        KINDS[kind](tmp_path / kind, {})
        assert listed(tmp_path) == []

    @kinds
    def test_names_decide_what_is_left_out_as_in_a_folder(self, tmp_path: Path, kind: str) -> None:
        tree = {"d/a.wav": b"1", "._a.wav": b"2", "x.txt": b"3", "d/b": b"4", "in.zip": b"5"}
        KINDS[kind](tmp_path / kind, tree)
        assert [each.uri for each in listed(tmp_path)] == [f"{tmp_path / kind}!/d/a.wav"]
        assert sorted(skipped(tmp_path)) == ["", "._*", ".txt", ".zip"]
        assert len(listed(tmp_path, all_files=True)) == 5

    @kinds
    def test_folders_are_no_objects_and_leading_dots_are_dropped(
        self, tmp_path: Path, kind: str
    ) -> None:
        path = tmp_path / kind
        KINDS[kind](path, {"./d/": b"", "./d//a.wav": b"1"})
        if "zip" not in kind:
            with tarfile.open(path, "w") as archive:
                (tmp_path / "d").mkdir()
                (tmp_path / "d" / "a.wav").write_bytes(b"1")
                archive.add(tmp_path / "d", "./d")
        assert [each.uri for each in listed(path, all_files=True)] == [f"{path}!/d/a.wav"]
        assert content(f"{path}!/d/a.wav") == b"1"

    @kinds
    def test_a_version_changes_with_the_archive_and_differs_between_contents(
        self, tmp_path: Path, kind: str
    ) -> None:
        path = tmp_path / kind
        KINDS[kind](path, {"a.wav": b"1", "b.wav": b"23"})
        first, second = listed(path)
        assert first.version.startswith(f"{path.stat().st_size}-{path.stat().st_mtime_ns}/1-")
        assert first.version != second.version
        KINDS[kind](path, {"a.wav": b"2", "b.wav": b"23"})
        os.utime(path, ns=(0, 5))
        assert listed(path)[0].version != first.version
        assert content(first.uri) == b"2"

    def test_of_several_with_one_name_the_last_is_read(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {"a.wav": b"1"})
        with tarfile.open(tmp_path / "a.tar", "a") as archive:
            entry = tarfile.TarInfo("./a.wav")
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"22"))
        assert {each.uri for each in listed(tmp_path / "a.tar")} == {f"{tmp_path}/a.tar!/a.wav"}
        assert content(f"{tmp_path}/a.tar!/a.wav") == b"22"

    def test_links_lead_to_what_is_in_the_archive(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {"d/a.wav": b"1"})
        targets = {"h.wav": "d/a.wav", "d/s.wav": "../h.wav", "out.wav": "/etc/passwd"}
        targets["round.wav"] = "round.wav"
        with tarfile.open(tmp_path / "a.tar", "a") as archive:
            for name, target in targets.items():
                entry = tarfile.TarInfo(name)
                entry.type = tarfile.LNKTYPE if name == "h.wav" else tarfile.SYMTYPE
                entry.linkname = target
                archive.addfile(entry)
        uris = [each.uri for each in listed(tmp_path / "a.tar")]
        assert len(uris) == 5
        assert [content(uri) for uri in uris[:3]] == [b"1"] * 3
        assert [type(refused(uri)) for uri in uris[3:]] == [ReadError] * 2

    def test_what_is_no_file_is_told(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "a.tar", "w") as archive:
            for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
                entry = tarfile.TarInfo(f"{kind.decode()}.wav")
                entry.type = kind
                archive.addfile(entry)
        assert [str(refused(each.uri)) for each in listed(tmp_path)] == [
            "is not a regular file"
        ] * 3

    @pytest.mark.parametrize("name", [b"b\xe9.wav", b"\xe9/\xff \xc3\xa9%41.wav"])
    def test_names_that_are_not_utf_8_are_found_again(self, tmp_path: Path, name: bytes) -> None:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
        folder.mkdir()
        for where in (tmp_path, folder):
            with tarfile.open(where / "a.tar", "w", format=tarfile.GNU_FORMAT) as archive:
                entry = tarfile.TarInfo(os.fsdecode(name))
                entry.size = 3
                archive.addfile(entry, io.BytesIO(b"abc"))
            [found] = listed(where / "a.tar")
            found.uri.encode()
            assert content(found.uri) == b"abc"


class TestNames:
    @pytest.mark.parametrize(
        "uri", ["a.tar", "/x/a.TAR.GZ", "gs://b/a.tgz", "Live!/a.zip", "a b.zip"]
    )
    def test_archives(self, uri: str) -> None:
        assert is_archive(uri)

    @pytest.mark.parametrize(
        "uri", ["a.tar!/b.wav", "atar", "a.gz", "/a.tar/b", "._a.tar", "a.tar!"]
    )
    def test_others(self, uri: str) -> None:
        assert not is_archive(uri)

    def test_what_is_there_by_exactly_that_name_is_meant(self, tmp_path: Path) -> None:
        live = tmp_path / "Live!" / "x.tar!"
        live.mkdir(parents=True)
        (live / "a.wav").write_bytes(b"1")
        write_tar(live / "y.tar", {"b.wav": b"2"})
        assert place_of(f"{live}/a.wav") is None
        assert [each.uri for each in listed(f"{live}/a.wav")] == [f"{live}/a.wav"]
        assert [each.uri for each in listed(tmp_path)] == [f"{live}/a.wav", f"{live}/y.tar!/b.wav"]
        assert content(f"{live}/y.tar!/b.wav") == b"2"

    def test_an_archive_beside_a_folder_with_its_members_names_fails(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "x.tar", {"a.wav": b"2"})
        (tmp_path / "x.tar!").mkdir()
        (tmp_path / "x.tar!" / "a.wav").write_bytes(b"1")
        found = listed(tmp_path)
        assert [each.uri for each in found] == [f"{tmp_path}/x.tar!/", f"{tmp_path}/x.tar!/a.wav"]

    def test_members_folders_and_globs_can_be_asked_for(self, tmp_path: Path) -> None:
        tree = {"a/x.wav": b"", "a/b/y.flac": b"", "a/n.txt": b"", "[1].dat": b"", "1.dat": b""}
        for name in ("p.tar", "q.zip"):
            KINDS["a.tar" if name == "p.tar" else "a.zip"](tmp_path / name, tree)

        def names(pattern: str) -> list[str]:
            return [each.uri.removeprefix(f"{tmp_path}/") for each in listed(tmp_path / pattern)]

        assert names("p.tar!/a/n.txt") == ["p.tar!/a/n.txt"]
        assert names("p.tar!/[1].dat") == ["p.tar!/[1].dat"]
        assert names("p.tar!/[2].dat") == []
        assert names("p.tar!/?.dat") == ["p.tar!/1.dat"]
        assert names("p.tar!/a") == ["p.tar!/a/x.wav", "p.tar!/a/b/y.flac"]
        assert names("**/*.tar!/**/*.flac") == ["p.tar!/a/b/y.flac"]
        assert names("*!/**/*.flac") == []
        assert names("*.zip!/a/*") == ["q.zip!/a/x.wav", "q.zip!/a/b/y.flac"][:1]
        [gone] = listed(tmp_path / "p.tar!/gone.wav")
        assert gone.size_bytes is None
        assert "not in the archive" in str(refused(gone.uri))


class TestDamage:
    @pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.zip", "deflated.zip"])
    def test_wherever_it_is_cut_the_rest_is_one_failure(self, tmp_path: Path, kind: str) -> None:
        chance = random.Random(5)
        tree = {f"{n}/a.wav": chance.randbytes(chance.choice((0, 5, 512, 2000))) for n in range(12)}
        path = tmp_path / kind
        KINDS[kind](path, tree)
        whole = path.read_bytes()
        if kind == "a.tar":  # what is missing behind the end mark, nobody can see
            whole = whole[: whole.rindex(b"ustar") // 512 * 512 + 2560]
        counts = set()
        for cut in sorted(chance.sample(range(1, len(whole)), 200)):
            path.write_bytes(whole[:cut])
            os.utime(path, ns=(0, cut))
            good, troubles = readable(path)
            is_marked = kind == "a.tar" and whole[cut - 512 : cut] == bytes(512)
            assert is_marked or [type(each) for each in troubles] == [DamagedError], cut
            assert good.items() <= tree.items()
            counts.add(len(good))
        assert 0 in counts
        assert len(counts) > 6

    @pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.zip", "deflated.zip"])
    def test_no_flipped_bit_gives_anything_but_the_known_troubles(
        self, tmp_path: Path, kind: str
    ) -> None:
        chance = random.Random(6)
        tree = {f"{n}/a.wav": chance.randbytes(3) * 100 for n in range(4)}
        path = tmp_path / kind
        KINDS[kind](path, tree)
        whole = path.read_bytes()
        for number in range(500):
            flipped = bytearray(whole)
            flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            os.utime(path, ns=(0, number))
            good, troubles = readable(path)
            if kind != "a.tar":  # which has no checksums of its contents
                assert all(content in tree.values() for content in good.values()) or troubles

    @given(
        junk=st.binary(max_size=2000), start=st.sampled_from([b"", b"PK\3\4", b"\x1f\x8b\x08\0"])
    )
    @settings(max_examples=200, deadline=None)
    @pytest.mark.parametrize("name", ["a.tar", "a.zip"])
    def test_junk_is_one_failure(
        self, tmp_path_factory: pytest.TempPathFactory, name: str, junk: bytes, start: bytes
    ) -> None:
        path = tmp_path_factory.mktemp("junk") / name
        path.write_bytes(start + junk)
        if not (junk[:512].count(b"\0") == 512 or not start + junk):
            [rest] = listed(path)
            assert rest == AudioObject(f"{path}!/", None, rest.version)
            assert isinstance(refused(rest.uri), AudioError)

    def test_an_empty_file_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").touch()
        [rest] = listed(tmp_path)
        assert isinstance(refused(rest.uri), EmptyFileError)

    def test_the_message_says_how_far_it_was_read(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {f"{n}.wav": bytes(512) for n in range(9)})
        os.truncate(tmp_path / "a.tar", 8 * 1024 + 700)
        *_, rest = listed(tmp_path)
        assert str(refused(rest.uri)).startswith("no more than 8 members of the archive can be")

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_a_member_with_damaged_content_fails_alone(self, tmp_path: Path, method: int) -> None:
        part = random.Random(1).randbytes(5000)
        write_zip(tmp_path / "a.zip", {"a.wav": part, "b.wav": part[::-1]}, method)
        whole = (tmp_path / "a.zip").read_bytes()
        (tmp_path / "a.zip").write_bytes(whole[:2000] + bytes([whole[2000] ^ 9]) + whole[2001:])
        good, troubles = readable(tmp_path / "a.zip")
        assert good == {"b.wav": part[::-1]}
        assert [type(each) for each in troubles] == [DamagedError]

    def test_what_cannot_be_opened_is_told(self, tmp_path: Path, monkeypatch: Any) -> None:
        write_tar(tmp_path / "a.tar", {"a.wav": b""})

        def refuse(uri: str) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(archives, "open_file", refuse)
        [rest] = listed(tmp_path)
        assert isinstance(refused(rest.uri), ReadError)
        assert "Permission denied" in str(refused(rest.uri))

    def test_a_link_that_leads_nowhere_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").symlink_to("gone")
        assert listed(tmp_path) == [AudioObject(f"{tmp_path}/a.tar", None, "")]


class TestRefusals:
    @kinds
    @pytest.mark.parametrize("name", ["../a.wav", "d/../../a.wav", "/etc/a.wav", "d/../a.wav"])
    def test_names_that_lead_out(self, tmp_path: Path, kind: str, name: str) -> None:
        path = tmp_path / "in" / kind
        path.parent.mkdir()
        KINDS[kind](path, {name: b"1", "good.wav": b"2"})
        bad, good = listed(path)
        assert content(good.uri) == b"2"
        assert isinstance(refused(bad.uri), UnsupportedError)
        assert "refused" in str(refused(bad.uri))

    def test_a_nul(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {"a\0b.wav": b"1"})
        with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            entry = tarfile.TarInfo("x.wav")
            entry.pax_headers = {"path": "a\0b.wav"}
            archive.addfile(entry)
        [found] = listed(tmp_path)
        assert "refused" in str(refused(found.uri))

    def test_encrypted_members(self, tmp_path: Path) -> None:
        write_zip(tmp_path / "a.zip", {"a.wav": b"1", "b.wav": b"2"})
        whole = bytearray((tmp_path / "a.zip").read_bytes())
        whole[6] |= 1
        whole[whole.index(b"PK\1\2") + 8] |= 1
        (tmp_path / "a.zip").write_bytes(whole)
        first, second = listed(tmp_path)
        assert (type(refused(first.uri)), str(refused(first.uri))) == (
            UnsupportedError,
            "encrypted",
        )
        assert content(second.uri) == b"2"

    def test_overlapping_members(self, tmp_path: Path) -> None:
        write_zip(tmp_path / "a.zip", {"a.wav": bytes(99), "b.wav": b"2", "c.wav": b"3"})
        whole = bytearray((tmp_path / "a.zip").read_bytes())
        second = whole.index(b"PK\1\2", whole.index(b"PK\1\2") + 1)
        whole[second + 42 : second + 46] = struct.pack("<I", 40)
        (tmp_path / "a.zip").write_bytes(whole)
        *bad, good = listed(tmp_path)
        assert ["shares bytes" in str(refused(each.uri)) for each in bad] == [True, True]
        assert content(good.uri) == b"3"

    def test_links_and_pipes_in_a_zip(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for number, mode in enumerate((stat.S_IFLNK, stat.S_IFIFO)):
                entry = zipfile.ZipInfo(f"{number}.wav")
                entry.external_attr = mode << 16
                archive.writestr(entry, "x")
        assert [type(refused(each.uri)) for each in listed(tmp_path)] == [
            UnsupportedError,
            ReadError,
        ]

    def test_bombs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("gzip_streams", "zip_members"):
            monkeypatch.setattr(f"earmark.transforms.archives.{module}.BOMB_BYTES", 1 << 20)
        tree = {"a.wav": bytes(3 << 20), "b.wav": b"2"}
        write_deflated(tmp_path / "a.zip", tree)
        bomb, good = listed(tmp_path / "a.zip")
        assert "expands too much" in str(refused(bomb.uri))
        assert content(good.uri) == b"2"
        write_tar_gz(tmp_path / "a.tgz", {"small.wav": b"1", "a.wav": bytes(5 << 20)})
        monkeypatch.setattr(gzip_streams, "BOMB_RATIO", 900)
        small, rest = listed(tmp_path / "a.tgz")
        assert content(small.uri) == b"1"
        assert rest.uri == f"{tmp_path}/a.tgz!/"
        assert "unpacks to more than" in str(refused(rest.uri))

    def test_more_than_the_size_declared(self, tmp_path: Path) -> None:
        write_deflated(tmp_path / "a.zip", {"a.wav": bytes(5000)})
        whole = bytearray((tmp_path / "a.zip").read_bytes())
        entry = whole.index(b"PK\1\2")
        whole[entry + 24 : entry + 28] = struct.pack("<I", 50)
        (tmp_path / "a.zip").write_bytes(whole)
        assert isinstance(refused(listed(tmp_path)[0].uri), DamagedError)

    @kinds
    def test_too_many_members(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
        KINDS[kind](tmp_path / kind, {f"{n}.wav": b"" for n in range(4)})
        *some, rest = listed(tmp_path)
        assert len(some) == 3
        assert "more than 3 members" in str(refused(rest.uri))

    @kinds
    def test_what_comes_from_a_name_on_that_no_file_can_have(
        self, tmp_path: Path, kind: str
    ) -> None:
        long = "x.zip!/" * 585 + "a.wav"  # of 4100 characters
        KINDS[kind](tmp_path / kind, {"a.wav": b"1", long[5:]: b"2", long: b"3", "b.wav": b"4"})
        first, second, rest = listed(tmp_path)
        assert (content(first.uri), content(second.uri)) == (b"1", b"2")
        assert isinstance(refused(rest.uri), UnsupportedError)
        assert "a name of 4,100 characters" in str(refused(rest.uri))

    @pytest.mark.parametrize("size", [-512, -(1 << 40), 1 << 60, 1 << 80])
    def test_sizes_that_lead_back_or_nowhere(self, tmp_path: Path, size: int) -> None:
        entry = tarfile.TarInfo("a.wav")
        header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
        number = size.to_bytes(12, "big", signed=True)
        header[124:136] = bytes([number[0] | 0x80]) + number[1:]
        checksum = 256 + sum(header[:148]) + sum(header[156:])
        header[148:156] = b"%06o\0 " % checksum
        (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(10240))
        [rest] = listed(tmp_path)
        assert isinstance(refused(rest.uri), DamagedError)


class TestSize:
    @pytest.mark.parametrize("kind", ["a.tar", "a.tar.gz", "a.zip"])
    def test_many_members_are_listed_quickly_in_bounded_memory(
        self, tmp_path: Path, kind: str
    ) -> None:
        KINDS[kind](tmp_path / kind, {f"{n}/a.wav": b"" for n in range(6000)})
        began = time.monotonic()
        tracemalloc.start()
        assert sum(1 for _ in list_with_members(str(tmp_path))) == 6000
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
        tracemalloc.stop()
        assert time.monotonic() - began < 20

    def test_a_member_of_a_tar_gz_is_not_sought_from_the_beginning(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gzip_streams, "_FIRST_SPACING_BYTES", 1 << 17)
        chance = random.Random(2)
        tree = {f"{n}.wav": chance.randbytes(1 << 16) for n in range(100)}
        write_tar_gz(tmp_path / "a.tar.gz", tree)
        uris = [each.uri for each in listed(tmp_path)]
        unpacked: list[int] = []
        advance = GzipReader._advance

        def note(self: GzipReader, size: int) -> None:
            unpacked.append(size)
            advance(self, size)

        monkeypatch.setattr(GzipReader, "_advance", note)
        for uri in reversed(uris):
            assert content(uri) == tree[uri.rpartition("/")[2]]
        assert sum(unpacked) < 5 * sum(map(len, tree.values()))

    def test_nor_is_its_neighbour_where_entry_points_are_few(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gzip_streams, "MAX_POINTS", 20)
        self.test_a_member_of_a_tar_gz_is_not_sought_from_the_beginning(tmp_path, monkeypatch)


class TestIndexes:
    @pytest.fixture
    def scanned(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        """The archives that are gone through from now on; nothing is known of any."""
        opened: list[str] = []
        members = archives._Scan._members

        def note(self: archives._Scan, file: Any) -> Any:
            opened.append(self._archive.uri)
            return members(self, file)

        monkeypatch.setattr(archives._Scan, "_members", note)
        with lending(archives._Indexes()):
            yield opened

    @kinds
    def test_a_process_that_has_not_listed_an_archive_goes_through_it_once(
        self, tmp_path: Path, kind: str, scanned: list[str]
    ) -> None:
        tree = {f"{n}.wav": bytes([n]) * n for n in range(50)}
        KINDS[kind](tmp_path / kind, tree)
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(lambda name: content(f"{tmp_path / kind}!/{name}"), tree)) == [
                *tree.values()
            ]
        assert len(scanned) == 1

    def test_those_used_last_are_kept(
        self, tmp_path: Path, scanned: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archives, "INDEX_BYTES", 350_000)
        for number in range(4):
            write_tar_gz(tmp_path / f"{number}.tgz", {"a.wav": b"1"})
        for number in (0, 1, 2, 3, 3, 2, 1, 0):
            content(f"{tmp_path}/{number}.tgz!/a.wav")
        assert [Path(uri).stem for uri in scanned] == [*"0123", *"10"]


class TestGzipReader:
    def blocks(self) -> Iterator[bytes]:
        chance = random.Random(3)
        for number in range(200):
            yield chance.randbytes(10_000) if number % 3 else bytes(30_000)

    @pytest.mark.parametrize("streams", [1, 7])
    def test_any_place_is_read_as_gzip_reads_it(
        self, streams: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gzip_streams, "_FIRST_SPACING_BYTES", 1 << 17)
        monkeypatch.setattr(gzip_streams, "MAX_POINTS", 8)
        whole = b"".join(self.blocks())
        step = -(-len(whole) // streams)
        packed = b"".join(gzip.compress(whole[n : n + step], 6) for n in range(0, len(whole), step))
        packed += bytes(100)
        reader = GzipReader(io.BytesIO(packed))
        assert reader.read(len(whole) + 1) == whole
        assert 3 < len(reader.points) <= 8
        assert not reader.fresh
        chance = random.Random(4)
        for points in (None, reader.points):
            other = GzipReader(io.BytesIO(packed), points)
            for _ in range(30):
                place, size = chance.randrange(len(whole)), chance.randrange(50_000)
                assert other.seek(place) == place
                assert other.read(size) == whole[place : place + size]
                assert other.tell() == min(place + size, len(whole))
            assert other.seek(len(whole) + 5) == len(whole)
            assert other.read(5) == b""
            assert len(other.fresh) <= 8

    def test_points_that_lie_far_apart_are_filled_in_where_it_is_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gzip_streams, "_FIRST_SPACING_BYTES", 1 << 17)
        whole = b"".join(self.blocks())
        file = io.BytesIO(gzip.compress(whole))
        first = GzipReader(file, [])
        first.seek(2_000_000)
        positions = [point.position for point in first.fresh]
        assert len(positions) > 5
        assert positions == sorted(positions)
        points = [first.points[0], *first.fresh]
        for place in (1_999_000, 700_000, 5):
            second = GzipReader(file, points)
            assert second.seek(place) == place
            assert second.read(99_999) == whole[place : place + 99_999]
            assert len(second.fresh) < 3

    def test_damage_is_told_after_what_is_good(self) -> None:
        packed = gzip.compress(b"abc" * 1000)
        cut = GzipReader(io.BytesIO(packed[:-5]))
        assert cut.read(9999) == b"abc" * 1000
        with pytest.raises(DamagedError, match="breaks off"):
            cut.read(1)
        wrong = GzipReader(io.BytesIO(packed[:-5] + b"xxxxx"))
        with pytest.raises(zlib.error, match="incorrect"):
            wrong.read(9999)


class TestTarHeaders:
    @pytest.mark.parametrize(
        "records",
        [
            b"1" * 60_000,
            b"9" * (1 << 21),
            (b"1" * 999 + b" ") * 50,
            b"0 a=b\n",
            b"6 abcd" * 170_000 + b"=",
            b"9 " * 500_000,
            b"9999999999999999999999 a" * 40_000,
        ],
    )
    def test_pax_records_do_not_hold_the_listing_up(self, tmp_path: Path, records: bytes) -> None:
        header = tarfile.TarInfo("pax")
        header.type, header.size = tarfile.XHDTYPE, len(records)
        padding = bytes(-len(records) % 512)
        member = tarfile.TarInfo("a.wav").tobuf()
        (tmp_path / "a.tar").write_bytes(header.tobuf() + records + padding + member + bytes(1024))
        began = time.monotonic()
        assert len(listed(tmp_path)) == 1
        assert time.monotonic() - began < 2

    def test_damage_behind_a_member_leaves_it_readable(self, tmp_path: Path) -> None:
        write_tar(tmp_path / "a.tar", {"a.wav": b"1", "é" * 99: b"2"})
        whole = bytearray((tmp_path / "a.tar").read_bytes())
        second = whole.index(b"ustar", 512) // 512 * 512  # of the pax header, then of its member
        last = whole.rindex(b"ustar") // 512 * 512
        for place in (second + 3, last + 3):
            damaged = bytearray(whole)
            damaged[place] ^= 9
            (tmp_path / "a.tar").write_bytes(damaged)
            os.utime(tmp_path / "a.tar", ns=(0, place))
            good, troubles = readable(tmp_path / "a.tar")
            assert good == {"a.wav": b"1"}
            assert [type(each) for each in troubles] == [DamagedError]

    def test_headers_that_stand_before_headers_without_end(self, tmp_path: Path) -> None:
        header = tarfile.TarInfo("pax")
        header.type = tarfile.XHDTYPE
        (tmp_path / "a.tar").write_bytes(header.tobuf() * 5000)
        [rest] = listed(tmp_path)
        assert isinstance(refused(rest.uri), DamagedError)

    def test_a_sparse_file_is_told(self, tmp_path: Path) -> None:
        entry = tarfile.TarInfo("a.wav")
        entry.type = tarfile.GNUTYPE_SPARSE
        (tmp_path / "a.tar").write_bytes(entry.tobuf() + bytes(1024))
        [found] = listed(tmp_path)
        assert isinstance(refused(found.uri), UnsupportedError)
