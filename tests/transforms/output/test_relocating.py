"""Rows of clips that have moved, and what is left of them when that is cut off anywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from shutil import copytree

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from earmark.transforms.output import committing, rewriting
from earmark.transforms.output.committing import recover
from earmark.transforms.output.relocating import Known, relocate
from earmark.transforms.output.tables import TABLES
from tests.transforms.output.forgetful_disk import ForgetfulDisk
from tests.transforms.output.test_committing import (
    FORGOTTEN,
    A,
    B,
    KilledError,
    commit,
    failed,
    heard,
    killed_at,
)

FILES = ((A, ["/old/a", "/old/b", "/x/c"]), (B, ["/x/e"]))
D = "20261101T120003Z-00000003"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """An output of two commits, to be copied."""
    output = tmp_path_factory.mktemp("made") / "out"
    for run_id, uris in FILES:
        commit(output, run_id, [*(heard(uri, "1", 0.5) for uri in uris), failed(f"{uris[0]}f")])
    return output


def moved(known: Known) -> Known | None:
    if not known.uri.startswith("/old/"):
        return None
    uri = known.uri.replace("/old/", "/zz/new/")
    return known._replace(uri=uri, version="2", path=f"n/{uri[-1]}")


def move(output: Path) -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(committing, "is_held", lambda *_: True)
        return relocate(str(output), D, moved)


def clips(output: Path, table: str) -> Counter[str]:
    files = sorted((output / table).glob("*.parquet"))
    return Counter(uri for path in files for uri in pq.read_table(path)["clip"].to_pylist())


def all_clips(output: Path) -> dict[str, Counter[str]]:
    return {table.name: clips(output, table.name) for table in TABLES}


def with_new_roots(before: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    return {
        name: Counter({uri.replace("/old/", "/zz/new/"): rows for uri, rows in counts.items()})
        for name, counts in before.items()
    }


def by_name(counts: Counter[str]) -> Counter[str]:
    return Counter({uri.rpartition("/")[2]: rows for uri, rows in counts.items()})


def test_all_tables_have_the_new_uris_and_nothing_else_is_changed(tmp_path, made):
    output = copytree(made, tmp_path / "out")
    before = all_clips(output)
    others = {path: path.read_bytes() for path in output.glob(f"*/{B}*.parquet")}
    assert move(output) == 3
    assert all_clips(output) == with_new_roots(before)
    assert others == {path: path.read_bytes() for path in output.glob(f"*/{B}*.parquet")}
    rows = pq.read_table(output / "clips").select(["clip", "path", "folder", "version"]).to_pylist()
    assert sorted(map(tuple, map(dict.values, rows))) == [
        ("/x/c", "x/c", "x", "1"),
        ("/x/e", "x/e", "x", "1"),
        ("/zz/new/a", "n/a", "n", "2"),
        ("/zz/new/b", "n/b", "n", "2"),
    ]
    assert not list(output.glob(f"_staging-{D}*"))
    assert move(output) == 0


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_lie_sorted_as_before_whatever_the_new_root(tmp_path, made, table):
    output = copytree(made, tmp_path / "out")
    move(output)
    for path in (output / table.name).glob("*.parquet"):
        rows = pq.read_table(path)
        order = pc.sort_indices(rows, [(name, "ascending") for name in table.sorted_by])
        assert order.to_pylist() == list(range(rows.num_rows))
        assert pq.read_metadata(path).metadata[b"earmark.model_name"] == b"toy"


def test_a_move_that_is_cut_off_anywhere_is_finished_or_undone_by_the_next_run(tmp_path, made):
    outcomes = []
    for step in range(200):
        output = copytree(made, tmp_path / str(step))
        before = all_clips(output)
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(step)(monkeypatch)
            try:
                move(output)
                is_over = True
            except KilledError:
                is_over = False
        for name, counts in all_clips(output).items():  # as a reader would find it
            assert by_name(counts) == by_name(before[name]), step
        recover(str(output))
        got = all_clips(output)
        assert got in (before, with_new_roots(before)), step
        assert not list(output.glob(f"_staging-{D}*"))
        outcomes.append(got != before)
        if is_over:
            break
    assert is_over
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 20
    assert not outcomes[0]


def test_a_move_outlives_a_loss_of_power_at_any_step(tmp_path, made):
    if not Path("/proc/self/fd").exists():
        pytest.skip("what is synced is told from /proc")
    for step in range(200):
        output = copytree(made, tmp_path / str(step))
        before = all_clips(output)
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = ForgetfulDisk(output, monkeypatch)
            killed_at(step)(monkeypatch)
            try:
                move(output)
                is_over = True
            except KilledError:
                is_over = False
            for name, forgotten in FORGOTTEN.items():
                disk.left(tmp_path / f"{step} {name}", forgotten)
            disk.close()
        for name in FORGOTTEN:
            left = tmp_path / f"{step} {name}"
            recover(str(left))
            assert all_clips(left) in (before, with_new_roots(before)), (step, name)
            assert not is_over or all_clips(left) != before
        if is_over:
            break
    assert is_over


def test_where_there_is_no_room_everything_is_as_it_was(tmp_path, made, monkeypatch):
    output = copytree(made, tmp_path / "out")
    before = all_clips(output)
    written = []

    def write(path, *rest):
        written.append(path)
        if len(written) > 3:
            raise OSError(28, "No space left on device")
        return real(path, *rest)

    real = rewriting.write_table
    monkeypatch.setattr(rewriting, "write_table", write)
    with pytest.raises(OSError, match="No space left"):
        move(output)
    assert all_clips(output) == before
    recover(str(output))
    assert all_clips(output) == before
    assert not list(output.glob(f"_staging-{D}*"))
