"""Tables as text, and their place in a page."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import PAGE, SECTIONS, main
from benchmarks.pairing import Ratio
from benchmarks.tables import (
    Table,
    at_least,
    at_most,
    figure,
    percent,
    render,
    replaced,
    rows_of,
    spread,
)

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def test_columns_are_aligned_and_numbers_stand_to_the_right():
    table = Table("Speed", ("how", "ms"), [("earmark", "1.5"), ("loop", "12.25")], "Medians.")
    assert render(table).splitlines() == [
        "### Speed",
        "",
        "| how     |    ms |",
        "| ------- | ----: |",
        "| earmark |   1.5 |",
        "| loop    | 12.25 |",
        "",
        "Medians.",
    ]


def test_a_reason_with_bars_or_lines_in_it_stays_in_its_cell():
    text = render(Table("t", ("a", "b"), [("peer", "no | such\nthing")]))
    assert r"| peer | no \| such thing |" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.0666, "0.067"),
        (0.5, "0.500"),
        (1.234, "1.23"),
        (123.4, "123"),
        (98765.4, "98765"),
    ],
)
def test_figures_have_three_digits_that_count(value, text):
    assert figure(value) == text


def test_shares_and_spreads_in_words():
    assert percent(0.648) == "65 %"
    assert spread(Ratio(1.5, 1.25, 2)) == "1.50 (1.25 to 2.00)"


def test_a_figure_without_a_target_has_an_empty_cell_for_it():
    assert (at_least(2.25), at_most(1), at_least(None)) == ("≥ 2.25", "≤ 1", "")


def test_rows_are_those_of_the_first_table_below_the_heading():
    tables = [
        Table(title, ("name", "s"), [[title, "1"], ["x", "2"]]) for title in ("Some", "Whole runs")
    ]
    page = "\n".join(map(render, tables))
    assert rows_of(page, "Whole") == [["Whole runs", "1"], ["x", "2"]]
    assert rows_of(page, "no such") == []


def test_only_what_is_between_the_markers_is_replaced():
    page = f"# Title\n\nbefore\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new\n") == f"# Title\n\nbefore\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_each_place_of_a_page_has_markers_of_its_own():
    page = f"{BEGIN}kept{END} <!-- bill:begin --><!-- bill:end -->"
    changed = replaced(page, "new", "bill")
    assert changed == f"{BEGIN}kept{END} <!-- bill:begin -->\n\nnew\n\n<!-- bill:end -->"


def test_replacing_twice_is_replacing_once():
    page = f"before\n{BEGIN}{END}\nafter"
    assert replaced(replaced(page, "x"), "x") == replaced(page, "x")


@pytest.mark.parametrize(
    "page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_a_page_without_its_markers_is_left_alone(page):
    with pytest.raises(ValueError, match="once"):
        replaced(page, "new")


def test_the_page_has_its_markers():
    assert "new" in replaced(PAGE.read_text(encoding="utf-8"), "new")


def test_a_part_of_the_sections_is_not_written():
    with pytest.raises(SystemExit, match="--only"):
        main(["--write", "--only", SECTIONS[0]])
