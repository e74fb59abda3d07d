"""A web server on loopback."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.stores.faults import FaultyProxy


class Web:
    """A web server that tests may fill.

    Attributes:
      url: where it is, behind the proxy.
      files: what it has, by path and query.
      etag: how it writes ETags; empty if it gives none.
      modified: when its files were, as it says.
      answers_head: whether it answers HEAD.
      named: which of the files a request's path and query mean.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.etag, self.answers_head = '"{}"', True
        self.modified = "Wed, 21 Oct 2015 07:28:00 GMT"
        self.named: Callable[[str], str] = lambda path: path
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
        content = self.files.get(self.named(request.path))
        is_head = request.command == "HEAD"
        asked = request.headers.get("Range")
        if content is None or (is_head and not self.answers_head) or (asked and not content):
            request.send_response(404 if content is None else 405 if is_head else 416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        etag = self.etag.format(hash(content))
        wanted = request.headers.get("If-Match", "*")  # which takes strong ones only: RFC 9110
        if wanted != "*" and (wanted != etag or etag.startswith("W/")):
            request.send_error(412)
            return
        start, stop = 0, len(content)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last or stop - 1) + 1, stop)
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        if etag:
            request.send_header("ETag", etag)
        request.send_header("Last-Modified", self.modified)
        request.send_header("Content-Length", str(stop - start))
        request.end_headers()
        if not is_head:
            request.wfile.write(content[start:stop])
