"""Input and output in HDFS, which Beam reaches; it has folders, and writes over nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apache_beam.io import hadoopfilesystem
from apache_beam.options.pipeline_options import PipelineOptions

from earmark.pipelines.cli import main
from earmark.transforms.storage import (
    create_file,
    exists,
    list_below,
    move_whole,
    read_uri,
    store_of,
    write_whole,
)
from earmark.transforms.storage.beam_filesystems import use_options
from tests.stores import hdfs

FLAGS = ["--hdfs_host", "nobody", "--hdfs_port", "1", "--hdfs_user", "me"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that HDFS is."""
    root = tmp_path / "hdfs"
    root.mkdir()
    package = hdfs.module(root)
    monkeypatch.setitem(sys.modules, "hdfs", package)
    monkeypatch.setattr(hadoopfilesystem, "hdfs", package)
    use_options(PipelineOptions(FLAGS))
    yield root
    use_options(PipelineOptions([]))


@pytest.mark.usefixtures("root")
def test_what_is_not_there_is_told_to_be_missing() -> None:
    assert not exists("hdfs://out/a.json")
    with pytest.raises(FileNotFoundError):
        store_of("hdfs://out").look("hdfs://out/a.json")
    assert list(list_below("hdfs://out/a")) == []
    write_whole("hdfs://a.json", b"x")
    assert [each.uri for each in list_below("hdfs://a")] == ["hdfs://a.json"]


@pytest.mark.usefixtures("root")
def test_files_are_written_over_and_moved_over() -> None:
    write_whole("hdfs://out/a.json", b"old")
    write_whole("hdfs://out/a.json", b"new")
    assert read_uri("hdfs://out/a.json") == b"new"
    with create_file("hdfs://aside/a.json") as file:
        file.write(b"newest")
    move_whole("hdfs://aside", "hdfs://out", ["a.json"])
    assert read_uri("hdfs://out/a.json") == b"newest"
    assert not exists("hdfs://aside/a.json")


def test_a_run_from_hdfs_to_hdfs_is_resumed(
    root: Path, record: Callable[..., Path], rows: Callable[..., list[tuple]]
) -> None:
    command = ["classify", "--input", "hdfs://in", "--output", "hdfs://out", "--model", "builtin"]
    record(root / "in" / "a.wav", "tone")
    record(root / "in" / "deep" / "b.wav", "noise")
    assert main([*command, *FLAGS]) == 0
    record(root / "in" / "a.wav", "noise", seconds=9)
    record(root / "in" / "c.wav", "hum")
    assert main([*command, *FLAGS]) == 0
    clips = rows(root / "out", "clips", "clip, duration_s >= 9")
    assert sorted(clips) == [
        ("hdfs://in/a.wav", True),
        ("hdfs://in/c.wav", False),
        ("hdfs://in/deep/b.wav", False),
    ]
    assert sorted(file.name for file in (root / "out").glob("*") if any(file.rglob("*.*"))) == [
        *("_runs", "clips", "detections", "events", "failures")
    ]
