"""Showing the progress of a local run."""

from __future__ import annotations

import html
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from earmark.pipelines.console import counted
from earmark.pipelines.screen.estimate import estimate
from earmark.shared import forget
from earmark.transforms import workers
from earmark.transforms.workers import Board, Snapshot

LINE_EVERY_S = 30.0
"""How often a line is printed where there is no terminal."""

_REFRESH_S = 0.2
_BAR_CELLS = 40
_NOTEBOOK_REFRESH_S = 1.0


@contextmanager
def watch(run_id: str, console: Console | None) -> Iterator[None]:
    """Show the progress of a run of this process.

    Args:
      run_id: of the run.
      console: has a bar where it is a terminal or a notebook, else a line now and then; None to
        show nothing.
    """
    board = workers.board(run_id)
    over = threading.Event()
    threads = [] if console is None else [_watcher(board, console, over)]
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        forget(run_id)


def is_notebook() -> bool:
    """Whether this process belongs to a notebook, which can show HTML."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _watcher(board: Board, console: Console, over: threading.Event) -> threading.Thread:
    in_a_terminal = _show_bar if console.is_terminal else _print_lines
    show = _show_in_notebook if is_notebook() else in_a_terminal
    watcher = threading.Thread(target=show, args=(board, console, over), daemon=True)
    watcher.start()
    return watcher


def describe(now: Snapshot, elapsed_s: float) -> str:
    """Progress in a line: objects, hours of audio, times real time, failures, time left."""
    found = estimate(now, elapsed_s)
    left = [] if found is None else [f"{_clock(found.left_s)} left"]
    return " · ".join([*_counts(now, elapsed_s), *left])


def _counts(now: Snapshot, elapsed_s: float) -> list[str]:
    parts = [
        f"{now.finished:,} of {counted(now.listed, 'object')}",
        f"{now.audio_s / 3600:,.2f} h of audio",
        f"{now.audio_s / max(elapsed_s, 1e-9):,.0f}x real time",
    ]
    return [*parts, f"{now.failed:,} failed"] if now.failed else parts


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _show_bar(board: Board, console: Console, over: threading.Event) -> None:
    began = time.monotonic()
    # rich and the caller would both put sys.stderr aside, and put back the other's
    with Live(
        console=console,
        transient=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        is_over = False
        while not is_over:
            is_over = over.wait(_REFRESH_S)
            live.update(_bar(board.snapshot(), time.monotonic() - began), refresh=True)


def _bar(now: Snapshot, elapsed_s: float) -> RenderableType:
    """Two lines: a bar with the times beside it, and the counts."""
    if not now.listed:
        return Text(f"listing · {_clock(elapsed_s)}")
    found = estimate(now, elapsed_s)
    share, left = (0.0, "") if found is None else (found.share, f" · {_clock(found.left_s)} left")
    times = Text(f"{share:>4.0%} · {_clock(elapsed_s)}{left}")
    first = Table.grid(padding=(0, 1))
    first.add_row(ProgressBar(completed=100 * share, width=_BAR_CELLS), times)
    counts = Text(" · ".join(_counts(now, elapsed_s)), no_wrap=True, overflow="ellipsis")
    return Group(first, counts)


def _show_in_notebook(board: Board, console: Console, over: threading.Event) -> None:
    """A bar that a notebook draws by itself, without a library of widgets."""
    from IPython.display import display

    began = time.monotonic()
    handle = display(_as_html(board.snapshot(), 0.0), raw=True, display_id=True)
    while not over.wait(_NOTEBOOK_REFRESH_S):
        handle.update(_as_html(board.snapshot(), time.monotonic() - began), raw=True)
    handle.update(_as_html(board.snapshot(), time.monotonic() - began), raw=True)


def _as_html(now: Snapshot, elapsed_s: float) -> dict[str, str]:
    """Progress in the forms that notebooks and their exports show."""
    line = describe(now, elapsed_s) if now.listed else "listing"
    found = estimate(now, elapsed_s)
    at = "" if found is None else f' value="{found.share:.4f}"'
    return {"text/plain": line, "text/html": f"<progress{at}></progress> {html.escape(line)}"}


def _print_lines(board: Board, console: Console, over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(LINE_EVERY_S):
        console.print(describe(board.snapshot(), time.monotonic() - began))
