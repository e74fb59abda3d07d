"""What a model's outputs are called, and how their numbers become scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.metadata import writing as metadata_writer
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
)
from earmark.models.running.interpreters import Kernels
from earmark.models.scores.heads import ModelOptions

SAMPLES = 32
RNG = np.random.default_rng(5)
FIVE = RNG.normal(0, 0.5, (5, SAMPLES)).astype(np.float32)
THREE = RNG.normal(0, 0.5, (3, SAMPLES)).astype(np.float32)
GERMAN = LabelFile("labels_de.txt", "de", ("Zaunkönig", "Krähe", "Regen"))


@pytest.fixture(scope="module")
def two_heads(layered_model, layer, port) -> Callable[..., bytes]:
    """A model of two heads, of five and of three classes, with these descriptions."""
    model = layered_model([layer(FIVE), layer(THREE)], port([1, SAMPLES]))

    def described(*outputs: OutputMetadata) -> bytes:
        return metadata_writer.pack(model, ModelMetadata("fen", outputs=outputs))

    return described


def noise(frames: int = 9) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.5, (frames, SAMPLES)).astype(np.float32)


def sigmoid(given: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-given))


def softmax(given: np.ndarray) -> np.ndarray:
    powers = np.exp(given.astype(np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("activation", "of"),
    [("none", lambda given: given), ("sigmoid", sigmoid), ("softmax", softmax)],
)
def test_an_activation_makes_scores_of_each_head_by_itself(two_heads, activation, of) -> None:
    classifier = AudioClassifier(two_heads(), ModelOptions(activation=activation))
    expected = np.hstack([of(noise() @ FIVE.T), of(noise() @ THREE.T)])
    np.testing.assert_allclose(classifier.score(noise()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("error::RuntimeWarning")  # numpy's of an overflow
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_an_activation_of_very_large_numbers_stays_between_0_and_1(tiny_model, activation) -> None:
    weights = np.array([[1e6, 0], [-1e6, 0], [0, 0]], np.float32)
    options = ModelOptions(activation=activation)
    scores = AudioClassifier(tiny_model(weights), options).score(np.ones((1, 2), np.float32))
    middle = 0.5 if activation == "sigmoid" else 0
    np.testing.assert_array_equal(scores, [[1, 0, middle]])


def test_an_activation_that_is_none_is_refused_at_once(tiny_model) -> None:
    with pytest.raises(
        ModelError, match="unknown activation 'relu'; there is none, sigmoid, softmax"
    ):
        AudioClassifier(tiny_model(FIVE), ModelOptions(activation="relu"))


def test_scores_before_calibration_are_given_only_where_there_is_one(two_heads) -> None:
    plain = AudioClassifier(two_heads(), ModelOptions(activation="sigmoid")).predict(noise())
    assert plain.raw_scores is None
    halved = CalibrationMetadata("identity", 0.25, "0.5,2,1\n\n0.5,2,1")
    model = two_heads(OutputMetadata("a"), OutputMetadata("b", calibration=halved))
    found = AudioClassifier(model, ModelOptions(activation="sigmoid")).predict(noise())
    np.testing.assert_array_equal(found.raw_scores, plain.scores)
    np.testing.assert_array_equal(found.scores[:, :5], plain.scores[:, :5])
    expected = 0.5 * sigmoid(2 * plain.scores[:, 5:] + 1)
    expected[:, 1] = 0.25
    np.testing.assert_allclose(found.scores[:, 5:], expected, rtol=1e-5)


def test_a_calibration_that_is_given_is_that_of_the_only_head_that_is_wanted(two_heads) -> None:
    given = CalibrationMetadata("identity", 0.0, "1,0,0\n1,0,0\n1,0,0")
    options = ModelOptions(heads=("head 1",), calibration=given)
    scores = AudioClassifier(two_heads(), options).score(noise())
    np.testing.assert_allclose(scores, np.full((9, 3), 0.5))


def test_the_most_that_a_score_can_be_is_known_where_something_bounds_it(
    layered_model, layer, port
) -> None:
    layers = [layer(FIVE, "SOFTMAX"), layer(THREE)]
    calibrated = CalibrationMetadata("identity", 0.25, "0.5,2,1\n\n0.75,2,1")
    said = ModelMetadata(outputs=(OutputMetadata("a"), OutputMetadata("b", calibration=calibrated)))
    model = layered_model(layers, port([1, SAMPLES]))

    def max_scores(model: bytes, **options: Any) -> list[float]:
        return [head.max_score for head in AudioClassifier(model, ModelOptions(**options)).heads]

    assert max_scores(model) == [1, math.inf]
    assert max_scores(model, activation="sigmoid", heads=("head 1",)) == [1]
    assert max_scores(metadata_writer.pack(model, said)) == [1, 0.75]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((None, None), ["head 0", "head 1"]),
        (("birds", None), ["birds", "head 1"]),
        (("birds", "hours"), ["birds", "hours"]),
        (("birds", "birds"), ["birds 0", "birds 1"]),
        (("head 1", None), ["head 1 0", "head 1 1"]),
    ],
)
def test_heads_are_called_what_the_metadata_says_and_each_by_another_name(
    two_heads, given, names
) -> None:
    model = two_heads(*map(OutputMetadata, given))
    assert [head.name for head in AudioClassifier(model).heads] == names


@pytest.mark.parametrize("asked", [("hours", "birds"), ("birds", "hours"), None])
def test_heads_come_in_the_order_of_the_outputs_however_they_are_asked_for(
    two_heads, asked
) -> None:
    model = two_heads(OutputMetadata("birds"), OutputMetadata("hours"))
    classifier = AudioClassifier(model, ModelOptions(heads=asked))
    assert [head.name for head in classifier.heads] == ["birds", "hours"]


def test_the_only_head_that_is_wanted_may_be_given_labels(two_heads) -> None:
    model = two_heads(OutputMetadata("birds"), OutputMetadata("hours"))
    options = ModelOptions(heads=("hours",), labels=("dawn", "", "dusk"))
    classifier = AudioClassifier(model, options)
    assert classifier.labels == ("dawn", "class 1", "dusk")
    np.testing.assert_allclose(classifier.score(noise()), noise() @ THREE.T, rtol=1e-5, atol=1e-5)


def test_a_locale_is_used_by_the_heads_that_have_it(two_heads) -> None:
    model = two_heads(OutputMetadata("a"), OutputMetadata("b", label_files=(GERMAN,)))
    heads = AudioClassifier(model, ModelOptions(locale="de")).heads
    assert [head.display_names for head in heads] == [None, GERMAN.labels]


def test_a_locale_that_only_heads_have_that_are_not_wanted_is_not_offered(two_heads) -> None:
    model = two_heads(OutputMetadata("a"), OutputMetadata("b", label_files=(GERMAN,)))
    with pytest.raises(ModelError, match=r"locale 'de' \(there is none\)"):
        AudioClassifier(model, ModelOptions(heads=("a",), locale="de"))


def test_a_locale_without_any_head_is_no_trouble(layered_model, layer, port) -> None:
    model = layered_model([layer(FIVE[:, :4])], port([1, SAMPLES]), THREE[[0, 1, 2, 0]])
    options = ModelOptions(heads=(), embeddings=True, locale="de")
    assert AudioClassifier(model, options).heads == ()


@pytest.mark.parametrize("kernels", [Kernels(2), Kernels(xnnpack=False), Kernels(2, False)])
@pytest.mark.parametrize("shape", [[1, SAMPLES], [4, SAMPLES]], ids=str)
def test_other_kernels_give_the_same_scores(layered_model, layer, port, kernels, shape) -> None:
    layers = [layer(FIVE[:, :8], "LOGISTIC"), layer(THREE[:, :8], "SOFTMAX")]
    hidden = RNG.normal(0, 0.3, (8, SAMPLES)).astype(np.float32)
    model = layered_model(layers, port(shape), hidden)
    usual = AudioClassifier(model, ModelOptions(embeddings=True)).predict(noise())
    options = ModelOptions(embeddings=True, kernels=kernels)
    other = AudioClassifier(model, options).predict(noise())
    np.testing.assert_allclose(other.scores, usual.scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(other.embeddings, usual.embeddings, rtol=0, atol=1e-6)


def test_no_threads_at_all_are_refused(tiny_model) -> None:
    with pytest.raises(ModelError, match="num_threads"):
        AudioClassifier(tiny_model(FIVE), ModelOptions(kernels=Kernels(0)))
