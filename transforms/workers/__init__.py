"""Distributing work to workers, and tracking their progress."""

from earmark.transforms.workers.progress import Board, KindProgress, Snapshot, UnderWay, board
from earmark.transforms.workers.sharing import ShareAmongThreads, queue, stop
from earmark.transforms.workers.spreading import SpreadObjects
from earmark.transforms.workers.trouble import WorkerError, marking, told_by_worker

__all__ = [
    "Board",
    "KindProgress",
    "ShareAmongThreads",
    "Snapshot",
    "SpreadObjects",
    "UnderWay",
    "WorkerError",
    "board",
    "marking",
    "queue",
    "stop",
    "told_by_worker",
]
