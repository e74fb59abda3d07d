"""The model that ships, on sounds that it was not trained on: the seed here is used nowhere else.

Sounds go the way that an archive's do: made at any rate, coded, resampled, cut anywhere.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from earmark.models import builtin
from earmark.models.builtin.synthesis import LABELS, MIXTURES, synthesise, synthesise_mixture
from earmark.models.classifier import AudioClassifier

BUILTIN = Path(builtin.__file__).with_name("builtin.tflite")
SEED = 8_675_309
FRAME = 15_600
PER_LABEL = 6

Array = NDArray[np.float32]
Codec = tuple[str, str]

# From the framed waveform to where the int8 network begins.
FRONT_END = ["GATHER", "RESHAPE", "MUL", "PAD", "RESHAPE", "RFFT2D", "RESHAPE", "COMPLEX_ABS"]
FRONT_END += ["FULLY_CONNECTED", "LOG", "RESHAPE", "QUANTIZE"]


@pytest.fixture(scope="module")
def builtin() -> AudioClassifier:
    return AudioClassifier.from_path(BUILTIN)


def coded(sound: Array, rate_hz: int, codec: Codec) -> Array:
    container, subtype = codec
    file = io.BytesIO()
    soundfile.write(file, sound, rate_hz, format=container, subtype=subtype)
    file.seek(0)
    decoded: Array = soundfile.read(file, dtype="float32")[0]
    return decoded


def frames_of_each_label(rate_hz: int, codec: Codec, gain: float = 1.0) -> Array:
    """Frames float32 [labels, PER_LABEL, 15600], each from a sound of its own and any phase."""
    rng = np.random.default_rng(SEED + rate_hz)

    def frame(label: str) -> Array:
        sound = coded(np.float32(gain) * synthesise(label, rng, 1.5, rate_hz), rate_hz, codec)
        resampled = soxr.resample(sound, rate_hz, 16_000)
        start = rng.integers(resampled.size - FRAME)
        return resampled[start : start + FRAME]

    return np.array([[frame(label) for _ in range(PER_LABEL)] for label in LABELS])


def scores_of_each_label(builtin: AudioClassifier, frames: Array) -> Array:
    """Scores float32 [labels, PER_LABEL, classes]."""
    return builtin.score(frames.reshape(-1, FRAME)).reshape(len(LABELS), -1, len(LABELS))


def accuracy(scores: Array) -> float:
    return float(np.mean(scores.argmax(axis=2) == np.arange(len(LABELS))[:, np.newaxis]))


@pytest.mark.parametrize("rate_hz", [8000, 48_000])
@pytest.mark.parametrize(
    "codec",
    [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"), ("OGG", "OPUS")],
    ids=lambda codec: codec[1].lower(),
)
def test_sounds_are_told_apart_at_any_rate_and_after_any_codec(
    builtin: AudioClassifier, rate_hz: int, codec: Codec
) -> None:
    scores = scores_of_each_label(builtin, frames_of_each_label(rate_hz, codec))
    assert accuracy(scores) >= 0.95


def test_scores_are_sure_of_the_right_label_and_of_no_other(builtin: AudioClassifier) -> None:
    scores = scores_of_each_label(builtin, frames_of_each_label(16_000, ("FLAC", "PCM_16")))
    right = np.eye(len(LABELS), dtype=bool)[:, np.newaxis].repeat(PER_LABEL, axis=1)
    assert np.mean(scores[right] > 0.8) >= 0.95
    assert np.mean(scores[~right] < 0.1) >= 0.98


def test_a_recording_made_much_too_softly_is_still_heard(builtin: AudioClassifier) -> None:
    frames = frames_of_each_label(16_000, ("WAV", "FLOAT"))[1:]
    softly = frames * (10 ** (-35 / 20) / np.abs(frames).max(axis=2, keepdims=True))
    scores = builtin.score(softly.reshape(-1, FRAME)).reshape(len(LABELS) - 1, PER_LABEL, -1)
    assert np.mean(scores.argmax(axis=2) == np.arange(1, len(LABELS))[:, np.newaxis]) >= 0.95


def test_two_sounds_at_once_both_come_out_on_top(builtin: AudioClassifier) -> None:
    rng = np.random.default_rng(SEED)
    pairs = MIXTURES * 4
    frames = np.array([synthesise_mixture(pair, rng, FRAME / 16_000) for pair in pairs])
    best = np.argsort(-builtin.score(frames), axis=1)[:, :2]
    heard = [{LABELS[i] for i in row} == set(pair) for row, pair in zip(best, pairs, strict=True)]
    assert np.mean(heard) >= 0.9


def test_zeros_are_silence_and_nothing_else(builtin: AudioClassifier) -> None:
    (scores,) = builtin.score(np.zeros((1, FRAME), np.float32))
    assert scores[LABELS.index("silence")] > 0.9
    assert np.delete(scores, LABELS.index("silence")).max() < 0.1


def test_the_file_is_small_enough_to_ship_and_says_what_it_is(builtin: AudioClassifier) -> None:
    assert BUILTIN.stat().st_size < 500_000
    assert builtin.labels == LABELS
    assert builtin.name == "earmark builtin"
    assert (builtin.sample_rate_hz, builtin.channels) == (16_000, 1)
    assert "never heard a real one" in str(builtin.metadata.description)
    assert builtin.metadata.license == "Apache-2.0"


def test_it_takes_and_gives_what_yamnet_does() -> None:
    interpreter = Interpreter(model_path=str(BUILTIN))
    (waveform,), (scores,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (waveform["shape"].tolist(), waveform["dtype"]) == ([FRAME], np.float32)
    assert (scores["shape"].tolist(), scores["dtype"]) == ([1, len(LABELS)], np.float32)


def test_its_graph_begins_as_yamnet_s_does_and_is_int8_behind_that() -> None:
    model = schema.ModelT.InitFromPackedBuf(BUILTIN.read_bytes())
    operators = operator_names(model)
    start = operators.index("GATHER")
    assert operators[start : start + len(FRONT_END)] == FRONT_END
    assert set(operators[start + len(FRONT_END) : -1]) == {
        "CONV_2D",
        "MEAN",
        "FULLY_CONNECTED",
        "LOGISTIC",
    }
    assert operators[-1] == "DEQUANTIZE"


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
def test_its_log_mel_patch_is_yamnet_s(yamnet_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    for label in LABELS:
        waveform = synthesise(label, rng, FRAME / 16_000)
        np.testing.assert_allclose(
            log_mel_patch(BUILTIN, waveform), log_mel_patch(yamnet_path, waveform), atol=1e-3
        )


def operator_names(model: schema.ModelT) -> list[str]:
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0].isupper()}
    codes = [code.builtinCode for code in model.operatorCodes]
    return [names[codes[each.opcodeIndex]] for each in model.subgraphs[0].operators]


def log_mel_patch(path: Path, waveform: Array) -> Array:
    """What the graph hands its int8 network for a frame, float32 [96, 64]."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    quantise = model.subgraphs[0].operators[operator_names(model).index("QUANTIZE")]
    interpreter = Interpreter(model_path=str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], waveform)
    interpreter.invoke()
    patch: Array = interpreter.get_tensor(quantise.inputs[0]).reshape(96, 64)
    return patch
