"""What is to be processed: what is new, has changed, or failed before; and what a watch finds."""

from earmark.transforms.planning.notifications import Kafka, PubSub, ReadNotifications, parse_source
from earmark.transforms.planning.plan import PlanError, Planned, Retry
from earmark.transforms.planning.plan_files import ReadPlan, write_plan
from earmark.transforms.planning.watching import FAILED_LOOKS, Planner, WatchAudio

__all__ = [
    "FAILED_LOOKS",
    "Kafka",
    "PlanError",
    "Planned",
    "Planner",
    "PubSub",
    "ReadNotifications",
    "ReadPlan",
    "Retry",
    "WatchAudio",
    "parse_source",
    "write_plan",
]
