"""Metadata that the Task Library and earmark have from each other.

Its own environment runs scripts of a few lines, which take and give JSON.
"""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark.models.metadata import reading as metadata
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
)
from earmark.models.metadata.writing import pack
from tests.models.fen import ENGLISH, FEN, GERMAN, fen

POPULATE = """
import base64, json, sys
import flatbuffers
from tflite_support import metadata, metadata_schema_py_generated as m

def file(name, kind, locale=None):
    made = m.AssociatedFileT()
    made.name, made.type, made.locale = name, kind, locale
    return made

def unit(options_type, options):
    made = m.ProcessUnitT()
    made.optionsType, made.options = options_type, options
    return made

def output(given):
    made = m.TensorMetadataT()
    made.name, made.description = given["name"], given["description"]
    made.associatedFiles = [file(n, m.AssociatedFileType.TENSOR_AXIS_LABELS, locale)
                            for n, locale in given["labels"]]
    made.processUnits = []
    if given["threshold"] is not None:
        options = m.ScoreThresholdingOptionsT()
        options.globalScoreThreshold = given["threshold"]
        made.processUnits.append(unit(m.ProcessUnitOptions.ScoreThresholdingOptions, options))
    if given["calibration"] is not None:
        name, transformation, default = given["calibration"]
        kind = m.AssociatedFileType.TENSOR_AXIS_SCORE_CALIBRATION
        made.associatedFiles.append(file(name, kind))
        options = m.ScoreCalibrationOptionsT()
        options.scoreTransformation = getattr(m.ScoreTransformationType, transformation)
        options.defaultScore = default
        made.processUnits.append(unit(m.ProcessUnitOptions.ScoreCalibrationOptions, options))
    return made

given = json.load(sys.stdin)
audio = m.TensorMetadataT()
audio.name, audio.description = "clip", "What is heard."
audio.content = m.ContentT()
audio.content.contentPropertiesType = m.ContentProperties.AudioProperties
audio.content.contentProperties = m.AudioPropertiesT()
audio.content.contentProperties.sampleRate = 48000
audio.content.contentProperties.channels = 2
graph = m.SubGraphMetadataT()
graph.inputTensorMetadata = [audio]
graph.outputTensorMetadata = [output(each) for each in given["outputs"]]
model = m.ModelMetadataT()
model.name, model.description, model.version = "fen", "Hears the fen.", "7"
model.author, model.license = "the fen people", "CC0"
model.subgraphMetadata = [graph]

builder = flatbuffers.Builder(0)
builder.Finish(model.Pack(builder), metadata.MetadataPopulator.METADATA_FILE_IDENTIFIER)
populator = metadata.MetadataPopulator.with_model_buffer(base64.b64decode(given["model"]))
populator.load_metadata_buffer(builder.Output())
populator.load_associated_file_buffers({n: c.encode() for n, c in given["files"].items()})
populator.populate()
print(json.dumps({"model": base64.b64encode(populator.get_model_buffer()).decode()}))
"""


@pytest.mark.parametrize("transformation", ["IDENTITY", "LOG", "INVERSE_LOGISTIC"])
def test_what_the_task_librarys_populator_wrote_is_read(
    two_headed: bytes, task_library_python: Path, transformation: str
) -> None:
    outputs = [
        {
            "name": "calls",
            "description": "Who calls.",
            "labels": [("a.txt", None), ("a_de.txt", "de"), ("a_pt.txt", "pt-BR")],
            "threshold": 0.375,
            "calibration": None,
        },
        {
            "name": None,
            "description": None,
            "labels": [("b_en.txt", "en")],
            "threshold": None,
            "calibration": ("b.csv", transformation, -0.25),
        },
    ]
    files = {
        "a.txt": "bittern\nwater rail\ncrake",
        "a_de.txt": "Rohrdommel\nWasserralle\nTüpfelsumpfhuhn\n",
        "a_pt.txt": "abetouro\r\nfrango\r\nfranga\r\n",
        "b_en.txt": "on\noff\n",
        "b.csv": "1,2.5,-3\n",
    }
    written = ask(task_library_python, POPULATE, two_headed, outputs=outputs, files=files)
    calls = OutputMetadata(
        name="calls",
        description="Who calls.",
        label_files=(
            LabelFile("a.txt", None, ("bittern", "water rail", "crake")),
            LabelFile("a_de.txt", "de", ("Rohrdommel", "Wasserralle", "Tüpfelsumpfhuhn")),
            LabelFile("a_pt.txt", "pt-BR", ("abetouro", "frango", "franga")),
        ),
        score_threshold=0.375,
    )
    switch = OutputMetadata(
        label_files=(LabelFile("b_en.txt", "en", ("on", "off")),),
        calibration=CalibrationMetadata(transformation.lower(), -0.25, "1,2.5,-3\n"),
    )
    assert metadata.read(base64.b64decode(written["model"])) == ModelMetadata(
        name="fen",
        description="Hears the fen.",
        version="7",
        author="the fen people",
        license="CC0",
        min_parser_version="1.3.0",
        inputs=(InputMetadata("clip", "What is heard.", 48_000, 2),),
        outputs=(calls, switch),
    )


WRITE = """
import base64, json, sys, os, tempfile
from tflite_support import metadata_schema_py_generated as m
from tflite_support.metadata_writers import audio_classifier, metadata_info

given = json.load(sys.stdin)
os.chdir(tempfile.mkdtemp())
for name, content in given["files"].items():
    open(name, "w").write(content)
calibration = metadata_info.ScoreCalibrationMd(
    m.ScoreTransformationType.LOG, 0.5, "calibration.txt")
writer = audio_classifier.MetadataWriter.create_for_inference(
    bytearray(base64.b64decode(given["model"])), 16000, 1, ["labels.txt"], calibration)
print(json.dumps({"model": base64.b64encode(writer.populate()).decode()}))
"""


def test_what_the_task_librarys_own_writer_of_audio_classifiers_wrote_is_read(
    bare: bytes, task_library_python: Path
) -> None:
    files = {"labels.txt": "a\nb\nc\n", "calibration.txt": "1,2,3\n\n1,2,3,0.5"}
    written = ask(task_library_python, WRITE, bare, files=files)
    read = metadata.read(base64.b64decode(written["model"]))
    assert (read.sample_rate_hz, read.channels, read.labels) == (16_000, 1, ("a", "b", "c"))
    expected = CalibrationMetadata("log", 0.5, files["calibration.txt"])
    assert [each.calibration for each in read.outputs] == [expected]


DISPLAY = """
import base64, json, sys
from tflite_support import metadata
from tensorflow_lite_support.metadata.cc.python import _pywrap_metadata_version as version

model = base64.b64decode(json.load(sys.stdin)["model"])
displayer = metadata.MetadataDisplayer.with_model_buffer(model)
names = displayer.get_packed_associated_file_list()
print(json.dumps({
    "said": json.loads(displayer.get_metadata_json()),
    "files": {name: displayer.get_associated_file_buffer(name).decode() for name in names},
    "needed": version.GetMinimumMetadataParserVersion(bytes(displayer.get_metadata_buffer())),
}))
"""


def test_the_task_library_displays_all_that_was_written(
    two_headed: bytes, task_library_python: Path
) -> None:
    calls = OutputMetadata("calls", "Who calls.", (ENGLISH, GERMAN), score_threshold=0.25)
    switch = OutputMetadata(
        label_files=(LabelFile("on.txt", "en", ("on", "off")),),
        calibration=CalibrationMetadata("inverse_logistic", -0.5, "1,2,3\n1,2,3,0.5\n"),
    )
    audio = InputMetadata("clip", "What is heard.", 48_000, 2)
    model = pack(two_headed, replace(FEN, version="7", inputs=(audio,), outputs=(calls, switch)))
    shown = ask(task_library_python, DISPLAY, model)
    assert shown["files"] == {
        "labels.txt": "bittern\nwater rail\ncrake\n",
        "labels_de.txt": "Rohrdommel, große\nWasserralle\nRalle\n",
        "on.txt": "on\noff\n",
        "score_calibration_1.txt": "1,2,3\n1,2,3,0.5",
    }
    labels = {"type": "TENSOR_AXIS_LABELS"}
    calibration = {"type": "TENSOR_AXIS_SCORE_CALIBRATION"}
    (graph,) = shown["said"].pop("subgraph_metadata")
    assert shown["said"] == {
        "name": "birds of the fen",
        "description": "Tells apart what calls there.",
        "version": "7",
        "author": "the fen people",
        "license": "CC-BY-4.0",
        "min_parser_version": "1.3.0",
    }
    assert graph["input_tensor_metadata"] == [
        {
            "name": "clip",
            "description": "What is heard.",
            "content": {
                "content_properties_type": "AudioProperties",
                "content_properties": {"sample_rate": 48_000, "channels": 2},
            },
        }
    ]
    assert graph["output_tensor_metadata"] == [
        {
            "name": "calls",
            "description": "Who calls.",
            "process_units": [
                {
                    "options_type": "ScoreThresholdingOptions",
                    "options": {"global_score_threshold": 0.25},
                }
            ],
            "associated_files": [
                {"name": "labels.txt", **labels},
                {"name": "labels_de.txt", "locale": "de", **labels},
            ],
        },
        {
            "process_units": [
                {
                    "options_type": "ScoreCalibrationOptions",
                    "options": {"score_transformation": "INVERSE_LOGISTIC", "default_score": -0.5},
                }
            ],
            "associated_files": [
                {"name": "on.txt", "locale": "en", **labels},
                {"name": "score_calibration_1.txt", **calibration},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (ModelMetadata(), "1.0.0"),
        (ModelMetadata(inputs=(InputMetadata("clip"),), min_parser_version="1.5.0"), "1.0.0"),
        (fen(calibration=CalibrationMetadata("log", 0.5, "1,2,3\n\n")), "1.3.0"),
        (replace(fen(score_threshold=0.5), inputs=()), "1.0.0"),
        (ModelMetadata(inputs=(InputMetadata(channels=1),)), "1.3.0"),
    ],
)
def test_the_least_parser_version_is_the_task_librarys(
    bare: bytes, task_library_python: Path, said: ModelMetadata, version: str
) -> None:
    model = pack(bare, said)
    assert ask(task_library_python, DISPLAY, model)["needed"] == version
    assert metadata.read(model).min_parser_version == version


CLASSIFY = """
import base64, json, sys
import numpy as np
from tflite_support.task import audio, core, processor

given = json.load(sys.stdin)
classifier = audio.AudioClassifier.create_from_options(audio.AudioClassifierOptions(
    base_options=core.BaseOptions(file_content=base64.b64decode(given["model"])),
    classification_options=processor.ClassificationOptions(display_names_locale=given["locale"]),
))
clip = classifier.create_input_tensor_audio()
clip.load_from_array(np.ones((8, 1), np.float32))
print(json.dumps({
    "sample_rate_hz": clip.format.sample_rate,
    "channels": clip.format.channels,
    "heads": [
        [head.head_name, [[c.index, c.category_name, c.display_name, c.score]
                          for c in sorted(head.categories, key=lambda c: c.index)]]
        for head in classifier.classify(clip).classifications
    ],
}))
"""


@pytest.mark.parametrize(
    ("locale", "names"), [("de", GERMAN.labels), ("fr", ("", "", "")), ("DE", ("", "", ""))]
)
def test_the_task_library_classifies_with_the_labels_written(
    described: bytes, task_library_python: Path, locale: str, names: tuple[str, ...]
) -> None:
    heard = ask(task_library_python, CLASSIFY, described, locale=locale)
    assert (heard["sample_rate_hz"], heard["channels"]) == (32_000, 1)
    ((head, categories),) = heard["heads"]
    assert head == "scores"
    assert [each[:3] for each in categories] == [
        [i, label, name] for i, (label, name) in enumerate(zip(ENGLISH.labels, names, strict=True))
    ]
    assert [each[3] for each in categories] == pytest.approx([0.8, 0.4, 0.2])


@pytest.mark.parametrize(
    ("parameters", "uncalibrated"),
    [
        ("1,1,0\n1,1,0\n1,1,0", []),
        ("1,1,0\n1,1,0\n1,1,0\n", []),
        ("1,1,0\n\n1,1,0\n", [1]),
        ("\n1,1,0\n", [0, 2]),
        ("1,1,0\n1,1,0\n\n", [2]),
    ],
)
def test_the_task_library_calibrates_with_the_lines_written(
    bare: bytes, task_library_python: Path, parameters: str, uncalibrated: list[int]
) -> None:
    model = pack(bare, fen(calibration=CalibrationMetadata("identity", 0.125, parameters)))
    heard = ask(task_library_python, CLASSIFY, model, locale="")
    expected = 1 / (1 + np.exp(-np.array([0.8, 0.4, 0.2])))
    expected[uncalibrated] = 0.125
    ((_, categories),) = heard["heads"]
    assert [each[3] for each in categories] == pytest.approx(list(expected))


def test_the_task_library_takes_a_model_with_outputs_of_which_nothing_was_said(
    two_headed: bytes, task_library_python: Path
) -> None:
    heard = ask(task_library_python, CLASSIFY, pack(two_headed, FEN), locale="")
    assert [[name, len(categories)] for name, categories in heard["heads"]] == [
        ["scores", 3],
        ["", 2],
    ]


def ask(python: Path, script: str, model: bytes, **given: Any) -> Any:
    """What a script of the Task Library's environment answers, both ways as JSON."""
    asked = json.dumps({"model": base64.b64encode(model).decode(), **given})
    finished = subprocess.run(
        [python, "-c", script], input=asked, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)
