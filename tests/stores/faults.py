"""A reverse proxy on loopback that misbehaves by a seeded plan."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "a-secret-that-must-not-be-seen"

_REFUSAL = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

Answer = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True)
class Faults:
    """How often requests go wrong.

    Attributes:
      refused: the share answered 500 or 503.
      cut: the share whose answer's body ends in the middle.
      slow: the share whose answer's body comes in two parts.
      slow_s: the time between these parts.
    """

    refused: float = 0.0
    cut: float = 0.0
    slow: float = 0.0
    slow_s: float = 0.3
    seed: int = 0


class FaultyProxy:
    """Passes requests on, and their answers back, but for what the faults say.

    Attributes:
      faults: may be changed at any time.
      done: how many requests were answered well or went wrong, by how.
      requests: method and path of each.
      sent_bytes: how much of objects was sent, by path.
      gate: whether a request is let through, by its method and path; others are answered 403.
      page_size: how many objects a page of a listing holds; None for as many as the store likes.

    Args:
      store: where the store listens.
      is_gcs: it is to pass for GCS, whose XML API is S3's but for the names of some headers.
    """

    def __init__(self, store: tuple[str, int], *, is_gcs: bool = False) -> None:
        self.faults = Faults()
        self.done: Counter[str] = Counter()
        self.requests: list[str] = []
        self.sent_bytes: Counter[str] = Counter()
        self.gate: Callable[[str, str], bool] = lambda method, path: True
        self.page_size: int | None = None
        self._store = store
        self._is_gcs = is_gcs
        self._dice = random.Random(0)
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:  # the client has gone
                    self.close_connection = True

            def do_GET(self) -> None:
                proxy._serve(self)

            do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def misbehave(self, faults: Faults) -> None:
        """Follow another plan from now on."""
        self.faults, self._dice = faults, random.Random(faults.seed)
        self.done.clear()
        self.requests.clear()
        self.sent_bytes.clear()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        with self._lock:
            self.requests.append(f"{request.command} {request.path}")
            fault = self._roll()
            self.done[fault] += 1
        if fault == "refused":
            status = 503 if self._dice.random() < 0.5 else 500
            _send(request, (status, [("Content-Type", "text/plain")], b"try again"))
            return
        if not self.gate(request.command, request.path):
            _send(request, (403, [("Content-Type", "application/xml")], _REFUSAL))
            return
        answer = self._ask(request, body)
        self.sent_bytes[request.path.partition("?")[0]] += len(answer[2])
        _send(request, answer, fault, self.faults.slow_s)

    def _roll(self) -> str:
        value, faults = self._dice.random(), self.faults
        for name, share in (
            ("refused", faults.refused),
            ("cut", faults.cut),
            ("slow", faults.slow),
        ):
            if value < share:
                return name
            value -= share
        return "well"

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(*self._store, timeout=60)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _OWN}
        if self._is_gcs:
            headers = dict(_of_s3(*each) for each in headers.items()) | _SOMEBODY
        path = request.path
        if self.page_size is not None and "list-type" in path:
            path += f"&max-keys={self.page_size}"
        try:
            connection.request(request.command, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


@dataclass
class Store:
    """A store that tests may fill, and the way in for earmark.

    Attributes:
      url: of the bucket, such as s3://archive.
      proxy: what earmark talks to.
      put: writes an object, past the proxy.
      get_all: reads all objects by name, past the proxy.
    """

    url: str
    proxy: FaultyProxy
    put: Callable[[str, bytes], None]
    get_all: Callable[[], dict[str, bytes]]

    def uri(self, name: str) -> str:
        return f"{self.url}/{name}"


def _of_s3(name: str, value: str) -> tuple[str, str]:
    """A header of GCS as S3 has it."""
    if name.lower() == "x-goog-if-generation-match":
        assert value == "0", "a generation, which the store behind has none of"
        return "If-None-Match", "*"
    return name.lower().replace("x-goog-", "x-amz-"), value


_SOMEBODY = {
    "authorization": "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=none"
}
_OWN = {"connection", "transfer-encoding", "expect", "content-length"}


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    parts = []
    while size := int(request.rfile.readline().split(b";")[0], 16):
        parts.append(request.rfile.read(size))
        request.rfile.readline()
    while request.rfile.readline().strip():
        pass
    return b"".join(parts)


def _send(
    request: BaseHTTPRequestHandler, answer: Answer, fault: str = "well", slow_s: float = 0.0
) -> None:
    status, headers, body = answer
    request.send_response_only(status)
    for name, value in headers:
        if name.lower() not in _OWN:
            request.send_header(name, value)
    given = {name.lower(): value for name, value in headers}
    is_head = request.command == "HEAD"
    length = given.get("content-length", "0") if is_head else str(len(body))
    if status != 204:
        request.send_header("Content-Length", length)
    request.end_headers()
    if is_head:
        return
    half = len(body) // 2
    request.wfile.write(body[:half])
    if fault == "cut" and body:
        request.wfile.flush()
        request.close_connection = True
        return
    if fault == "slow":
        time.sleep(slow_s)
    request.wfile.write(body[half:])
