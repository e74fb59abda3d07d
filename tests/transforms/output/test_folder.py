from __future__ import annotations

import pytest

from earmark.transforms.elements import AudioObject, Found
from earmark.transforms.output.folder import (
    OWN_FILE,
    is_written_by_runs,
    matching,
    without_own_files,
)
from earmark.transforms.output.history import read_history
from earmark.transforms.storage import Stored

RUN = "20261101T120000Z-0123cdef"
WINDOW = f"{RUN}-1793534400-89abcdef"


@pytest.mark.parametrize(
    "name",
    [
        f"clips/{RUN}-00001-00000-of-00001.parquet",
        f"embeddings/{RUN}-123456-00017-of-123456.parquet",
        f"detections/{WINDOW}-00000-of-00001.parquet",
        f"events/{RUN}-00001-00000-of-00001-less-0123abcd.parquet",
        f"_set_aside/{RUN}/failures/{WINDOW}-00000-of-00001.parquet",
        f"_runs/{RUN}.json",
        f"_runs/{RUN}/00001.json",
        f"_runs/{RUN}/1793534400-89abcdef.json",
        f"_locks/{RUN}.json",
        "_locks/turn",
    ],
)
@pytest.mark.parametrize("output", ["/a/out", "/a/out/", "gs://b/out", "file:///a/out"])
def test_what_runs_write_is_told_by_its_name(output, name):
    folder = output.removeprefix("file://").rstrip("/")
    assert is_written_by_runs(f"{folder}/{name}", output)
    assert not is_written_by_runs(f"{folder}x/{name}", output)
    assert not is_written_by_runs(f"{folder}/x/{name}", output)


@pytest.mark.parametrize(
    "name",
    [
        "clips/2024-05-28.wav",
        "events/a.parquet",
        f"clips/{RUN}-00001-00000-of-00001.wav",
        f"clips/x/{RUN}-00001-00000-of-00001.parquet",
        f"sounds/{RUN}-00001-00000-of-00001.parquet",
        "_runs/recording.wav",
        f"_runs/{RUN}.wav",
        "_locks/a.json",
        f"{RUN}.json",
        "_set_aside/a.wav",
    ],
)
def test_nothing_else_in_the_output_is_taken_for_it(name):
    assert not is_written_by_runs(f"/a/out/{name}", "/a/out")


def test_an_output_in_a_store_is_no_pattern(monkeypatch):
    asked = []

    def list_below(beginning: str) -> list[Stored]:
        asked.append(beginning)
        names = ("b.parquet", "a.parquet", "a.json", "c/a.parquet")
        return [Stored(f"gs://b/a[1]*?/clips/{name}", 1, 0.0) for name in names]

    monkeypatch.setattr("earmark.transforms.output.folder.list_below", list_below)
    folder = "gs://b/a[1]*?/clips"
    assert list(matching("gs://b/a[1]*?", "clips", "*.parquet")) == [
        f"{folder}/a.parquet",
        f"{folder}/b.parquet",
    ]
    assert asked == [f"{folder}/"]


def test_what_runs_have_written_is_left_out_and_counted():
    own, skipped, other = (
        AudioObject(f"/out/{name}", 1, "v")
        for name in (f"_runs/{RUN}.json", "x.txt", "clips/a.wav")
    )
    found = list(
        without_own_files([Found(own, ".json"), Found(skipped, ".txt"), Found(other)], "/out")
    )
    assert found == [Found(own, OWN_FILE), Found(skipped, ".txt"), Found(other)]


def test_the_history_lists_no_more_than_the_tables_that_it_is_in(monkeypatch):
    listed = []
    monkeypatch.setattr(
        "earmark.transforms.output.folder.list_below", lambda uri: listed.append(uri) or iter(())
    )
    assert list(read_history("gs://b/out", {})) == []
    assert listed == ["gs://b/out/clips/", "gs://b/out/failures/"]
