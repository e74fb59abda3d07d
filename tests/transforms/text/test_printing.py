"""Nothing that data holds acts on the terminal that it is printed to."""

from __future__ import annotations

import json

import pytest

from earmark.transforms.text.printing import printable, printable_json

SIGNS = {
    "\x1b": r"\x1b",
    "\n": r"\n",
    "\r": r"\r",
    "\x07": r"\x07",
    "\x7f": r"\x7f",
    "\x9b": r"\x9b",
    "\u202e": r"\u202e",
    "\u2066": r"\u2066",
    "\u200f": r"\u200f",
    "\u2028": r"\u2028",
    "\u2029": r"\u2029",
    "\udc80": r"\udc80",
}


@pytest.mark.parametrize(("sign", "shown"), SIGNS.items(), ids=ascii)
def test_signs_that_act_on_a_terminal_are_shown_as_escapes(sign: str, shown: str) -> None:
    assert printable(f"a{sign}b") == f"a{shown}b"


def test_other_text_stays_as_it_is() -> None:
    text = "Jürgens Vögel 🦉 “日本語” — a\\b [bold] :dog:"
    assert printable(text) == text


def test_a_long_text_is_cut() -> None:
    assert printable("x" * 1000, 10) == "x" * 10 + "..."
    assert len(printable("x" * 10_000_000)) < 1000


def test_a_secret_is_not_saved_by_being_cut() -> None:
    assert "hush" not in printable("x" * 390 + " password=hush" + "y" * 50)


def test_json_keeps_its_content_and_its_lines() -> None:
    content = {"name": "".join(SIGNS) + "é🦉", "list": [1, "\x9b31m"]}
    text = printable_json(json.dumps(content, indent=2, ensure_ascii=False))
    assert json.loads(text) == content
    assert "é🦉" in text
    assert all(sign == "\n" or sign not in text for sign in SIGNS)
