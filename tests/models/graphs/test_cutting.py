"""The cut model beside the uncut one: the same scores, or no cut."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile as sf
import soxr
from ai_edge_litert import schema_py_generated as schema
from numpy.lib.stride_tricks import sliding_window_view

from earmark.models.builtin.synthesis import LABELS, synthesise
from earmark.models.classifier import AudioClassifier
from earmark.models.graphs import flatbuffers as graphs
from earmark.models.graphs import log_mel
from earmark.models.graphs.cutting import CannotCutError, cut
from earmark.models.running.cut_scoring import cut_scorer
from earmark.models.running.interpreters import InterpreterPool, Kernels, Output

FRAME = 15_600
BUILTIN = (Path(__file__).parents[3] / "models" / "builtin" / "builtin.tflite").read_bytes()


class Both(NamedTuple):
    """What scores frames: the parts of a model, and the model as it is, frame by frame."""

    parts: Callable[[np.ndarray], np.ndarray]
    whole: Callable[[np.ndarray], np.ndarray]


def both(model: bytes, classes: int) -> Both:
    outputs = [Output(0, classes)]
    pool = InterpreterPool(model, outputs)
    scorer = cut_scorer(model, pool.run, outputs, Kernels(), FRAME)
    return Both(lambda frames: scorer.run(frames)[0], lambda frames: pool.run(frames)[0])


@pytest.fixture(scope="module")
def builtin() -> Both:
    return both(BUILTIN, len(LABELS))


@pytest.fixture(scope="module")
def yamnet(yamnet_path) -> Both:
    return both(yamnet_path.read_bytes(), 521)


def sounds(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    frames = [synthesise(LABELS[i % len(LABELS)], rng, 0.975) for i in range(count)]
    return np.array(frames, np.float32).reshape(-1, FRAME)


def noise(level: float, count: int = 20) -> np.ndarray:
    return np.random.default_rng(7).uniform(-level, level, (count, FRAME)).astype(np.float32)


SIGNALS = {
    "noise": noise(0.3),
    "tiny noise": noise(1e-5),
    "silence": np.zeros((3, FRAME), np.float32),
    "full scale": np.sign(noise(1)).astype(np.float32),
    "beyond full scale": noise(40),
    "an impulse": np.eye(5, FRAME, dtype=np.float32),
}


@pytest.mark.parametrize("count", [0, 1, 7, 8, 31, 32, 33, 41, 96, 109])
def test_any_number_of_frames_gets_the_uncut_models_scores(builtin, count):
    scorer, whole = builtin
    frames = sounds(11, count)
    np.testing.assert_array_equal(scorer(frames), whole(frames))


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("model", ["builtin", "yamnet"])
def test_any_signal_gets_the_uncut_models_scores(model, signal, request):
    scorer, whole = request.getfixturevalue(model)
    got, expected = scorer(SIGNALS[signal]), whole(SIGNALS[signal])
    assert np.mean(got != expected) <= 1e-3
    np.testing.assert_array_equal(got.argmax(axis=1), expected.argmax(axis=1))


def test_on_real_recordings_hardly_a_score_differs_and_no_top_label(yamnet, shared):
    scorer, whole = yamnet
    frames = np.concatenate([frames_of(path) for path in recordings(shared)])
    got, expected = scorer(frames), whole(frames)
    print(f"{np.mean(got != expected):.4%} of {got.size} scores differ")
    assert np.mean(got != expected) <= 1e-4
    np.testing.assert_array_equal(got.argmax(axis=1), expected.argmax(axis=1))


def test_either_transform_gives_the_same_scores(builtin, monkeypatch):
    pytest.importorskip("ducc0")
    scorer, _ = builtin
    frames = sounds(13, 300)
    by_ducc0 = scorer(frames)
    monkeypatch.setattr(log_mel, "r2c", None)
    np.testing.assert_array_equal(scorer(frames), by_ducc0)


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_row_is_the_same_whatever_is_computed_beside_it(builtin, count):
    frames = sounds(14, 51)
    front_end = cut(BUILTIN).front_end
    patches = front_end.patches(frames)
    for start in (0, 1, 51 - count):
        alone = front_end.patches(frames[start : start + count])
        assert alone.tobytes() == patches[start : start + count].tobytes()


@pytest.mark.parametrize("hop", [160, 800, 7840, 7800, 161, 15_440])
def test_frames_that_share_samples_score_as_copies_of_them_do(builtin, hop):
    scorer, whole = builtin
    signal = np.concatenate([synthesise(s, np.random.default_rng(3), 3.0) for s in LABELS[:3]])
    frames = sliding_window_view(signal, FRAME)[::hop][:40]
    np.testing.assert_array_equal(scorer(frames), whole(frames.copy()))


def test_many_threads_score_as_one_would(builtin):
    scorer, _ = builtin
    frames = sounds(12, 37)
    expected = scorer(frames)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: scorer(frames), range(12)):
            np.testing.assert_array_equal(got, expected)


def test_a_classifier_says_how_its_model_runs(shared):
    assert AudioClassifier(BUILTIN).runs.startswith("cut at its log-mel patch")
    other = AudioClassifier.from_path(shared / "models" / "no_metadata_5360x527.tflite")
    assert other.runs.startswith("frame by frame, since")


def changed(change: Callable[[Any, Any], None]) -> bytes:
    """The builtin model with something about its graph changed."""
    model = graphs.parse(BUILTIN)
    change(model, model.subgraphs[0])
    return graphs.serialise(model)


def operator(model: Any, name: str) -> Any:
    (first, *_) = (
        one for one in model.subgraphs[0].operators if graphs.operator_name(model, one) == name
    )
    return first


def constant_of(model: Any, name: str, index: int, dtype: str, change: Callable) -> None:
    """Change a constant that an operator takes."""
    tensor = model.subgraphs[0].tensors[operator(model, name).inputs[index]]
    values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype).copy()
    model.buffers[tensor.buffer].data = np.frombuffer(change(values).tobytes(), np.uint8)


def rename_all(model: Any, graph: Any) -> None:
    for index, tensor in enumerate(graph.tensors):
        tensor.name = f"t{index}".encode()


STILL_CUT = {
    "other names": rename_all,
    "another window": lambda m, g: constant_of(m, "MUL", 1, "<f4", lambda w: np.sqrt(w)),
    "another offset": lambda m, g: constant_of(m, "FULLY_CONNECTED", 2, "<f4", lambda b: b * 7),
    "other mel bands": lambda m, g: constant_of(m, "FULLY_CONNECTED", 1, "<f4", lambda w: w[::-1]),
}


@pytest.mark.parametrize("change", STILL_CUT)
def test_a_model_with_other_names_or_constants_is_cut_with_its_own_scores(change):
    model = changed(STILL_CUT[change])
    scorers = both(model, len(LABELS))
    frames = sounds(13, 25)
    got, expected = scorers.parts(frames), scorers.whole(frames)
    assert np.mean(got != expected) <= 1e-2
    np.testing.assert_allclose(got, expected, atol=0.05)
    if change != "other names":
        assert not np.array_equal(expected, unchanged(frames))


def other_operator(model: Any, name: str, becomes: int) -> None:
    code = schema.OperatorCodeT(builtinCode=becomes, deprecatedBuiltinCode=becomes, version=1)
    model.operatorCodes.append(code)
    one = operator(model, name)
    one.opcodeIndex = len(model.operatorCodes) - 1
    one.builtinOptionsType, one.builtinOptions = 0, None


def swap_windows(indices: np.ndarray) -> np.ndarray:
    rows = indices.reshape(96, 5).copy()
    rows[[3, 4]] = rows[[4, 3]]
    return rows


def activate_mel(model: Any, graph: Any) -> None:
    relu = schema.ActivationFunctionType.RELU
    operator(model, "FULLY_CONNECTED").builtinOptions.fusedActivationFunction = relu


def pad_before(paddings: np.ndarray) -> np.ndarray:
    return np.array([0, 0, 112, 0], "<i4")


NOT_CUT = {
    "square root for log": (lambda m, g: other_operator(m, "LOG", 75), "where LOG was expected"),
    "windows out of order": (
        lambda m, g: constant_of(m, "GATHER", 1, "<i4", swap_windows),
        "evenly spaced",
    ),
    "padding in front": (
        lambda m, g: constant_of(m, "PAD", 1, "<i4", pad_before),
        "padded elsewhere",
    ),
    "an activation behind the mel bands": (activate_mel, "activation"),
}


@pytest.mark.parametrize("change", NOT_CUT)
def test_a_model_that_only_looks_alike_is_not_cut(change):
    how, reason = NOT_CUT[change]
    with pytest.raises(CannotCutError, match=reason):
        cut(changed(how))


def test_parts_that_give_other_scores_are_found_out_and_not_used(monkeypatch):
    real = cut(BUILTIN)
    louder = type(real.front_end)(**{**vars(real.front_end), "mel": real.front_end.mel * 1.01})
    broken = type(real)(**{**vars(real), "front_end": louder})
    monkeypatch.setattr("earmark.models.running.cut_scoring.cut", lambda _: broken)
    classifier = AudioClassifier(BUILTIN)
    assert "not a log-mel patch" in classifier.runs
    frames = sounds(14, 5)
    np.testing.assert_array_equal(classifier.score(frames), unchanged(frames))


def unchanged(frames: np.ndarray) -> np.ndarray:
    return InterpreterPool(BUILTIN, [Output(0, len(LABELS))]).run(frames)[0]


def recordings(shared: Path) -> list[Path]:
    return [path for path in sorted((shared / "audio").iterdir()) if path.name != "empty_2c.wav"]


def frames_of(path: Path) -> np.ndarray:
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != 16_000:
        mono = soxr.resample(mono, rate, 16_000)
    return np.pad(mono, (0, -len(mono) % FRAME)).astype(np.float32).reshape(-1, FRAME)
