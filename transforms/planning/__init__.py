"""What is to be processed: what is new, has changed, or failed before; and what a watch finds."""

from earmark.transforms.planning.kinds import SAMPLES, Kind, kinds_of, samples_first
from earmark.transforms.planning.moves import (
    Move,
    MoveError,
    find_moves,
    move_rows,
    note_moves,
    parse_root,
)
from earmark.transforms.planning.notifications import Kafka, PubSub, ReadNotifications, parse_source
from earmark.transforms.planning.plan import Plan, PlanError, Planned, Retry
from earmark.transforms.planning.plan_files import ReadPlan, write_plan
from earmark.transforms.planning.watching import FAILED_LOOKS, Planner, WatchAudio

__all__ = [
    "FAILED_LOOKS",
    "SAMPLES",
    "Kafka",
    "Kind",
    "Move",
    "MoveError",
    "Plan",
    "PlanError",
    "Planned",
    "Planner",
    "PubSub",
    "ReadNotifications",
    "ReadPlan",
    "Retry",
    "WatchAudio",
    "find_moves",
    "kinds_of",
    "move_rows",
    "note_moves",
    "parse_root",
    "parse_source",
    "samples_first",
    "write_plan",
]
