"""Tables of figures, as plain text that is Markdown too, and their place in a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile

from benchmarks.pairing import Ratio

FIGURES = "benchmark"
"""The name of the place for all figures in a page."""


@dataclass(frozen=True)
class Table:
    """A table: its title, the names of its columns, its rows, and what to know of it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def render(table: Table) -> str:
    """A table as text with its title and note."""
    lines = [f"### {table.title}", "", aligned(table)]
    return "\n".join([*lines, "", table.note, ""] if table.note else [*lines, ""])


def aligned(table: Table) -> str:
    """A table by itself, its columns aligned; the first to the left, the others to the right."""
    rows = [list(map(_escaped, row)) for row in (table.columns, *table.rows)]
    widths = [max(3, *map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    header, *body = (_line(row, widths) for row in rows)
    return "\n".join([header, f"| {' | '.join(rule)} |", *body])


def replaced(page: str, text: str, place: str = FIGURES) -> str:
    """A page with this text, and nothing else, between the markers of a place.

    They are `<!-- PLACE:begin -->` and `<!-- PLACE:end -->`.

    Raises:
      ValueError: the page doesn't have both markers once, in their order.
    """
    first, last = f"<!-- {place}:begin -->", f"<!-- {place}:end -->"
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end or first in rest or last in before + after:
        raise ValueError(f"the page must have {first} and then {last}, each once")
    return f"{before}{first}\n\n{text.strip()}\n\n{last}{after}"


def rows_of(page: str, title: str) -> list[list[str]]:
    """The cells of the first table below a heading that begins so, without its head."""
    lines = iter(page.splitlines())
    for line in lines:
        if line.startswith(f"### {title}"):
            break
    table = takewhile(_is_row, dropwhile(lambda line: not _is_row(line), lines))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in list(table)[2:]]


def _is_row(line: str) -> bool:
    return line.startswith("|")


def figure(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, and never with an exponent."""
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(0, digits - whole)}f}"


def percent(share: float) -> str:
    """A share as whole percents."""
    return f"{share:.0%}".replace("%", " %")


def spread(ratio: Ratio) -> str:
    """A ratio's median, and how far its rounds lie apart."""
    return f"{ratio.median:.2f} ({ratio.lowest:.2f} to {ratio.highest:.2f})"


def at_least(target: float | None) -> str:
    """A target that a figure is to reach; nothing where there is none."""
    return "" if target is None else f"≥ {target:g}"


def at_most(target: float | None) -> str:
    """A target that a figure is to stay below; nothing where there is none."""
    return "" if target is None else f"≤ {target:g}"


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
