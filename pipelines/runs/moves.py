"""What a run does about an archive that has moved, before it hears anything."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from earmark.pipelines.console import counted
from earmark.pipelines.errors import UsageError
from earmark.pipelines.runs.preparing import Run
from earmark.transforms.planning import (
    Move,
    MoveError,
    Plan,
    Planner,
    find_moves,
    move_rows,
    note_moves,
)
from earmark.transforms.storage import shown

_SHOWN = 3


def settle_moves(run: Run, planner: Planner) -> int:
    """Give known clips their new root if asked to; refuse to hear what seems to be known.

    Args:
      run: the run, which holds its output.
      planner: of the run, after a look.

    Returns:
      How many were given a new root.

    Raises:
      UsageError: clips are known under another root, and the options don't say what to do.
    """
    roots = note_roots(run, planner.plan)
    moved = move_rows(planner.plan, roots, run.settings) if roots else 0
    if said := asked_about_moves(run, planner.plan):
        raise UsageError(said)
    return moved


def note_roots(run: Run, plan: Plan) -> list[tuple[str, str]]:
    """Note the new roots that a run is given; gives those that rows don't have yet.

    Raises:
      UsageError: clips can't be given them.
    """
    try:
        return note_moves(plan, run.options.root or ())
    except MoveError as error:
        raise UsageError(f"--root: {error}") from error


def asked_about_moves(run: Run, plan: Plan) -> str | None:
    """What the user has to say before a run begins, in a line; None if nothing."""
    moves = [] if run.options.as_new else find_moves(plan)
    return _in_words(moves) if moves else None


def _in_words(moves: Sequence[Move]) -> str:
    """What an archive seems to have been known as, and what can be done about it, in a line."""
    said = [
        f"{each.objects:,} of {counted(each.listed, 'new recording')} under {shown(each.new)} have "
        f"the names and sizes of clips known under {shown(each.old)}"
        for each in moves[:_SHOWN]
    ]
    if len(moves) > _SHOWN:
        said.append(f"and so on for {len(moves) - _SHOWN:,} more roots")
    roots = " ".join(
        f"--root {quote(f'{shown(each.old)}={shown(each.new)}')}" for each in moves[:_SHOWN]
    )
    return (
        f"{'; '.join(said)}: {roots} gives these clips their new root and hears none of them, "
        "--as_new hears them as new"
    )
