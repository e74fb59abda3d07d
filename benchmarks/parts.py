"""The parts of hearing a recording, each by a library call, by itself and in one thread.

    python -m benchmarks.parts decoding WAYS FRAME_S FILE
    python -m benchmarks.parts resampling WAYS FRAME_S FROM_HZ TO_HZ
    python -m benchmarks.parts log-mel WAYS FRAME_S MODEL
    python -m benchmarks.parts network WAYS FRAME_S MODEL

Prints a JSON object: for each of the ways, which are separated by semicolons, the milliseconds of
the processor that a frame of so many seconds takes. A way whose library isn't there is left out.
MODEL is a .tflite file that can be cut at its log-mel patch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmarks import decoding

if TYPE_CHECKING:
    from earmark.models.graphs.log_mel import LogMel

Work: TypeAlias = Callable[[], float]
"""Does a part of the work on some frames, and gives how many: a part of one counts, too."""

RESAMPLING_BLOCKS_S = {"in blocks of 1 s": 1, "in blocks of 10 s": 10}
TRANSFORMS = ("by numpy", "by ducc0")
BATCHES = {f"in batches of {batch}": batch for batch in (16, 32, 64)}

WAYS: Mapping[str, tuple[str, ...]] = {
    "decoding": tuple(decoding.WAYS),
    "resampling": tuple(RESAMPLING_BLOCKS_S),
    "log-mel": TRANSFORMS,
    "network": tuple(BATCHES),
}

_LEAST_CPU_S = 0.5
_RESAMPLED_S = 60
_FRAMES = 64

# libraries are imported where they are used: the environments of some decoders have no others


def main(part: str, ways: str, frame_s: str, *inputs: str) -> None:
    """Measure ways to do a part."""
    prepare: Mapping[str, Callable[..., Work]] = {
        "decoding": _decoding,
        "resampling": _resampling,
        "log-mel": _log_mel,
        "network": _network,
    }
    took = {}
    for way in ways.split(";"):
        try:
            took[way] = milliseconds(prepare[part](way, float(frame_s), *inputs))
        except ImportError as error:
            print(f"{part} {way}: {error}", file=sys.stderr)
    print(json.dumps(took))


def milliseconds(work: Work) -> float:
    """The processor's time for a frame, after a first go that isn't counted."""
    work()
    frames, began = 0.0, time.process_time()
    while (cpu_s := time.process_time() - began) < _LEAST_CPU_S or not frames:
        frames += work()
    return 1e3 * cpu_s / frames


def _decoding(way: str, frame_s: float, path: str) -> Work:
    return lambda: decoding.WAYS[way].decode(path) / frame_s


def _resampling(way: str, frame_s: float, from_hz: str, to_hz: str) -> Work:
    """In soxr's VHQ, the quality of earmark's rows, block by block."""
    import numpy as np
    import soxr

    rates_hz = int(from_hz), int(to_hz)
    noise = np.random.default_rng(0).normal(0, 0.05, _RESAMPLED_S * rates_hz[0]).astype(np.float32)
    blocks = noise.reshape(-1, RESAMPLING_BLOCKS_S[way] * rates_hz[0])

    def work() -> float:
        stream = soxr.ResampleStream(*rates_hz, 1, dtype="float32", quality="VHQ")
        for block in blocks:
            stream.resample_chunk(block)
        return _RESAMPLED_S / frame_s

    return work


def _log_mel(way: str, frame_s: float, model: str) -> Work:
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    front = _cut(model).front_end
    rows = 2 * front.rows
    hop, taken = front.hop_samples, len(front.window)
    samples = (front.rows * _FRAMES - 1) * hop + taken
    noise = np.random.default_rng(0).normal(0, 0.05, samples).astype(np.float32)
    compute = log_mel_of(way, front, rows)
    windows = sliding_window_view(noise, taken)[::hop].reshape(-1, rows, taken)

    def work() -> float:
        for part in windows:
            compute(part)
        return _FRAMES

    return work


def log_mel_of(way: str, front: LogMel, rows: int) -> Callable[[Any], Any]:
    """A transform in float64, magnitudes, a sparse product and logarithms, as in earmark's rows.

    Args:
      way: what transforms.
      front: the constants.
      rows: how many windows there are at a time; their spectra should fit into a core's cache.

    Returns:
      What makes float32 [bands, rows] of windows, float32 [rows, window_samples].
    """
    import numpy as np
    from scipy.sparse import csr_array

    window = front.window.astype(np.float64)
    used = np.flatnonzero(front.mel.any(axis=1))
    bins = slice(used[0], used[-1] + 1)
    weights, offset = csr_array(front.mel[bins].T), front.offset[:, None]
    padded = np.zeros((rows, front.fft_length))
    # a frequency after another: the product wants them so
    spectra = np.empty((len(front.mel), rows), np.complex128)
    magnitudes = np.empty((bins.stop - bins.start, rows))
    transform = _transform(way, padded.T, spectra)

    def compute(windows: Any) -> Any:
        np.multiply(windows, window, padded[:, : len(window)])
        transform()
        np.abs(spectra[bins], out=magnitudes)
        return np.log(weights @ magnitudes + offset).astype(np.float32)

    return compute


def _transform(way: str, windows: Any, spectra: Any) -> Callable[[], object]:
    if way == "by numpy":
        import numpy as np

        return partial(np.fft.rfft, windows, axis=0, out=spectra)
    r2c = import_module("ducc0").fft.r2c
    return partial(r2c, windows, axes=(0,), nthreads=1, out=spectra)


def _network(way: str, frame_s: float, model: str) -> Work:
    """The model behind its log-mel patch, in batches."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    batch = BATCHES[way]
    interpreter = Interpreter(model_content=_cut(model).network(batch), num_threads=1)
    interpreter.allocate_tensors()
    (taken,), (given, *_) = interpreter.get_input_details(), interpreter.get_output_details()
    patches = np.random.default_rng(0).normal(-3, 2, taken["shape"]).astype(np.float32)

    def work() -> float:
        interpreter.set_tensor(taken["index"], patches)
        interpreter.invoke()
        interpreter.get_tensor(given["index"])
        return batch

    return work


def _cut(model: str) -> Any:
    from earmark.models.graphs import cut

    return cut(Path(model).read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
