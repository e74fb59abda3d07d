"""docs/python.md: its examples run, and print what it says."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import earmark
from earmark.pipelines.demo import make_archive

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"

_BLOCK = re.compile(r"^( *)```(python|text)\n(.*?)^ *```$", re.M | re.S)


def examples() -> Iterator[tuple[str, str]]:
    """The examples of the page, each with what it prints."""
    blocks = [(kind, textwrap.dedent(text)) for _, kind, text in _BLOCK.findall(PAGE.read_text())]
    for (kind, code), (follows, printed) in pairwise(blocks):
        if (kind, follows) == ("python", "text"):
            yield code, printed


def test_every_example_prints_what_the_page_says(tmp_path, monkeypatch, capsys):
    make_archive(tmp_path / "earmark-demo" / "archive")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code, expected in examples():
        exec(compile(code, str(PAGE), "exec"), names)
        printed = capsys.readouterr().out
        # a pipeline's results come in any order
        assert sorted(printed.splitlines()) == sorted(expected.splitlines()), code


def test_no_example_is_left_out():
    assert len(list(examples())) == PAGE.read_text().count("```python") > 8


def test_every_call_is_on_the_page():
    calls = [name for name in earmark.__all__ if callable(getattr(earmark, name))]
    verbs = [name for name in calls if name[0].islower()]
    assert all(f"`earmark.{name}`" in PAGE.read_text() for name in verbs)
