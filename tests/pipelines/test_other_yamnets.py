"""The full YAMNet and a model such as Model Maker exports, from a recording to rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from ai_edge_litert.interpreter import Interpreter

from earmark.models.describing import describe
from earmark.models.graphs import flatbuffers as graphs
from earmark.models.metadata import reading as metadata
from earmark.pipelines.cli import main
from tests.models import yamnets

HOP_S, WINDOW_S = 0.48, 0.96


@pytest.fixture(scope="module")
def speech(shared) -> np.ndarray:
    samples, rate = sf.read(shared / "audio" / "speech.wav", dtype="float32")
    assert (rate, samples.ndim) == (16_000, 1)
    return samples


@pytest.fixture(scope="module")
def made(yamnet_path, tensorflow_python) -> Path:
    return yamnets.make(yamnet_path, tensorflow_python)


@pytest.fixture(scope="module")
def labels(yamnet_path) -> tuple[str, ...]:
    return metadata.read(yamnet_path.read_bytes()).labels or ()


def test_rows_of_the_full_yamnet_have_its_own_window_and_hop(
    tmp_path, shared, speech, made, labels, rows
):
    names = tmp_path / "labels.txt"
    names.write_text("\n".join(labels))
    output = tmp_path / "out"
    options = ["--labels", str(names), "--embeddings", "--min_score", "0", "--sample_rate", "16000"]
    inputs = ["--input", str(shared / "audio" / "speech.wav"), "--output", str(output)]
    assert main(["classify", *inputs, "--model", str(made / "yamnet_full.tflite"), *options]) == 0

    scores, embeddings, _ = run_whole(made / "yamnet_full.tflite", speech)
    got = np.zeros_like(scores)
    for start_s, end_s, index, label, score in rows(
        output, "detections", "start_s, end_s, label_index, label, score"
    ):
        frame = round(start_s / HOP_S)
        assert start_s == pytest.approx(frame * HOP_S)
        assert end_s == pytest.approx(min(start_s + WINDOW_S, len(speech) / 16_000))
        assert label == labels[index]
        got[frame, index] = score
    np.testing.assert_allclose(got, scores, atol=1e-5)
    assert rows(output, "clips", "frames, labels[1].label") == [(len(scores), "Speech")]
    vectors = [row[0] for row in rows(output, "embeddings", "embedding", "order by start_s")]
    np.testing.assert_allclose(vectors, embeddings, atol=1e-4)


@pytest.mark.parametrize("batch", ["one", "any"])
def test_both_heads_of_what_model_maker_exports_have_rows(
    tmp_path, shared, speech, made, labels, rows, batch
):
    model = (made / "model_maker.tflite").read_bytes()
    if batch == "any":  # as it says of its input, though its graph takes one frame
        model = with_open_batch(model)
    model = describe(model, head=0, labels=labels, sample_rate_hz=16_000)
    path = tmp_path / "birds.tflite"
    path.write_bytes(describe(model, head=1, labels=["wren", "robin", "none of them"]))
    output = tmp_path / "out"
    inputs = ["--input", str(shared / "audio" / "speech.wav"), "--output", str(output)]
    assert main(["classify", *inputs, "--model", str(path), "--min_score", "0"]) == 0
    got = {
        head: rows(output, "detections", "start_s, label_index, score", f"where head = '{head}'")
        for (head,) in rows(output, "detections", "distinct head")
    }
    assert sorted(map(len, got.values())) == [5 * 3, 5 * 521]
    frames = np.pad(speech, (0, -len(speech) % 15_600)).reshape(-1, 15_600)
    for expected, found in zip(
        zip(*(run_fixed(path, frame) for frame in frames), strict=True),
        sorted(got.values(), key=len, reverse=True),
        strict=True,
    ):
        scores = np.concatenate(expected)
        for start_s, index, score in found:
            assert score == pytest.approx(scores[round(start_s / 0.975), index], abs=1e-5)


def with_open_batch(model: bytes) -> bytes:
    opened = graphs.parse(model)
    graph = opened.subgraphs[0]
    graph.tensors[graph.inputs[0]].shapeSignature = np.array([-1, 15_600], np.int32)
    return graphs.serialise(opened)


def run_whole(model: Path, samples: np.ndarray) -> list[np.ndarray]:
    interpreter = Interpreter(str(model))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, [len(samples)])
    return run(interpreter, samples)


def run_fixed(model: Path, frame: np.ndarray) -> list[np.ndarray]:
    return run(Interpreter(str(model)), frame[None])


def run(interpreter: Interpreter, samples: np.ndarray) -> list[np.ndarray]:
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples)
    interpreter.invoke()
    return [
        interpreter.get_tensor(each["index"]).copy() for each in interpreter.get_output_details()
    ]
