"""Tables of figures, as plain text that is Markdown too, and their place in a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.pairing import Ratio

BEGIN = "<!-- benchmark:begin -->"
END = "<!-- benchmark:end -->"


@dataclass(frozen=True)
class Table:
    """A table: its title, the names of its columns, its rows, and what to know of it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def render(table: Table) -> str:
    """A table as text, its columns aligned; the first to the left, the others to the right."""
    rows = [list(map(_escaped, row)) for row in (table.columns, *table.rows)]
    widths = [max(3, *map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    header, *body = (_line(row, widths) for row in rows)
    lines = [f"### {table.title}", "", header, f"| {' | '.join(rule)} |", *body]
    return "\n".join([*lines, "", table.note, ""] if table.note else [*lines, ""])


def replaced(page: str, text: str) -> str:
    """A page with this text, and nothing else, between its markers.

    Raises:
      ValueError: the page doesn't have both markers once, in their order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ValueError(f"the page must have {BEGIN} and then {END}, each once")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


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


def _escaped(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"
