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
from earmark.transforms.storage.stores import store_of
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


def test_a_scheme_may_be_in_capitals(web: Web) -> None:
    web.files["/a.wav"] = CONTENT
    assert read_uri(f"{web.url}/a.wav".replace("http", "HTTP")) == CONTENT


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.wav#b.wav", "a URL has no '#': write %23"),  # which would ask for a.wav
        ("a\n.wav", "write %0A"),  # likewise
        ("a.wav?token=hush", "credentials don't go into URIs"),
    ],
)
def test_what_would_not_be_asked_for_is_told(web: Web, name: str, said: str) -> None:
    web.files["/a.wav"] = CONTENT
    with pytest.raises(ReadError, match=said), local_copy(look_up(f"{web.url}/{name}")):
        pass
    assert not any("a.wav" in request for request in web.proxy.requests)


@pytest.mark.parametrize("etag", ETAGS)
def test_what_is_replaced_while_it_is_read_is_not_read_on(web: Web, etag: str) -> None:
    web.etag, web.files["/a.wav"] = etag, CONTENT
    web.proxy.misbehave(Faults(cut=1.0))
    _, chunks = store_of(web.url).read(f"{web.url}/a.wav", None)
    web.files["/a.wav"], web.modified = CONTENT[::-1], "Thu, 22 Oct 2015 07:28:00 GMT"
    web.proxy.misbehave(Faults())
    with pytest.raises(StoreError, match="has changed while it was read"):
        b"".join(chunks)


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
        ("/a#b.wav", "cannot be read: a URL has no '#'"),
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


def test_what_nobody_can_be_asked_for_is_a_failure_that_says_so(
    web: Web,
    record: Callable[..., Path],
    rows: Callable[..., list[tuple]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    web.files["/a.wav"] = record(tmp_path / "a.wav", "tone").read_bytes()
    dead = "http://127.0.0.1:9"
    uris = [f"{web.url}/a.wav", f"{dead}/a.wav", "az://archive/a.wav", f"{web.url}/a.wav?pwd=hush"]
    manifest = tmp_path / "list.csv"
    manifest.write_text("\n".join(["uri", *uris]))
    output = tmp_path / "out"
    flags = ["--input", str(manifest), "--output", str(output), "--model", "builtin"]
    assert main(["classify", *flags]) == 0
    assert rows(output, "clips", "clip") == [(uris[0],)]
    said = dict(rows(output, "failures", "clip, message"))
    assert said[uris[1]] == f"{uris[1]}: nobody answers at {dead}: Connection refused"
    assert "set AZURE_STORAGE_ACCOUNT_NAME" in said[uris[2]]
    assert "credentials don't go into URIs" in said[f"{web.url}/a.wav?pwd=***"]


def test_an_output_on_a_web_server_is_refused(
    web: Web, record: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a.wav", "tone")
    flags = ["--input", str(tmp_path), "--output", f"{web.url}/out", "--model", "builtin"]
    assert main(["classify", *flags]) == 2
    assert "files on web servers can be read, not written" in capsys.readouterr().err
