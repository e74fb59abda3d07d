"""What is to be processed: what is new, has changed, or failed before; and what a watch finds."""

from earmark.transforms.planning.kinds import SAMPLES, Kind, kinds_of, samples_first
from earmark.transforms.planning.moves import (
    Move,
    MoveError,
    find_moves,
    move_rows,
    note_moves,
)
from earmark.transforms.planning.notifications import ReadNotifications
from earmark.transforms.planning.plan import Plan, PlanError, Planned, Retry
from earmark.transforms.planning.plan_files import ReadPlan, write_plan
from earmark.transforms.planning.watching import Planner, WatchAudio, failed_looks

__all__ = [
    "SAMPLES",
    "Kind",
    "Move",
    "MoveError",
    "Plan",
    "PlanError",
    "Planned",
    "Planner",
    "ReadNotifications",
    "ReadPlan",
    "Retry",
    "WatchAudio",
    "failed_looks",
    "find_moves",
    "kinds_of",
    "move_rows",
    "note_moves",
    "samples_first",
    "write_plan",
]
