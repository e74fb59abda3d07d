"""Models of every form that can be run score as numpy does; the others are refused in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.graphs import flatbuffers as graphs
from earmark.models.metadata import writing as metadata_writer
from earmark.models.metadata.reading import InputMetadata, ModelMetadata, OutputMetadata
from earmark.models.running.interface import Framing
from earmark.models.scores.heads import ModelOptions

SAMPLES = 64
RNG = np.random.default_rng(3)
FIVE = RNG.normal(0, 0.3, (5, SAMPLES)).astype(np.float32)
THREE = RNG.normal(0, 0.3, (3, SAMPLES)).astype(np.float32)

FIXED = {"[n]": [SAMPLES], "[1, n]": [1, SAMPLES], "[1, 1, n]": [1, 1, SAMPLES]}
FIXED |= {"[n, 1]": [SAMPLES, 1], "[1, n, 1]": [1, SAMPLES, 1]}


def noise(frames: int, samples: int = SAMPLES) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.5, (frames, samples)).astype(np.float32)


def assert_scores(classifier: AudioClassifier, frames: np.ndarray, expected: np.ndarray) -> None:
    scores = classifier.score(frames)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", FIXED.values(), ids=FIXED.keys())
@pytest.mark.parametrize("scores_shape", [None, [5], [1, 1, 1, 5]], ids=str)
def test_a_model_of_one_frame(layered_model, layer, port, shape, scores_shape) -> None:
    classifier = AudioClassifier(layered_model([layer(FIVE, shape=scores_shape)], port(shape)))
    assert (classifier.interface.batch, classifier.frame_samples) == (1, SAMPLES)
    assert_scores(classifier, noise(3), noise(3) @ FIVE.T)


@pytest.mark.parametrize("frames", [0, 1, 4, 5, 11])
@pytest.mark.parametrize("scores_shape", [None, [4, 1, 1, 5]], ids=str)
def test_a_batch_that_is_not_full_is_padded(
    layered_model, layer, port, frames, scores_shape
) -> None:
    model = layered_model([layer(FIVE, shape=scores_shape)], port([4, SAMPLES]))
    classifier = AudioClassifier(model)
    assert (classifier.interface.batch, classifier.runs) == (4, "in batches of 4 frames")
    assert classifier.together == 1
    assert_scores(classifier, noise(frames), noise(frames) @ FIVE.T)


@pytest.mark.parametrize("frames", [0, 1, 16, 37])
def test_a_batch_of_any_size_is_used(layered_model, layer, port, frames) -> None:
    takes = port([1, SAMPLES], signature=[-1, SAMPLES])
    classifier = AudioClassifier(layered_model([layer(FIVE)], takes))
    assert classifier.runs == "in batches of 16 frames"
    assert classifier.together == 16
    assert_scores(classifier, noise(frames), noise(frames) @ FIVE.T)


@pytest.mark.parametrize("cuts", [[1], [16], [3, 20, 21], list(range(1, 37))], ids=str)
def test_scores_are_the_same_to_the_bit_however_frames_come_together(
    layered_model, layer, port, cuts
) -> None:
    takes = port([1, SAMPLES], signature=[-1, SAMPLES])
    classifier = AudioClassifier(layered_model([layer(FIVE)], takes))
    frames = noise(37)
    parts = [classifier.score(part) for part in np.split(frames, cuts)]
    assert np.array_equal(np.concatenate(parts), classifier.score(frames))


@pytest.mark.parametrize(
    ("samples", "batch"), [(15_600, 16), (96_000, 8), (144_000, 4), (160_000, 4), (1_500_000, 1)]
)
def test_the_longer_frames_are_the_fewer_are_in_a_batch(
    layered_model, layer, port, samples, batch
) -> None:
    weights = np.zeros((1, samples), np.float32)
    takes = port([1, samples], signature=[-1, samples])
    classifier = AudioClassifier(layered_model([layer(weights)], takes))
    assert classifier.interface.batch == batch


def test_a_batch_of_any_size_keeps_the_inputs_number_of_dimensions(new_graph, port) -> None:
    graph = new_graph()
    audio = graph.input(port([1, SAMPLES, 1, 1], signature=[-1, SAMPLES, 1, 1]))
    scores = convolved(graph, port, audio, FIVE, stride=1, signature=[-1, 1, 1, 5])
    classifier = AudioClassifier(graph.model([scores]))
    assert classifier.interface.batch == 16
    assert_scores(classifier, noise(21), noise(21) @ FIVE.T)


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", 128), ("uint8", 0), ("int8", -7)])
@pytest.mark.parametrize("shape", [[SAMPLES], [4, SAMPLES]], ids=str)
def test_quantised_scores_come_as_the_numbers_that_they_stand_for(
    layered_model, layer, steps, port, dtype, zero_point, shape
) -> None:
    model = layered_model([layer(FIVE, steps=steps(dtype, 1 / 32, zero_point))], port(shape))
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    number = np.clip(np.round(noise(6) @ FIVE.T * 32) + zero_point, least, most)
    scores = AudioClassifier(model).score(noise(6))
    # where a score lies halfway between two steps, either is right
    np.testing.assert_allclose(scores, (number - zero_point) / 32, atol=1 / 32 + 1e-6)
    assert np.mean(np.isclose(scores, (number - zero_point) / 32)) > 0.9


def test_several_heads_lie_side_by_side(layered_model, layer, port) -> None:
    layers = [layer(FIVE), layer(THREE, "LOGISTIC", shape=[1, 1, 1, 3])]
    classifier = AudioClassifier(layered_model(layers, port([1, SAMPLES])))
    assert [head.name for head in classifier.heads] == ["head 0", "head 1"]
    assert classifier.interface.probabilities == (1,)
    probabilities = 1 / (1 + np.exp(-(noise(6) @ THREE.T)))
    assert_scores(classifier, noise(6), np.hstack([noise(6) @ FIVE.T, probabilities]))


def test_channels_are_interleaved(layered_model, layer, port) -> None:
    model = packed(layered_model([layer(FIVE)], port([1, SAMPLES])), channels=2)
    classifier = AudioClassifier(model)
    assert (classifier.channels, classifier.frame_samples, classifier.hop_samples) == (2, 32, 32)
    left, right = noise(6, 32), noise(6, 32)[::-1]
    frames = np.stack([left, right], axis=2).reshape(6, SAMPLES)
    assert_scores(classifier, frames, left @ FIVE[:, ::2].T + right @ FIVE[:, 1::2].T)


def test_channels_may_be_a_dimension(layered_model, layer, port) -> None:
    takes = port([1, 32, 2], signature=[-1, 32, 2])
    classifier = AudioClassifier(packed(layered_model([layer(FIVE)], takes), channels=2))
    assert (classifier.channels, classifier.frame_samples) == (2, 32)
    assert_scores(classifier, noise(20), noise(20) @ FIVE.T)


@pytest.mark.parametrize(("declared", "signature"), [([], None), ([1, 5], [-1, -1]), ([1], [-1])])
@pytest.mark.parametrize("batch", [1, -1])
def test_scores_whose_shape_shows_only_when_they_are_made(
    new_graph, port, declared, signature, batch
) -> None:
    """The shape is computed from the audio, so that nothing knows it before."""
    graph = new_graph()
    audio = graph.input(port([1, SAMPLES], signature=[batch, SAMPLES]))
    shape = computed(graph, port, audio, [1, 5] if batch == 1 else [-1, 5])
    options = schema.ReshapeOptionsT()
    scores = graph.operator(
        "RESHAPE", [graph.dense(audio, FIVE), shape], port(declared, signature=signature), options
    )
    assert_scores(AudioClassifier(graph.model([scores])), noise(20), noise(20) @ FIVE.T)


def test_what_shape_scores_have_is_litert_to_say_and_not_the_file(new_graph, port) -> None:
    graph = new_graph()
    scores = graph.dense(graph.input(port([1, SAMPLES])), FIVE)
    graph.graph.tensors[scores].shape = np.array([7, 9], np.int32)
    assert_scores(AudioClassifier(graph.model([scores])), noise(3), noise(3) @ FIVE.T)


@pytest.mark.parametrize(("window", "hop"), [(64, 64), (64, 32), (71, 30), (64, 100), (64, 1)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_model_of_any_length_cuts_frames_itself(new_graph, port, window, hop, rank) -> None:
    weights = RNG.normal(0, 0.3, (5, window)).astype(np.float32)
    model = of_any_length(new_graph, port, weights, hop, rank)
    classifier = AudioClassifier(model)
    assert classifier.interface.framing == Framing(window, hop, window)
    assert classifier.together == 1
    signal = noise(1, window + 40 * hop)[0]
    frames = np.lib.stride_tricks.sliding_window_view(signal, window)[::hop]
    assert len(frames) == 41
    assert_scores(classifier, frames, frames @ weights.T)
    assert_scores(classifier, noise(20, window), noise(20, window) @ weights.T)
    assert classifier.score(noise(0, window)).shape == (0, 5)


def test_quantised_scores_of_a_model_of_any_length(new_graph, port, steps) -> None:
    model = of_any_length(new_graph, port, FIVE, 32, 1, steps("int8", 1 / 32, 3))
    scores = AudioClassifier(model).score(noise(20))
    np.testing.assert_allclose(scores, noise(20) @ FIVE.T, atol=1 / 64 + 1e-5)


def test_a_recurrent_layer_begins_anew_with_each_frame(new_graph, port) -> None:
    graph = new_graph()
    state = graph.tensor(port([1, 5]))
    graph.graph.tensors[state].isVariable = True
    recurrent = graph.constant(RNG.normal(size=(5, 5)).astype(np.float32))
    bias = graph.constant(np.zeros(5, np.float32))
    options = schema.RNNOptionsT(fusedActivationFunction=schema.ActivationFunctionType.TANH)
    takes = [graph.input(port([1, SAMPLES])), graph.constant(FIVE), recurrent, bias, state]
    model = graph.model([graph.operator("RNN", takes, port([1, 5]), options)])
    assert_scores(AudioClassifier(model), noise(6), np.tanh(noise(6) @ FIVE.T))


def test_a_model_whose_scores_are_chance_is_refused(new_graph, port) -> None:
    graph = new_graph()
    graph.input(port([1, SAMPLES]))
    shape = graph.constant(np.array([1, 5], np.int32))
    scores = graph.operator("RANDOM_UNIFORM", [shape], port([1, 5]), schema.RandomOptionsT())
    assert "scores of a frame depend on the frames before it" in refused(graph.model([scores]))


def test_rows_of_an_open_batch_that_depend_on_each_other_are_run_one_by_one(
    new_graph, port
) -> None:
    graph = new_graph()
    audio = graph.input(port([1, SAMPLES], signature=[-1, SAMPLES]))
    scores = graph.dense(audio, FIVE)
    options = schema.ReducerOptionsT(keepDims=True)
    axis = graph.constant(np.array([0], np.int32))
    mean = graph.operator("MEAN", [scores, axis], port([1, 5]), options)
    summed = graph.operator(
        "ADD", [scores, mean], port([1, 5], signature=[-1, 5]), schema.AddOptionsT()
    )
    classifier = AudioClassifier(graph.model([summed]))
    assert "frame by frame, since in a batch" in classifier.runs
    assert_scores(classifier, noise(20), 2 * noise(20) @ FIVE.T)


def test_no_length_that_can_be_run_is_said_so(new_graph, port) -> None:
    """This one takes multiples of 48 samples, and no power of two is one."""
    graph = new_graph()
    frames = graph.reshaped(graph.input(port([1, 48], signature=[1, -1])), [-1, 48], [1, 48])
    model = graph.model([graph.dense(frames, FIVE[:, :48])])
    assert "failed at every length that was tried, 1 to 2097152" in refused(model)


def test_a_model_of_any_length_with_other_outputs_than_scores_is_refused(new_graph, port) -> None:
    graph = new_graph()
    frames = graph.reshaped(graph.input(port([1, 64], signature=[1, -1])), [-1, 64], [1, 64])
    options = schema.CastOptionsT()
    gives = port([1, 64], "int32", signature=[-1, 64])
    model = graph.model([graph.operator("CAST", [frames], gives, options)])
    for options in (ModelOptions(), ModelOptions(embeddings=True)):
        assert "gives int32 [-1, 64], which is not scores: float32" in refused(model, options)


@pytest.mark.parametrize("batch", ["3", "batch"])
def test_what_was_expected_is_said_with_the_models_own_batch(odd_model, port, batch) -> None:
    takes = port([3, 8]) if batch == "3" else port([1, 8], signature=[-1, 8])
    model = odd_model([takes], [port([1, 5], "int8")])
    assert f"[{batch}, classes] was expected, and of 8 bits with a scale" in refused(model)


def test_metadata_of_more_outputs_than_there_are_is_refused(odd_model, port) -> None:
    two = packed(odd_model([port([8])], [port([1, 3]), port([1, 3])]), outputs=2)
    theirs, ours = graphs.parse(two), graphs.parse(odd_model([port([8])], [port([1, 3])]))
    ours.buffers.append(theirs.buffers[theirs.metadata[0].buffer])
    ours.metadata = [schema.MetadataT(b"TFLITE_METADATA", len(ours.buffers) - 1)]
    assert "describes 2 outputs, but it has 1" in refused(graphs.serialise(ours))


def test_names_that_are_no_text_are_a_model_error(tiny_model) -> None:
    for tensor in (0, 2):
        graph = graphs.parse(tiny_model(FIVE))
        graph.subgraphs[0].tensors[tensor].name = b"\xff\xfe"
        assert "LiteRT cannot load the model" in refused(graphs.serialise(graph))


def test_a_dtype_that_numpy_has_not_is_a_model_error(odd_model, port) -> None:
    graph = graphs.parse(odd_model([port([8])], [port([1, 3])]))
    graph.subgraphs[0].tensors[0].type = schema.TensorType.BFLOAT16
    assert "LiteRT cannot load the model" in refused(graphs.serialise(graph))


def test_a_graph_without_a_list_of_operators_is_none_that_crashes(odd_model, port) -> None:
    graph = graphs.parse(odd_model([port([8])], [port([1, 3])]))
    graph.subgraphs[0].operators = None
    np.testing.assert_array_equal(
        AudioClassifier(graphs.serialise(graph)).score(noise(2, 8)), np.zeros((2, 3))
    )


def test_a_graph_that_goes_in_circles_comes_to_an_end(new_graph, port) -> None:
    graph = new_graph()
    scores = graph.dense(graph.input(port([1, 8])), FIVE[:, :8])
    once = graph.reshaped(scores, [1, 5])
    graph.graph.operators[1].inputs[0] = again = graph.reshaped(once, [1, 5])
    made = graphs.parse(graph.model([again]))
    assert graphs.before_reshapes(made, again) in (once, again)
    assert graphs.before_last_layer(made, again) is None
    assert not graphs.is_probability(made, again)
    assert graphs.ancestors(made, again) >= {once, again}


@pytest.mark.parametrize("which", ["frames", "any length", "packed"])
def test_a_damaged_model_runs_or_is_a_model_error(
    layered_model, layer, steps, port, new_graph, which
) -> None:
    layers = [
        layer(FIVE[:, :8], "LOGISTIC", steps("uint8", 1 / 256)),
        layer(THREE[:, :8], shape=[1, 1, 1, 3]),
    ]
    takes = port([1, SAMPLES], signature=[-1, SAMPLES])
    of_frames = layered_model(layers, takes, RNG.normal(size=(8, SAMPLES)).astype(np.float32), 1)
    model = {
        "frames": of_frames,
        "any length": of_any_length(new_graph, port, FIVE, 32, 1),
        "packed": packed(of_frames, channels=2, outputs=3),
    }[which]
    for seed in range(150):
        broken = damaged(model, seed)
        for options in (ModelOptions(), ModelOptions(embeddings=True)):
            with suppress(ModelError):
                AudioClassifier(broken, options)


def damaged(model: bytes, seed: int) -> bytes:
    """The same with a few bytes changed."""
    rng = np.random.default_rng(seed)
    content = np.frombuffer(model, np.uint8).copy()
    places = rng.integers(0, len(content), rng.integers(1, 5))
    content[places] = rng.choice([0, 1, 2, 127, 128, 255, rng.integers(256)], len(places))
    return content.tobytes()


def packed(model: bytes, channels: int = 1, outputs: int = 1) -> bytes:
    audio = InputMetadata(sample_rate_hz=16_000, channels=channels)
    described = tuple(OutputMetadata(f"output {i}") for i in range(outputs))
    return metadata_writer.pack(model, ModelMetadata("fen", inputs=(audio,), outputs=described))


def convolved(
    graph: Any,
    port: Callable[..., Any],
    given: int,
    weights: np.ndarray,
    stride: int,
    signature: Sequence[int],
) -> int:
    """CONV_2D of [batch, n, 1, 1] to [batch, frames, 1, classes]."""
    classes, window = weights.shape
    options = schema.Conv2DOptionsT(
        padding=schema.Padding.VALID,
        strideH=stride,
        strideW=1,
        dilationHFactor=1,
        dilationWFactor=1,
    )
    kernel = graph.constant(weights.reshape(classes, window, 1, 1))
    bias = graph.constant(np.zeros(classes, np.float32))
    gives = port([1, 1, 1, classes], signature=signature)
    return graph.operator("CONV_2D", [given, kernel, bias], gives, options)


def of_any_length(
    new_graph: Callable[[], Any],
    port: Callable[..., Any],
    weights: np.ndarray,
    hop: int,
    rank: int,
    steps: Any = None,
) -> bytes:
    """Scores of each whole window, `weights @ window`; [-1], [1, -1] or [1, -1, 1] samples."""
    graph = new_graph()
    signature = {1: [-1], 2: [1, -1], 3: [1, -1, 1]}[rank]
    audio = graph.input(port([1] * rank, signature=signature))
    column = graph.reshaped(audio, [1, -1, 1, 1], [1, 1, 1, 1])
    classes = len(weights)
    scores = convolved(graph, port, column, weights, hop, [1, -1, 1, classes])
    rows = graph.reshaped(scores, [-1, classes], [1, classes])
    return graph.model([rows if steps is None else graph.quantised(rows, steps)])


def computed(graph: Any, port: Callable[..., Any], audio: int, numbers: Sequence[int]) -> int:
    """A tensor of these numbers, but for a zero that is added to them and made of the audio."""
    nothing = graph.constant(np.zeros(1, np.float32))
    zeros = graph.operator(
        "MUL",
        [audio, nothing],
        port([1, SAMPLES], signature=graph.port_of(audio).signature),
        schema.MulOptionsT(),
    )
    axes = graph.constant(np.array([0, 1], np.int32))
    zero = graph.operator("REDUCE_MAX", [zeros, axes], port([]), schema.ReducerOptionsT())
    whole = graph.operator("CAST", [zero], port([], "int32"), schema.CastOptionsT())
    wanted = graph.constant(np.array(numbers, np.int32))
    return graph.operator("ADD", [wanted, whole], port([2], "int32"), schema.AddOptionsT())


def refused(model: bytes, options: ModelOptions = ModelOptions()) -> str:  # noqa: B008
    """The one line that says why."""
    with pytest.raises(ModelError) as error:
        AudioClassifier(model, options)
    assert "\n" not in str(error.value)
    return str(error.value)
