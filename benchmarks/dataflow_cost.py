"""What hearing an archive on Google Cloud Dataflow takes and costs.

    python -m benchmarks.dataflow_cost
    python -m benchmarks.dataflow_cost --hours 50000 --format mp3 --workers 100 --vcpu_hour 0.06
    python -m benchmarks.dataflow_cost --write    puts the tables into docs/dataflow.md

Arithmetic on what was measured elsewhere: CPU time and sizes are those of docs/performance.md, on
a machine that is none of Google's; nothing here was measured on Dataflow. Prices are list prices
in USD, without discounts, and change: check them, and name yours.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from textwrap import fill
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.processes import ROOT
from benchmarks.tables import Table, aligned, figure, percent, render, replaced, rows_of

PRICES_AS_OF = "23 November 2026"
"""When they were collected: Dataflow's from Beam 2.77, which counts with them in its own cost
benchmarks, those of requests from a copy of Google's pricing examples. None is confirmed."""

READ_BYTES = 16 * 1000**2
"""As much of an object on Google Cloud Storage as a request gives."""

REQUESTS = 3
"""For each recording, beside those for its content: one before, one to open it, one after."""

LISTED = 1000
"""Objects that a request for a listing gives."""

FIRST_RECORDINGS, FIRST_BYTES = 10_000, 10 * 1000**3
"""As much as a first round hears, as in pipelines/runs/rounds.py; then they grow."""

GROWTH, MOST_RECORDINGS = 10, 1_000_000
"""From round to round at most, and in a round at most."""


class Sound(NamedTuple):
    """An hour of sound in some format.

    Attributes:
      cpu_s: to hear it, all of earmark, a share of its start-up included.
      megabytes: its size.
    """

    cpu_s: float
    megabytes: float


def measured_sounds(page: str) -> dict[str, Sound]:
    """An hour of each format, going by the table of whole runs in a page."""
    sizes = re.search(
        rf"^### {WHOLE_RUNS} over (\d+) files of ([\d.]+) minutes", page, re.MULTILINE
    )
    if sizes is None:
        raise ValueError(f"the page has no table of whole runs: {WHOLE_RUNS}")
    hours = int(sizes[1]) * float(sizes[2]) / 60
    return {
        name: Sound(cpu_s=float(cpu_s) / hours, megabytes=float(megabytes) / hours)
        for name, megabytes, _, cpu_s, *_ in rows_of(page, WHOLE_RUNS)
    }


PERFORMANCE = ROOT / "docs" / "performance.md"
PAGE = ROOT / "docs" / "dataflow.md"
WHOLE_RUNS = "Whole runs"

SOUNDS = measured_sounds(PERFORMANCE.read_text(encoding="utf-8"))
"""Stereo, 44.1 or 48 kHz, files of some minutes."""


@dataclass(frozen=True)
class Archive:
    """What there is to hear.

    Attributes:
      hours: of sound.
      sound: what an hour of it is like.
      recording_s: how long a recording is.
      shuffled_bytes: of an hour of busy sound, written to shuffles, each of which is read again;
        measured with recordings of five minutes.
    """

    hours: float
    sound: Sound
    recording_s: float = 300.0
    shuffled_bytes: float = 82_000.0


@dataclass(frozen=True)
class Workers:
    """What hears it.

    Attributes:
      workers: how many machines, all the time.
      vcpus: of each.
      memory_gb: of each.
      disk_gb: of each.
      slowdown: CPU time there, as a multiple of that measured: other cores, two to a vCPU or
        not, and reading from a bucket.
      busy: the share of time that a vCPU has something to do: the rest is waiting for the bucket,
        the last long recordings, and workers that come late.
      round_s: how long a job hears; each round is a job.
      start_s: how long the workers of a job are paid before they hear, and after.
      writes: requests of a job that write, move or list files.
    """

    workers: int
    vcpus: int = 4
    memory_gb: float = 16.0
    disk_gb: float = 50.0
    slowdown: float = 1.5
    busy: float = 0.85
    round_s: float = 3600.0
    start_s: float = 240.0
    writes: float = 2000.0


@dataclass(frozen=True)
class Prices:
    """In USD.

    Attributes:
      vcpu_hour: of a batch worker.
      memory_gb_hour: likewise.
      disk_gb_hour: of a standard persistent disk.
      shuffle_gb: written to or read from Dataflow Shuffle.
      class_a: for 1000 requests that write or list, on standard storage in a region.
      class_b: for 1000 requests that read.
      egress_gb: of recordings read from elsewhere; nothing within a region.
    """

    vcpu_hour: float = 0.056
    memory_gb_hour: float = 0.003557
    disk_gb_hour: float = 0.000054
    shuffle_gb: float = 0.011
    class_a: float = 0.005
    class_b: float = 0.0004
    egress_gb: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What it takes.

    Attributes:
      jobs: one for each round.
      wall_s: from the first start to the last end.
      vcpu_hours, memory_gb_hours, disk_gb_hours: of all workers, while jobs run.
      shuffle_gb: written and read.
      class_a: requests that write or list.
      class_b: requests that read.
      read_gb: of recordings.
    """

    jobs: int
    wall_s: float
    vcpu_hours: float
    memory_gb_hours: float
    disk_gb_hours: float
    shuffle_gb: float
    class_a: float
    class_b: float
    read_gb: float


class Line(NamedTuple):
    """A line of the bill."""

    what: str
    quantity: float
    price: float

    @property
    def usd(self) -> float:
        """What it costs."""
        return self.quantity * self.price


def usage(archive: Archive, by: Workers) -> Usage:
    """What hearing an archive takes."""
    cpu_s = archive.hours * archive.sound.cpu_s * by.slowdown
    hearing_s = cpu_s / (by.workers * by.vcpus * by.busy)
    recordings = archive.hours * 3600 / archive.recording_s
    read_bytes = archive.hours * archive.sound.megabytes * 1000**2
    jobs = _rounds(recordings, read_bytes / recordings, hearing_s / recordings, by)
    wall_s = hearing_s + jobs * by.start_s
    machine_hours = by.workers * wall_s / 3600
    pieces = math.ceil(read_bytes / recordings / READ_BYTES)
    return Usage(
        jobs,
        wall_s,
        machine_hours * by.vcpus,
        machine_hours * by.memory_gb,
        machine_hours * by.disk_gb,
        2 * archive.hours * archive.shuffled_bytes / 1000**3,
        math.ceil(recordings / LISTED) + jobs * by.writes,
        recordings * (REQUESTS + pieces),
        read_bytes / 1000**3,
    )


def _rounds(recordings: float, size_bytes: float, each_s: float, by: Workers) -> int:
    """How many rounds there are: each is to last as long as asked for, going by the one before."""
    rounds, most = 0, min(FIRST_RECORDINGS, FIRST_BYTES / size_bytes)
    while recordings > 0:
        heard = min(recordings, most)
        took_s = heard * each_s + by.start_s
        most = min(MOST_RECORDINGS, heard * min(GROWTH, by.round_s / took_s))
        recordings -= heard
        rounds += 1
    return rounds


def bill(used: Usage, prices: Prices) -> list[Line]:
    """What that costs."""
    return [
        Line("vCPU, hours", used.vcpu_hours, prices.vcpu_hour),
        Line("memory, GB hours", used.memory_gb_hours, prices.memory_gb_hour),
        Line("disk, GB hours", used.disk_gb_hours, prices.disk_gb_hour),
        Line("shuffles, GB", used.shuffle_gb, prices.shuffle_gb),
        Line("requests that write, 1000", used.class_a / 1000, prices.class_a),
        Line("requests that read, 1000", used.class_b / 1000, prices.class_b),
        Line("reading, GB", used.read_gb, prices.egress_gb),
    ]


def total_usd(lines: Sequence[Line]) -> float:
    """The sum of a bill."""
    return sum(line.usd for line in lines)


def main(arguments: Sequence[str]) -> None:
    """Print a bill, or, where no hours are named, those of a small and a large archive."""
    given = vars(_parser().parse_args(arguments))
    if given["write"]:
        write_page()
        return
    prices = Prices(**{name: given[name] for name in _names(Prices)})
    shared = {name: given[name] for name in _names(Workers) if name != "workers"}
    about = {name: given[name] for name in ("recording_s", "shuffled_bytes")}
    print(f"List prices, collected {PRICES_AS_OF}: check them. Nothing of this was measured\n"
          "on Dataflow; see the top of benchmarks/dataflow_cost.py.\n")  # fmt: skip
    if given["hours"] is None:
        print(render(overview(_cases(SOUNDS, about, shared), prices)))
        return
    archive = Archive(given["hours"], SOUNDS[given["format"]], **about)
    print(render(breakdown(archive, Workers(given["workers"], **shared), prices)))


def write_page() -> None:
    """Put the tables into docs/dataflow.md, going by what docs/performance.md says by now."""
    sounds = measured_sounds(PERFORMANCE.read_text(encoding="utf-8"))
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), sounds), encoding="utf-8")


def with_tables(page: str, sounds: Mapping[str, Sound]) -> str:
    """The page with its tables: archives on Dataflow, and one of them in detail."""
    archive, by, prices = Archive(1e6, sounds["flac"]), Workers(100), Prices()
    page = replaced(page, aligned(overview(_cases(sounds), prices)), "costs")
    page = replaced(page, aligned(breakdown(archive, by, prices)), "bill")
    page = replaced(page, calculation(archive, by), "calculation")
    return replaced(page, remarks(archive, by, prices), "remarks")


def _cases(
    sounds: Mapping[str, Sound],
    about: Mapping[str, float] = MappingProxyType({}),
    shared: Mapping[str, Any] = MappingProxyType({}),
) -> list[tuple[Archive, Workers, str]]:
    """A small and a large archive of each format, and how many machines hear it."""
    return [
        (Archive(hours, sound, **about), Workers(workers, **shared), name)
        for hours, workers in ((1e3, 5), (1e6, 100), (1e6, 500))
        for name, sound in sounds.items()
    ]


def overview(cases: Sequence[tuple[Archive, Workers, str]], prices: Prices) -> Table:
    """A row for each archive: what it takes, and the sum of its bill."""
    columns = ("hours of sound", "workers", "jobs", "time, h", "vCPU h", "read GB", "USD")
    rows = []
    for archive, by, name in cases:
        used = usage(archive, by)
        sum_usd = total_usd(bill(used, prices))
        rows.append(
            [
                f"{archive.hours:,.0f} {name}",
                f"{by.workers}",
                f"{used.jobs}",
                figure(used.wall_s / 3600),
                f"{used.vcpu_hours:,.0f}",
                f"{used.read_gb:,.0f}",
                f"{sum_usd:,.2f}" if sum_usd < 100 else f"{sum_usd:,.0f}",
            ]
        )
    return Table("Archives on Dataflow", columns, rows)


def breakdown(archive: Archive, by: Workers, prices: Prices) -> Table:
    """The bill of an archive, line by line."""
    used = usage(archive, by)
    lines = bill(used, prices)
    rows = [
        [line.what, f"{line.quantity:,.1f}", f"{line.price:.6f}", f"{line.usd:,.2f}"]
        for line in lines
    ]
    return Table(
        f"{archive.hours:,.0f} hours with {by.workers} workers: {used.jobs} jobs,"
        f" {figure(used.wall_s / 3600)} h",
        ("what", "how much", "USD each", "USD"),
        [*rows, ["all", "", "", f"{total_usd(lines):,.2f}"]],
    )


def calculation(archive: Archive, by: Workers) -> str:
    """How the quantities come about, a step in each item of a list."""
    used, cpu_s = usage(archive, by), archive.sound.cpu_s
    all_s, vcpus = archive.hours * cpu_s * by.slowdown, by.workers * by.vcpus
    start_s = used.jobs * by.start_s
    hearing_s, recordings = used.wall_s - start_s, archive.hours * 3600 / archive.recording_s
    size_mb = archive.sound.megabytes * archive.recording_s / 3600
    pieces = round(used.class_b / recordings) - REQUESTS
    steps = {
        "CPU time": f"{cpu_s:.2f} s per hour, times {by.slowdown:g} is {cpu_s * by.slowdown:.3g} s;"
        f" {all_s / 1e6:.3g} million s in all",
        "processing": f"on {vcpus} vCPUs, busy for {percent(by.busy)} of the time: {all_s:,.0f} /"
        f" {vcpus * by.busy:g} = {hearing_s:,.0f} s",
        "jobs": f"rounds of {FIRST_RECORDINGS:,} recordings or {FIRST_BYTES / 1000**3:g} GB at"
        f" first, each {GROWTH} times larger, until they last an hour or hold"
        f" {MOST_RECORDINGS:,} recordings: {used.jobs}",
        "time": f"{hearing_s:,.0f} s plus {used.jobs} times {by.start_s:g} s to start and stop:"
        f" {used.wall_s:,.0f} s, or {figure(used.wall_s / 3600)} h",
        "machines": f"{by.workers} machines for {figure(used.wall_s / 3600)} h:"
        f" {used.vcpu_hours / by.vcpus:,.0f} machine hours; times {by.vcpus} vCPUs,"
        f" {by.memory_gb:g} GB of memory and {by.disk_gb:g} GB of disk",
        "shuffles": f"{archive.shuffled_bytes / 1000:g} kB per hour, written and read:"
        f" {used.shuffle_gb:,.0f} GB",
        "requests that write": f"{recordings / 1e6:g} million recordings, {LISTED} per listing"
        f" request: {recordings / LISTED:,.0f}; and {by.writes:g} per job",
        "requests that read": f"{recordings / 1e6:g} million times ({REQUESTS} + {pieces} for"
        f" {size_mb:.0f} MB, {READ_BYTES / 1e6:g} MB at a time): {used.class_b / 1e6:.0f} million",
        "reading": f"{used.read_gb / 1000:,.0f} TB, within the region: free. From another region it"
        " would be by far the largest cost: `--egress_gb`",
    }
    items = (f"- **{step[0].upper()}{step[1:]}**: {how}" for step, how in steps.items())
    return "\n".join(fill(item, width=100, subsequent_indent="  ") for item in items)


def remarks(archive: Archive, by: Workers, prices: Prices) -> str:
    """What to note about the bill, and what it would be for short recordings."""
    lines = bill(usage(archive, by), prices)
    short = replace(archive, recording_s=10, shuffled_bytes=837_000)
    used, usd = usage(short, by), total_usd(lines)
    short_usd = total_usd(bill(used, prices))
    vcpus, memory = (percent(line.usd / usd) for line in lines[:2])
    text = (
        f"CPU is {vcpus} of the cost, and memory {memory}. More machines cost little more until"
        " starting them takes as long as the processing, as with 500 of them here. Small files are"
        f" expensive: a million hours in recordings of ten seconds would be"
        f" {short.hours * 3600 / short.recording_s / 1e6:g} million recordings in {used.jobs} jobs,"
        f" and cost {short_usd:,.0f} USD, {short_usd / usd:.1f} times as much"
        " (`--recording_s 10 --shuffled_bytes 837000`)."
    )
    return fill(text, width=100)


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dataflow_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="What each means stands at the classes in benchmarks/dataflow_cost.py.",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}"
    )
    parser.add_argument("--hours", type=float, help="of sound; default: a small and a large one")
    parser.add_argument("--format", choices=SOUNDS, default="flac")
    for kind, left_out in ((Archive, {"hours", "sound"}), (Workers, set()), (Prices, set())):
        for field in fields(kind):
            if field.name not in left_out:
                default = 50 if field.name == "workers" else field.default
                parser.add_argument(
                    f"--{field.name}", type=type(default), default=default, help="(%(default)s)"
                )
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
