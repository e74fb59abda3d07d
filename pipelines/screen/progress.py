"""Showing the progress of a local run."""

from __future__ import annotations

import html
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from earmark.shared import forget
from earmark.transforms import workers
from earmark.transforms.workers import Board, Snapshot

LINE_EVERY_S = 30.0
"""How often a line is printed where there is no terminal."""

_REFRESH_S = 0.2
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
    """Progress in a line: clips, hours of audio, times real time, failures, time left."""
    parts = [
        f"{now.finished:,} of {now.listed:,} objects",
        f"{now.audio_s / 3600:,.2f} h of audio",
        f"{now.audio_s / max(elapsed_s, 1e-9):,.0f}x real time",
    ]
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    left_s = _left_s(now, elapsed_s)
    if left_s is not None:
        parts.append(f"{_clock(left_s)} left")
    return " · ".join(parts)


def _left_s(now: Snapshot, elapsed_s: float) -> float | None:
    """By bytes, since clips differ in length; unknown before the first is done."""
    if not now.finished_bytes or elapsed_s < 1:
        return None
    return elapsed_s * (now.listed_bytes - now.finished_bytes) / now.finished_bytes


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _show_bar(board: Board, console: Console, over: threading.Event) -> None:
    columns = [BarColumn(), TextColumn("{task.description}")]
    if console.width >= 100:  # else there is only room for the time that is left
        columns.insert(0, TimeElapsedColumn())
    began = time.monotonic()
    # rich and the caller would both put sys.stderr aside, and put back the other's
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task("listing", total=None)
        while not over.wait(_REFRESH_S):
            now = board.snapshot()
            if now.listed:
                bar.update(
                    task,
                    total=now.listed_bytes or None,
                    completed=now.finished_bytes,
                    description=describe(now, time.monotonic() - began),
                )


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
    at = f' value="{now.finished_bytes}" max="{now.listed_bytes}"' if now.listed_bytes else ""
    return {"text/plain": line, "text/html": f"<progress{at}></progress> {html.escape(line)}"}


def _print_lines(board: Board, console: Console, over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(LINE_EVERY_S):
        console.print(describe(board.snapshot(), time.monotonic() - began))
