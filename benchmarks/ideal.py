"""What a machine could do at best: decode, and run the network, and nothing else.

No file is looked for, nothing is mixed, resampled or transformed, no row is written. Decoding is by
the library that is fastest for the format, a whole file at once; the network is the model's behind
its log-mel patch, in batches.

    python -m benchmarks.ideal fastest FILE              prints the fastest way to decode it
    python -m benchmarks.ideal hear MODEL WAY FILE...    prints an `Effort` as JSON
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile as sf

from benchmarks.pairing import in_rounds
from earmark.models.classifier import AudioClassifier
from earmark.models.graphs.cutting import cut
from earmark.models.running.cut_scoring import BATCHES, CutScorer
from earmark.models.running.interpreters import Kernels

_TRIALS = 3


class Effort(NamedTuple):
    """What files took: seconds of decoding, of the network, of the processor; and frames."""

    decoding_s: float
    network_s: float
    cpu_s: float
    frames: int


def with_soundfile_int16(path: str) -> float:
    """Decode a file to int16; gives its seconds."""
    samples, rate = sf.read(path, dtype="int16")
    return len(samples) / float(rate)


def with_soundfile_float32(path: str) -> float:
    """Decode a file to float32; gives its seconds."""
    samples, rate = sf.read(path, dtype="float32")
    return len(samples) / float(rate)


def with_pyav(path: str) -> float:
    """Decode a file to what its codec gives; gives its seconds."""
    with av.open(path) as container:
        frames = container.decode(audio=0)
        blocks = [(frame.to_ndarray(), frame.samples / frame.sample_rate) for frame in frames]
    return float(sum(seconds for _, seconds in blocks))


WAYS: dict[str, Callable[[str], float]] = {
    "soundfile, int16": with_soundfile_int16,
    "soundfile, float32": with_soundfile_float32,
    "PyAV": with_pyav,
}


def fastest_way(path: str) -> str:
    """The way to decode a file that took the least, of a few trials."""
    trials = in_rounds(
        {way: partial(_cpu_s, decode, path) for way, decode in WAYS.items()}, _TRIALS
    )
    return min(trials, key=lambda way: min(trials[way]))


def hear(model: Path, way: str, paths: list[str]) -> Effort:
    """Decode files, and run the network for as many frames as they have.

    Args:
      model: a .tflite file that can be cut.
      way: one of WAYS.
      paths: of the files.
    """
    classifier = AudioClassifier.from_path(model)
    frame_s = classifier.frame_samples / classifier.sample_rate_hz
    run_network = _network(model, classifier)
    run_network()
    started = time.process_time(), time.perf_counter()
    frames = [math.ceil(WAYS[way](path) / frame_s) for path in paths]
    decoded_at = time.perf_counter()
    for _ in range(math.ceil(sum(frames) / BATCHES[0])):
        run_network()
    cpu_s, ended_at = time.process_time() - started[0], time.perf_counter()
    return Effort(decoded_at - started[1], ended_at - decoded_at, cpu_s, sum(frames))


def _network(model: Path, classifier: AudioClassifier) -> Callable[[], object]:
    """What runs the network behind the log-mel patch on a batch of noise."""
    parts = cut(model.read_bytes())
    shape = BATCHES[0], classifier.frame_samples
    noise = np.random.default_rng(0).normal(0, 0.05, shape).astype(np.float32)
    outputs = [head.output for head in classifier.heads]
    scorer = CutScorer(parts, outputs, Kernels())
    return partial(scorer.run_patches, parts.front_end.patches(noise))


def _cpu_s(decode: Callable[[str], float], path: str) -> float:
    started = time.process_time()
    decode(path)
    return time.process_time() - started


def main(action: str, *arguments: str) -> None:
    """Find the fastest way, or hear files."""
    if action == "fastest":
        print(fastest_way(*arguments))
    else:
        model, way, *paths = arguments
        print(json.dumps(hear(Path(model), way, paths)))


if __name__ == "__main__":
    main(*sys.argv[1:])
