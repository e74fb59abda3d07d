"""Finding a model and fetching a published one."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from earmark.models import sources
from earmark.models.catalogue import (
    PublishedFile,
    PublishedModel,
    cache_folder,
    fetch,
    fetching,
    published_models,
)
from earmark.models.errors import ModelError
from earmark.models.sources import ModelSource, resolve

ROOT = Path(__file__).parents[2]
CONTENT = np.random.default_rng(5).bytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Home(BaseHTTPRequestHandler):
    """A model's home on which each path goes wrong in its own way."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        getattr(self, "get_" + self.path.strip("/"), self.get_missing)()

    def get_right(self) -> None:
        self.answer(CONTENT)

    def get_zip(self) -> None:
        self.answer(packed_zip({"birds/model.bin": CONTENT, "README": b"about it"}))

    def get_tar(self) -> None:
        self.answer(packed_tar({"1.tflite": CONTENT}))

    def get_zip_of_others(self) -> None:
        self.answer(packed_zip({"model.tflite": CONTENT[::-1]}))

    def get_cut_zip(self) -> None:
        self.answer(packed_zip({"model.tflite": CONTENT})[:-30])

    def get_wrong(self) -> None:
        self.answer(CONTENT[::-1])

    def get_page(self) -> None:
        self.answer(b"<html>Please log in</html>")

    def get_cut(self) -> None:
        self.answer(CONTENT[:70_000], promised=len(CONTENT))

    def get_endless(self) -> None:
        self.answer(CONTENT * 50, promised=10**12)

    def get_silent(self) -> None:
        threading.Event().wait(1.0)

    def get_moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/right")
        self.end_headers()

    def get_missing(self) -> None:
        self.send_error(404)

    def answer(self, content: bytes, promised: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(promised or len(content)))
        self.end_headers()
        try:
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    Home.asked = []
    with Server(("127.0.0.1", 0), Home) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EARMARK_CACHE", str(folder))
    return folder


def packed_zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


def packed_tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def published(*urls: str) -> PublishedModel:
    file = PublishedFile(sha256=SHA256, size_bytes=len(CONTENT))
    return PublishedModel(name="wren", files={"model": (file,)}, urls=urls)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_a_fetched_model_is_returned_and_kept(home: Server, cache: Path) -> None:
    model = published(f"{home.url}/right")
    assert fetch(model) == CONTENT
    assert [each.read_bytes() for each in cache.iterdir()] == [CONTENT]
    assert model.path_in(cache).read_bytes() == CONTENT


@pytest.mark.parametrize("packed", ["zip", "tar"])
def test_a_model_is_found_in_an_archive_by_its_content(
    home: Server, cache: Path, packed: str
) -> None:
    model = published(f"{home.url}/{packed}")
    assert fetch(model) == CONTENT
    assert [each.read_bytes() for each in cache.iterdir()] == [CONTENT]


def test_a_kept_model_is_not_fetched_again(home: Server) -> None:
    model = published(f"{home.url}/right")
    fetch(model)
    assert fetch(model) == CONTENT
    assert Home.asked == ["/right"]


def test_a_kept_model_needs_no_network(cache: Path) -> None:
    model = published(f"http://127.0.0.1:{closed_port()}/")
    cache.mkdir()
    model.path_in(cache).write_bytes(CONTENT)
    assert fetch(model) == CONTENT


@pytest.mark.parametrize("kept", [b"", CONTENT[:1000], CONTENT[:-1] + b"?", CONTENT + b"?"])
def test_a_kept_model_with_other_bytes_is_fetched_anew(
    home: Server, cache: Path, kept: bytes
) -> None:
    model = published(f"{home.url}/right")
    cache.mkdir()
    model.path_in(cache).write_bytes(kept)
    assert fetch(model) == CONTENT
    assert model.path_in(cache).read_bytes() == CONTENT


def test_a_home_that_has_moved_is_followed(home: Server) -> None:
    assert fetch(published(f"{home.url}/moved")) == CONTENT


@pytest.mark.parametrize("first", ["wrong", "page", "cut", "endless", "missing"])
def test_the_second_home_serves_where_the_first_fails(home: Server, first: str) -> None:
    assert fetch(published(f"{home.url}/{first}", f"{home.url}/right")) == CONTENT
    assert Home.asked == [f"/{first}", "/right"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("wrong", "the file received has the sha256 " + hashlib.sha256(CONTENT[::-1]).hexdigest()),
        ("page", "26 bytes were received, not 200000"),
        ("cut", "bytes were received, not 200000|IncompleteRead"),
        ("endless", "more than 200000 bytes were received"),
        ("missing", "404"),
        ("zip_of_others", "the archive received does not contain the model"),
        ("cut_zip", "is not a whole archive"),
    ],
)
def test_a_model_that_cannot_be_had_is_an_error_that_says_what_to_put_where(
    home: Server, cache: Path, path: str, why: str
) -> None:
    model = published(f"{home.url}/{path}")
    with pytest.raises(ModelError, match=why) as failed:
        fetch(model)
    assert f"put the file whose sha256 is {SHA256} at {model.path_in(cache)}" in str(failed.value)
    assert f"{home.url}/{path}" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not cache.exists()


def test_no_network_is_an_error_that_says_what_to_put_where(cache: Path) -> None:
    model = published(f"http://127.0.0.1:{closed_port()}/wren.tflite")
    with pytest.raises(ModelError, match="refused") as failed:
        fetch(model)
    assert str(model.path_in(cache)) in str(failed.value)


def test_a_home_that_says_nothing_is_given_up(
    home: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_TIMEOUT_S", 0.1)
    with pytest.raises(ModelError, match="timed out"):
        fetch(published(f"{home.url}/silent"))


def test_a_cache_that_cannot_be_written_costs_only_the_next_fetch(
    home: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    assert fetch(published(f"{home.url}/right"), in_the_way / "cache") == CONTENT
    assert "wren is not kept for the next time" in caplog.text


def test_threads_that_fetch_at_once_all_get_the_model(home: Server, cache: Path) -> None:
    model = published(f"{home.url}/right")
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(fetch, [model] * 16))
    assert all(content == CONTENT for content in fetched)
    assert list(cache.iterdir()) == [model.path_in(cache)]


def test_processes_that_fetch_at_once_all_get_the_model(home: Server, cache: Path) -> None:
    model = published(f"{home.url}/right")
    script = (
        "import sys; from earmark.models.catalogue import PublishedModel, fetch\n"
        "model = PublishedModel.model_validate_json(sys.argv[1])\n"
        "sys.stdout.buffer.write(fetch(model))\n"
    )
    command = [sys.executable, "-c", script, model.model_dump_json()]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(3)]
    assert all(each.communicate()[0] == CONTENT for each in running)
    assert list(cache.iterdir()) == [model.path_in(cache)]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"EARMARK_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"EARMARK_CACHE": "", "XDG_CACHE_HOME": "/b"}, Path("/b/earmark")),
        ({"XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "earmark"),
        ({}, Path.home() / ".cache" / "earmark"),
    ],
)
def test_the_cache_lies_where_the_environment_says(environ: dict[str, str], expected: Path) -> None:
    assert cache_folder(environ) == expected


def test_a_path_becomes_absolute_and_known_by_its_stem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wren.v2.tflite").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    source = resolve("wren.v2.tflite")
    assert source == ModelSource("wren.v2", str(tmp_path / "wren.v2.tflite"), SHA256)
    monkeypatch.chdir("/")
    assert source.read() == CONTENT


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("gs://bucket/models/wren.tflite", "wren"),
        ("https://example.org/wren.tflite?alt=media", "wren"),
        ("mem://wren", "wren"),
    ],
)
def test_a_uri_is_read_by_what_the_caller_brings(uri: str, name: str) -> None:
    contents = {uri: CONTENT}
    source = resolve(uri, contents.__getitem__)
    assert source == ModelSource(name, uri, SHA256)
    assert source.read(contents.__getitem__) == CONTENT


def test_a_uri_that_cannot_be_read_is_a_model_error() -> None:
    def gone(uri: str) -> bytes:
        raise FileNotFoundError(f"no object at {uri}")

    def unknown(uri: str) -> bytes:
        raise ValueError("no filesystem for gopher")

    with pytest.raises(ModelError, match=r"cannot read the model gs://b/m\.tflite: no object"):
        resolve("gs://b/m.tflite", gone)
    with pytest.raises(ModelError, match="no filesystem for gopher"):
        resolve("gopher://b/m.tflite", unknown)
    with pytest.raises(ModelError, match="only paths"):
        resolve("gs://b/m.tflite")


def test_a_published_model_is_resolved_by_name_and_read_from_each_machines_own_cache(
    home: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wren = published(f"{home.url}/right")
    source = resolve("wren", published=[wren])
    assert source == ModelSource("wren", "wren", SHA256)
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "another machine"))
    assert pickle.loads(pickle.dumps(source)).read(published=[wren]) == CONTENT
    assert Home.asked == ["/right", "/right"]


def test_yamnet_is_found_in_the_cache(yamnet_path: Path, cache: Path) -> None:
    cache.mkdir()
    yamnet = published_models()[0]
    yamnet.path_in(cache).symlink_to(yamnet_path)
    source = resolve("yamnet")
    assert (source.name, source.sha256) == ("yamnet", yamnet.sha256)
    assert len(source.read()) == yamnet_path.stat().st_size


def test_the_built_in_model_is_read_from_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "builtin.tflite"
    monkeypatch.setattr(sources, "_BUILTIN_PATH", shipped)
    with pytest.raises(ModelError, match="cannot read the model"):
        resolve("builtin")
    shipped.write_bytes(CONTENT)
    assert resolve("builtin") == ModelSource("builtin", "builtin", SHA256)
    assert resolve("builtin").read() == CONTENT


def test_a_file_that_changed_since_it_was_found_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wren.tflite"
    file.write_bytes(CONTENT)
    source = resolve(str(file))
    file.write_bytes(CONTENT[::-1])
    with pytest.raises(ModelError, match=f"not the file it was .* not {SHA256}"):
        source.read()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("yament", "no such model: 'yament'; did you mean yamnet?"),
        ("built-in", "no such model: 'built-in'; did you mean builtin?"),
        ("README", "no such model: 'README' (known by name: builtin, yamnet, "),
        ("perch", "no such model: 'perch' (known by name: builtin, yamnet, "),
        ("", "no such model: '' (known by name"),
        ("models/perch.tflite", "no such model file: models/perch.tflite"),
        ("perch.tflite", "no such model file: perch.tflite"),
    ],
)
def test_a_model_that_does_not_exist_is_one_clear_line(
    model: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="^" + re.escape(says)) as failed:
        resolve(model)
    assert "\n" not in str(failed.value)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Is a directory"):
        resolve(str(tmp_path))


def test_a_file_that_is_called_like_a_known_model_is_reached_by_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yamnet").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    assert resolve("./yamnet").sha256 == SHA256
