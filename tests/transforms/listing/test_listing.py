from __future__ import annotations

import contextlib
import csv
import errno
import fnmatch
import glob
import io
import itertools
import json
import os
import re
import string
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from hypothesis import given
from hypothesis import strategies as st

from earmark.transforms.archives.members import member_copy, place_of
from earmark.transforms.audio.formats import AUDIO_EXTENSIONS
from earmark.transforms.elements import AudioObject, Listed
from earmark.transforms.listing.globs import Glob, pattern_regex
from earmark.transforms.listing.manifests import is_manifest, read_manifest
from earmark.transforms.listing.matching import list_pattern
from earmark.transforms.listing.member_listing import is_meant, list_meant
from earmark.transforms.listing.objects import check_patterns, list_audio
from earmark.transforms.planning.plan import Retry, new_plan
from earmark.transforms.storage.lookup import find, look_up
from earmark.transforms.storage.paths import (
    ListingError,
    file_kind,
    local_path,
    local_uri,
)
from earmark.transforms.storage.stored import is_missing

AS_ROOT = os.geteuid() == 0


STAGED = "_staging-20261101T120000Z-0123cdef"
"""A folder of unfinished output."""


class MemoryFileSystem(FileSystem):  # type: ignore[misc]
    """Objects in a dict; like an object store it has no folders."""

    NAME = "mem"
    OBJECTS: dict[str, bytes] = {}  # noqa: RUF012
    CHANGED_S = 1_700_000_000.25

    @classmethod
    def scheme(cls) -> str:
        return cls.NAME

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for uri in sorted(self.OBJECTS):
            if uri.startswith(dir_or_prefix):
                yield self.metadata(uri)

    def metadata(self, path: str) -> FileMetadata:
        if path not in self.OBJECTS:
            raise BeamIOError("Metadata operation failed", {path: FileNotFoundError(path)})
        return FileMetadata(path, len(self.OBJECTS[path]), self.CHANGED_S)

    def exists(self, path: str) -> bool:
        return path in self.OBJECTS

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> BinaryIO:
        if path not in self.OBJECTS:
            raise FileNotFoundError(path)
        return io.BytesIO(self.OBJECTS[path])

    def _not_needed(self, *_: Any) -> Any:
        raise NotImplementedError

    join = split = mkdirs = create = copy = rename = _not_needed
    size = last_updated = checksum = delete = _not_needed


class FolderFileSystem(MemoryFileSystem):
    """As HDFS is: listing gives one folder, with the folders in it as empty files."""

    NAME = "folders"

    def has_dirs(self) -> bool:
        return True

    def exists(self, path: str) -> bool:
        folder = path.rstrip("/") + "/"
        return path in self.OBJECTS or any(uri.startswith(folder) for uri in self.OBJECTS)

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        folder = dir_or_prefix.rstrip("/") + "/"
        below = [uri.removeprefix(folder) for uri in self.OBJECTS if uri.startswith(folder)]
        if not below:
            raise BeamIOError("List operation failed", {folder: NotADirectoryError(folder)})
        for name in sorted({path.partition("/")[0] for path in below}):
            size = len(self.OBJECTS.get(folder + name, b""))
            yield FileMetadata(folder + name, size, self.CHANGED_S)


class ClosedFileSystem(MemoryFileSystem):
    """One that lets nobody in."""

    NAME = "closed"

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        cause = PermissionError("no credentials\nand a long story")
        raise BeamIOError("List operation failed", {dir_or_prefix: cause})


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts objects into the filesystems of this module, each with its URI as content."""

    def put(*uris: str) -> None:
        monkeypatch.setattr(MemoryFileSystem, "OBJECTS", {uri: uri.encode() for uri in uris})

    return put


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def listing(
    patterns: Iterable[str], manifests: Iterable[str] = (), all_files: bool = False
) -> tuple[list[AudioObject], Listed]:
    """What a run hears of an archive of which nothing has been heard."""
    with new_plan() as plan:
        plan.look(list_audio(patterns, manifests, all_files=all_files))
        objects = [each.object for each in plan.due(Retry.NOTHING)]
        return objects, Listed(len(objects), plan.skipped())


def meant_by(pattern: str, all_files: bool = False) -> tuple[list[AudioObject], dict[str, int]]:
    """What is to be heard of a pattern, and how many files of which kind are left out."""
    found = list(list_pattern(pattern, all_files))
    skipped = [each.skipped_as for each in found if each.skipped_as is not None]
    heard = sorted(each.object for each in found if each.skipped_as is None)
    return heard, {kind: skipped.count(kind) for kind in skipped}


def listed_in(folder: Path, pattern: str, all_files: bool = False) -> list[str]:
    """What is to be heard of a pattern, relative to a folder."""
    heard, _ = meant_by(f"{folder}/{pattern}", all_files)
    return [os.path.relpath(item.uri, folder) for item in heard]


def watch_scandir(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gives the folders that are looked into from now on."""
    seen: list[str] = []
    scan = os.scandir

    def watch(folder: Any) -> Any:
        if isinstance(folder, str) and "archive" in folder:
            seen.append(folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", watch)
    return seen


class TestAudioNames:
    @pytest.mark.parametrize(
        "uri",
        [
            "a.wav",
            "/x/a.WAV",
            "gs://b/a.Flac",
            "a.b.mp3",
            "file:///x/%FF.ogg",
            "clip.mp4",
            "a\nb.aiff",
        ],
    )
    def test_extensions_of_sound_and_video_are_audio(self, uri: str) -> None:
        assert file_kind(uri)[1:] in AUDIO_EXTENSIONS

    @pytest.mark.parametrize(
        "uri", ["a.nut", "a.txt", "wav", "a.wav.txt", "/a.wav/b", "._a.wav", "/x/._a.WAV", ""]
    )
    def test_other_names_and_apple_doubles_are_not(self, uri: str) -> None:
        assert file_kind(uri)[1:] not in AUDIO_EXTENSIONS


class TestPatternRegex:
    @pytest.mark.parametrize(
        ("pattern", "matched", "unmatched"),
        [
            ("/a/*.wav", ["/a/x.wav", "/a/.wav", "/a/x\ny.wav"], ["/a/b/x.wav", "/a/x.wav2"]),
            ("/a/**/*.wav", ["/a/x.wav", "/a/b/x.wav", "/a/b/c/x.wav"], ["/b/x.wav", "/a/x.flac"]),
            ("/a/**", ["/a/x", "/a/b/x"], ["/a", "/ab"]),
            ("**/x", ["x", "a/x", "/a/b/x"], ["ax"]),
            ("/a**/x", ["/a/x", "/ab/c/x"], ["/b/x"]),
            ("/a/b**/x", ["/a/b/x", "/a/bc/d/x"], ["/a/x"]),
            ("/a/?.wav", ["/a/x.wav", "/a/\n.wav"], ["/a/.wav", "/a/xy.wav", "/a//.wav"]),
            ("/a[0-9b]", ["/a0", "/ab"], ["/a", "/ac"]),
            ("/a[!0-9]", ["/ab", "/a!"], ["/a0", "/a/"]),
            ("/a[*]", ["/a*"], ["/ab"]),
            ("/a[]]", ["/a]"], ["/a"]),
            ("/a[^x]", ["/a^", "/ax"], ["/ab"]),
            ("/a[", ["/a["], ["/a"]),
            ("/a[]", ["/a[]"], ["/a"]),
            ("/a[b/c]", ["/a[b/c]"], ["/ab"]),
            (r"/a[\d]\d", [r"/ad\d", r"/a\\d"], ["/a11"]),
            ("/a+(b).{c}", ["/a+(b).{c}"], ["/aab.c"]),
        ],
    )
    def test_signs_stand_for_what_they_should(
        self, pattern: str, matched: list[str], unmatched: list[str]
    ) -> None:
        regex = pattern_regex(pattern)
        assert [uri for uri in matched + unmatched if regex.fullmatch(uri)] == matched

    @given(name=st.text())
    def test_an_escaped_name_matches_itself_alone(self, name: str) -> None:
        regex = pattern_regex(glob.escape(name))
        assert regex.fullmatch(name)
        assert not regex.fullmatch(f"{name}x")

    @given(
        pattern=st.text("ab/*?[]!-.", max_size=12), uri=st.text("ab/]-!.[", min_size=1, max_size=12)
    )
    def test_within_one_folder_it_is_a_shells_glob(self, pattern: str, uri: str) -> None:
        """Without folders, the standard library's own translation is the oracle."""
        pattern, uri = pattern.replace("/", "a"), uri.replace("/", "b")
        if "[" in pattern and (uneven(pattern) or "-" in pattern or "!]" in pattern):
            return
        assert bool(pattern_regex(pattern).fullmatch(uri)) == fnmatch.fnmatchcase(uri, pattern)

    def test_a_backward_range_is_refused(self) -> None:
        with pytest.raises(ListingError, match="a range goes upwards"):
            pattern_regex("/a/[z-a]")


class TestFoldersOfAGlob:
    PATTERNS = st.text("ab/*?", max_size=10).map("/{}".format)
    PATHS = st.text("ab/", max_size=6).map("/{}".format)

    @given(pattern=PATTERNS, uri=PATHS)
    def test_whatever_is_matched_lies_where_the_pattern_leads(self, pattern: str, uri: str) -> None:
        glob = Glob(pattern)
        above = [uri[: slash.start()] or "/" for slash in re.finditer("/", uri)]
        if glob.matches(uri):
            assert all(glob.reached(folder) for folder in above)
            assert f"{uri}/".startswith(glob.folder)

    @given(
        pattern=PATTERNS,
        folder=PATHS,
        other=PATHS,
        name=st.from_regex("[ab][ab/]{,3}", fullmatch=True),
    )
    def test_what_is_matched_in_a_folder_follows_from_what_led_there(
        self, pattern: str, folder: str, other: str, name: str
    ) -> None:
        glob = Glob(pattern)
        here, there = os.path.join(folder, name), os.path.join(other, name)
        if glob.reached(folder) <= glob.reached(other) and glob.matches(here):
            assert glob.matches(there)

    @given(pattern=st.text("ab/*?[]!", max_size=10).map("/{}".format))
    def test_a_pattern_leads_to_where_its_walk_begins(self, pattern: str) -> None:
        assert Glob(pattern).reached(Glob(pattern).folder)


def uneven(pattern: str) -> bool:
    return re.search(r"\[!?\]?[^\]]*$", pattern) is not None


class TestLocalUris:
    @given(name=st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name)))
    def test_any_name_of_a_file_survives(self, name: bytes) -> None:
        path = "/" + os.fsdecode(name) + "/x"
        uri = local_uri(path)
        uri.encode("utf-8")
        assert local_path(uri) == os.path.abspath(path)

    @pytest.mark.parametrize(
        ("uri", "path"),
        [
            ("/a/b c.wav", "/a/b c.wav"),
            ("a%20b.wav", "a%20b.wav"),
            ("file:///a/b%20c.wav", "/a/b c.wav"),
            ("FILE://localhost/a/%2A.wav", "/a/*.wav"),
            ("file:/a", "/a"),
            ("file:///a/%FF", "/a/\udcff"),
            ("gs://b/a.wav", None),
            ("file://elsewhere/a", None),
        ],
    )
    def test_path_to_open(self, uri: str, path: str | None) -> None:
        assert local_path(uri) == path

    def test_names_that_are_utf_8_are_kept_exactly(self) -> None:
        odd = "/a/ b'\"*[1]?\n🦉%20#.wav"
        assert local_uri(odd) == odd


class TestOneNameForEachFile:
    @pytest.mark.parametrize(
        "form",
        ["/{0}", "file://{0}", "file:///{0}", "file:{0}", "{1}/./{2}", "{1}//{2}", "{1}/x/../{2}"],
    )
    def test_a_path_written_in_another_way_is_the_same_object(
        self, archive: Path, form: str
    ) -> None:
        fill(archive, "a.wav")
        path = str(archive / "a.wav")
        given = form.format(path, archive, "a.wav")
        (archive.parent / "list.csv").write_text(f"uri\n{given}\n")
        for pattern in (given, str(archive.parent / "list.csv"), f"/{archive.parent}/list.csv"):
            assert [each.object.uri for each in list_audio([pattern, path])] == [path, path]

    def test_folders_and_globs_are_walked_by_their_one_name(self, archive: Path) -> None:
        fill(archive, "b/a.wav")
        for pattern in (f"/{archive}", f"/{archive}/**/*.wav", f"{archive}/b/../b/"):
            found = [each.object.uri for each in list_audio([pattern])]
            assert found == [f"{archive}/b/a.wav"]

    def test_links_are_not_resolved(self, archive: Path) -> None:
        fill(archive, "a.wav")
        (archive / "link.wav").symlink_to("a.wav")
        assert local_uri(f"/{archive}/link.wav") == f"{archive}/link.wav"


class TestLocalListing:
    def test_a_folder_means_everything_below_it(self, archive: Path) -> None:
        fill(archive, "b.wav", "a/x.flac", "a/b/c/y.MP3")
        assert listed_in(archive, "") == ["a/b/c/y.MP3", "a/x.flac", "b.wav"]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**/*.wav", ["a/b/y.wav", "a/x.wav", "t.wav"]),
            ("*.wav", ["t.wav"]),
            ("*/*.wav", ["a/x.wav"]),
            ("**", ["a/b/y.wav", "a/x.wav", "c/z.mp3", "t.wav"]),
            ("a/**", ["a/b/y.wav", "a/x.wav"]),
            ("*/", ["a/b/y.wav", "a/x.wav", "c/z.mp3"]),
            ("[!a]/*", ["c/z.mp3"]),
            ("?/**/[x-z].*", ["a/b/y.wav", "a/x.wav", "c/z.mp3"]),
            ("a/x.wav", ["a/x.wav"]),
            ("a/../c/./z.mp3", ["c/z.mp3"]),
        ],
    )
    def test_globs(self, archive: Path, pattern: str, expected: list[str]) -> None:
        fill(archive, "t.wav", "a/x.wav", "a/b/y.wav", "c/z.mp3")
        assert listed_in(archive, pattern) == expected

    def test_relative_patterns_start_where_we_are(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(archive, "a/x.wav")
        monkeypatch.chdir(archive)
        [found], _ = listing(("a/*.wav",))
        assert found.uri == str(archive / "a/x.wav")

    @pytest.mark.parametrize(
        "name", ["a b.wav", 'it\'s "it".wav', "🦉.wav", "a\nb.wav", "*.wav", "[1].wav", "a?.wav"]
    )
    def test_odd_names_are_kept_and_can_be_given(self, archive: Path, name: str) -> None:
        fill(archive, name, "x.wav", "1.wav", f"[odd]{name}/y.wav", "o/y.wav")
        assert listed_in(archive, name) == [name]
        assert listed_in(archive, f"[odd]{name}") == [f"[odd]{name}/y.wav"]
        assert name in listed_in(archive, "*.wav" if name != "*.wav" else "**")

    def test_a_name_that_is_not_utf_8_travels_as_a_file_uri(self, archive: Path) -> None:
        folder = os.fsencode(archive) + b"/caf\xe9"
        os.mkdir(folder)
        Path(os.fsdecode(folder + b"/\xff.wav")).write_bytes(b"abc")
        for pattern in (str(archive), os.fsdecode(folder), f"file://{archive}/caf%E9/*.wav"):
            [found], _ = listing((pattern,))
            assert found.uri == f"file://{archive}/caf%E9/%FF.wav"
            assert Path(local_path(found.uri) or "").read_bytes() == b"abc"
            assert found.size_bytes == 3

    def test_size_and_version_are_those_of_the_file(self, archive: Path) -> None:
        fill(archive, "a.wav")
        status = (archive / "a.wav").stat()
        [before], _ = meant_by(str(archive))
        assert before.size_bytes == status.st_size == 5
        assert before.version == f"5-{status.st_mtime_ns}"
        os.utime(archive / "a.wav", ns=(0, status.st_mtime_ns + 1))
        [after], _ = meant_by(str(archive))
        assert after.version != before.version

    def test_what_several_patterns_match_is_listed_once(self, archive: Path) -> None:
        fill(archive, "a.wav", "b.txt")
        patterns = (str(archive), f"{archive}/*.wav", f"{archive}/a.wav", f"file://{archive}/a.wav")
        found, summary = listing((*patterns, f"{archive}/../archive/b.txt"))
        assert [item.uri for item in found] == [f"{archive}/a.wav", f"{archive}/b.txt"]
        assert summary == Listed(2, {})

    def test_every_object_is_an_audio_object_and_is_counted(self, archive: Path) -> None:
        fill(archive, *(f"{number}.wav" for number in range(200)))
        found, summary = listing((str(archive),))
        assert {type(item) for item in found} == {AudioObject}
        assert len(found) == summary.objects == 200

    def test_nothing_at_all_gives_an_empty_summary(self, archive: Path) -> None:
        assert listing((f"{archive}/*.wav",)) == ([], Listed(0, {}))
        assert listing(()) == ([], Listed(0, {}))


class TestSkippedFiles:
    NAMES = ("a.wav", "b.TXT", "c/d.txt", "._a.wav", "README", "e.dat")

    @pytest.mark.parametrize("pattern", ["", "**", "**/*", "**/*.*", "**/[a-zA-Z.]*"])
    def test_only_audio_by_name_is_heard_and_the_rest_counted(
        self, archive: Path, pattern: str
    ) -> None:
        fill(archive, *self.NAMES)
        found, skipped = meant_by(f"{archive}/{pattern}")
        assert [item.uri for item in found] == [f"{archive}/a.wav"]
        without_extension = {} if pattern == "**/*.*" else {"": 1}
        assert skipped == {"._*": 1, ".txt": 2, ".dat": 1, **without_extension}

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**/*.dat", ["e.dat"]),
            ("**/*.[dw]a[tv]", ["a.wav", "e.dat"]),
            ("*.da?", ["e.dat"]),
            ("*ME", ["README"]),
            ("README", ["README"]),
            ("._a.wav", ["._a.wav"]),
            ("*.wav", ["a.wav"]),
        ],
    )
    def test_a_pattern_that_says_how_names_end_means_what_it_matches(
        self, archive: Path, pattern: str, expected: list[str]
    ) -> None:
        fill(archive, *self.NAMES)
        assert listed_in(archive, pattern) == expected

    def test_all_files_are_heard_on_demand(self, archive: Path) -> None:
        fill(archive, *self.NAMES)
        assert listed_in(archive, "", all_files=True) == sorted(self.NAMES)

    def test_what_one_pattern_means_is_not_skipped_by_another(self, archive: Path) -> None:
        fill(archive, *self.NAMES)
        found, summary = listing((str(archive), f"{archive}/*.dat"))
        assert [item.uri for item in found] == [f"{archive}/a.wav", f"{archive}/e.dat"]
        assert summary == Listed(2, {"": 1, "._*": 1, ".txt": 2})


class TestLinksAndLockedFolders:
    def test_links_are_followed_under_their_own_names(self, archive: Path) -> None:
        fill(archive.parent, "elsewhere/a.wav", "archive/b.wav")
        (archive / "link").symlink_to("../elsewhere")
        (archive / "c.wav").symlink_to("b.wav")
        assert listed_in(archive, "") == ["b.wav", "c.wav", "link/a.wav"]

    @pytest.mark.parametrize("pattern", ["", "**", "**/*.wav", "*/*.wav", "*/*/*/*.wav"])
    def test_folders_that_link_to_each_other_are_walked_once(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
    ) -> None:
        folders = "abcdefg"
        fill(archive, *(f"{name}/{name}.wav" for name in folders))
        for name, other in itertools.permutations(folders, 2):
            (archive / name / other).symlink_to(archive / other)
        seen = watch_scandir(monkeypatch)
        listed = listed_in(archive, pattern)
        assert [Path(name).name for name in sorted(listed, key=os.path.basename)] == [
            f"{name}.wav" for name in folders
        ]
        if "/*/" not in pattern:
            assert listed == [f"{name}/{name}.wav" for name in folders]
            assert len(seen) == 1 + 7

    def test_what_a_link_leads_to_goes_by_its_real_path(self, archive: Path) -> None:
        fill(archive, "z/deep/er/x.wav")
        (archive / "a").symlink_to("z/deep")
        (archive / "z/b").symlink_to("deep/er")
        assert listed_in(archive, "") == ["z/deep/er/x.wav"]
        assert listed_in(archive, "?/*/*.wav") == ["a/er/x.wav"]

    def test_of_links_to_one_folder_the_first_by_name_counts(self, archive: Path) -> None:
        fill(archive.parent, "elsewhere/x.wav")
        for name in ("c", "b", "d"):
            (archive / name).symlink_to("../elsewhere")
        assert listed_in(archive, "") == ["b/x.wav"]

    def test_a_link_that_the_pattern_asks_for_is_walked_beside_its_folder(
        self, archive: Path
    ) -> None:
        fill(archive, "real/a.wav", "real/sub/b.wav")
        (archive / "link").symlink_to("real")
        assert listed_in(archive, "**/link/*.wav") == ["link/a.wav"]
        assert listed_in(archive, "**/link/**/*.wav") == ["link/a.wav", "link/sub/b.wav"]
        assert listed_in(archive, "link") == ["link/a.wav", "link/sub/b.wav"]

    def test_cycles_end(self, archive: Path) -> None:
        fill(archive, "a/b/x.wav")
        (archive / "a/b/up").symlink_to(archive)
        (archive / "a/self").symlink_to(".")
        assert listed_in(archive, "") == ["a/b/x.wav"]

    @pytest.mark.parametrize("pattern", ["", "**/*.wav"])
    def test_links_that_lead_nowhere_are_listed(self, archive: Path, pattern: str) -> None:
        fill(archive, "a.wav")
        (archive / "gone.wav").symlink_to("nowhere.wav")
        (archive / "offline").symlink_to("/nowhere/disk")
        (archive / "round.wav").symlink_to("round.wav")
        (archive / "notes.txt").symlink_to("nowhere.txt")
        found, skipped = meant_by(f"{archive}/{pattern}")
        lost = [item.uri for item in found if item == AudioObject(item.uri, None, "")]
        assert lost == [str(archive / name) for name in ("gone.wav", "offline", "round.wav")]
        assert len(found) == 4
        assert skipped == ({} if pattern else {".txt": 1})

    @pytest.mark.skipif(AS_ROOT, reason="no folder is locked to root")
    def test_locked_folders_are_listed(self, archive: Path) -> None:
        fill(archive, "a.wav", "locked/b.wav", "other/c.wav")
        (archive / "locked").chmod(0)
        try:
            assert listed_in(archive, "**/*.wav") == ["a.wav", "locked", "other/c.wav"]
            assert listed_in(archive, "other/*.wav") == ["other/c.wav"]
        finally:
            (archive / "locked").chmod(0o700)

    def test_a_folder_that_cannot_be_read_is_listed(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(archive, "a.wav", "locked/b.wav")
        scan = os.scandir

        def refuse(folder: str) -> Any:
            if str(folder).endswith("locked"):
                raise PermissionError(folder)
            return scan(folder)

        monkeypatch.setattr(os, "scandir", refuse)
        found, _ = meant_by(f"{archive}/**/*.wav")
        assert found[1] == AudioObject(f"{archive}/locked", None, "")
        assert listed_in(archive, "*.wav") == ["a.wav"]

    def test_what_is_no_file_is_of_unknown_size(self, archive: Path) -> None:
        os.mkfifo(archive / "pipe.wav")
        found, _ = meant_by(str(archive))
        assert found == [AudioObject(f"{archive}/pipe.wav", None, "")]

    def test_folders_that_no_match_can_lie_in_are_not_walked(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(archive, "2023/a/x.wav", "2024/a/y.wav", "2024/a/b/z.wav")
        seen = watch_scandir(monkeypatch)
        assert listed_in(archive, "*4/*/*.wav") == ["2024/a/y.wav"]
        assert [os.path.relpath(folder, archive) for folder in seen] == [".", "2024", "2024/a"]

    def test_a_nul_in_a_name_is_a_file_that_is_not_there(self, archive: Path) -> None:
        (archive / "l.jsonl").write_text(json.dumps({"uri": "a\0.wav"}))
        found, _ = listing((f"{archive}/l.jsonl",))
        assert found == [AudioObject(f"{archive}/a\0.wav", None, "")]
        for pattern in ("a\0.wav", "a\0", "a\0/*.wav", "*\0.wav"):
            with pytest.raises(ListingError):
                check_patterns((f"{archive}/{pattern}",))


class TestUnfinishedOutput:
    NAMES = (
        *("a.wav", "_staging-1.wav", "_staging-1/b.wav"),
        f"out/{STAGED}/clips/p.parquet",
        "out/_runs/7f.json",
    )

    @pytest.mark.parametrize("pattern", ["", "**", "**/*.*", "out/../"])
    def test_it_is_left_out_of_local_folders(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
    ) -> None:
        fill(archive, *self.NAMES)
        seen = watch_scandir(monkeypatch)
        listed = listed_in(archive, pattern, all_files=True)
        assert sorted(listed) == [
            *("_staging-1.wav", "_staging-1/b.wav", "a.wav", "out/_runs/7f.json")
        ]
        assert not [folder for folder in seen if STAGED in folder]

    @pytest.mark.parametrize("pattern", ["mem://b", "mem://b/**", "mem://b/*.*", "mem://b/**/*.*"])
    def test_it_is_left_out_of_remote_places(
        self, objects: Callable[..., None], pattern: str
    ) -> None:
        objects(*(f"mem://b/{name}" for name in self.NAMES))
        found, _ = meant_by(pattern, all_files=True)
        assert "mem://b/a.wav" in [item.uri for item in found]
        assert not [item.uri for item in found if STAGED in item.uri]

    @pytest.mark.parametrize("pattern", [f"[1]/{STAGED}", f"[[]1]/{STAGED}/**/*.wav"])
    def test_a_pattern_that_begins_in_such_a_folder_means_it(
        self, archive: Path, objects: Callable[..., None], pattern: str
    ) -> None:
        fill(archive, f"[1]/{STAGED}/x/y.wav", f"[1]/{STAGED}/{STAGED}/z.wav")
        assert listed_in(archive, pattern) == [f"[1]/{STAGED}/x/y.wav"]
        objects(f"mem://b/{STAGED}/x/y.wav", f"mem://b/{STAGED}/{STAGED}/z.wav")
        [found], _ = meant_by(f"mem://b/{pattern.rpartition(']/')[2]}")
        assert found.uri == f"mem://b/{STAGED}/x/y.wav"


class TestRemoteListing:
    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("mem://b/a", ["a/[1].wav", "a/b/*.wav", "a/x.wav"]),
            ("mem://b/a/", ["a/[1].wav", "a/b/*.wav", "a/x.wav"]),
            ("mem://b", ["a/[1].wav", "a/b/*.wav", "a/x.wav", "ab/z.wav", "t.wav"]),
            ("mem://b/**/*.wav", ["a/[1].wav", "a/b/*.wav", "a/x.wav", "ab/z.wav", "t.wav"]),
            ("mem://b/*/*.wav", ["a/[1].wav", "a/x.wav", "ab/z.wav"]),
            ("mem://b/a*/", ["a/[1].wav", "a/b/*.wav", "a/x.wav", "ab/z.wav"]),
            ("mem://b/a/[x-z].wav", ["a/x.wav"]),
            ("mem://b/a/[1].wav", ["a/[1].wav"]),
            ("mem://b/a/b/*.wav", ["a/b/*.wav"]),
            ("mem://b/a/notes.txt", ["a/notes.txt"]),
            ("mem://b/a/*.txt", ["a/notes.txt"]),
        ],
    )
    def test_patterns_mean_what_they_do_locally(
        self, objects: Callable[..., None], pattern: str, expected: list[str]
    ) -> None:
        names = ("t.wav", "a/", "a/x.wav", "a/[1].wav", "a/b/*.wav", "a/notes.txt", "ab/z.wav")
        objects(*(f"mem://b/{name}" for name in names))
        found, skipped = meant_by(pattern)
        assert [item.uri for item in found] == [f"mem://b/{name}" for name in expected]
        assert skipped in ({}, {".txt": 1})

    def test_version_is_size_and_time_however_it_is_listed(
        self, objects: Callable[..., None]
    ) -> None:
        objects("mem://b/x.wav")
        expected = AudioObject("mem://b/x.wav", 13, "13-1700000000250")
        for pattern in ("mem://b/x.wav", "mem://b", "mem://b/*"):
            assert meant_by(pattern) == ([expected], {})
        assert listing(("mem://b",), ()) == ([expected], Listed(1, {}))

    @pytest.mark.parametrize(
        "pattern", ["folders://b/a", "folders://b/a/**", "folders://b/**/*.wav"]
    )
    def test_folders_are_walked_where_beam_lists_but_one(
        self, objects: Callable[..., None], pattern: str
    ) -> None:
        expected = ["folders://b/a/b[1]/c/y.wav", "folders://b/a/x.wav"]
        objects(*expected)
        MemoryFileSystem.OBJECTS["folders://b/a/empty.wav"] = b""
        found, _ = meant_by(pattern)
        assert [item.uri for item in found] == sorted([*expected, "folders://b/a/empty.wav"])

    def test_a_single_file_where_there_are_folders(self, objects: Callable[..., None]) -> None:
        objects("folders://b/a/x.wav")
        found, _ = meant_by("folders://b/a/x.wav")
        assert [item.uri for item in found] == ["folders://b/a/x.wav"]


def as_csv(uris: Iterable[str], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([("site", "uri"), *(("north", uri) for uri in uris)])


def as_json_lines(uris: Iterable[str], path: Path) -> None:
    lines = (json.dumps({"site": "north", "uri": uri}) for uri in uris)
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def as_parquet(uris: Iterable[str], path: Path) -> None:
    uris = list(uris)
    pq.write_table(pa.table({"site": ["north"] * len(uris), "uri": uris}), path, row_group_size=2)


WRITERS = {"csv": as_csv, "jsonl": as_json_lines, "ndjson": as_json_lines, "parquet": as_parquet}


class TestManifests:
    @pytest.mark.parametrize("extension", [*WRITERS, "CSV"])
    @pytest.mark.parametrize("named", ["by extension", "by content"])
    def test_entries_are_literal_and_start_from_the_manifests_folder(
        self, archive: Path, objects: Callable[..., None], extension: str, named: str
    ) -> None:
        objects("mem://b/x.wav")
        fill(archive, 'a, "b"\nc.wav', "*.wav", "sub/notes.txt", "unnamed.wav")
        entries = ['a, "b"\nc.wav', "*.wav", "./sub/../sub/notes.txt", f"file://{archive}/%2A.wav"]
        entries += ["mem://b/x.wav", "mem://b/gone.wav", "gone.wav"]
        manifest = archive / f"list.{extension if named == 'by extension' else 'txt'}"
        WRITERS[extension.lower()](entries, manifest)
        how = {"patterns": (str(manifest),)} if named == "by extension" else {}
        found, summary = listing(**{"patterns": (), "manifests": (str(manifest),), **how})
        local = ["*.wav", 'a, "b"\nc.wav', "gone.wav", "sub/notes.txt"]
        expected = [*(f"{archive}/{name}" for name in local), "mem://b/gone.wav", "mem://b/x.wav"]
        assert [item.uri for item in found] == expected
        missing = [item.uri for item in found if (item.size_bytes, item.version) == (None, "")]
        assert missing == [f"{archive}/gone.wav", "mem://b/gone.wav"]
        assert summary == Listed(6, {})

    def test_relative_entries_of_a_remote_manifest(self, objects: Callable[..., None]) -> None:
        objects()
        rows = "uri\nx.wav\n../y.wav\n/local/z.wav\na//b.wav\nmem://c/w.wav\n"
        MemoryFileSystem.OBJECTS["mem://b/lists/l.csv"] = rows.encode()
        assert list(read_manifest("mem://b/lists/l.csv")) == [
            "mem://b/lists/x.wav",
            "mem://b/y.wav",
            "/local/z.wav",
            "mem://b/lists/a//b.wav",
            "mem://c/w.wav",
        ]

    @pytest.mark.parametrize(
        "content", ["\ufeffuri\na.wav\n", "uri \r\na.wav\r\n\r\n", '"uri"\n"a.wav"']
    )
    def test_csv_as_others_write_it(self, archive: Path, content: str) -> None:
        (archive / "l.csv").write_text(content, encoding="utf-8", newline="")
        assert list(read_manifest(f"{archive}/l.csv")) == [f"{archive}/a.wav"]

    @pytest.mark.parametrize(
        ("content", "encoding"),
        [
            ("Site;URI\r\nMoor, Nord;ä.wav\r\n", "utf-8-sig"),
            ("sep=;\r\nSite;URI\r\nMoor, Nord;ä.wav\r\n", "utf-8"),
            ("Site\tURI\r\nMoor, Nord\tä.wav\r\n", "utf-16"),
            ('\ufeffSite,Uri\r\n"Moor, Nord",ä.wav\r\n', "utf-16-be"),
        ],
    )
    def test_csv_as_excel_writes_it(self, archive: Path, content: str, encoding: str) -> None:
        (archive / "l.csv").write_bytes(content.encode(encoding))
        assert list(read_manifest(f"{archive}/l.csv")) == [f"{archive}/ä.wav"]

    @pytest.mark.parametrize("extension", WRITERS)
    def test_another_column_can_be_named(self, archive: Path, extension: str) -> None:
        WRITERS[extension](["a.wav", "b.wav"], archive / "l")
        assert list(read_manifest(f"{archive}/l", "Site")) == [f"{archive}/north"] * 2

    def test_a_wrong_line_is_counted_with_that_of_the_separator(self, archive: Path) -> None:
        (archive / "l.csv").write_text("sep=;\nsite;uri\nn;a.wav\nn;\n")
        with pytest.raises(ListingError, match="line 4 has no uri"):
            list(read_manifest(f"{archive}/l.csv"))

    @pytest.mark.parametrize("name", ["l.xlsx", "L.XLS", "l.ods"])
    def test_a_spreadsheet_is_refused_before_anything_runs(self, archive: Path, name: str) -> None:
        fill(archive, name, "a.wav")
        with pytest.raises(ListingError, match=r"is a spreadsheet: save the sheet as CSV"):
            check_patterns((f"{archive}/{name}",))
        check_patterns((f"{archive}",))

    def test_a_long_manifest_is_looked_up_whole(self, archive: Path) -> None:
        fill(archive, "a.wav")
        as_csv((f"{number}.wav" for number in range(3000)), archive / "l.csv")
        _, summary = listing((f"{archive}/l.csv",))
        assert summary == Listed(3000, {})

    @pytest.mark.parametrize(
        ("name", "content", "complaint"),
        [
            ("l.csv", b"uri,site\na.wav,n\n,n\n", "line 3 has no uri"),
            ("l.csv", b"site,uri\nnorth\n", "line 2 has no uri"),
            ("l.csv", b"url;site\na;b\n", r"has no column uri; its columns: url, site"),
            ("l.csv", b"", "has no column uri; its columns: none"),
            ("l.csv", b"uri\n\xff\xfe\n", "is neither UTF-8 nor UTF-16: save it as CSV UTF-8"),
            ("l.csv", "site;uri\nM\xf6\xf6r;a.wav\n".encode("cp1252"), "save it as CSV UTF-8"),
            ("l.csv", b"uri\n", "lists nothing"),
            ("l.csv", b'uri\na.wav\n"b.wav\nc.wav\n', "line 4: unexpected end of data"),
            ("l.csv", b'uri\n"a.wav\n"b.wav"\n', "line 3: ',' expected after '\"'"),
            ("l.csv.gz", b"\x1f\x8b\x08\x00", "is neither UTF-8 nor UTF-16"),
            ("l.jsonl", b'{"uri": "a.wav"}\n{"url": "a.wav"}\n', "line 2 has no uri"),
            ("l.jsonl", b'{"uri": " "}\n', "line 1 has no uri"),
            ("l.jsonl", b'{"uri": 3}\n', "line 1 has no uri"),
            ("l.jsonl", b'["a.wav"]\n', "line 1 has no uri"),
            ("l.jsonl", b'{"uri": "a.wav\n', "cannot be read: line 1: "),
            ("l.jsonl", b'{"uri": "a.wav"}\n' + b"[" * 100_000, "cannot be read: line 2: "),
            ("l.jsonl", b'{"uri": "foo://x"}\n', "foo://x: no filesystem is known"),
            ("l.parquet", b"PAR1 and no more", "cannot be read"),
            ("l.parquet", b"", "cannot be read"),
        ],
    )
    def test_broken_manifests_are_refused_in_one_line(
        self, archive: Path, name: str, content: bytes, complaint: str
    ) -> None:
        (archive / name).write_bytes(content)
        with pytest.raises(ListingError, match=complaint) as refused:
            check_patterns((), (f"{archive}/{name}",))
        assert f"{archive}/{name}" in str(refused.value) or "foo://" in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("column", "complaint"), [("url", "no column uri"), ("uri", "row 2 has no")]
    )
    def test_parquet_without_uris_is_refused(
        self, archive: Path, column: str, complaint: str
    ) -> None:
        pq.write_table(pa.table({column: ["a.wav", None]}), archive / "l.parquet")
        with pytest.raises(ListingError, match=complaint):
            check_patterns((f"{archive}/l.parquet",))

    def test_dictionary_and_large_strings_are_strings(self, archive: Path) -> None:
        for kind in (pa.dictionary(pa.int32(), pa.string()), pa.large_string()):
            table = pa.table({"uri": pa.array(["a.wav", "b.wav"]).cast(kind)})
            pq.write_table(table, archive / "l.parquet")
            assert len(list(read_manifest(f"{archive}/l.parquet"))) == 2

    @pytest.mark.parametrize("name", ["l.csv", "l.parquet", "l.txt"])
    def test_what_is_no_regular_file_is_refused_unopened(self, archive: Path, name: str) -> None:
        os.mkfifo(archive / name)  # opening it would wait for a writer
        with pytest.raises(ListingError, match=r"is not a regular file$"):
            check_patterns((), (f"{archive}/{name}",))

    def test_blanks_around_a_name_are_kept(self, archive: Path) -> None:
        (archive / "l.csv").write_text("site,uri\nn, a.wav \n")
        assert list(read_manifest(f"{archive}/l.csv")) == [f"{archive}/ a.wav "]

    def test_which_patterns_are_manifests(self, archive: Path) -> None:
        fill(archive, "[1].csv", "folder.parquet/x.wav", "a.txt")
        yes = [f"{archive}/[1].csv", "gone.CSV", "gs://b/l.ndjson", f"file://{archive}/gone.jsonl"]
        no = [
            f"{archive}/*.csv",
            f"{archive}/folder.parquet",
            f"{archive}/a.txt",
            "gs://b/**/*.csv",
        ]
        assert [pattern for pattern in yes + no if is_manifest(pattern)] == yes


class TestArchives:
    TREE = ("a/x.wav", "a/n.txt", "y.flac")

    def test_members_are_listed_in_the_place_of_their_archive(self, archive: Path) -> None:
        fill(archive, "b.wav")
        as_tar(self.TREE, archive / "t.tar.gz")
        as_zip(self.TREE, archive / "z.zip")
        found, summary = listing((str(archive), f"{archive}/t.tar.gz"))
        inside = [f"{name}!/{member}" for name in ("t.tar.gz", "z.zip") for member in self.TREE]
        heard = [name for name in inside if not name.endswith(".txt")]
        assert [item.uri for item in found] == [f"{archive}/{name}" for name in ("b.wav", *heard)]
        assert summary == Listed(5, {".txt": 2})
        here = [each.object for each in list_audio([str(archive)]) if each.skipped_as is None]
        assert here == found

    def test_a_member_can_be_an_input(self, archive: Path) -> None:
        as_tar(self.TREE, archive / "t.tar")
        patterns = (f"{archive}/t.tar!/a/n.txt", f"file://{archive}/t.tar!/y.flac")
        found, _ = listing(patterns)
        assert [item.uri for item in found] == [f"{archive}/t.tar!/{n}" for n in self.TREE[1:]]
        check_patterns(patterns)

    def test_manifests_name_archives_and_members(self, archive: Path) -> None:
        as_tar(self.TREE, archive / "t.tar")
        as_zip(self.TREE, archive / "z.zip")
        as_csv(["t.tar", "z.zip!/a/n.txt", "z.zip!/gone.wav", "gone.zip"], archive / "l.csv")
        found, _ = listing((f"{archive}/l.csv",))
        sizes = {item.uri.removeprefix(f"{archive}/"): item.size_bytes for item in found}
        expected = {"t.tar!/a/x.wav": 7, "t.tar!/y.flac": 6, "z.zip!/a/n.txt": 7}
        assert sizes == {**expected, "z.zip!/gone.wav": None, "gone.zip": None}

    def test_all_files_are_heard_in_archives_of_manifests_too(self, archive: Path) -> None:
        as_tar(self.TREE, archive / "t.tar")
        as_csv(["t.tar"], archive / "l.csv")
        found, summary = listing((f"{archive}/l.csv",), all_files=True)
        assert [item.uri for item in found] == [f"{archive}/t.tar!/{n}" for n in sorted(self.TREE)]
        assert summary == Listed(3, {})

    @pytest.mark.parametrize("name", ["t.tar", "t.tar.gz", "z.zip"])
    @pytest.mark.parametrize("scheme", ["mem", "folders"])
    def test_archives_elsewhere_are_read_where_they_are(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
    ) -> None:
        (as_zip if name == "z.zip" else as_tar)(self.TREE, archive / name)
        uri = f"{scheme}://b/{name}"
        content = {uri: (archive / name).read_bytes(), f"{scheme}://b/c.tar!/d.wav": b"d"}
        monkeypatch.setattr(MemoryFileSystem, "OBJECTS", content)
        found, _ = listing((f"{scheme}://b/**",))
        members = [f"{uri}!/a/x.wav", f"{uri}!/y.flac"]
        assert [item.uri for item in found] == [f"{scheme}://b/c.tar!/d.wav", *members]
        place = place_of(members[0])
        assert place is not None
        with member_copy(place) as path:
            assert Path(path).read_bytes() == b"a/x.wav"
        pattern = f"{scheme}://b/{name[0]}*{name[1:]}!/**/*.flac"
        assert [each.uri for each in listing((pattern,))[0]] == members[1:]

    @pytest.mark.parametrize(
        ("pattern", "complaint"),
        [
            ("t.tar!/gone.wav", r"gone\.wav is not in the archive"),
            (
                "broken.zip",
                r"broken\.zip!/ cannot be read: no more than 0 members of the archive",
            ),
            ("texts.tar", r"no file in it may be audio by its name \(it has 1 \.txt\)"),
            ("t.tar!/*.mp3", "matches nothing"),
            ("gone.tar!/a.wav", "a.wav does not exist"),
        ],
    )
    def test_nothing_to_hear_in_archives_is_refused_in_one_line(
        self, archive: Path, pattern: str, complaint: str
    ) -> None:
        as_tar(self.TREE, archive / "t.tar")
        as_tar(["a.txt"], archive / "texts.tar")
        (archive / "broken.zip").write_bytes(b"PK, but no more")
        with pytest.raises(ListingError, match=complaint) as refused:
            check_patterns((f"{archive}/{pattern}",))
        assert "\n" not in str(refused.value)


def as_tar(names: Iterable[str], path: Path) -> None:
    """Each member with its name as content."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))


def as_zip(names: Iterable[str], path: Path) -> None:
    """Each member with its name as content."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)


class TestChecks:
    def test_what_can_be_heard_passes(self, archive: Path, objects: Callable[..., None]) -> None:
        fill(archive, "a.wav", "b.dat", "[1]/c.wav")
        (archive / "gone.wav").symlink_to("nowhere")
        as_csv(["not there.wav"], archive / "l.csv")
        objects("mem://b/a/x.wav")
        local = ("", "**", "*.dat", "a.wav", "b.dat", "[1]", "l.csv")
        remote = ("mem://b", "mem://b/a/x.wav", "mem://b/**", f"file://{archive}")
        check_patterns((*(f"{archive}/{each}" for each in local), *remote))
        check_patterns((f"{archive}/b*",), all_files=True)

    @pytest.mark.parametrize(
        ("pattern", "complaint"),
        [
            ("gone.wav", r"^/.*/gone\.wav does not exist$"),
            ("gone/", "/gone does not exist$"),
            ("gone/**", r"gone/\*\*: /.*/gone does not exist$"),
            ("*.flac", r"\*\.flac matches nothing"),
            ("empty", "empty matches nothing"),
            ("b.*", r"no file in it may be audio by its name \(it has 1 \.dat\); --all_files"),
            ("dangling.wav", r"dangling\.wav is a dangling link$"),
            ("round.wav", r"round\.wav cannot be read: Too many levels of symbolic links$"),
            ("pipe", "pipe is not a regular file$"),
            ("[z-a]", "a range goes upwards"),
            ("l.csv", r"manifest .*l\.csv cannot be read: .*No such file"),
            ("odd\nname", r".*odd\\nname does not exist"),
        ],
    )
    def test_nothing_to_hear_is_refused_in_one_line(
        self, archive: Path, pattern: str, complaint: str
    ) -> None:
        fill(archive, "b.dat")
        (archive / "empty").mkdir()
        (archive / "dangling.wav").symlink_to("nowhere")
        (archive / "round.wav").symlink_to("round.wav")
        os.mkfifo(archive / "pipe")
        with pytest.raises(ListingError, match=complaint) as refused:
            check_patterns((f"{archive}/{pattern}",))
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("pattern", "complaint"),
        [
            ("**/*.wav", r"matches nothing, but 2 files match it in another case: .* the folder"),
            ("Sub/*.[w]av", "matches nothing, but 1 file matches it in another case"),
            ("**/*.flac", r"matches nothing; in a pattern, \*\* stands for"),
        ],
    )
    def test_what_differs_in_case_only_is_counted(
        self, archive: Path, pattern: str, complaint: str
    ) -> None:
        fill(archive, "A.WAV", "Sub/b.Wav", "c.txt")
        with pytest.raises(ListingError, match=complaint):
            check_patterns((f"{archive}/{pattern}",))

    @pytest.mark.parametrize(("call", "name"), [("stat", "a.wav"), ("scandir", "locked")])
    def test_a_lack_of_permission_is_named(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str
    ) -> None:
        fill(archive, "a.wav", "locked/b.wav")
        ask = getattr(os, call)

        def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
            if str(path).endswith(name):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return ask(path, *args, **kwargs)

        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(ListingError, match=f"{name} cannot be read: Permission denied$"):
            check_patterns((f"{archive}/{name}",))

    @pytest.mark.parametrize(
        ("pattern", "complaint"),
        [
            ("foo://x/a.wav", "no filesystem is known for it; known are paths, file:///, .*mem://"),
            ("file://elsewhere/a.wav", "no filesystem is known for it"),
            ("mem://b/gone.wav", "mem://b/gone.wav does not exist, or cannot be read"),
            ("mem://b/*.flac", "matches nothing"),
            ("mem://b/notes*", r"no file in it may be audio by its name \(it has 1 \.txt\)"),
            ("closed://b/**", "closed://b/ cannot be listed: no credentials$"),
            ("closed://b", "closed://b/ cannot be listed: no credentials$"),
            ("", "an input is empty"),
        ],
    )
    def test_remote_and_unknown_places_are_refused_in_one_line(
        self, objects: Callable[..., None], pattern: str, complaint: str
    ) -> None:
        objects("mem://b/a.wav", "mem://b/notes.txt")
        with pytest.raises(ListingError, match=complaint) as refused:
            check_patterns((pattern,))
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("uri", "extra"), [("gs://b/a.wav", "earmark[gcp]"), ("s3://b/**", "earmark[aws]")]
    )
    def test_a_missing_extra_is_named(
        self, monkeypatch: pytest.MonkeyPatch, uri: str, extra: str
    ) -> None:
        monkeypatch.setattr("earmark.transforms.storage.checking.find_spec", lambda _: None)
        with pytest.raises(ListingError, match=re.escape(f"pip install '{extra}'")):
            check_patterns((uri,))

    def test_the_first_match_ends_the_check(
        self, archive: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(archive, *(f"{letter}/x.wav" for letter in string.ascii_lowercase))
        seen = watch_scandir(monkeypatch)
        check_patterns((str(archive),))
        assert len(seen) == 2

    def test_a_remote_match_behind_many_others_ends_the_check(
        self, objects: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        objects(*(f"mem://b/{number:05}.txt" for number in range(1000)), "mem://b/x.wav")
        looked_up: list[str] = []
        monkeypatch.setattr(MemoryFileSystem, "metadata", metadata_noted_in(looked_up))
        check_patterns(("mem://b/0*.txt",))
        assert len(looked_up) < 10
        check_patterns(("mem://b",))


def metadata_noted_in(looked_up: list[str]) -> Callable[..., FileMetadata]:
    metadata = MemoryFileSystem.metadata

    def noted(self: MemoryFileSystem, path: str) -> FileMetadata:
        looked_up.append(path)
        return metadata(self, path)

    return noted


# what patterns mean, by name alone

NAMES = [
    *("a.wav", "b.WAV", "c.txt", "d", "._a.wav", ".hidden.flac", "e.dat", "x[1].wav"),
    *("sub/a.wav", "sub/deep/b.flac", "sub/deep/c.dat", "sub.wav/a.txt", "sub.wav/b.wav"),
    *(f"{STAGED}/a.wav", f"sub/{STAGED}/x/a.wav", "2024-01/rec 1.wav", "2024-02/ré.wav"),
]
TREE_PATTERNS = [
    *("", "/", "/**", "/*", "/*.wav", "/**/*.wav", "/**/*", "/**.wav", "/**/*.dat", "/a.wav"),
    *("/c.txt", "/._a.wav", "/**/._*", "/sub", "/sub/", "/sub/**/", "/sub/*", "/sub.wav", "/su*"),
    *("/sub*/", "/sub/**/c.*", "/[ab].*", "/[!a]*", "/2024-*/*", "/2024-*/**", "/**/deep/**"),
    *("/d", "/*/*/*.flac", f"/{STAGED}", f"/{STAGED}/*.wav", "/_*/**", "/x[[]1].wav", "/?.wav"),
    *("/sub/../a.wav", "//sub//a.wav", "/missing", "/missing/**", "/**/rec *", "/**/r?.wav"),
]


def listed_uris(patterns: list[str], all_files: bool = False) -> set[str]:
    found = list_audio(patterns, all_files=all_files)
    return {each.object.uri for each in found if each.skipped_as is None and each.object.size_bytes}


def uris_below(folder: Path) -> set[str]:
    return {local_uri(str(path)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("all_files", [False, True])
@pytest.mark.parametrize("pattern", TREE_PATTERNS)
def test_a_pattern_means_by_name_what_it_lists(archive, pattern, all_files):
    fill(archive, *NAMES)
    (archive / os.fsdecode(b"\xff.wav")).write_bytes(b"no UTF-8")
    fill(archive.parent, "archive.wav", "archive2/a.wav")
    patterns = [f"{archive}{pattern}"]
    meant = {uri for uri in uris_below(archive.parent) if is_meant(uri, patterns, all_files)}
    assert meant == listed_uris(patterns, all_files)


def test_what_exists_by_exactly_that_name_is_meant_whatever_signs_are_in_it(archive):
    fill(archive, "x[1].wav", "y[1]/a.wav", "y[1]/b/c.wav")
    for pattern in (f"{archive}/x[1].wav", f"{archive}/y[1]", f"file://{archive}/y[1]/b"):
        meant = {uri for uri in uris_below(archive) if is_meant(uri, [pattern])}
        assert meant == listed_uris([pattern])
        assert meant


@given(
    st.lists(st.text("ab./*?[]!{_-~", min_size=1, max_size=12), min_size=1, max_size=3),
    st.lists(st.text("ab._-", min_size=1, max_size=6), min_size=1, max_size=6),
    st.booleans(),
)
def test_any_patterns_mean_by_name_what_they_list(patterns, names, all_files):
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        for name in names:
            with contextlib.suppress(OSError):  # "..", and what is a file already
                fill(folder / "a", f"{name}/a.wav", f"{name}/{name}", name)
        whole = [f"{folder}/a/{pattern}" for pattern in patterns if ".." not in pattern]
        with contextlib.suppress(ListingError):  # a range that runs backwards
            meant = {uri for uri in uris_below(folder) if is_meant(uri, whole, all_files)}
            assert meant == listed_uris(whole, all_files)


@pytest.mark.parametrize("all_files", [False, True])
@pytest.mark.parametrize(
    "pattern",
    [
        *("mem://b", "mem://b/", "mem://b/**", "mem://b/*.wav", "mem://b/**/*.wav", "mem://b/a"),
        *("mem://b/a/", "mem://b/a/*", "mem://b/a/x.wav", "mem://b/**/*.txt", "mem://b/a*"),
        *("mem://b/a*/", "mem://b/x[1].wav", "mem://c", f"mem://b/{STAGED}/**"),
    ],
)
def test_a_pattern_elsewhere_means_by_name_what_it_lists(objects, pattern, all_files):
    names = ["a/x.wav", "a/y.txt", "a/s/z.flac", "ab/x.wav", "x[1].wav", "x1.wav", "n.txt"]
    every = [f"mem://b/{name}" for name in [*names, f"{STAGED}/x.wav", "a//x.wav"]]
    objects(*every, "mem://bb/x.wav")
    meant = {uri for uri in [*every, "mem://bb/x.wav"] if is_meant(uri, [pattern], all_files)}
    if pattern == "mem://b/x[1].wav":  # there is an object of exactly that name
        meant.remove("mem://b/x1.wav")
    assert meant == listed_uris([pattern], all_files)


def test_what_stands_for_a_folder_in_a_store_is_not_meant():
    assert not is_meant("mem://b/a/", ["mem://b/**"], all_files=True)


def test_paths_and_uris_are_not_mixed_up():
    assert is_meant("/a/b.wav", ["file:///a"])
    assert not is_meant("mem://a/b.wav", ["/"])
    assert not is_meant("/a/b.wav", ["mem://a/**"])


def fill_archive(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, name)


@pytest.mark.parametrize("all_files", [False, True])
@pytest.mark.parametrize(
    "pattern",
    [
        *("", "/**", "/*", "/*.zip", "/one.zip", "/one.zip!/", "/one.zip!/x", "/one.zip!/x/a.wav"),
        *("/one.zip!/**/*.wav", "/*.zip!/x/*", "/**/*.zip!/**/*.txt", "/**/*.wav", "/sub/*"),
        *("/**/*.zip", "/two.zip!/**", "/._one.zip", "/**/._*"),
    ],
)
def test_of_archives_those_members_are_meant_that_are_listed(archive, pattern, all_files):
    for name in ("one.zip", "sub/two.zip", "._one.zip"):
        fill_archive(archive / name, "x/a.wav", "x/b.txt", "c.flac")
    fill(archive, "plain.wav")
    patterns = [f"{archive}{pattern}"]
    found = {
        each.object.uri
        for uri in uris_below(archive)
        if is_meant(uri, patterns, all_files)
        for each in list_meant(look_up(uri), patterns, all_files)
        if each.skipped_as is None
    }
    assert found == listed_uris(patterns, all_files)


# what isn't there any more


def test_what_is_gone_is_told_from_what_cannot_be_looked_up(archive, objects):
    fill(archive, "a.wav")
    (archive / "leads nowhere").symlink_to("nothing")
    objects("mem://b/a.wav")
    assert find(str(archive / "a.wav")) == look_up(str(archive / "a.wav"))
    assert find("mem://b/a.wav") == look_up("mem://b/a.wav")
    assert find(str(archive / "b.wav")) is None
    assert find(str(archive / "a.wav" / "b.wav")) is None
    assert find("mem://b/b.wav") is None
    for unseen in ("leads nowhere", "", "a\0.wav"):
        assert find(f"{archive}/{unseen}").size_bytes is None
    assert find("nobody://knows/it.wav").size_bytes is None


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (FileNotFoundError("a"), True),
        (NotADirectoryError("a"), True),
        (PermissionError("a"), False),
        (BeamIOError("Metadata operation failed", {"a": FileNotFoundError("a")}), True),
        (BeamIOError("Metadata operation failed", {"a": TimeoutError("a")}), False),
        (ConnectionError("a"), False),
    ],
)
def test_only_what_a_store_says_is_missing_is(error, missing):
    assert is_missing(error) == missing


def test_s3_and_google_say_that_an_object_is_missing_by_its_status():
    messages = pytest.importorskip("apache_beam.io.aws.clients.s3.messages")
    exceptions = pytest.importorskip("google.api_core.exceptions")
    assert is_missing(messages.S3ClientError("Not Found", 404))
    assert not is_missing(messages.S3ClientError("Forbidden", 403))
    assert is_missing(BeamIOError("failed", {"gs://a/b": exceptions.NotFound("b")}))
    assert not is_missing(BeamIOError("failed", {"gs://a/b": exceptions.Forbidden("b")}))
