"""An archive that is found under another root than the one that its rows name."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from earmark.pipelines.engines import StreamEngine
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import ClassifyOptions
from earmark.pipelines.runs import prepare
from earmark.pipelines.runs.watches import watch

TABLES = ("detections", "events", "embeddings", "clips", "failures")


@pytest.fixture
def output(tmp_path, archive, classify) -> Path:
    (archive / "north").mkdir()
    (archive / "a.wav").rename(archive / "north" / "a.wav")
    assert classify(archive, tmp_path / "out", "--embeddings")[0] == 0
    return tmp_path / "out"


@pytest.fixture
def everything(rows) -> Callable[[Path], dict[str, Counter]]:
    def read(output: Path) -> dict[str, Counter]:
        hidden = "exclude (run_id)"
        columns = {"clips": f"* {hidden}", "failures": f"* {hidden}"}
        return {
            table: Counter(map(str, rows(output, table, columns.get(table, "*"))))
            for table in TABLES
        }

    return read


def test_paths_and_folders_stand_beside_uris(archive, output, rows):
    there = {(row[0], *row[1:]) for row in rows(output, "clips", "clip, path, folder")}
    assert there == {
        (str(archive / "north/a.wav"), "north/a.wav", "north"),
        (str(archive / "b.wav"), "b.wav", ""),
        (str(archive / "c.wav"), "c.wav", ""),
    }
    assert rows(output, "failures", "path, folder") == [("broken.wav", "")]


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_a_moved_archive_is_not_heard_before_its_owner_has_said_what_it_is(
    tmp_path, archive, output, classify, everything, how
):
    moved, before = tmp_path / "moved", everything(output)
    how(archive, moved)
    status, _, said = classify(moved, output, "--embeddings")
    assert status == 2
    assert said.count("\n") - said.count("\n", 0, said.index("earmark:")) == 1
    assert f"3 of 4 new recordings under {moved} have the names and sizes of clips known" in said
    assert f"--root {archive}={moved}" in said
    assert "--as_new" in said
    assert everything(output) == before
    status, out, _ = classify(moved, output, "--embeddings", "--dry_run")
    assert status == 0
    assert "A run would ask first: 3 of 4 new" in " ".join(out.split())


def test_rows_of_a_moved_archive_are_those_that_hearing_it_would_give(
    tmp_path, archive, output, classify, everything
):
    moved = tmp_path / "moved"
    shutil.move(archive, moved)
    root = ("--embeddings", "--root", f"{archive}={moved}")
    status, out, _ = classify(moved, output, *root, "--dry_run")
    assert status == 0
    assert "0 objects to process" in out
    for said in ("4 known clips given the root that --root names", "Nothing to do"):
        status, out, _ = classify(moved, output, *root)  # and again, as to resume
        assert status == 0
        assert said in out
    assert classify(moved, tmp_path / "anew", "--embeddings")[0] == 0
    assert everything(output) == everything(tmp_path / "anew")
    status, out, _ = classify(moved, output, "--embeddings")
    assert "Nothing to do: 4 objects already processed" in out


def test_the_roots_that_are_proposed_can_be_pasted(tmp_path, archive, output, classify):
    moved = shutil.move(archive, tmp_path / "card 2 (copy)")
    status, _, said = classify(moved, output, "--embeddings")
    assert status == 2
    words = shlex.split(said[said.index("--root ") :].partition(" gives ")[0])
    assert words == ["--root", f"{archive}={moved}"]


def test_what_is_new_under_the_new_root_is_heard(tmp_path, archive, output, classify, rows, record):
    moved = tmp_path / "moved"
    shutil.move(archive, moved)
    record(moved / "d.wav", "tone")
    record(moved / "b.wav", "tone")
    root = ("--embeddings", "--root", f"{archive}={moved}")
    status, out, _ = classify(moved, output, *root)
    assert status == 0
    assert "2 clips scored" in out
    clips = Counter(clip for (clip,) in rows(output, "clips", "clip"))
    assert clips == Counter(
        str(moved / name) for name in ("north/a.wav", "b.wav", "c.wav", "d.wav")
    )


def test_archives_that_are_others_are_heard_as_new(tmp_path, archive, output, classify, rows):
    copy = shutil.copytree(archive, tmp_path / "copy")
    assert classify(copy, output, "--embeddings", "--as_new")[0] == 0
    assert rows(output, "clips", "count(distinct clip)") == [(6,)]
    assert classify([archive, copy], output, "--embeddings")[0] == 0
    status, _, said = classify(archive, output, "--embeddings", "--root", f"{archive}={copy}")
    assert status == 2
    assert f"4 of the clips under {archive} are known under {copy}, too" in said


def test_another_site_with_the_same_names_is_heard(tmp_path, archive, output, classify, record):
    for name in ("north/a", "b", "c"):
        record(tmp_path / "site2" / f"{name}.wav", "tone")
    status, out, _ = classify(tmp_path / "site2", output, "--embeddings")
    assert status == 0
    assert "3 clips scored" in out


def test_members_of_an_archive_that_was_renamed_are_known(tmp_path, archive, classify, rows):
    packed = Path(shutil.make_archive(str(tmp_path / "cards" / "1"), "zip", archive))
    output = tmp_path / "out"
    assert classify(packed.parent, output)[0] == 0
    assert (str(packed) + "!/a.wav", "1.zip!/a.wav", "1.zip") in rows(
        output, "clips", "clip, path, folder"
    )
    renamed = packed.rename(packed.with_name("2.zip"))
    status, _, said = classify(packed.parent, output)
    assert status == 2
    assert f"--root {packed}={renamed}" in said
    assert classify(packed.parent, output, "--root", f"{packed}={renamed}")[0] == 0
    assert (f"{renamed}!/a.wav", "2.zip!/a.wav", "2.zip") in rows(
        output, "clips", "clip, path, folder"
    )


@pytest.mark.parametrize("root", ["/a", "=/b", "/a=", ""])
def test_a_root_without_both_sides_is_told(tmp_path, archive, classify, root):
    status, _, said = classify(archive, tmp_path / "out", "--root", root)
    assert status == 2
    assert "OLD=NEW" in said


def test_a_root_under_which_nothing_is_known_is_told(archive, output, classify):
    status, _, said = classify(archive, output, "--embeddings", "--root", "/nowhere=/there")
    assert status == 2
    assert "--root: no clip is known under /nowhere" in said


def test_a_watch_asks_before_it_begins(tmp_path, archive, output, classify):
    moved = shutil.move(archive, tmp_path / "moved")
    status, _, said = classify(moved, output, "--embeddings", "--watch", "--window_s", "1")
    assert status == 2
    assert f"--root {archive}={moved}" in said


def test_a_stream_is_not_submitted_before_its_owner_has_said_what_moved(tmp_path, archive, output):
    moved = shutil.move(archive, tmp_path / "moved")
    asked = {"input": [str(moved)], "output": str(output), "model": "builtin"}
    options = ClassifyOptions(**asked, watch=True, embeddings="float32")
    engine = Mock(spec=StreamEngine)
    with pytest.raises(UsageError, match=f"--root {archive}={moved}"):
        watch(replace(prepare(options, []), engine=engine), Mock())
    engine.run_stream.assert_not_called()
    options = options.model_copy(update={"as_new": True})
    watch(replace(prepare(options, []), engine=engine), Mock())
    engine.run_stream.assert_called_once()


def test_the_command_that_moves_an_archive_into_a_folder_of_its_own_may_be_repeated(
    tmp_path, archive, output, classify, rows
):
    archive.rename(tmp_path / "cards")
    archive.mkdir()
    (tmp_path / "cards").rename(archive / "2024")
    asked = archive, output, "--embeddings", "--root", f"{archive}={archive}/2024"
    for _ in range(2):
        status, said, _ = classify(*asked)
        assert status == 0
        assert "Nothing to do: 4 objects already processed." in said
        places = {clip for (clip,) in rows(output, "clips", "clip")}
        assert places == {f"{archive}/2024/{name}.wav" for name in ("north/a", "b", "c")}
