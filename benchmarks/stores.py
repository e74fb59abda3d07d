"""What stores cost through obstore, as earmark reaches them, and through Beam's filesystems.

    python -m benchmarks.stores [--gcs URL]

S3 is moto in a process of its own. GCS is measured if a server is named that speaks both of its
APIs, as fake-gcs-server does; Beam speaks one, obstore the other. Each measurement is a process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote

from benchmarks.pairing import in_rounds
from benchmarks.processes import python, run
from benchmarks.tables import Table, render

CLIP_BYTES = 100_000
REFUSED = 0.05
WAYS = ("Beam", "obstore")
TASKS = ("list", "read", "read, refused")


class Cost(NamedTuple):
    """What a measurement cost: seconds in all and of CPU, and megabytes that were held at most."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    asked = _parser().parse_args(arguments)
    if asked.measure:
        way, scheme, task = asked.measure
        print(json.dumps(_measured(way, scheme, task, asked.clips, asked.threads)))
    elif asked.serve is not None:
        _serve(asked.serve)
    else:
        print(render(_table(asked)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.stores", description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000, help="that are listed")
    parser.add_argument("--clips", type=int, default=2_000, help="that are read")
    parser.add_argument("--threads", type=int, default=8, help="that read them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gcs", help="the URL of a server that speaks both APIs of GCS")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser


def _table(asked: argparse.Namespace) -> Table:
    rows = []
    for scheme, store in (("s3", ""), ("gs", asked.gcs)):
        if store is not None:
            with _serving(store) as (url, faulty):
                _fill(scheme, url, asked.objects, asked.clips)
                for task in TASKS:
                    rows.append(_row(scheme, task, faulty if "," in task else url, asked))
                    print(*rows[-1], file=sys.stderr)
    return Table(
        f"Listing {asked.objects:,} objects; reading {asked.clips:,} of {CLIP_BYTES // 1000} kB by "
        f"{asked.threads} threads, also with {REFUSED:.0%} of requests refused",
        ("store", "task", *(f"{way}: {what}" for way in WAYS for what in ("s", "CPU s", "MB"))),
        rows,
        f"Medians of {asked.rounds} rounds, in turns. MB is the most that the process held.",
    )


def _row(scheme: str, task: str, url: str, asked: argparse.Namespace) -> tuple[str, ...]:
    ways = {way: partial(_in_a_process, way, scheme, task, url, asked) for way in WAYS}
    row = [scheme, task]
    for costs in in_rounds(ways, asked.rounds).values():
        medians = Cost(*(median(each) for each in zip(*costs, strict=True)))
        row += [f"{medians.wall_s:.1f}", f"{medians.cpu_s:.2f}", f"{medians.peak_mb:.0f}"]
    return tuple(row)


def _in_a_process(way: str, scheme: str, task: str, url: str, asked: argparse.Namespace) -> Cost:
    numbers = ("--clips", asked.clips, "--threads", asked.threads)
    command = python("benchmarks.stores", "--measure", way, scheme, task, *numbers)
    done = run(command, _environment(url))
    wall_s, cpu_s = json.loads(done.said.splitlines()[-1])
    return Cost(wall_s, cpu_s, done.cost.peak_mb)


def _environment(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "tester",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "STORAGE_EMULATOR_HOST": url,
        "no_proxy": "127.0.0.1",
    }


# in a process of its own: the work


def _measured(way: str, scheme: str, task: str, clips: int, threads: int) -> tuple[float, float]:
    list_all, read = (_with_beam if way == "Beam" else _with_obstore)(scheme)
    read(_clip(scheme, 0))
    began, cpu_began = time.perf_counter(), time.process_time()
    if task == "list":
        list_all()
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(read, (_clip(scheme, number) for number in range(clips))))
    return time.perf_counter() - began, time.process_time() - cpu_began


def _with_obstore(scheme: str) -> tuple[Callable[[], object], Callable[[str], object]]:
    """As earmark lists and copies objects."""
    from earmark.transforms.storage import fetched, list_below

    def read(uri: str) -> None:
        with fetched(uri, ""):
            pass

    return lambda: sum(1 for _ in list_below(f"{scheme}://archive/many/")), read


def _with_beam(scheme: str) -> tuple[Callable[[], object], Callable[[str], object]]:
    """As earmark 0.1 did: an S3IO for each thread, and each object looked up after it was read."""
    from apache_beam.io.aws.s3io import S3IO
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    from earmark.transforms.storage import temporary_copy

    options = PipelineOptions([])
    FileSystems.set_options(options)
    own = threading.local()

    def store() -> Any:
        if scheme == "gs":
            return FileSystems.get_filesystem("gs://")
        if not hasattr(own, "s3"):
            own.s3 = S3IO(options=options)
        return own.s3

    def read(uri: str) -> None:
        with temporary_copy() as copy:
            with store().open(uri) as file:
                while chunk := file.read(8 << 20):
                    copy.write(chunk)
            store().last_updated(uri)

    def list_all() -> int:
        return len(FileSystems.match([f"{scheme}://archive/many/**"])[0].metadata_list)

    return list_all, read


def _clip(scheme: str, number: int) -> str:
    return f"{scheme}://archive/clips/{number:05}.wav"


# the store


@contextmanager
def _serving(store: str) -> Iterator[tuple[str, str]]:
    """A store, and the way to it on which requests are refused."""
    command = python("benchmarks.stores", "--serve", store)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        url, faulty = (server.stdout or sys.stdin).readline().split()
        try:
            yield url, faulty
        finally:
            server.kill()


def _serve(store: str) -> None:
    """Serve until killed; moto where no store is named."""
    from urllib.parse import urlsplit

    from tests.stores.faults import Faults, FaultyProxy

    if store:
        address = urlsplit(store).hostname or "", urlsplit(store).port or 80
    else:
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        address = server.get_host_and_port()
    proxy = FaultyProxy(address)
    proxy.misbehave(Faults(refused=REFUSED))
    print("http://{}:{}".format(*address), proxy.url, flush=True)
    sys.stdout.close()
    threading.Event().wait()


def _fill(scheme: str, url: str, objects: int, clips: int) -> None:
    content = random.Random(0).randbytes(CLIP_BYTES)
    many = dict.fromkeys((f"many/{n // 1000:02}/{n:05}.wav" for n in range(objects)), b"x")
    each = {**many, **dict.fromkeys((_clip("", n).split("/", 3)[3] for n in range(clips)), content)}
    put = (_s3_put if scheme == "s3" else _gcs_put)(url)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(put, each, each.values()))


def _s3_put(url: str) -> Callable[[str, bytes], object]:
    import boto3

    os.environ.update(_environment(url))
    bucket = boto3.resource("s3").create_bucket(Bucket="archive")
    return lambda name, content: bucket.put_object(Key=name, Body=content)


def _gcs_put(url: str) -> Callable[[str, bytes], object]:
    """By the JSON API, since emulators take objects by no other."""

    def post(path: str, content: bytes, kind: str) -> None:
        headers = {"Content-Type": kind}
        request = urllib.request.Request(f"{url}{path}", content, headers)
        urllib.request.urlopen(request).close()

    post("/storage/v1/b?project=p", b'{"name": "archive"}', "application/json")
    upload = "/upload/storage/v1/b/archive/o?uploadType=media&name="
    return lambda name, content: post(f"{upload}{quote(name, safe='')}", content, "audio/wav")


if __name__ == "__main__":
    main()
