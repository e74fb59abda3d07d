"""Every rule that a model or its options may break, broken once: each a line that says which."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.graphs import flatbuffers as graphs
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
)
from earmark.models.metadata.writing import pack
from earmark.models.scores.heads import ModelOptions
from earmark.models.scores.selection import parse_thresholds, score_thresholds
from tests.models.small_models import Layer, Port, layered

SAMPLES = 8
WEIGHTS = np.random.default_rng(1).normal(size=(3, SAMPLES)).astype(np.float32)
ONE = layered([Layer(WEIGHTS, "LOGISTIC")], Port([1, SAMPLES]))
TWO = layered([Layer(WEIGHTS, "LOGISTIC"), Layer(WEIGHTS, "LOGISTIC")], Port([1, SAMPLES]))
LABELS = ("wren", "robin", "crow")


def output(name: str | None = None, **how: Any) -> OutputMetadata:
    files = {"labels.txt": (None, LABELS), **how.pop("files", {})}
    return OutputMetadata(
        name,
        label_files=tuple(LabelFile(file, *rest) for file, rest in files.items()),
        **how,
    )


def described(
    model: bytes, *outputs: OutputMetadata, channels: int = 1, rate: int | None = 16_000
) -> bytes:
    audio = InputMetadata("audio", None, rate, channels)
    return pack(model, ModelMetadata("birds", inputs=(audio,), outputs=outputs))


def with_fewer_descriptions() -> bytes:
    """A model of two outputs that describes one, as it was made of a model of one."""
    one, two = (graphs.parse(each) for each in (described(ONE, OutputMetadata("a")), TWO))
    (entry,) = (each for each in one.metadata if each.name == b"TFLITE_METADATA")
    two.buffers.append(one.buffers[entry.buffer])
    two.metadata = [schema.MetadataT(b"TFLITE_METADATA", len(two.buffers) - 1)]
    return graphs.serialise(two)


def mixing_its_batch() -> bytes:
    """Two frames at once, whose scores depend on both."""
    model = graphs.parse(
        layered([Layer(np.ones((6, 2 * SAMPLES), np.float32), "LOGISTIC")], Port([1, 2 * SAMPLES]))
    )
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = np.array([2, SAMPLES], np.int32)
    made = schema.TensorT(type=schema.TensorType.FLOAT32, buffer=0, name=b"scores")
    made.shape = np.array([2, 3], np.int32)
    graph.tensors.append(made)
    code = schema.BuiltinOperator.RESHAPE
    model.operatorCodes.append(
        schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1)
    )
    reshape = schema.OperatorT(opcodeIndex=len(model.operatorCodes) - 1)
    reshape.inputs, reshape.outputs = graph.outputs, np.array([len(graph.tensors) - 1], np.int32)
    reshape.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    reshape.builtinOptions = schema.ReshapeOptionsT()
    reshape.builtinOptions.newShape = made.shape
    graph.operators.append(reshape)
    graph.outputs = reshape.outputs
    return graphs.serialise(model)


ODD: Mapping[str, tuple[Sequence[tuple], Sequence[tuple], str]] = {
    "two inputs": (
        [([8],), ([1], "int32")],
        [([1, 3],)],
        "the model has 2 inputs (float32 [8], int32",
    ),
    "an input of bytes": (
        [([8], "int8")],
        [([1, 3],)],
        "takes int8 [8], which is not audio: float32",
    ),
    "an image": ([([1, 9, 9, 3],)], [([1, 3],)], "takes float32 [1, 9, 9, 3], which is not audio"),
    "no output": ([([8],)], [], "the model has no output"),
    "numbers for scores": (
        [([8],)],
        [([1, 3], "int32")],
        "gives int32 [1, 3], which is not scores",
    ),
    "rows of rows": ([([8],)], [([1, 7, 3],)], "gives float32 [1, 7, 3], which is not scores"),
    "too few rows": ([([4, 8],)], [([1, 3],)], "float32, uint8 or int8 [4, classes] was expected"),
    "too many rows": ([([8],)], [([4, 3],)], "gives float32 [4, 3], which is not scores"),
    "bytes without a scale": (
        [([8],)],
        [([1, 3], "uint8")],
        "gives uint8 [1, 3], which is not scores",
    ),
    "length without an end": (
        [([1], "float32", [-1])],
        [([1, 3],)],
        "takes audio of any length, but gives no more rows for longer audio",
    ),
}


@pytest.mark.parametrize("rule", ODD)
def test_a_model_of_the_wrong_form(odd_model: Callable[..., bytes], port, rule: str) -> None:
    inputs, outputs, says = ODD[rule]
    model = odd_model([port(*each) for each in inputs], [port(*each) for each in outputs])
    assert says in refused(lambda: AudioClassifier(model))


THRESHOLD_AND_NAN = struct.pack("<f", 0.3), struct.pack("<f", math.nan)
SEVERAL = described(TWO, output("birds"), output("hours"))
LOCALES = {"de.txt": ("de", ("Zaunkönig", "Rotkehlchen", "Krähe")), "fr.txt": ("fr", LABELS)}
CALIBRATION = CalibrationMetadata("log", 0.0, "1,1,0\n1,1,0\n1,1,0")

WRONG: Mapping[str, tuple[bytes, ModelOptions, str]] = {
    "fewer descriptions than outputs": (
        with_fewer_descriptions(),
        ModelOptions(),
        "describes 1 outputs, but it has 2: describe them again with earmark model label",
    ),
    "channels that do not fit": (
        described(ONE, output(), channels=3),
        ModelOptions(),
        "takes 8 values, which is not a multiple of the 3 channels",
    ),
    "a batch whose frames are not apart": (
        mixing_its_batch(),
        ModelOptions(),
        "scores of a frame depend on the others in its batch",
    ),
    "labels too few": (
        ONE,
        ModelOptions(labels=("a", "b")),
        "2 labels are given, but the model has 3",
    ),
    "packed labels too few": (
        described(ONE, OutputMetadata(label_files=(LabelFile("l.txt", None, ("a",)),))),
        ModelOptions(),
        "1 labels are packed in the model, but the model has 3 classes",
    ),
    "labels for two heads": (
        SEVERAL,
        ModelOptions(labels=LABELS),
        "labels can be given for one head, and the model has 2 (birds, hours): choose one",
    ),
    "calibration for two heads": (
        SEVERAL,
        ModelOptions(calibration=CALIBRATION),
        "a score calibration can be given for one head, and the model has 2",
    ),
    "a head that is not there": (
        SEVERAL,
        ModelOptions(heads=("bird",)),
        "has no head 'bird'; did you mean birds? (there is birds, hours)",
    ),
    "no locale at all": (ONE, ModelOptions(locale="de"), "locale 'de' (there is none)"),
    "another locale": (
        described(ONE, output(files=LOCALES)),
        ModelOptions(locale="it"),
        "no labels of the locale 'it' (there is de, fr)",
    ),
    "a locale of too few names": (
        described(ONE, output(files={"de.txt": ("de", ("Zaunkönig",))})),
        ModelOptions(locale="de"),
        "1 labels of the locale 'de' are packed in the model",
    ),
    "calibration of too few classes": (
        ONE,
        ModelOptions(calibration=CalibrationMetadata("identity", 0.0, "1,1,0\n1,1,0")),
        "score calibration: it has 2 lines, but there are 3 classes",
    ),
    "calibration that is none": (
        ONE,
        ModelOptions(calibration=CalibrationMetadata("identity", 0.0, "1,1,0\n\n1,1")),
        "score calibration: line 3 is '1,1', not scale,slope,offset",
    ),
    "a negative scale": (
        ONE,
        ModelOptions(calibration=CalibrationMetadata("identity", 0.0, "-1,1,0\n\n")),
        "score calibration: line 1 has the negative scale -1",
    ),
    "a transformation that is none": (
        ONE,
        ModelOptions(calibration=CalibrationMetadata("square", 0.0, "\n\n")),
        "unknown transformation square; there is identity, log, inverse_logistic",
    ),
    "another sample rate": (
        described(ONE, output()),
        ModelOptions(sample_rate_hz=8000),
        "takes audio at 16000 Hz, not at the 8000 Hz given",
    ),
    "no sample rate": (
        ONE,
        ModelOptions(sample_rate_hz=0),
        "a sample rate of 0 Hz is not possible",
    ),
    "an activation of probabilities": (
        described(ONE, output("birds")),
        ModelOptions(activation="softmax"),
        "activation softmax: 'birds' already gives probabilities; leave it out",
    ),
    "a threshold that is none": (
        described(ONE, output(score_threshold=0.3)).replace(*THRESHOLD_AND_NAN),
        ModelOptions(),
        "the model's metadata has an invalid score threshold: nan",
    ),
    "no embedding": (ONE, ModelOptions(embeddings=True), "the model has no embedding"),
    "nothing wanted": (ONE, ModelOptions(heads=()), "neither scores nor embeddings were asked for"),
    "embeddings alone": (
        described(ONE, OutputMetadata("embedding")),
        ModelOptions(),
        "the model gives embeddings and no scores: use earmark embed",
    ),
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_model_or_its_use(rule: str) -> None:
    model, options, says = WRONG[rule]
    assert says in refused(lambda: AudioClassifier(model, options))


LISTS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "both lists": ({"allow": ["wren"], "deny": ["crow"]}, "allowed or denied, not both at once"),
    "an unknown label": ({"allow": ["wren", "Robin"]}, "no label 'Robin'; did you mean 'robin'?"),
    "a label like none": ({"deny": ["zzz"]}, "no label 'zzz'"),
    "a pattern of none": ({"deny": ["z*"]}, "no label of the model fits the pattern 'z*'"),
    "a threshold of none": ({"thresholds": {"crew": 0.1}}, "no label 'crew'; did you mean 'crow'?"),
}


@pytest.mark.parametrize("rule", LISTS)
def test_lists_of_labels(rule: str) -> None:
    heads = AudioClassifier(described(ONE, output())).heads
    given, says = LISTS[rule]
    assert says in refused(lambda: score_thresholds(heads, **given))


THRESHOLDS = {
    "nothing": ("", "it holds no thresholds: lines of label,min_score are expected"),
    "only a head": ("label,min_score\n", "it holds no thresholds"),
    "one column": ("wren\n", "line 1 is 'wren', not label,min_score"),
    "a comma too many": ("wren,0.1\nChild speech, kid,0.3\n", "line 2 is 'Child speech,kid,0.3'"),
    "no number": ("label,min_score\nwren,often\n", "line 2: the min_score 'often' is not a number"),
    "no number either": ("wren,nan\n", "line 1: the min_score 'nan' is not a number"),
    "twice": ("wren,0.1\ncrow,0.2\nwren,0.3\n", "line 3: wren stands in it twice"),
    "a quote without an end": ('wren,0.1\n"crow,0.2\n', "line 2 is not CSV"),
}


@pytest.mark.parametrize("rule", THRESHOLDS)
def test_files_of_thresholds(rule: str) -> None:
    text, says = THRESHOLDS[rule]
    assert says in refused(lambda: parse_thresholds(text))


def refused(use: Callable[[], object]) -> str:
    """The one line that says why."""
    with pytest.raises(ModelError) as error:
        use()
    assert "\n" not in str(error.value)
    return str(error.value)
