"""docs/cookbook.md and the README's query: each snippet gives what these rows say."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earmark.transforms.output.columns import CLIPS, DETECTIONS, EVENTS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
BERLIN = ZoneInfo("Europe/Berlin")
FRAME_S = 0.975


class Event(NamedTuple):
    """An event, whose frames all have the same score."""

    clip: str
    label: str
    first: int
    frames: int
    score: float

    @property
    def start_s(self) -> float:
        return self.first * FRAME_S

    @property
    def seconds(self) -> float:
        return self.frames * FRAME_S


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=timezone.utc)


CLIPS_THERE = {
    "/cards/pond/a.wav": (utc(2024, 5, 28, 20), 300.0),
    "/cards/pond/b.wav": (utc(2024, 5, 28, 23, 30), 120.0),
    "/cards/pond/noon.wav": (utc(2024, 5, 28, 10), 60.0),
    "/cards/wood/c.wav": (utc(2024, 5, 29, 1, 59), 240.0),
    "/cards/wood/quiet.wav": (utc(2024, 5, 30, 21), 60.0),
    "/cards/wood/when.wav": (None, 60.0),
}
EVENTS_THERE = [
    Event("/cards/pond/a.wav", "Frog", 0, 20, 0.9),
    Event("/cards/pond/a.wav", "Croak", 10, 20, 0.4),
    Event("/cards/pond/a.wav", "Frog", 40, 3, 0.4),
    Event("/cards/pond/a.wav", "Speech", 100, 70, 0.8),
    Event("/cards/pond/b.wav", "Frog", 5, 1, 0.6),
    Event("/cards/pond/b.wav", "Silence", 20, 90, 0.95),
    Event("/cards/pond/noon.wav", "Frog", 5, 9, 0.7),
    Event("/cards/wood/c.wav", "Frog", 60, 4, 0.75),
    Event("/cards/wood/c.wav", "Bird", 10, 2, 0.55),
    Event("/cards/wood/c.wav", "Bird", 30, 2, 0.3),
    Event("/cards/wood/c.wav", "Music", 0, 130, 0.7),
    Event("/cards/wood/c.wav", "Laughter", 200, 5, 0.5),
    Event("/cards/wood/when.wav", "Frog", 0, 7, 0.9),
]
CARDS = [
    ("pond/a.wav", "water"),
    ("pond/b.wav", "water"),
    ("wood/c.wav", "oak"),
    ("wood/quiet.wav", "oak"),
    ("wood/lost.wav", "oak"),
]


def moment(event: Event, frame: int = 0) -> datetime | None:
    began, _ = CLIPS_THERE[event.clip]
    after = timedelta(milliseconds=round(1000 * (event.start_s + frame * FRAME_S)))
    return None if began is None else began + after


def site(event: Event) -> str:
    return event.clip.split("/")[-2]


def night(moment: datetime) -> date:
    return (moment.astimezone(BERLIN) - timedelta(hours=12)).date()


def frogs(least: float = 0.5) -> list[Event]:
    return [each for each in EVENTS_THERE if each.label == "Frog" and each.score >= least]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with labels/ and cards.csv in it."""
    events = [_event_row(each) for each in EVENTS_THERE]
    detections = [_frame_row(each, frame) for each in EVENTS_THERE for frame in range(each.frames)]
    clips = [
        {
            "clip": clip,
            "path": clip[len("/cards/") :],
            "folder": clip.split("/")[-2],
            "recorded_at": began,
            "duration_s": seconds,
            "status": "scored",
        }
        for clip, (began, seconds) in CLIPS_THERE.items()
    ]
    _write(tmp_path / "labels" / "events", events, EVENTS)
    _write(tmp_path / "labels" / "detections", detections, DETECTIONS)
    _write(tmp_path / "labels" / "clips", clips, CLIPS)
    with (tmp_path / "cards.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("uri", "habitat"), *CARDS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "clip": event.clip,
        "label": event.label,
        "start_time": moment(event),
        "start_s": event.start_s,
        "end_s": event.start_s + event.seconds,
        "max_score": event.score,
        "mean_score": event.score,
        "frames": event.frames,
    }


def _frame_row(event: Event, frame: int) -> dict[str, Any]:
    start_s = (event.first + frame) * FRAME_S
    return {
        "clip": event.clip,
        "label": event.label,
        "start_time": moment(event, frame),
        "start_s": start_s,
        "end_s": start_s + FRAME_S,
        "score": event.score,
    }


def _write(folder: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Two files, as two rounds leave them."""
    folder.mkdir(parents=True)
    for number, part in enumerate((rows[::2], rows[1::2])):
        table = pa.Table.from_pylist(part, schema)
        pq.write_table(table, folder / f"{number}.parquet", store_schema=False)


def snippet(title: str, kind: str = "sql") -> str:
    """The first snippet below a title, or several in one."""
    section = re.split(r"^#+ ", PAGE.partition(f" {title}\n")[2], maxsplit=1, flags=re.M)[0]
    return "\n".join(re.findall(rf"^```{kind}\n(.*?)^```$", section, re.M | re.S))


def asked(title: str, *, last: bool = True) -> list[tuple[Any, ...]]:
    """The rows of the last query below a title, or of its first."""
    statements = [each for each in snippet(title).split(";") if each.strip()]
    with duckdb.connect() as connection:
        connection.execute(snippet("In SQL"))
        for each in statements[:-1] if last else []:
            connection.execute(each)
        return connection.execute(statements[-1 if last else 0]).fetchall()


def near(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(pytest.approx(each, abs=0.051) if _is_float(each) else each for each in row)
            for row in rows]  # fmt: skip


def _is_float(value: object) -> bool:
    return isinstance(value, float)


def test_frogs_by_site_and_night(folder):
    calls: dict[tuple[str, date], list[Event]] = defaultdict(list)
    for each in frogs():
        began = moment(each)
        if began is not None and not 6 <= began.astimezone(BERLIN).hour <= 19:
            calls[site(each), night(began)].append(each)
    expected = [
        (*key, len(heard), sum(each.seconds for each in heard), max(each.score for each in heard))
        for key, heard in sorted(calls.items())
    ]
    assert len(expected) == 2
    assert asked("Frogs by site and night", last=False) == near(expected)


def test_nights_without_a_frog_are_zero(folder):
    ran = {(clip.split("/")[-2], night(began)) for clip, (began, _) in CLIPS_THERE.items() if began}
    known = [(each, moment(each)) for each in frogs()]
    calls = Counter((site(each), night(began)) for each, began in known if began)
    expected = [(*key, calls[key]) for key in sorted(ran)]
    assert 0 in [count for _, _, count in expected]
    assert asked("Frogs by site and night") == expected


def test_minutes_of_speech_music_and_silence_by_item(folder):
    expected = [
        (
            clip,
            duration_s / 60,
            *(_minutes(clip, label) for label in ("Speech", "Music", "Silence")),
        )
        for clip, (_, duration_s) in sorted(CLIPS_THERE.items())
    ]
    rows = asked("Minutes of speech, music and silence by item")
    assert rows == [tuple(_approximately(each, 0.0051) for each in row) for row in expected]


def _minutes(clip: str, label: str) -> float:
    there = [each for each in EVENTS_THERE if (each.clip, each.label) == (clip, label)]
    return sum(each.seconds for each in there if each.score >= 0.5) / 60


def _approximately(value: Any, within: float) -> Any:
    return pytest.approx(value, abs=within) if _is_float(value) else value


def test_groups_of_labels_count_a_frame_once(folder):
    groups = {"Frog": "amphibians", "Croak": "amphibians"}
    groups |= {"Speech": "people", "Laughter": "people"}
    frames = {
        (groups[each.label], each.clip, each.first + frame)
        for each in EVENTS_THERE
        if each.label in groups and each.score >= 0.3
        for frame in range(each.frames)
    }
    seconds: Counter[tuple[str, str]] = Counter()
    for group, clip, _ in frames:
        seconds[group, clip.split("/")[-2]] += FRAME_S
    assert asked("Groups of labels") == near([(*key, seconds[key]) for key in sorted(seconds)])


def test_joined_with_a_manifest(folder):
    expected = []
    for habitat in ("oak", "water"):
        clips = {f"/cards/{uri}" for uri, where in CARDS if where == habitat}
        heard = clips & set(CLIPS_THERE)
        there = [each for each in EVENTS_THERE if each.clip in heard and each.label == "Bird"]
        birds = sum(each.score >= 0.5 for each in there)
        expected.append((habitat, len(heard), len(clips - heard), birds))
    assert asked("With a manifest") == expected


def test_pandas_writes_a_sheet_without_zones(folder):
    pytest.importorskip("pandas")
    openpyxl = pytest.importorskip("openpyxl")
    run("In pandas, and in Excel")
    sheet = openpyxl.load_workbook(folder / "events.xlsx").active
    header, *rows = sheet.iter_rows(values_only=True)
    assert header == ("clip", "start_s", "end_s", "start_time", "label", "max_score")
    expected = []
    for each in EVENTS_THERE:
        began = moment(each)
        local = began and began.astimezone(BERLIN).replace(tzinfo=None)
        if each.score >= 0.5:
            expected.append((each.clip, each.label, each.start_s, local))
    written = [(row[0], row[4], row[1], row[3]) for row in rows]
    assert sorted(written, key=str) == sorted(map(_in_a_sheet, expected), key=str)


def _in_a_sheet(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(pytest.approx(each) if _is_float(each) else each for each in row)


def test_polars(folder):
    pytest.importorskip("polars")
    assert run("In polars")["by_label"].rows() == near(_by_label())


def _by_label() -> list[tuple[str, int, float]]:
    heard = [each for each in EVENTS_THERE if each.score >= 0.5]
    return [
        (label, len(there), sum(each.seconds for each in there))
        for label in sorted({each.label for each in heard})
        for there in [[each for each in heard if each.label == label]]
    ]


def test_spark(folder):
    pytest.importorskip("pyspark")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    names = run("In Spark")
    try:
        rows = [tuple(row) for row in names["by_hour"].collect()]
    finally:
        names["spark"].stop()
    clips: dict[int, list[str]] = defaultdict(list)
    for each in frogs():
        for frame in range(each.frames):
            began = moment(each, frame)
            if began is not None:
                clips[began.astimezone(BERLIN).hour].append(each.clip)
    assert rows == [(hour, len(set(there)), len(there)) for hour, there in sorted(clips.items())]


def test_r(folder):
    script = f"{snippet('In R', 'r')}\nwrite.csv(by_label, 'by_label.csv', row.names = FALSE)"
    _or_skip_r("library(arrow); library(dplyr)")
    subprocess.run(["Rscript", "-e", script], check=True)
    with (folder / "by_label.csv").open() as file:
        rows = [(row["label"], int(row["events"]), float(row["seconds"])) for row in
                csv.DictReader(file)]  # fmt: skip
    assert rows == near(_by_label())


def _or_skip_r(libraries: str) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("needs Rscript, with arrow and dplyr")
    if subprocess.run(["Rscript", "-e", libraries], capture_output=True).returncode:
        pytest.skip("needs arrow and dplyr in R")


def run(title: str) -> dict[str, Any]:
    """Run the Python below a title; the names that it leaves."""
    names: dict[str, Any] = {}
    exec(compile(snippet(title, "python"), title, "exec"), names)
    return names


def test_every_snippet_is_run_by_a_test():
    kinds = Counter(re.findall(r"^```(\w+)$", PAGE, re.M))
    assert kinds == {"sql": 6, "python": 3, "r": 1}


def test_the_readmes_query_works_as_pasted_into_the_shell_that_is_installed(folder):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    query = re.search(r"^```sql\n(.*?)^```$", readme, re.M | re.S)
    assert query is not None
    expected = {
        each.clip
        for each in frogs(0.51)
        if (began := moment(each)) and not 5 <= began.astimezone(BERLIN).hour <= 20
    }
    shell = _shell()
    done = subprocess.run(
        [shell, "-csv"], input=query[1], capture_output=True, text=True, check=True
    )
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["clip"] for row in rows} == expected
    assert len(expected) == 3


def _shell() -> str:
    shell = shutil.which("duckdb", path=str(Path(sys.executable).parent))
    if shell is None:
        pytest.skip("needs DuckDB's shell: pip install duckdb-cli")
    return shell
