"""Embeddings of a model: an output of their own, or what the last layer takes inside the graph."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.metadata import writing as metadata_writer
from earmark.models.metadata.reading import LabelFile, ModelMetadata, OutputMetadata
from earmark.models.scores.heads import ModelOptions

SAMPLES, UNITS = 64, 8
RNG = np.random.default_rng(11)
HIDDEN = RNG.normal(0, 0.3, (UNITS, SAMPLES)).astype(np.float32)
FIVE = RNG.normal(0, 0.5, (5, UNITS)).astype(np.float32)
THREE = RNG.normal(0, 0.5, (3, UNITS)).astype(np.float32)
WANTED = ModelOptions(embeddings=True)

INPUTS = {
    "[n]": ([SAMPLES],),
    "[1, n]": ([1, SAMPLES],),
    "[4, n]": ([4, SAMPLES],),
    "[-1, n]": ([1, SAMPLES], "float32", [-1, SAMPLES]),
}


def noise(frames: int = 21) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.5, (frames, SAMPLES)).astype(np.float32)


def assert_embeds(classifier: AudioClassifier, embeddings: np.ndarray) -> None:
    found = classifier.predict(noise()).embeddings
    assert found is not None
    assert (classifier.embedding_size, found.dtype) == (embeddings.shape[1], np.float32)
    np.testing.assert_allclose(found, embeddings, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", [None, 0, 1, 2], ids=["inside", "first", "second", "last"])
@pytest.mark.parametrize("takes", INPUTS.values(), ids=INPUTS.keys())
def test_embeddings_are_the_hidden_layer_that_heads_are_computed_from(
    layered_model, layer, port, takes, place
) -> None:
    layers = [layer(FIVE, "LOGISTIC"), layer(THREE)]
    classifier = AudioClassifier(layered_model(layers, port(*takes), HIDDEN, place), WANTED)
    embeddings = noise() @ HIDDEN.T
    assert_embeds(classifier, embeddings)
    logistic = 1 / (1 + np.exp(-(embeddings @ FIVE.T)))
    expected = np.hstack([logistic, embeddings @ THREE.T])
    np.testing.assert_allclose(classifier.score(noise()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("place", [None, 0])
def test_embeddings_that_nobody_wants_are_not_given(layered_model, layer, port, place) -> None:
    model = layered_model([layer(FIVE)], port([SAMPLES]), HIDDEN, place)
    classifier = AudioClassifier(model)
    assert (classifier.embedding_size, classifier.predict(noise()).embeddings) == (None, None)
    assert (classifier.classes, len(classifier.heads)) == (5, 1)


def test_embeddings_without_any_head(layered_model, layer, port) -> None:
    model = layered_model([layer(FIVE)], port([SAMPLES]), HIDDEN)
    classifier = AudioClassifier(model, ModelOptions(heads=(), embeddings=True))
    assert_embeds(classifier, noise() @ HIDDEN.T)
    assert classifier.predict(noise()).scores.shape == (21, 0)


@pytest.mark.parametrize("name", ["embedding", "Embeddings", "model/top/embedding_1"])
def test_an_output_that_is_called_an_embedding_is_one(layered_model, layer, port, name) -> None:
    both = [layer(np.eye(5, SAMPLES, dtype=np.float32)), layer(HIDDEN, name=name)]
    classifier = AudioClassifier(layered_model(both, port([1, SAMPLES])), WANTED)
    assert classifier.classes == 5
    assert_embeds(classifier, noise() @ HIDDEN.T)


def test_a_name_in_the_metadata_counts_as_well(layered_model, layer, port) -> None:
    both = [layer(np.eye(5, SAMPLES, dtype=np.float32)), layer(HIDDEN)]
    said = ModelMetadata(outputs=(OutputMetadata("birds"), OutputMetadata("Embedding")))
    model = metadata_writer.pack(layered_model(both, port([1, SAMPLES])), said)
    classifier = AudioClassifier(model, WANTED)
    assert [head.name for head in classifier.heads] == ["birds"]
    assert_embeds(classifier, noise() @ HIDDEN.T)


def test_an_output_with_labels_is_a_head_whatever_it_is_called(layered_model, layer, port) -> None:
    labels = (LabelFile("labels.txt", None, tuple("abcdefgh")),)
    said = ModelMetadata(outputs=(OutputMetadata("embedding", label_files=labels),))
    model = metadata_writer.pack(layered_model([layer(HIDDEN)], port([1, SAMPLES])), said)
    assert AudioClassifier(model).labels == tuple("abcdefgh")


def test_a_packed_model_keeps_its_labels_beside_an_embedding_from_inside(
    layered_model, layer, port
) -> None:
    labels = (LabelFile("labels.txt", None, tuple("abcde")),)
    said = ModelMetadata(outputs=(OutputMetadata("birds", label_files=labels),))
    model = layered_model([layer(FIVE)], port([1, SAMPLES]), HIDDEN)
    classifier = AudioClassifier(metadata_writer.pack(model, said), WANTED)
    assert classifier.labels == tuple("abcde")
    assert_embeds(classifier, noise() @ HIDDEN.T)


def test_quantised_embeddings_come_as_the_numbers_that_they_stand_for(
    layered_model, layer, steps, port
) -> None:
    embedding = layer(HIDDEN, steps=steps("int8", 1 / 32, 5), name="embedding")
    model = layered_model([embedding], port([1, SAMPLES]))
    found = AudioClassifier(model, WANTED).predict(noise()).embeddings
    np.testing.assert_allclose(found, noise() @ HIDDEN.T, atol=1 / 64 + 1e-5)


@pytest.mark.parametrize("takes", INPUTS.values(), ids=INPUTS.keys())
def test_a_model_of_embeddings_alone_is_used_for_them(layered_model, port, takes) -> None:
    model = layered_model([], port(*takes), HIDDEN, 0, "embedding")
    classifier = AudioClassifier(model, ModelOptions(heads=(), embeddings=True))
    assert_embeds(classifier, noise() @ HIDDEN.T)
    with pytest.raises(ModelError, match="embeddings and no scores: use earmark embed"):
        AudioClassifier(model)
    with pytest.raises(ModelError, match=r"no head 'birds' \(there is none\)"):
        AudioClassifier(model, ModelOptions(heads=("birds",), embeddings=True))


def test_a_model_of_one_layer_has_no_embedding(layered_model, layer, port) -> None:
    model = layered_model([layer(HIDDEN)], port([1, SAMPLES]))
    with pytest.raises(ModelError, match="the model has no embedding: no layer with weights"):
        AudioClassifier(model, WANTED)
