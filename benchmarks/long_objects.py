"""What a long recording in a bucket costs, fetched span by span and as a whole.

    python -m benchmarks.long_objects [--hours 2] [--kind wav]

The bucket is a server on loopback in a process of its own, which sends parts of one file.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import soundfile

from benchmarks.pairing import in_rounds
from benchmarks.processes import python, run
from benchmarks.tables import Table, render

RATE_HZ, CHANNELS = 48_000, 2
UNCUT_S = 900_000
WAYS = {"span by span": 600, "as a whole": UNCUT_S}

_CHUNK_BYTES = 1 << 18
_LOOK_EVERY_S = 0.02


class Cost(NamedTuple):
    """What a run cost: time, and 10^6 bytes that were fetched, held in memory and on disk."""

    wall_s: float
    cpu_s: float
    fetched_mb: float
    memory_mb: float
    disk_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    asked = _parser().parse_args(arguments)
    if asked.serve:
        _serve(Path(asked.serve), asked.mb_s)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = _write(Path(folder) / f"long.{asked.kind}", asked.hours)
        size_mb = path.stat().st_size / 1e6
        with _serving(path, asked.mb_s) as url:
            ways = {way: partial(_cost, url, path, span_s) for way, span_s in WAYS.items()}
            measured = in_rounds(ways, asked.rounds)
    rows = [
        (way, *(f"{median(each):,.1f}" for each in zip(*costs, strict=True)))
        for way, costs in measured.items()
    ]
    columns = ("a recording", "s", "CPU s", "MB fetched", "MB of memory", "MB of disk")
    title = f"{asked.hours:g} hours of {asked.kind}, {RATE_HZ} Hz, stereo, {size_mb:,.0f} MB"
    print(render(Table(title, columns, rows, f"Medians of {asked.rounds} rounds, in turns.")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.long_objects", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--kind", choices=["wav", "flac"], default="wav")
    parser.add_argument("--mb_s", type=float, default=1e6, help="of a connection, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser


def _cost(url: str, path: Path, span_s: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        temporary, output = Path(folder) / "tmp", Path(folder) / "out"
        temporary.mkdir()
        flags = ["--model", "builtin", "--span_s", span_s, "--output", output]
        command = python("earmark", "classify", "--input", f"s3://archive/{path.name}", *flags)
        _sent_mb(url)
        with _used_mb(temporary) as disk_mb:
            cost = run(command, _environment(url, temporary)).cost
        return Cost(cost.wall_s, cost.cpu_s, _sent_mb(url), cost.peak_mb, disk_mb())


def _environment(url: str, temporary: Path) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "tester",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(temporary),
        "no_proxy": "127.0.0.1",
    }


def _write(path: Path, hours: float) -> Path:
    """A recording of noise that swells, minute by minute."""
    minute = np.random.default_rng(0).normal(0, 0.05, (60 * RATE_HZ, CHANNELS)).astype(np.float32)
    minute *= np.linspace(0.1, 1, len(minute), dtype=np.float32)[:, None]
    with soundfile.SoundFile(path, "w", RATE_HZ, CHANNELS, "PCM_16") as sound:
        for _ in range(round(hours * 60)):
            sound.write(minute)
    return path


@contextmanager
def _used_mb(folder: Path) -> Iterator[Callable[[], float]]:
    """Look, meanwhile, at how much of the disk the files in a folder take; gives the most."""
    most, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_EVERY_S):
            most.append(sum(_blocks_mb(path) for path in folder.iterdir()))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: max(most)
    finally:
        ended.set()
        watcher.join()


def _blocks_mb(path: Path) -> float:
    try:
        return path.stat().st_blocks * 512 / 1e6
    except OSError:
        return 0


# the bucket


@contextmanager
def _serving(path: Path, mb_s: float) -> Iterator[str]:
    command = python("benchmarks.long_objects", "--serve", path, "--mb_s", mb_s)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield (server.stdout or sys.stdin).readline().strip()
        finally:
            server.kill()


def _sent_mb(url: str) -> float:
    """How much the bucket has sent since this was last asked."""
    with urllib.request.urlopen(f"{url}/sent") as answer:
        return int(answer.read()) / 1e6


def _serve(path: Path, mb_s: float) -> None:
    """Serve until killed."""
    size = path.stat().st_size
    sent = {"bytes": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(0, size, is_head=True)

        def do_GET(self) -> None:
            if self.path == "/sent":
                self._say(str(sent["bytes"]).encode())
                sent["bytes"] = 0
                return
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
            start, stop = (int(asked[1]), min(size, int(asked[2]) + 1)) if asked else (0, size)
            self._answer(start, stop, is_part=asked is not None)

        def _say(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer(
            self, start: int, stop: int, *, is_head: bool = False, is_part: bool = False
        ) -> None:
            self.send_response(206 if is_part else 200)
            self.send_header("Content-Length", str(stop - start))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            if is_part:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()
            if not is_head:
                self._send(start, stop)

        def _send(self, start: int, stop: int) -> None:
            began, first = time.monotonic(), start
            with path.open("rb") as file:
                file.seek(start)
                while start < stop:
                    chunk = file.read(min(_CHUNK_BYTES, stop - start))
                    self.wfile.write(chunk)
                    start += len(chunk)
                    sent["bytes"] += len(chunk)
                    due = began + (start - first) / mb_s / 1e6
                    time.sleep(max(0.0, due - time.monotonic()))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
