"""Files on a web server, whatever the connection does."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.pipelines.cli import main
from earmark.transforms.archives import list_members
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.errors import ReadError
from earmark.transforms.listing import check_patterns
from earmark.transforms.storage import ListingError, StoreError, look_up, open_file, read_uri
from tests.stores.faults import Faults
from tests.stores.web import Web

CONTENT = random.Random(1).randbytes(3_000_000)


PATHS = [
    *("/a.wav", "/a/b%20c.wav", "/a//b.wav", "/a.wav?id=3&x=%2F", "/%C3%A4/%23.wav", "/get/"),
    *("/a%2Fb.wav", "/%E4.wav", "/100%25.wav"),
]
ETAGS = ['"{}"', 'W/"{}"', ""]


@pytest.mark.parametrize("path", PATHS)
def test_a_file_comes_whole_whatever_its_name(web: Web, path: str) -> None:
    web.files[path] = CONTENT
    found = look_up(web.url + path)
    assert (found.uri, found.size_bytes) == (web.url + path, len(CONTENT))
    with local_copy(found) as copy:
        assert Path(copy).read_bytes() == CONTENT


@pytest.mark.parametrize("etag", ETAGS)
@pytest.mark.parametrize(
    "faults", [Faults(refused=0.3), Faults(cut=0.4), Faults(slow=0.5, slow_s=0.1)]
)
def test_faults_change_no_byte(web: Web, etag: str, faults: Faults) -> None:
    web.etag = etag
    web.files["/a.wav"] = CONTENT
    web.proxy.misbehave(faults)
    for _ in range(4):
        assert read_uri(f"{web.url}/a.wav") == CONTENT
    assert web.proxy.done.total() > web.proxy.done["well"]


def test_a_server_that_answers_no_head_is_asked_otherwise(web: Web) -> None:
    web.files["/a.wav"] = CONTENT
    expected = look_up(f"{web.url}/a.wav")
    web.answers_head = False
    assert look_up(f"{web.url}/a.wav") == expected


def test_what_was_replaced_since_it_was_listed_is_told(web: Web) -> None:
    web.files["/a.wav"] = b"old"
    listed = look_up(f"{web.url}/a.wav")
    web.files["/a.wav"] = b"new"
    with pytest.raises(ReadError, match="has changed since"), local_copy(listed):
        pass


@pytest.mark.parametrize("etag", ETAGS[:2])
def test_a_file_that_is_replaced_while_it_is_read_in_parts_is_told(web: Web, etag: str) -> None:
    web.etag, web.files["/a.zip"] = etag, b"a" * 20_000_000
    with open_file(f"{web.url}/a.zip") as file:
        assert file.read(1) == b"a"
        web.files["/a.zip"] = b"b" * 20_000_000
        file.seek(15_000_000)
        with pytest.raises(StoreError, match="has changed while it was read"):
            file.read(1)


@pytest.mark.parametrize("etag", ETAGS)
def test_members_of_an_archive_are_listed_by_parts_of_it(
    web: Web, etag: str, tmp_path: Path
) -> None:
    import zipfile

    web.etag = etag
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.wav", CONTENT)
        archive.writestr("y.wav", b"y")
    web.files["/a.zip"] = (tmp_path / "a.zip").read_bytes()
    assert [name for name, _ in list_members(look_up(f"{web.url}/a.zip"))] == ["x.wav", "y.wav"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("/gone.wav", "does not exist, or cannot be read"),
        ("/*.wav", "a web server has no listing"),
        ("/a.wav?token=hush", "credentials don't go into URIs"),
    ],
)
def test_what_cannot_be_heard_is_one_line(web: Web, pattern: str, said: str) -> None:
    with pytest.raises(ListingError, match=said) as refused:
        check_patterns((web.url + pattern,))
    assert "\n" not in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_manifest_of_files_on_the_web_gives_the_rows_of_local_ones(
    web: Web,
    record: Callable[..., Path],
    rows: Callable[..., list[tuple]],
    tmp_path: Path,
) -> None:
    for name in ("a.wav", "b.flac"):
        web.files[f"/{name}"] = record(tmp_path / "in" / name, "tone", "noise").read_bytes()
    manifest = "".join(f"{web.url}/{name}\n" for name in ("a.wav", "b.flac", "gone.wav"))
    web.files["/list.csv"] = f"uri\n{manifest}".encode()
    web.proxy.misbehave(Faults(refused=0.05, cut=0.05, seed=3))
    for source, output in ((tmp_path / "in", "local"), (f"{web.url}/list.csv", "remote")):
        flags = ["--input", str(source), "--output", str(tmp_path / output), "--model", "builtin"]
        assert main(["classify", *flags]) == 0
    wanted = "parse_filename(clip) as name, * exclude clip"
    assert sorted(map(str, rows(tmp_path / "remote", "detections", wanted))) == sorted(
        map(str, rows(tmp_path / "local", "detections", wanted))
    )
    assert rows(tmp_path / "remote", "failures", "clip, reason") == [(f"{web.url}/gone.wav", "io")]
    before = rows(tmp_path / "remote", "clips", "clip, version")
    flags = ["--input", f"{web.url}/a.wav", "--output", f"{tmp_path}/remote", "--model", "builtin"]
    assert main(["classify", *flags]) == 0
    assert rows(tmp_path / "remote", "clips", "clip, version") == before


def test_an_output_on_a_web_server_is_refused(
    web: Web, record: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a.wav", "tone")
    flags = ["--input", str(tmp_path), "--output", f"{web.url}/out", "--model", "builtin"]
    assert main(["classify", *flags]) == 2
    assert "files on web servers can be read, not written" in capsys.readouterr().err
