"""Outputs of which something got lost or broken, and what makes them whole again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree

import pyarrow.parquet as pq
import pytest

from earmark.pipelines.cli import main
from tests.pipelines.conftest import write_archive

TABLES = ("detections", "events", "embeddings", "clips", "failures")
COLUMNS = {"clips": "clip, version, status, frames", "failures": "clip, reason"}


@pytest.fixture(scope="module")
def made(tmp_path_factory, record) -> Path:
    """A folder whose output is of two runs, where each test works, and beside it a copy."""
    folder = tmp_path_factory.mktemp("repair")
    archive, output = folder / "now" / "in", folder / "now" / "out"
    write_archive(archive, record)
    run = ["classify", "--input", str(archive), "--output", str(output), "--model", "builtin"]
    assert main([*run, "--embeddings"]) == 0
    record(archive / "d.wav", "tone")
    assert main([*run, "--embeddings"]) == 0
    copytree(folder / "now", folder / "kept")
    return folder


@pytest.fixture
def archive(made) -> Path:
    """Four recordings and a broken one."""
    rmtree(made / "now")
    copytree(made / "kept", made / "now")
    return made / "now" / "in"


@pytest.fixture
def output(archive) -> Path:
    """Of three recordings and the broken one from one run, and of the fourth from another."""
    return archive.with_name("out")


@pytest.fixture
def repair(capsys) -> Callable[..., tuple[int, str, str]]:
    def run(output: Path | str, *options: str) -> tuple[int, str, str]:
        status = main(["repair", str(output), *options])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def all_rows(rows) -> Callable[[Path], dict[str, Counter]]:
    def read(output: Path) -> dict[str, Counter]:
        return {
            table: Counter(map(str, rows(output, table, COLUMNS.get(table, "*"))))
            for table in TABLES
        }

    return read


def first_file(output: Path, table: str) -> Path:
    return min((output / table).glob("*.parquet"))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def removed(path: Path) -> None:
    path.unlink()


def with_a_page_overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:44] = bytes(40)
    path.write_bytes(content)


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_of_an_output_that_is_whole_nothing_is_changed(output, repair):
    before = everything(output)
    for options in ((), ("--dry_run",)):
        status, out, _ = repair(output, *options)
        assert status == 0
        assert out == "All files of all tables are readable, and none is missing.\n"
    assert everything(output) == before


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("break_it", [emptied, cut, removed])
def test_a_broken_file_of_any_table_is_named_at_the_start_and_set_aside(
    output, archive, classify, repair, all_rows, table, break_it
):
    before = all_rows(output)
    path = first_file(output, table)
    break_it(path)
    damaged = everything(output)
    status, _, err = classify(archive, output, "--embeddings")
    assert status == 2
    assert path.name in err.splitlines()[-1]
    assert "earmark repair" in err.splitlines()[-1]

    assert path.name in repair(output, "--dry_run")[1]
    assert everything(output) == damaged

    status, out, _ = repair(output)
    assert status == 0
    assert path.name in out
    assert len(list(output.glob("*/*.parquet"))) == len(TABLES)
    left = len(TABLES) - (break_it is removed)
    assert len(list(output.glob(f"_set_aside/*/*/{path.name}"))) == left

    status, out, _ = classify(archive, output, "--embeddings")
    assert status == 0
    assert "1 already processed by earlier runs" in out
    assert all_rows(output) == before


@pytest.mark.parametrize("table", ["detections", "clips"])
def test_a_page_that_cannot_be_read_is_found_by_repair_and_told_when_it_is_met(
    output, archive, classify, repair, all_rows, table
):
    before = all_rows(output)
    path = first_file(output, table)
    with_a_page_overwritten(path)
    assert pq.read_metadata(path).num_rows > 0
    a = archive / "a.wav"
    a.write_bytes(a.read_bytes())  # a new version, whose old rows are to be taken out of the file
    status, _, err = classify(archive, output, "--embeddings")
    assert status in (1, 2)
    assert f"{path} cannot be read: " in err.splitlines()[-1]
    assert "Traceback" not in err
    status, out, _ = repair(output)
    assert f"{path} cannot be read" in out
    assert classify(archive, output, "--embeddings")[0] == 0
    assert {table: sum(rows.values()) for table, rows in all_rows(output).items()} == {
        table: sum(rows.values()) for table, rows in before.items()
    }


def test_rows_of_recordings_that_have_none_in_clips_are_found(output, archive, classify, repair):
    """As when a file of clips/ was put back from another copy."""
    one, other = sorted((output / "clips").glob("*.parquet"))
    name = one.name
    one.write_bytes(other.read_bytes())
    assert "have none in clips/" in repair(output)[1]
    assert not list(output.glob(f"*/{name}"))


def test_a_journal_that_no_run_has_written_is_set_aside(output, archive, classify, repair):
    journal = output / "_staging-20261101T120000Z-0123cdef" / "00001.json"
    journal.parent.mkdir()
    journal.write_text(json.dumps({"obsolete": ["../precious.txt"]}))
    status, _, err = classify(archive, output, "--embeddings")
    assert (status, err.count("\n")) == (2, 1)
    assert f"{journal} is not a valid journal" in err
    assert f"{journal} is not a valid journal" in repair(output, "--dry_run")[1]
    assert journal.exists()
    assert f"{journal} is not a valid journal" in repair(output)[1]
    assert len(list(output.glob("_set_aside/*/_staging-*/00001.json"))) == 1
    assert "Nothing to do" in classify(archive, output, "--embeddings")[1]


def test_a_commit_of_which_a_file_got_lost_is_undone(
    output, archive, classify, repair, all_rows, monkeypatch
):
    for path in archive.glob("[ab].wav"):
        path.touch()
    with monkeypatch.context() as patch:
        patch.setattr("earmark.transforms.output.committing.carry_out", killed)
        with pytest.raises(RuntimeError, match="KilledError"):
            classify(archive, output, "--embeddings")
    staged = sorted(output.glob("_staging-*/events/*.parquet"))
    assert len(staged) == 2  # a new file, and one that is to replace another
    staged[-1].unlink()
    status, _, err = classify(archive, output, "--embeddings")
    assert status == 2
    assert f"events/{staged[-1].name} was written, but is not there" in err
    assert staged[-1].name in repair(output, "--dry_run")[1]
    assert repair(output)[0] == 0
    assert classify(archive, output, "--embeddings")[0] == 0
    classify(archive, output.parent / "anew", "--embeddings")
    assert all_rows(output) == all_rows(output.parent / "anew")
    assert repair(output)[1].startswith("All files")


class KilledError(BaseException):
    pass


def killed(*_: object) -> None:
    raise KilledError


def test_what_is_set_aside_is_never_heard(output, archive, classify, repair):
    emptied(first_file(output, "clips"))
    repair(output)
    status, out, _ = classify(output, output, "--embeddings", "--all_files")
    assert status == 0
    assert "Nothing to do" in out


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize(
    ("name", "said"),
    [("none", "no such folder"), ("a file", "no such folder"), ("folder", "no run has written")],
)
def test_what_is_no_output_is_told(tmp_path, repair, scheme, name, said):
    (tmp_path / "a file").touch()
    (tmp_path / "folder" / "clips").mkdir(parents=True)
    for options in ((), ("--dry_run",)):
        status, out, err = repair(f"{scheme}{tmp_path}/{name}", *options)
        assert (status, out) == (2, "")
        assert said in err
    assert not (tmp_path / "none").exists()


def test_a_folder_of_another_output_is_not_repaired_through_a_link(tmp_path, output, repair):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.parquet").write_bytes(b"broken")
    (output / "_set_aside").symlink_to(tmp_path / "mine")
    status, _, err = repair(output)
    assert status == 2
    assert "_set_aside is a link" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["mine.parquet"]


def test_a_run_writes_through_no_link(tmp_path, output, archive, classify):
    (output / "events").rename(tmp_path / "elsewhere")
    (output / "events").symlink_to(tmp_path / "elsewhere")
    status, _, err = classify(archive, output, "--embeddings")
    assert status == 2
    assert f"{output / 'events'} is a link" in err


@pytest.mark.parametrize("name", [".", "./out", "a//b"])
def test_outputs_may_be_named_in_any_way(tmp_path, archive, classify, repair, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert classify(archive, name)[0] == 0
    assert classify(archive, name)[1].startswith("\nNothing to do")
    assert repair(name)[1].startswith("All files")
