from __future__ import annotations

import pytest
from rich.table import Table

from earmark.pipelines.cli import main
from earmark.pipelines.console import counted, in_short, in_words, screen


def test_a_table_that_is_not_shown_on_a_terminal_has_no_spaces_at_the_ends_of_its_lines(capsys):
    table = Table.grid(padding=(0, 2))
    table.add_row("name", "a long value")
    table.add_row("another", "b")
    screen().print("[bold]Title[/bold]", table, sep="\n")
    assert capsys.readouterr().out == "Title\nname     a long value\nanother  b\n"


def test_everything_that_the_demo_prints_to_a_pipe_can_be_pasted(tmp_path, capsys):
    folder = tmp_path / "a folder with a rather long name, so that lines with it are longer than 80"
    assert main(["demo", "--output", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert [line for line in [*out.splitlines(), *err.splitlines()] if line != line.rstrip()] == []
    named = f"--input {folder}/archive --output {folder}/labels --model builtin"
    assert f"  earmark classify {named}\n" in out


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 clips"), (1, "1 clip"), (2, "2 clips"), (12_345, "12,345 clips")]
)
def test_things_are_counted_in_the_singular_and_the_plural(count, said):
    assert counted(count, "clip") == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *(
            (0, "0 seconds"),
            (0.25, "0.25 seconds"),
            (1, "1 second"),
            (89, "89 seconds"),
            (90, "1.5 minutes"),
        ),
        *((3600, "60.0 minutes"), (7200, "2.0 hours"), (4_500_000, "1,250.0 hours")),
    ],
)
def test_lengths_of_time_have_a_unit_that_suits_them(seconds, said):
    assert in_words(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "0.25 s"), (8.775, "8.8 s"), (45.4, "45 s"), (75, "1.2 min"), (4_321_800, "1,200.5 h")],
)
def test_in_tables_lengths_of_time_are_short(seconds, said):
    assert in_short(seconds) == said
