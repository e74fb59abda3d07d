"""Files on a web server, whatever the connection does."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from earmark.pipelines.cli import main
from earmark.transforms.archives import list_members
from earmark.transforms.decoding.local_copies import local_copy
from earmark.transforms.errors import ReadError
from earmark.transforms.listing import check_patterns
from earmark.transforms.storage import ListingError, StoreError, look_up, open_file, read_uri
from tests.stores.faults import Faults, FaultyProxy

CONTENT = random.Random(1).randbytes(3_000_000)


class Web:
    """A web server that tests may fill.

    Attributes:
      url: where it is, behind the proxy.
      files: what it has, by path and query.
      etag: how it writes ETags; empty if it gives none.
      answers_head: whether it answers HEAD.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag, self.answers_head = '"{}"', True
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web._serve(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.proxy = FaultyProxy(("127.0.0.1", self._server.server_port))
        self.url = self.proxy.url

    def close(self) -> None:
        self.proxy.close()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        content = self.files.get(request.path)
        is_head = request.command == "HEAD"
        if content is None or (is_head and not self.answers_head):
            request.send_response(404 if content is None else 405)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        etag = self.etag.format(hash(content))
        wanted = request.headers.get("If-Match", "*")  # which takes strong ones only: RFC 9110
        if wanted != "*" and (wanted != etag or etag.startswith("W/")):
            request.send_error(412)
            return
        start, stop = 0, len(content)
        if asked := request.headers.get("Range"):
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last or stop - 1) + 1, stop)
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        if etag:
            request.send_header("ETag", etag)
        request.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        request.send_header("Content-Length", str(stop - start))
        request.end_headers()
        if not is_head:
            request.wfile.write(content[start:stop])


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    web = Web()
    yield web
    web.close()


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
    with local_copy(found.uri, found) as copy:
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
    with pytest.raises(ReadError, match="has changed since"), local_copy(listed.uri, listed):
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
        ("/a.wav?X-Amz-Signature=hush", "credentials don't go into URIs"),
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
