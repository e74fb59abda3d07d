"""Scoring alone, in one thread: earmark's classifier and the runtimes that a user might take."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import IO, NamedTuple, cast

import numpy as np

from benchmarks.environments import MissingPeerError, python_with
from benchmarks.machine import load
from benchmarks.pairing import in_rounds, ratio
from benchmarks.processes import ROOT, last_line
from benchmarks.setting import Setting
from benchmarks.signals import recording
from benchmarks.tables import Table, figure, spread
from earmark.models.running.cut_scoring import BATCHES
from earmark.transforms.threads import ONE_BLAS_THREAD

FRAMES = 320
MIN_SCORE = 0.1
"""earmark's default for what it writes; its classifier gives all scores in any case."""
ROUNDS_A_REPEAT = 4
"""Rounds take a second, so there can be more of them than of whole runs."""

EARMARK = f"earmark, {BATCHES[0]} frames at a time"


@dataclass(frozen=True)
class Peer:
    """A way to score frames.

    Attributes:
      module: in benchmarks.peers.
      requirements: what it needs, if not earmark's environment.
      min_score: the least score to give; only classifiers that make an object for each take note.
    """

    module: str
    requirements: Sequence[str] = ()
    min_score: float = 0


MEDIAPIPE = Peer("mediapipe_scoring", ("mediapipe==1.2.2",))
TASK_LIBRARY = Peer("tasklib_scoring", ("tflite-support==0.4.4", "numpy<2"))
PEERS = {
    EARMARK: Peer("earmark_scoring"),
    "LiteRT interpreter": Peer("litert_scoring"),
    f"MediaPipe, scores from {MIN_SCORE}": replace(MEDIAPIPE, min_score=MIN_SCORE),
    "MediaPipe, all scores": MEDIAPIPE,
    f"Task Library, scores from {MIN_SCORE}": replace(TASK_LIBRARY, min_score=MIN_SCORE),
    "Task Library, all scores": TASK_LIBRARY,
}


class Round(NamedTuple):
    """What a frame took, in milliseconds of time and of the processor."""

    wall_ms: float
    cpu_ms: float


def measure(setting: Setting) -> list[Table]:
    """Measure scoring; gives its table. A peer that cannot be had is in it with the reason."""
    frames = _frames(setting)
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        scorers = {}
        for name, peer in PEERS.items():
            try:
                scorers[name] = stack.enter_context(_scorer(_command(setting, peer, frames)))
            except MissingPeerError as error:
                missing[name] = str(error)
        rounds = {name: scorer.round for name, scorer in scorers.items()}
        measured = in_rounds(rounds, ROUNDS_A_REPEAT * setting.repeats)
    print(f"scoring: {', '.join(measured)}; {load()}", flush=True)
    return [_table(setting, measured, missing)]


class _Scorer(NamedTuple):
    """A process that scores frames whenever it is asked to; see benchmarks.peers.rounds."""

    questions: IO[str]
    answers: IO[str]

    def round(self) -> Round:
        print("again", file=self.questions, flush=True)
        wall_s, cpu_s = map(float, self.answers.readline().split())
        return Round(1e3 * wall_s / FRAMES, 1e3 * cpu_s / FRAMES)


@contextmanager
def _scorer(command: Sequence[str]) -> Iterator[_Scorer]:
    """Start a process that scores frames; it ends with the context.

    Raises:
      MissingPeerError: it does not come up.
    """
    with tempfile.TemporaryFile("w+") as complaints, _start(command, complaints) as process:
        scorer = _Scorer(cast(IO[str], process.stdin), cast(IO[str], process.stdout))
        if scorer.answers.readline() != "ready\n":
            process.wait()
            complaints.seek(0)
            raise MissingPeerError(f"not run: {last_line(complaints.read())}")
        yield scorer


def _start(command: Sequence[str], complaints: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **ONE_BLAS_THREAD},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
    )


def _command(setting: Setting, peer: Peer, frames: Path) -> list[str]:
    python = sys.executable
    if peer.requirements:
        python = str(python_with(peer.requirements, setting.cache / "peers" / peer.module))
    task = (setting.model, setting.sample_rate_hz, peer.min_score, frames)
    return [python, "-m", f"benchmarks.peers.{peer.module}", *map(str, task)]


def _frames(setting: Setting) -> Path:
    """A file with frames of a recording, float32 [FRAMES, frame_samples]."""
    path = setting.work / "frames.npy"
    stereo = recording(0, FRAMES * setting.frame_s, setting.sample_rate_hz)
    np.save(path, stereo.mean(axis=1).reshape(FRAMES, setting.frame_samples))
    return path


def _table(
    setting: Setting, measured: Mapping[str, Sequence[Round]], missing: Mapping[str, str]
) -> Table:
    rows = [_row(rounds, measured[EARMARK], name) for name, rounds in measured.items()]
    rows += [[name, why, "", ""] for name, why in missing.items()]
    return Table(
        "Scoring alone, in one thread",
        ("how", "ms for each frame", "CPU ms", "CPU of earmark's"),
        rows,
        f"Medians of {ROUNDS_A_REPEAT * setting.repeats} rounds of {FRAMES} frames of"
        f" {setting.frame_s:.3f} s.",
    )


def _row(rounds: Sequence[Round], of_earmark: Sequence[Round], name: str) -> list[str]:
    cpu = ratio([each.cpu_ms for each in rounds], [each.cpu_ms for each in of_earmark])
    wall_ms = median(each.wall_ms for each in rounds)
    return [name, figure(wall_ms), figure(median(each.cpu_ms for each in rounds)), spread(cpu)]
