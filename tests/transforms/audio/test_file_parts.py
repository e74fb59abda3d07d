"""Parts of files, against slices of their content."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.transforms.audio.file_parts import FilePart

CONTENT = bytes(range(100))
PLACES = st.integers(0, 120)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[FilePart]:
    (tmp_path / "a").write_bytes(CONTENT)
    with (tmp_path / "a").open("rb", buffering=0) as file:
        yield FilePart(file)
        assert file.tell() == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLACES, st.none() | PLACES, PLACES, st.none() | PLACES, PLACES, PLACES)
def test_a_part_of_a_part_is_a_slice_of_a_slice(
    whole: FilePart,
    start: int,
    end: int | None,
    inner_start: int,
    inner_end: int | None,
    offset: int,
    size: int,
) -> None:
    expected = CONTENT[start:end][inner_start:inner_end]
    part = whole.part(start, end).part(inner_start, inner_end)
    assert part.size == len(expected)
    assert part.read_at(offset, size) == expected[offset : offset + size]
    buffer = bytearray(size)
    assert part.read_into(memoryview(buffer), offset) == len(expected[offset : offset + size])
    assert buffer.startswith(expected[offset : offset + size])


def test_nothing_lies_where_no_file_reaches(whole: FilePart) -> None:
    assert whole.read_at(1 << 70, 10) == b""


def test_it_is_read_on_from_where_it_was_sought(whole: FilePart) -> None:
    part = whole.part(10, 30)
    assert part.read(4) == CONTENT[10:14]
    assert (part.seek(2, io.SEEK_CUR), part.tell()) == (6, 6)
    assert (part.seek(-3, io.SEEK_END), part.read(9)) == (17, CONTENT[27:30])
    assert (part.seek(-1), part.tell()) == (-1, 20)
    assert (part.seek(99), part.read(1)) == (99, b"")


def test_what_is_read_in_pieces_fills_the_buffer(
    whole: FilePart, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, at: read(file, [buffers[0][:7]], at))
    buffer = bytearray(30)
    assert whole.read_into(memoryview(buffer), 5) == 30
    assert buffer == CONTENT[5:35]
