"""Files that are opened from Python, by callers who make mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

import earmark

KINDS = ["wav", "flac", "ogg", "mp3"]


@pytest.fixture
def recording(request, tmp_path, record) -> Path:
    return record(tmp_path / f"20240528_061500.{request.param}", "tone", rate=44_100)


@pytest.mark.parametrize("recording", KINDS, indirect=True)
@pytest.mark.parametrize(
    "asked", [{"block_samples": 0}, {"block_samples": -1}, {"block_samples": 9, "start": -1}]
)
def test_blocks_that_cannot_be_are_an_error(recording, asked):
    with earmark.open_audio(recording) as reader, pytest.raises(ValueError, match="no blocks of"):
        reader.blocks(**asked)


@pytest.mark.parametrize("recording", KINDS, indirect=True)
def test_a_recording_is_read_once(recording):
    with earmark.open_audio(recording) as reader:
        assert sum(map(len, reader.blocks(1000))) >= 3 * 44_100
        with pytest.raises(ValueError, match="open it again"):
            reader.blocks(1000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_recording_is_an_error_and_no_crash(tmp_path, record, kind):
    path = record(tmp_path / f"a.{kind}", "tone", rate=44_100)
    program = (
        "import sys, earmark\n"
        "with earmark.open_audio(sys.argv[1]) as reader:\n"
        "    unread = reader.blocks(1000)\n"
        "try:\n"
        "    print(sum(map(len, unread)))\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "the recording is closed\n"), done.stderr


@pytest.mark.parametrize("read", [earmark.open_audio, earmark.recorded_at])
@pytest.mark.parametrize("name", ["a\0b.wav", "\ud800.wav"])
def test_what_is_no_name_of_a_file_is_a_read_error(tmp_path, read, name):
    with pytest.raises(earmark.AudioError, match="no name of a file") as raised:
        getattr(read(tmp_path / name), "__enter__", lambda: None)()
    assert raised.value.reason == "io"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "20240528_061500.wav")
    found = earmark.recorded_at(tmp_path / "20240528_061500.wav")
    assert found is not None
    assert found.source == "name"


@pytest.mark.parametrize("recording", ["wav"], indirect=True)
def test_the_name_that_holds_the_time_may_be_a_path(recording):
    expected = datetime(2023, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    found = earmark.recorded_at(recording, Path("20230102_030405.wav"))
    assert found is not None
    assert (found.time, found.source) == (expected, "name")
