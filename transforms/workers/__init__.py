"""Distributing work to workers, and tracking their progress.

The transforms, which need Beam, are in sharing and spreading.
"""

from earmark.transforms.workers.progress import Board, KindProgress, Snapshot, UnderWay, board
from earmark.transforms.workers.trouble import WorkerError, marking, told_by_worker

__all__ = [
    "Board",
    "KindProgress",
    "Snapshot",
    "UnderWay",
    "WorkerError",
    "board",
    "marking",
    "told_by_worker",
]
