"""What is to be processed: what is new, has changed, or failed before; and what a watch finds."""

from earmark.transforms.planning.notifications import Kafka, PubSub, ReadNotifications, parse_source
from earmark.transforms.planning.plan import Plan, PlanError, Planned, Retry, new_plan
from earmark.transforms.planning.plan_files import ReadPlan, write_plan
from earmark.transforms.planning.watching import FAILED_LOOKS, Watch, WatchAudio, Watched

__all__ = [
    "FAILED_LOOKS",
    "Kafka",
    "Plan",
    "PlanError",
    "Planned",
    "PubSub",
    "ReadNotifications",
    "ReadPlan",
    "Retry",
    "Watch",
    "WatchAudio",
    "Watched",
    "new_plan",
    "parse_source",
    "write_plan",
]
