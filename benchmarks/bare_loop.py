"""What somebody would write instead of earmark, and so the speed to beat.

A process for each core. Each takes file after file: reads it whole, averages its channels,
resamples it, pads it, and runs the model on one frame after another. All rows go to one Parquet
file. There is no clip that is damaged, too long or unknown here, and no run that is killed.

    python -m benchmarks.bare_loop MODEL SAMPLE_RATE_HZ OUT.parquet PATH...    prints its rows

A PATH is a file, or a folder of files.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # else each process starts a thread per core

import sys
from multiprocessing import Pool
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf
import soxr
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from benchmarks.machine import cores

MIN_SCORE = 0.1
"""earmark's default."""

Rows = tuple[str, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
"""A file, and of each of its rows the frame, the class and the score."""


class _Model(NamedTuple):
    interpreter: Interpreter
    sample_rate_hz: int
    input: dict[str, Any]
    output: dict[str, Any]


_model: _Model


def load(path: str, sample_rate_hz: int) -> None:
    """Load the model of this process."""
    global _model
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    _model = _Model(interpreter, sample_rate_hz, taken, given)


def hear(path: str) -> Rows:
    """The rows of a file."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, _model.sample_rate_hz)
    frame_samples = int(_model.input["shape"][-1])
    frames = np.pad(mono, (0, -len(mono) % frame_samples)).reshape(-1, frame_samples)
    scores = np.stack([score(frame) for frame in frames])
    heard, classes = np.nonzero(scores >= MIN_SCORE)
    return path, heard, classes, scores[heard, classes]


def score(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of a frame, float32 [classes]."""
    _model.interpreter.set_tensor(_model.input["index"], frame.reshape(_model.input["shape"]))
    _model.interpreter.invoke()
    scores: NDArray[np.float32] = _model.interpreter.get_tensor(_model.output["index"])
    return scores.reshape(-1)


def table(rows: list[Rows]) -> pa.Table:
    """The rows of all files."""
    paths, frames, classes, scores = zip(*rows, strict=True)
    return pa.table(
        {
            "clip": np.repeat(np.array(paths, object), [len(each) for each in frames]),
            "frame": np.concatenate(frames),
            "class": np.concatenate(classes),
            "score": np.concatenate(scores),
        }
    )


def main(model: str, sample_rate_hz: str, out: str, *paths: str) -> None:
    """Hear files."""
    files = [file for path in paths for file in files_at(path)]
    with Pool(cores(), load, (model, int(sample_rate_hz))) as pool:
        rows = list(pool.imap_unordered(hear, files))
        pool.close()
        pool.join()
    written = table(rows)
    pq.write_table(written, out)
    print(written.num_rows)


def files_at(path: str) -> list[str]:
    """A file by itself, or those in a folder, by name."""
    if not os.path.isdir(path):
        return [path]
    return sorted(entry.path for entry in os.scandir(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
