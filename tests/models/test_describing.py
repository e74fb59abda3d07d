"""Changing what a .tflite file says about itself, one thing at a time."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from earmark.models.describing import describe
from earmark.models.errors import ModelError
from earmark.models.graphs import flatbuffers as graphs
from earmark.models.metadata import reading as metadata
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
)
from earmark.models.metadata.writing import pack

ENGLISH = ("bittern", "water rail", "crake")
GERMAN = ("Rohrdommel", "Wasserralle", "Ralle")


@pytest.fixture(scope="module")
def bare(tiny_model: Callable[..., bytes]) -> bytes:
    return tiny_model(np.eye(3, 8, dtype=np.float32))


@pytest.fixture(scope="module")
def two_headed(odd_model: Callable[..., bytes], port: Callable[..., Any]) -> bytes:
    return odd_model([port([1, 8])], [port([1, 3]), port([1, 2])])


def test_a_bare_model_is_described_in_one_call(bare: bytes) -> None:
    calibration = CalibrationMetadata("log", 0.5, "1,2,3\n\n1,2,3,0.5")
    model = describe(
        bare,
        labels=ENGLISH,
        sample_rate_hz=32_000,
        name="fen",
        description="Hears the fen.",
        version="7",
        author="the fen people",
        license="CC0",
        calibration=calibration,
        score_threshold=0.25,
    )
    labels = LabelFile("labels.txt", None, ENGLISH)
    assert metadata.read(model) == ModelMetadata(
        name="fen",
        description="Hears the fen.",
        version="7",
        author="the fen people",
        license="CC0",
        min_parser_version="1.3.0",
        inputs=(InputMetadata(sample_rate_hz=32_000, channels=1),),
        outputs=(
            OutputMetadata(label_files=(labels,), calibration=calibration, score_threshold=0.25),
        ),
    )


def test_what_is_not_given_stays(bare: bytes) -> None:
    model = describe(bare, labels=ENGLISH, sample_rate_hz=32_000, channels=2, name="fen")
    before = metadata.read(model)
    assert metadata.read(describe(model)) == before
    after = metadata.read(describe(model, author="the fen people", sample_rate_hz=16_000))
    assert (after.name, after.author, after.labels) == ("fen", "the fen people", ENGLISH)
    assert (after.sample_rate_hz, after.channels) == (16_000, 2)


def test_the_same_call_twice_changes_nothing_more(bare: bytes) -> None:
    once = describe(describe(bare, labels=ENGLISH), labels=GERMAN, locale="de")
    assert describe(once, labels=GERMAN, locale="de") == once
    assert describe(once, labels=ENGLISH) == once


def test_languages_are_added_one_after_the_other(bare: bytes) -> None:
    model = describe(bare, labels=ENGLISH)
    model = describe(model, labels=GERMAN, locale="de")
    model = describe(model, labels="abc", locale="pt-BR")
    model = describe(model, labels="xyz", locale="de")
    (output,) = metadata.read(model).outputs
    assert output.label_files == (
        LabelFile("labels.txt", None, ENGLISH),
        LabelFile("labels_de.txt", "de", tuple("xyz")),
        LabelFile("labels_pt-BR.txt", "pt-BR", tuple("abc")),
    )


def test_labels_of_no_language_come_first_for_readers_that_take_the_first(
    bare: bytes, task_library_python: Path
) -> None:
    german_first = describe(bare, labels=GERMAN, locale="de", sample_rate_hz=16_000)
    assert task_library_labels(task_library_python, german_first) == list(GERMAN)
    assert metadata.read(german_first).labels == GERMAN
    both = describe(german_first, labels=ENGLISH)
    assert task_library_labels(task_library_python, both) == list(ENGLISH)
    assert metadata.read(both).labels == ENGLISH


def test_each_head_has_labels_of_its_own(two_headed: bytes) -> None:
    model = describe(two_headed, labels=["on", "off"], head=1)
    model = describe(model, labels=ENGLISH, head=0)
    model = describe(model, labels=["an", "aus"], head=1, locale="de")
    assert [each.label_files for each in metadata.read(model).outputs] == [
        (LabelFile("labels_0.txt", None, ENGLISH),),
        (
            LabelFile("labels_1.txt", None, ("on", "off")),
            LabelFile("labels_1_de.txt", "de", ("an", "aus")),
        ),
    ]


def test_a_model_of_several_outputs_can_be_named_without_choosing_one(two_headed: bytes) -> None:
    read = metadata.read(describe(two_headed, name="fen"))
    assert (read.name, read.outputs) == ("fen", (OutputMetadata(), OutputMetadata()))


def test_a_file_with_the_name_that_labels_would_get_is_kept(bare: bytes) -> None:
    english = LabelFile("labels.txt", "en", ENGLISH)
    model = pack(bare, ModelMetadata(outputs=(OutputMetadata(label_files=(english,)),)))
    (output,) = metadata.read(describe(model, labels=GERMAN)).outputs
    assert output.label_files == (LabelFile("labels_2.txt", None, GERMAN), english)


def test_windows_line_ends_of_a_calibration_become_plain_ones(bare: bytes) -> None:
    given = CalibrationMetadata("identity", 0.0, "\ufeff1,2,3\r\n\r\n1,2,3\r\n")
    (output,) = metadata.read(describe(bare, labels=ENGLISH, calibration=given)).outputs
    assert output.calibration == CalibrationMetadata("identity", 0.0, "1,2,3\n\n1,2,3")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": ["a", "b"]}, "2 labels are given, but output 0 has 3 classes: give one for"),
        ({"labels": "abcd", "locale": "de"}, "4 labels are given, but output 0 has 3 classes"),
        ({"labels": ENGLISH, "locale": "../de"}, "'../de' is not a locale"),
        ({"labels": ENGLISH, "locale": ""}, "'' is not a locale"),
        ({"locale": "de"}, "a locale, 'de', is given, but no labels"),
        ({"labels": ["a", "b\n", "c"]}, "single line"),
        ({"labels": ENGLISH, "head": 1}, "no head 1: the model has 1, counted from 0"),
        ({"labels": ENGLISH, "head": -1}, "no head -1"),
        ({"sample_rate_hz": 0}, "sample rate of 0 is not possible"),
        ({"channels": -1}, "number of channels of -1 is not possible"),
        ({"calibration": CalibrationMetadata("log", 0, "1,2,3")}, "output 0: .* 1 lines"),
        ({"calibration": CalibrationMetadata("log", 0, "1,2,3\n1\n")}, "output 0: .* line 2"),
        ({"calibration": CalibrationMetadata("sqrt", 0, "\n\n")}, "sqrt"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_in_one_line(
    bare: bytes, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelError, match=says) as refused:
        describe(bare, **changes)
    assert "\n" not in str(refused.value)


def test_a_head_has_to_be_chosen_where_there_are_several(two_headed: bytes) -> None:
    with pytest.raises(ModelError, match="2 outputs: say which head, 0 to 1"):
        describe(two_headed, labels=ENGLISH)


def test_labels_of_an_output_of_any_size_are_as_many_in_each_language(
    odd_model: Callable[..., bytes], port: Callable[..., Any]
) -> None:
    model = odd_model([port([1, 8])], [port([1, 3], signature=[1, -1])])
    model = describe(model, labels=["a", "b"])
    with pytest.raises(ModelError, match=r"3 labels are given, .* 2 in 'labels\.txt'"):
        describe(model, labels=GERMAN, locale="de")
    assert metadata.read(describe(model, labels=ENGLISH)).labels == ENGLISH


def test_metadata_of_more_outputs_than_the_model_has_is_mended(
    bare: bytes, two_headed: bytes
) -> None:
    outputs = (OutputMetadata("calls"), OutputMetadata("switch"))
    theirs = schema.ModelT.InitFromPackedBuf(pack(two_headed, ModelMetadata(outputs=outputs)))
    ours = schema.ModelT.InitFromPackedBuf(bare)
    ours.buffers.append(theirs.buffers[theirs.metadata[0].buffer])
    ours.metadata = [schema.MetadataT(b"TFLITE_METADATA", len(ours.buffers) - 1)]
    model = graphs.serialise(ours)
    assert metadata.read(model).outputs == outputs
    assert metadata.read(describe(model, name="fen")).outputs == outputs[:1]


def test_a_graph_that_would_take_for_ever_is_refused() -> None:
    """Of 3,000 graphs that are one and the same, with as many tensors that are one, too."""
    builder = flatbuffers.Builder()
    builder.StartObject(0)
    tensors = repeated(builder, builder.EndObject())
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, tensors, 0)
    graphs_of_it = repeated(builder, builder.EndObject())
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(2, graphs_of_it, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    with pytest.raises(ModelError, match="9000000 entries of lists in 240"):
        describe(bytes(builder.Output()), name="fen")


def repeated(builder: flatbuffers.Builder, table: int) -> int:
    builder.StartVector(4, 3000, 4)
    for _ in range(3000):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ModelError, match="the file is empty"):
        describe(b"", name="fen")
    with pytest.raises(ModelError, match="damaged or cut short"):
        describe(b"\x1c\x00\x00\x00TFL3", name="fen")


CLASSIFY = """
import base64, json, sys
import numpy as np
from tflite_support.task import audio, core

model = base64.b64decode(sys.stdin.read())
classifier = audio.AudioClassifier.create_from_options(
    audio.AudioClassifierOptions(base_options=core.BaseOptions(file_content=model)))
clip = classifier.create_input_tensor_audio()
clip.load_from_array(np.zeros((8, 1), np.float32))
(head,) = classifier.classify(clip).classifications
print(json.dumps([c.category_name for c in sorted(head.categories, key=lambda c: c.index)]))
"""


def task_library_labels(python: Path, model: bytes) -> Any:
    finished = subprocess.run(
        [python, "-c", CLASSIFY],
        input=base64.b64encode(model).decode(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)
