"""A stream's windows: what an engine brings again after a failure is not committed again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue

from earmark.pipelines.engines.local import local_runner
from earmark.transforms.detecting.embeddings import EmbeddingSpool
from earmark.transforms.elements import (
    ClipResult,
    Listed,
    PlannedObject,
)
from earmark.transforms.output import committing
from earmark.transforms.output.committing import (
    OutputTakenError,
    ReconcileError,
    commit_round,
    recover,
)
from earmark.transforms.output.folder import STREAM, aside_folder, round_id, staging_folder
from earmark.transforms.output.history import read_history
from earmark.transforms.output.lock import locked
from earmark.transforms.output.provenance import provenance_of
from earmark.transforms.output.rows import read_uris
from earmark.transforms.output.windows import CommitWindows, commit_window
from earmark.transforms.output.writing import file_name, write_shard
from earmark.transforms.settings import Settings
from tests.transforms.output.results import RUN, SETTINGS, failed, scored

BEGAN = 1_793_534_400  # 2026-11-01T12:00:00Z
WINDOW = IntervalWindow(BEGAN, BEGAN + 300)
NEXT = IntervalWindow(BEGAN + 300, BEGAN + 600)


def at(output: Path, settings: Settings = SETTINGS) -> Settings:
    return replace(settings, output=str(output))


@pytest.fixture
def commit(tmp_path):
    """Commits what came of a window's objects; gives the rounds' files."""

    def run(*results: ClipResult, window=WINDOW, settings=SETTINGS, old_file=None) -> list[str]:
        planned = [PlannedObject(each.clip, old_file) for each in results]
        return list(commit_window(planned, list(results), window, at(tmp_path, settings)))

    with locked(str(tmp_path), RUN):
        yield run


def there(output: Path) -> Counter[tuple[str, str]]:
    history = read_history(str(output), provenance_of(SETTINGS))
    return Counter((each.uri, each.version) for each in history)


def test_the_same_window_again_changes_nothing(tmp_path, commit):
    assert len(commit(scored("/a"), failed("/b"))) == 1
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    assert commit(scored("/a"), failed("/b")) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == files
    assert there(tmp_path) == {("/a", "1"): 1, ("/b", "1"): 1}


def test_of_a_window_that_comes_again_with_more_in_it_only_that_is_new(tmp_path, commit):
    commit(scored("/a"), scored("/b"))
    assert len(commit(scored("/a"), scored("/b"), scored("/c"))) == 1
    assert commit(scored("/a"), scored("/c")) == []
    assert there(tmp_path) == {("/a", "1"): 1, ("/b", "1"): 1, ("/c", "1"): 1}


def rows(output: Path, table: str) -> Counter[str]:
    return Counter(uri for path in (output / table).iterdir() for uri in read_uris(str(path)))


@pytest.mark.parametrize("moved", range(4))
def test_a_commit_that_was_cut_off_is_finished_before_its_window_comes_again_with_other_members(
    tmp_path, commit, monkeypatch, moved
):
    """A worker died in it, after so many tables were moved; the engine went back to a snapshot."""
    tables = iter(range(moved))

    def move(*paths):
        if next(tables, None) is None:
            raise InterruptedError
        real_move(*paths)

    real_move = committing._move
    with monkeypatch.context() as patch:
        patch.setattr(committing, "_move", move)
        with pytest.raises(InterruptedError):
            commit(scored("/a"), scored("/b"), failed("/f"))
    commit(scored("/a"), failed("/f"), scored("/c"))
    commit(scored("/b"), window=NEXT)
    recover(str(tmp_path))
    assert rows(tmp_path, "clips") == {"/a": 1, "/b": 1, "/c": 1}
    assert rows(tmp_path, "failures") == {"/f": 1}
    assert rows(tmp_path, "detections") == {"/a": 4, "/b": 4, "/c": 4}  # two frames, two labels


def test_an_earlier_version_that_comes_again_is_left_out(tmp_path, commit):
    """The engine went back to a snapshot of before both versions were committed."""
    commit(scored("/a", "1"), scored("/b"))
    (old,) = (tmp_path / "clips").iterdir()
    commit(scored("/a", "2"), window=NEXT, old_file=old.name)
    assert commit(scored("/a", "1"), scored("/b")) == []
    assert there(tmp_path) == {("/a", "2"): 1, ("/b", "1"): 1}


def test_what_comes_again_in_an_earlier_window_is_known(tmp_path, commit):
    commit(scored("/a"), window=NEXT)
    assert commit(scored("/a"), window=WINDOW) == []
    assert there(tmp_path) == {("/a", "1"): 1}


def test_what_a_run_between_has_heard_is_known(tmp_path, commit):
    """A stream stopped with a snapshot; an ordinary run heard what it had not committed."""
    other = replace(SETTINGS, run_id="20261101T130000Z-4567cdef")
    planned, results = [PlannedObject(scored("/a").clip)], [scored("/a")]
    staging = staging_folder(str(tmp_path), other.run_id)
    name = file_name(round_id(other.run_id, "00001"), 0, 1)
    shard = write_shard(results, staging, name, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("earmark.transforms.output.committing.is_held", lambda *_: True)
        commit_round([shard], Listed(1, {}), [], str(tmp_path), other.run_id, "00001")
    assert list(commit_window(planned, results, WINDOW, at(tmp_path))) == []


def test_a_changed_recording_takes_the_place_of_its_old_rows(tmp_path, commit):
    commit(scored("/a"), scored("/b"))
    (old,) = (tmp_path / "clips").iterdir()
    commit(scored("/a", "2"), window=NEXT, old_file=old.name)
    assert there(tmp_path) == {("/a", "2"): 1, ("/b", "1"): 1}


def test_of_two_versions_in_a_window_the_earlier_was_committed_before(tmp_path):
    """The engine went back to a snapshot, and has looked since, in the same window."""
    versions = [scored("/a", "1"), scored("/a", "2")]
    with locked(str(tmp_path), RUN):
        first = [PlannedObject(versions[0].clip)]
        list(commit_window(first, versions[:1], WINDOW, at(tmp_path)))
        (old,) = (tmp_path / "clips").iterdir()
        both = [*first, PlannedObject(versions[1].clip, old.name)]
        for planned, results in ((both, versions), (both[::-1], versions)):
            list(commit_window(planned, results, WINDOW, at(tmp_path)))
            assert there(tmp_path) == {("/a", "2"): 1}


@pytest.mark.parametrize("results", [[], [scored("/b")], [scored("/a"), scored("/a")]])
def test_an_object_without_its_one_result_fails_the_window(tmp_path, results):
    with (
        locked(str(tmp_path), RUN),
        pytest.raises(ReconcileError, match="1 objects were planned"),
    ):
        list(commit_window([PlannedObject(scored("/a").clip)], results, WINDOW, at(tmp_path)))


def test_a_stream_whose_folder_was_taken_over_commits_nothing(tmp_path):
    planned, results = [PlannedObject(scored("/a").clip)], [scored("/a")]
    with pytest.raises(OutputTakenError):
        list(commit_window(planned, results, WINDOW, at(tmp_path)))
    assert not (tmp_path / "clips").exists()


def test_each_window_is_a_round(tmp_path):
    moments = {"/a": BEGAN + 1, "/b": BEGAN + 299, "/c": BEGAN + 300}
    with locked(str(tmp_path), RUN), beam.Pipeline(local_runner()) as pipeline:
        planned = (
            pipeline
            | beam.Create(list(moments.items()))
            | beam.MapTuple(lambda uri, at: TimestampedValue(PlannedObject(scored(uri).clip), at))
            | beam.WindowInto(FixedWindows(300))
        )
        results = planned | "Hear" >> beam.Map(lambda each: scored(each.object.uri))
        _ = results | CommitWindows(at(tmp_path), planned)
    rounds = {path.name.split("-")[0] for path in (tmp_path / "_runs" / RUN).iterdir()}
    assert rounds == {str(BEGAN), str(BEGAN + 300)}
    assert there(tmp_path) == {("/a", "1"): 1, ("/b", "1"): 1, ("/c", "1"): 1}


def test_the_embeddings_of_a_window_wait_no_longer_once_it_is_committed(tmp_path, commit):
    aside = EmbeddingSpool(aside_folder(str(tmp_path), RUN, STREAM), "float32")
    waiting = {}
    for window in (WINDOW, NEXT):
        folder = Path(aside.of_window(window).folder)
        waiting[window] = folder / "of a clip.npz"
        folder.mkdir(parents=True)

    def leave() -> None:
        for path in waiting.values():
            path.parent.mkdir(exist_ok=True)
            path.touch()

    leave()
    commit(scored("/a"))
    assert [path.exists() for path in waiting.values()] == [False, True]
    leave()
    assert commit(scored("/a")) == []  # the engine went back, and heard it again
    assert [path.exists() for path in waiting.values()] == [False, True]
