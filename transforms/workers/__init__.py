"""Distributing work to workers, and tracking their progress."""

from earmark.transforms.workers.progress import Board, Snapshot, board, forget
from earmark.transforms.workers.sharing import ShareAmongThreads, queue, stop
from earmark.transforms.workers.spreading import SpreadObjects

__all__ = [
    "Board",
    "ShareAmongThreads",
    "Snapshot",
    "SpreadObjects",
    "board",
    "forget",
    "queue",
    "stop",
]
