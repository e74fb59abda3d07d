"""The models of make_yamnets.py are YAMNet: its formulas, and the int8 model's own results."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from earmark.models.graphs import flatbuffers as graphs
from tests.models import yamnets
from tests.models.recordings import FRAME, SAMPLE_RATE_HZ, mono, whole_frames

HOP = 7_680
CLEAR_LEAD = 0.1
RECORDINGS = (
    *("speech.wav", "birds_10s.wav", "great_plains_toad.wav"),
    *("metadata.wav", "soundscape.ogg", "stereo.wav"),
)


class Full(NamedTuple):
    """What the full model gives: [frames, 521], [frames, 1024], [rows, 64]."""

    scores: np.ndarray
    embeddings: np.ndarray
    log_mel: np.ndarray


class Scored(NamedTuple):
    """What the int8 model gives for frames: [frames, 521], and what it pools [frames, 1024]."""

    scores: np.ndarray
    embeddings: np.ndarray


class Heads(NamedTuple):
    """What Model Maker's model gives for a frame: [521] and [3]."""

    scores: np.ndarray
    custom: np.ndarray


@pytest.fixture(scope="module")
def folder(yamnet_path: Path, tensorflow_python: Path) -> Path:
    return yamnets.make(yamnet_path, tensorflow_python)


@pytest.fixture(scope="module")
def full(folder: Path) -> Callable[[np.ndarray], Full]:
    interpreter = Interpreter(str(folder / "yamnet_full.tflite"))

    def run(samples: np.ndarray) -> Full:
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], samples.shape)
        return Full(*results(interpreter, samples))

    return run


@pytest.fixture(scope="module")
def heads(folder: Path) -> Callable[[np.ndarray], Heads]:
    interpreter = Interpreter(str(folder / "model_maker.tflite"))
    return lambda frame: Heads(*(each[0] for each in results(interpreter, frame[np.newaxis])))


@pytest.fixture(scope="module")
def frames(shared: Path) -> np.ndarray:
    """Frames [n, 15600] of real recordings."""
    return np.concatenate([whole_frames(shared / "audio" / name) for name in RECORDINGS])


@pytest.fixture(scope="module")
def float_results(full: Callable[[np.ndarray], Full], frames: np.ndarray) -> Scored:
    given = [full(frame) for frame in frames]
    return Scored(*(np.concatenate([each[i] for each in given]) for i in range(2)))


@pytest.fixture(scope="module")
def int8_results(yamnet_path: Path, frames: np.ndarray) -> Scored:
    interpreter = Interpreter(model_content=with_pooled_output(yamnet_path.read_bytes()))
    scale, zero = interpreter.get_output_details()[1]["quantization"]
    given = [results(interpreter, frame) for frame in frames]
    pooled = np.stack([each[1].reshape(-1) for each in given])
    return Scored(np.concatenate([each[0] for each in given]), scale * (pooled - float(zero)))


def test_the_full_model_takes_any_length_and_gives_three_outputs_in_yamnets_order(folder):
    interpreter = Interpreter(str(folder / "yamnet_full.tflite"))
    assert ports(interpreter.get_input_details()) == [("waveform", [-1])]
    assert ports(interpreter.get_output_details()) == [
        ("scores", [-1, 521]),
        ("embeddings", [-1, 1024]),
        ("log_mel_spectrogram", [-1, 64]),
    ]


def test_model_makers_model_takes_a_frame_and_gives_yamnets_scores_before_its_own(folder):
    interpreter = Interpreter(str(folder / "model_maker.tflite"))
    assert ports(interpreter.get_input_details()) == [("audio", [1, FRAME])]
    assert ports(interpreter.get_output_details()) == [("scores", [1, 521]), ("custom", [1, 3])]


def test_made_again_they_are_the_same_bytes(folder, yamnet_path, tensorflow_python, tmp_path):
    subprocess.run([tensorflow_python, yamnets.SCRIPT, yamnet_path, tmp_path], check=True)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (folder / made.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "samples",
    [1, 399, 400, FRAME - 1]
    + [FRAME + hops * HOP + more for hops in (0, 1, 2, 3, 5, 20) for more in (0, 1)]
    + [FRAME + HOP - 1, 10 * SAMPLE_RATE_HZ, 60 * SAMPLE_RATE_HZ],
)
def test_a_waveform_of_any_length_has_as_many_frames_and_rows_as_yamnet_pads_it_to(full, samples):
    given = full(noise(samples))
    padded = samples_after_padding(samples)
    rows = 1 + (padded - 400) // 160
    frames = 1 + (rows - 96) // 48
    assert given.scores.shape == (frames, 521)
    assert given.embeddings.shape == (frames, 1024)
    assert given.log_mel.shape == (rows, 64)


def test_a_frame_scores_as_its_samples_do_alone(full, shared):
    samples = mono(shared / "audio" / "birds_10s.wav")
    whole = full(samples)
    padded = np.pad(samples, (0, samples_after_padding(len(samples)) - len(samples)))
    alone = [full(padded[i * HOP : i * HOP + FRAME]) for i in range(len(whole.scores))]
    assert len(whole.scores) > 10
    for i in range(2):
        np.testing.assert_allclose(
            whole[i], np.concatenate([each[i] for each in alone]), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("level", [1.0, 1e-3, 0.0])
def test_the_spectrogram_is_yamnets_formula_of_the_padded_waveform(full, level):
    samples = level * noise(20_000)
    padded = np.pad(samples, (0, samples_after_padding(len(samples)) - len(samples)))
    np.testing.assert_allclose(full(samples).log_mel, log_mel(padded), atol=1e-4)


def test_wherever_the_int8_model_is_clear_the_top_label_is_the_same(float_results, int8_results):
    same = float_results.scores.argmax(axis=1) == int8_results.scores.argmax(axis=1)
    second, first = np.sort(int8_results.scores, axis=1)[:, -2:].T
    clear = first - second > CLEAR_LEAD
    print(f"of {len(same)} frames {same.mean():.1%} agree; {clear.sum()} are clear")
    assert clear.sum() > len(same) / 2
    assert same[clear].all()
    assert same.mean() > 0.9


def test_scores_differ_from_the_int8_models_by_no_more_than_its_coarseness(
    float_results, int8_results
):
    assert np.abs(float_results.scores - int8_results.scores).max() < 0.15


def test_embeddings_point_where_those_of_the_int8_model_do(float_results, int8_results):
    ours, theirs = (
        each.embeddings / np.linalg.norm(each.embeddings, axis=1, keepdims=True)
        for each in (float_results, int8_results)
    )
    cosines = (ours * theirs).sum(axis=1)
    print(f"cosine: median {np.median(cosines):.4f}, least {cosines.min():.4f}")
    assert cosines.min() > 0.98


def test_model_makers_model_gives_a_frame_the_full_models_scores(heads, float_results, frames):
    for frame, expected in zip(frames[::10], float_results.scores[::10], strict=True):
        np.testing.assert_allclose(heads(frame).scores, expected, rtol=1e-3, atol=1e-5)


def test_the_custom_head_gives_shares_that_depend_on_the_sound(heads, frames):
    custom = np.array([heads(frame).custom for frame in frames[::10]])
    np.testing.assert_allclose(custom.sum(axis=1), 1.0, rtol=1e-5)
    assert custom.std(axis=0).min() > 0.01


def results(interpreter: Interpreter, taken: np.ndarray) -> list[np.ndarray]:
    """All outputs, in order."""
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], taken)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def ports(details: list[dict]) -> list[tuple[str, list[int]]]:
    """Names and sizes; a size that may vary is -1."""
    assert all(each["dtype"] is np.float32 for each in details)
    return [(each["name"], each["shape_signature"].tolist()) for each in details]


def with_pooled_output(model: bytes) -> bytes:
    """The int8 model with the mean over its last maps, which embeddings are, as a second output."""
    parsed = graphs.parse(model)
    graph = parsed.subgraphs[0]
    (mean,) = (x for x in graph.operators if graphs.operator_name(parsed, x) == "MEAN")
    graph.outputs = np.append(graph.outputs, mean.outputs).astype(np.int32)
    return graphs.serialise(parsed)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1.0, 1.0, samples).astype(np.float32)


def samples_after_padding(samples: int) -> int:
    """By `pad_waveform` in YAMNet's features.py: a patch, its last window, and whole hops."""
    least = round((0.96 + 0.025 - 0.010) * SAMPLE_RATE_HZ)
    hop = round(0.48 * SAMPLE_RATE_HZ)
    return least + hop * math.ceil((max(samples, least) - least) / hop)


def log_mel(samples: np.ndarray) -> np.ndarray:
    """YAMNet's spectrogram [rows, 64] by its features.py and params.py, in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), 400)[::160]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(400) / 400)
    magnitudes = np.abs(np.fft.rfft(windows * hann, 512))
    return np.log(magnitudes @ mel_weights() + 0.001)


def mel_weights() -> np.ndarray:
    """Triangles on HTK's mel scale, [257, 64], as `tf.signal.linear_to_mel_weight_matrix` has."""
    edges = np.linspace(*mel(np.array([125.0, 7500.0])), 66)
    bins = mel(np.linspace(0.0, SAMPLE_RATE_HZ / 2, 257))[1:, np.newaxis]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre))
    return np.pad(np.maximum(triangles, 0.0), ((1, 0), (0, 0)))


def mel(hz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hz / 700.0)
