"""Commits that are cut off anywhere, and what the next run makes of them."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from shutil import copytree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from earmark.transforms.detecting.embeddings import EmbeddingSpool
from earmark.transforms.elements import (
    ClipResult,
    HeadLabels,
    Listed,
    Superseded,
)
from earmark.transforms.output import committing
from earmark.transforms.output.committing import ReconcileError, commit_round, recover
from earmark.transforms.output.concluding import conclude
from earmark.transforms.output.folder import (
    LinkedFolderError,
    refuse_links,
    round_id,
    staging_folder,
)
from earmark.transforms.output.history import HistoryError, Processed, check_history, read_history
from earmark.transforms.output.journal import JournalError, read_round_file
from earmark.transforms.output.provenance import provenance_of
from earmark.transforms.output.tables import TABLES
from earmark.transforms.output.totals import Totals
from earmark.transforms.output.writing import file_name, write_shard
from earmark.transforms.settings import ChannelUse, Decoding, FrameGrid
from earmark.transforms.storage import StoreError, move_whole, whole_files
from earmark.transforms.storage.object_stores import ObjectStores
from tests.transforms.output import results
from tests.transforms.output.forgetful_disk import ForgetfulDisk
from tests.transforms.output.results import GRID, failed, scored

ASIDE = EmbeddingSpool("/nowhere", "float32")
A, B, C = (f"20261101T12000{each}Z-0000000{each}" for each in range(3))
SETTINGS = replace(
    results.SETTINGS,
    run_id=A,
    embeddings="float32",
    embedding_size=2,
    stated={"min_score": "0.1", "embeddings": "float32"},
)


def heard(uri: str, version: str, score: float) -> ClipResult:
    return scored(uri, version, score, ASIDE)


FIRST = [heard("/a", "1", 0.5), heard("/b", "1", 0.5), failed("/c", "1"), heard("/d", "1", 0.5)]
SECOND = [heard("/a", "2", 0.9), heard("/c", "2", 0.9), heard("/e", "1", 0.9)]
FIRST_FILE = f"{A}-00001-00000-of-00001.parquet"
SUPERSEDED = [Superseded(uri, FIRST_FILE) for uri in ("/a", "/c", "/never begun")]


def commit(
    output: Path, run_id: str, results: list[ClipResult], superseded=(), is_held=lambda *_: True
) -> None:
    """Write results aside and commit them, without Beam around it."""
    settings, folder = replace(SETTINGS, run_id=run_id), staging_folder(str(output), run_id)
    for table in TABLES:
        Path(folder, table.name).mkdir(parents=True, exist_ok=True)
    shard = write_shard(results, folder, file_name(round_id(run_id, "00001"), 0, 1), settings)
    listed = Listed(len(results), {})
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(committing, "is_held", is_held)
        commit_round([shard], listed, superseded, str(output), run_id, "00001")


def test_a_run_whose_folder_was_taken_over_commits_nothing(tmp_path):
    with pytest.raises(committing.OutputTakenError, match="no longer locked by this run"):
        commit_round([], Listed(0, {}), [], str(tmp_path), A, "00001")


@pytest.mark.parametrize("content", ['{"run_id": "B", "numb', "", "[" * 9_000 + "]" * 9_000])
def test_a_journal_that_was_not_written_to_its_end_was_never_begun(tmp_path, content):
    commit(tmp_path, A, FIRST)
    journal = Path(staging_folder(str(tmp_path), B), "00001.json")
    journal.parent.mkdir()
    journal.write_text(content)
    assert recover(str(tmp_path)) == 0
    assert set(versions(tmp_path)) == OLD
    assert not journal.parent.exists()


def versions(output: Path) -> Counter[tuple[str, str]]:
    """Each object that has a row, with its version."""
    history = read_history(str(output), provenance_of(SETTINGS))
    return Counter((each.uri, each.version) for each in history)


def scores(output: Path, table: str = "detections", column: str = "score") -> Counter:
    files = [pq.read_table(path) for path in sorted((output / table).glob("*.parquet"))]
    return Counter(
        (row["clip"], round(first(row[column]), 3)) for rows in files for row in rows.to_pylist()
    )


def first(value):
    return value[0] if isinstance(value, list) else value


OLD = {("/a", "1"), ("/b", "1"), ("/c", "1"), ("/d", "1")}
NEW = {("/a", "2"), ("/b", "1"), ("/c", "2"), ("/d", "1"), ("/e", "1")}
OLD_SCORES = Counter({("/a", 0.5): 4, ("/b", 0.5): 4, ("/d", 0.5): 4})
NEW_SCORES = Counter(
    {("/a", 0.9): 4, ("/b", 0.5): 4, ("/c", 0.9): 4, ("/d", 0.5): 4, ("/e", 0.9): 4}
)


class KilledError(BaseException):
    """Stands for kill -9: nothing catches it, and nothing is done after it."""


def killed_at(step: int) -> Callable[[pytest.MonkeyPatch], None]:
    """Lets so many changes of the filesystem through, and no more."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        left = [step]

        def counted(change):
            def or_killed(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise KilledError
                return change(*args, **kwargs)

            return or_killed

        for name in ("link", "rename", "replace", "unlink", "remove", "fsync"):
            monkeypatch.setattr(os, name, counted(getattr(os, name)))
        monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
        monkeypatch.setattr(shutil, "rmtree", counted(shutil.rmtree))

    return patch


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """An output of one commit, to be copied."""
    output = tmp_path_factory.mktemp("committed") / "output"
    commit(output, A, FIRST)
    return output


def test_a_commit_that_is_cut_off_anywhere_is_finished_or_undone_by_the_next_run(
    tmp_path, committed
):
    outcomes = []
    for step in range(200):
        output = copytree(committed, tmp_path / str(step))
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(step)(monkeypatch)
            try:
                commit(output, B, SECOND, SUPERSEDED)
                is_over = True
            except KilledError:
                is_over = False
        recover(str(output))
        got = versions(output)
        assert set(got.values()) == {1}, step
        assert set(got) in (OLD, NEW), step
        is_new = set(got) == NEW
        assert scores(output) == (NEW_SCORES if is_new else OLD_SCORES), step
        assert not list(output.glob("_staging-*")), step
        outcomes.append(is_new)
        if is_over:
            break
    assert is_over
    assert outcomes == sorted(outcomes)  # undone up to a moment, finished from then on
    assert len(outcomes) > 20
    assert not outcomes[0]


FORGOTTEN = {
    "all": lambda folder: True,
    "in tables": lambda folder: folder.parts[:1] in {(table.name,) for table in TABLES},
    "but in tables": lambda folder: folder.parts[:1] not in {(table.name,) for table in TABLES},
}
"""In which folders a disk has not written down names by itself when the power fails."""


def test_a_commit_outlives_a_loss_of_power_at_any_step(tmp_path, committed):
    if not Path("/proc/self/fd").exists():
        pytest.skip("what is synced is told from /proc")
    for step in range(200):
        output = copytree(committed, tmp_path / f"{step}")
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = ForgetfulDisk(output, monkeypatch)
            killed_at(step)(monkeypatch)
            try:
                commit(output, B, SECOND, SUPERSEDED)
                is_over = True
            except KilledError:
                is_over = False
            for name, forgotten in FORGOTTEN.items():
                disk.left(tmp_path / name, forgotten)
            disk.close()
        for left in (tmp_path / name for name in FORGOTTEN):
            recover(str(left))
            got = versions(left)
            assert set(got.values()) == {1}, (step, left.name)
            assert set(got) in (OLD, NEW), (step, left.name)
            assert scores(left) == (NEW_SCORES if set(got) == NEW else OLD_SCORES), step
            assert set(got) == NEW or not is_over, left.name
            shutil.rmtree(left)
        if is_over:
            break
        shutil.rmtree(output)
    assert is_over


def test_recovering_may_be_cut_off_as_well(tmp_path, committed):
    staged = copytree(committed, tmp_path / "staged")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(committing, "carry_out", lambda *_: None)
        commit(staged, B, SECOND, SUPERSEDED)
    for step in range(60):
        output = copytree(staged, tmp_path / str(step))
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(step)(monkeypatch)
            try:
                recover(str(output))
                break
            except KilledError:
                pass
        recover(str(output))
        assert set(versions(output).items()) == {(each, 1) for each in NEW}
        assert scores(output) == NEW_SCORES
    assert 5 < step < 59


def test_clips_are_never_there_before_their_detections(tmp_path):
    """At every moment of a commit, a clip that has its row has its detections."""
    for step in range(100):
        output = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(step)(monkeypatch)
            try:
                commit(output, A, FIRST)
                break
            except KilledError:
                pass
        if list((output / "clips").glob("*.parquet")):
            assert scores(output) == OLD_SCORES
    assert step < 99


def test_rows_of_what_was_heard_anew_are_taken_out_of_the_old_files(tmp_path):
    commit(tmp_path, A, FIRST)
    commit(tmp_path, B, SECOND, SUPERSEDED)
    less = tmp_path / "clips" / FIRST_FILE
    metadata = pq.read_metadata(less)
    assert metadata.metadata[b"earmark.run_id"] == A.encode()
    detections = pq.ParquetFile(tmp_path / "detections" / less.name)
    assert [c.column_index for c in detections.metadata.row_group(0).sorting_columns] == [6, 0, 2]
    vectors = scores(tmp_path, "embeddings", "embedding")
    assert vectors == Counter(
        dict.fromkeys([("/a", 0.9), ("/b", 0.5), ("/c", 0.9), ("/d", 0.5), ("/e", 0.9)], 2)
    )
    embeddings = pq.ParquetFile(tmp_path / "embeddings" / less.name)
    assert embeddings.schema_arrow.field("embedding").type == pa.list_(pa.float32(), 2)
    assert pq.read_metadata(tmp_path / "failures" / less.name).num_rows == 0

    commit(tmp_path, C, [heard("/b", "7", 0.2)], [Superseded("/b", less.name)])
    assert len(list(tmp_path.glob("clips/*"))) == 3
    assert versions(tmp_path)[("/b", "7")] == 1
    assert scores(tmp_path)[("/d", 0.5)] == 4


def test_what_was_heard_is_read_back_with_the_reason_it_was_not(tmp_path):
    commit(tmp_path, A, FIRST)
    history = {each.uri: each for each in read_history(str(tmp_path), provenance_of(SETTINGS))}
    assert history["/b"] == Processed("/b", "1", None, FIRST_FILE, 123)
    assert history["/c"] == Processed("/c", "1", "io", FIRST_FILE)
    assert len(history) == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"stated": {"min_score": "0.3"}}, "min_score 0.1, not 0.3"),
        ({"model_sha256": "0" * 64}, "another model: toy, sha256 ffffffff, not 00000000"),
        ({"heads": (HeadLabels("scores", ("a", "b")),)}, "other labels"),
        ({"decoding": Decoding(FrameGrid(10, 10, 5))}, "hop_samples 10, not 5"),
        ({"embeddings": None}, "tables detections, events, embeddings, clips, failures, not"),
        ({"decoding": Decoding(GRID, ChannelUse(each=True))}, "channels mix, not each"),
        ({"stated": {"deny": "Silence"}}, "deny None, not Silence"),
    ],
)
def test_rows_made_in_another_way_are_not_added_to(tmp_path, monkeypatch, change, told):
    commit(tmp_path, A, FIRST)
    monkeypatch.setattr("earmark.transforms.output.provenance.__version__", "10")
    check_history(str(tmp_path), provenance_of(replace(SETTINGS, run_id=B)))
    with pytest.raises(HistoryError, match=told):
        check_history(str(tmp_path), provenance_of(replace(SETTINGS, **change)))


def test_a_parquet_file_of_somebody_elses_is_not_added_to(tmp_path):
    for table in TABLES:
        (tmp_path / table.name).mkdir()
        pq.write_table(pa.table({"clip": ["/a"]}), tmp_path / table.name / "x.parquet")
    with pytest.raises(HistoryError, match="was not written by earmark"):
        check_history(str(tmp_path), provenance_of(SETTINGS))


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_file_that_got_lost_is_noticed(tmp_path, table):
    commit(tmp_path, A, FIRST)
    (tmp_path / table / FIRST_FILE).unlink()
    with pytest.raises(HistoryError, match=f"{table}/{FIRST_FILE} is missing"):
        check_history(str(tmp_path), provenance_of(SETTINGS))


def test_a_file_of_which_no_row_is_left_stays_for_readers_that_have_seen_its_name(tmp_path):
    commit(tmp_path, A, [heard("/a", "1", 0.5)])
    commit(tmp_path, B, [heard("/a", "2", 0.9)], [Superseded("/a", FIRST_FILE)])
    assert [pq.read_metadata(file).num_rows for file in tmp_path.glob(f"*/{FIRST_FILE}")] == [0] * 5
    check_history(str(tmp_path), provenance_of(SETTINGS))
    assert versions(tmp_path) == Counter({("/a", "2"): 1})


def test_a_reader_finds_every_file_that_it_has_listed_and_no_row_twice(tmp_path):
    """At every step of a commit that replaces files, and whatever was listed at an earlier one."""
    commit(tmp_path, A, FIRST)
    listed: set[Path] = set()
    most: Counter[tuple[str, str]] = Counter()

    def look() -> None:
        listed.update(tmp_path.glob("clips/*.parquet"))
        found = [row for path in listed for row in pq.read_table(path).to_pylist()]
        assert max(Counter(row["clip"] for row in found).values()) == 1
        most.update((row["clip"], row["version"]) for row in found)

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("link", "replace", "unlink"):
            monkeypatch.setattr(os, name, after(getattr(os, name), look))
        commit(tmp_path, B, SECOND, SUPERSEDED)
    assert {("/a", "1"), ("/a", "2"), ("/b", "1"), ("/e", "1")} <= set(most)


def after(change: Callable, look: Callable[[], None]) -> Callable:
    def changed_and_looked(*args, **kwargs):
        change(*args, **kwargs)
        look()

    return changed_and_looked


def planted(output: Path, where: str = f"_staging-{B}/00001.json", **changes: object) -> Path:
    """A journal that a run has not written, beside one that it may have written, and its files."""
    shard = f"{B}-00001-00000-of-00001.parquet"
    content = {
        "run_id": B,
        "name": "00001",
        "replaced": [],
        "round": {
            "listed": {"objects": 0, "skipped": {}},
            "totals": asdict(Totals()),
            "files": [f"clips/{shard}"],
        },
    }
    for place, value in changes.items():
        *above, name = place.split("__")
        inner = content
        for each in above:
            inner = inner[each]
        inner[name] = value
    staged = output / f"_staging-{B}" / "clips" / shard
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"rows")
    journal = output / where
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text(json.dumps(content))
    return journal


def test_a_journal_as_runs_write_it_is_carried_out(tmp_path):
    planted(tmp_path)
    assert recover(str(tmp_path)) == 1
    assert [path.read_bytes() for path in tmp_path.glob("clips/*")] == [b"rows"]


WRITTEN_BEFORE = """{
  "clips": 20, "partial": {"truncated": 2}, "failures": {"damaged": 1, "io": 3},
  "detections": 254, "events": 59, "embeddings": 0, "audio_s": 120.0,
  "labels": {"tone": {"clips": 19, "seconds": 111.15, "max_score": 0.99609375}}
}"""
"""Totals as versions wrote them that had a field for each table."""


def test_a_commit_that_an_earlier_version_has_begun_is_finished_with_its_totals(tmp_path):
    planted(tmp_path, round__totals=json.loads(WRITTEN_BEFORE))
    assert recover(str(tmp_path)) == 1
    assert [path.read_bytes() for path in tmp_path.glob("clips/*")] == [b"rows"]
    said = json.loads(Path(conclude(str(tmp_path), B, {})).read_text())
    assert said["totals"] == {**json.loads(WRITTEN_BEFORE), "implausible": {}}


def test_a_round_file_of_an_earlier_version_counts_its_objects(tmp_path):
    path = tmp_path / "00001.json"
    round_before = {"listed": {"objects": 24, "skipped": {}}, "files": []}
    path.write_text(json.dumps({**round_before, "totals": json.loads(WRITTEN_BEFORE)}))
    totals = read_round_file(str(path)).totals
    assert totals.rows_of_objects == {"clips": 20, "failures": 4}
    assert totals.objects == 24


@pytest.mark.parametrize(
    "changes",
    [
        {"obsolete": ["../precious.txt"]},
        {"replaced": ["../precious.txt"]},
        {"replaced": ["clips/../../precious.txt"]},
        {"replaced": ["clips/precious.txt"]},
        {"replaced": [f"{{}}/{FIRST_FILE}"]},
        {"replaced": [["clips"]]},
        {"round__files": ["../precious.txt"]},
        {"round__files": [f"clips/{FIRST_FILE}"]},
        {"round__files": "clips"},
        {"round__listed__objects": "many"},
        {"round__totals": None},
        {"round__totals": {"clips": 1}},
        {"round__totals": {**json.loads(WRITTEN_BEFORE), "failures": 7}},
        {"round__totals": {**json.loads(WRITTEN_BEFORE), "failures": {"io": "x"}}},
        {"round__totals": {**json.loads(WRITTEN_BEFORE), "clips": "x"}},
        {"round__totals__labels": {"bird": {"clips": "x"}}},
        {"run_id": "../.."},
        {"run_id": A},
        {"run_id": 7},
        {"name": "../../precious"},
        {"name": "00002"},
        {"name": None},
        {"where": f"_staging-{A}/00001.json"},
        {"where": f"_staging-{B}/00002.json"},
    ],
)
def test_a_planted_journal_is_told_and_nothing_of_it_is_done(tmp_path, changes):
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    output = tmp_path / "out"
    journal = planted(output, **changes)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        JournalError, match=rf"{journal.name} is (not a valid journal|the journal of)"
    ) as told:
        recover(str(output))
    assert "\n" not in str(told.value)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", ["{}", "[]", '{"run_id": "B"}', "7", '"x"'])
def test_a_journal_that_is_none_is_told(tmp_path, content):
    journal = Path(staging_folder(str(tmp_path), B), "00001.json")
    journal.parent.mkdir()
    journal.write_text(content)
    with pytest.raises(JournalError, match="is not a valid journal"):
        recover(str(tmp_path))


LINKS = [
    *(f"_staging-{B}", f"_staging-{B}/clips", "_runs", f"_runs/{B}", "clips", "_locks"),
    *("_set_aside", f"_set_aside/{B}"),
]


@pytest.mark.parametrize("link", LINKS)
def test_a_link_in_place_of_a_runs_folder_is_not_followed(tmp_path, link):
    output, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    victim = f"{A}-00001-00000-of-00001.parquet"
    planted(output, replaced=[f"clips/{victim}"])
    (elsewhere / "clips").mkdir(parents=True)
    for path in (elsewhere / victim, elsewhere / "clips" / victim):
        path.write_text("kept")
    (elsewhere / "empty").mkdir()
    if (output / link).exists():
        (output / link).rename(tmp_path / "moved")
    (output / link).parent.mkdir(exist_ok=True)
    (output / link).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(LinkedFolderError, match=f"{output / link} is a link"):
        refuse_links(str(output))
    with suppress(LinkedFolderError):
        recover(str(output))
    assert sorted(elsewhere.rglob("*")) == before
    assert (elsewhere / victim).read_text() == "kept"


def test_what_another_run_has_aside_is_left_to_it(tmp_path):
    commit(tmp_path, A, FIRST)
    planted(tmp_path)
    recover(str(tmp_path), A)
    assert (tmp_path / f"_staging-{B}" / "00001.json").exists()
    assert not (tmp_path / "clips" / f"{B}-00001-00000-of-00001.parquet").exists()


def test_a_file_that_a_store_did_not_replace_is_not_taken_for_replaced(monkeypatch):
    """Its name is there before and after."""

    def refuse(*_: object) -> None:
        raise StoreError("503 slow down")

    monkeypatch.setattr(whole_files, "exists", lambda _: True)
    monkeypatch.setattr(ObjectStores, "rename", refuse)
    with pytest.raises(StoreError):
        move_whole(f"gs://b/out/_staging-{A}/clips", "gs://b/out/clips", [FIRST_FILE])


def test_rows_are_taken_out_of_files_that_somebody_has_renamed(tmp_path):
    commit(tmp_path, A, FIRST)
    for path in tmp_path.glob("*/*.parquet"):
        path.rename(path.with_name("part-1.parquet"))
    commit(tmp_path, B, SECOND, [each._replace(file="part-1.parquet") for each in SUPERSEDED])
    assert set(versions(tmp_path).items()) == {(each, 1) for each in NEW}
    assert scores(tmp_path) == NEW_SCORES


def test_a_link_that_waits_where_a_file_is_to_be_written_is_not_followed(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    output = tmp_path / "out"
    for table in TABLES:
        staged = Path(staging_folder(str(output), A), table.name)
        staged.mkdir(parents=True)
        (staged / FIRST_FILE).symlink_to(precious)
    commit(output, A, FIRST)
    assert precious.read_text() == "kept"
    assert scores(output) == OLD_SCORES
    assert not any(path.is_symlink() for path in output.rglob("*"))


def test_only_folders_that_runs_have_named_are_cleared_away(tmp_path):
    kept = tmp_path / "_staging-area" / "a.wav"
    kept.parent.mkdir()
    kept.write_bytes(b"sound")
    commit(tmp_path, A, FIRST)
    recover(str(tmp_path))
    assert kept.exists()
    assert not list(tmp_path.glob(f"_staging-{A}*"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"listed": {"objects": -1, "skipped": {}}}'])
def test_a_file_that_is_no_rounds_is_told(tmp_path, content):
    commit(tmp_path, A, FIRST)
    (tmp_path / "_runs" / A / "00001.json").write_text(content)
    with pytest.raises(JournalError, match=r"00001\.json is not a valid round file"):
        conclude(str(tmp_path), A, {})


def test_a_runs_file_sums_up_its_rounds_and_takes_their_place(tmp_path):
    commit(tmp_path, A, FIRST)
    path = conclude(str(tmp_path), A, {"note": "kept"})
    said = json.loads(Path(path).read_text())
    assert said["note"] == "kept"
    assert said["listed"] == {"objects": 4, "skipped": {}}
    assert said["totals"]["clips"] == 3
    assert said["totals"]["failures"] == {"io": 1}
    assert sorted(item.name for item in (tmp_path / "_runs").iterdir()) == [f"{A}.json"]
    assert not list(tmp_path.glob("_staging-*"))


def test_reconciling_counts_both_clips_and_failures():
    totals = Totals(rows={"clips": 2, "failures": 1})
    committing.reconcile(Listed(3, {}), totals)
    with pytest.raises(ReconcileError):
        committing.reconcile(Listed(2, {}), totals)


def test_a_journal_that_was_written_after_its_files_were_cleared_away_is_no_trouble(
    tmp_path, monkeypatch
):
    """By a worker that went on after its run had been ended."""
    commit(tmp_path, A, FIRST)
    real_write = committing.write_whole

    def clear_away_first(path: str, text: str) -> None:
        if "_staging-" in path:
            recover(str(tmp_path))
        real_write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(committing, "write_whole", clear_away_first)
        with pytest.raises(ReconcileError, match="was written, but is not there"):
            commit(tmp_path, B, SECOND, SUPERSEDED)
    assert recover(str(tmp_path)) == 0
    assert versions(tmp_path) == dict.fromkeys(OLD, 1)
    assert not list(tmp_path.glob("_staging-*"))


def test_a_commit_that_another_carries_out_at_the_same_time_is_done(tmp_path, monkeypatch):
    real_move = committing.move_whole

    def move_twice(*paths) -> None:
        real_move(*paths)
        real_move(*paths)

    monkeypatch.setattr(committing, "move_whole", move_twice)
    commit(tmp_path, A, FIRST)
    assert versions(tmp_path) == dict.fromkeys(OLD, 1)


def test_a_round_that_comes_again_after_its_run_was_ended_is_known_to_be_done(tmp_path):
    commit(tmp_path, A, FIRST)
    conclude(str(tmp_path), A, {})
    commit(tmp_path, A, FIRST)
    assert versions(tmp_path) == dict.fromkeys(OLD, 1)


def test_a_run_that_loses_the_folder_while_it_writes_its_journal_moves_nothing(tmp_path):
    held = iter([True, False])
    with pytest.raises(committing.OutputTakenError):
        commit(tmp_path, A, FIRST, is_held=lambda *_: next(held))
    assert not list(tmp_path.glob("clips/*"))
