"""YAMNet's other two forms through earmark's classifier, beside the interpreter alone.

That these models are YAMNet is for `test_make_yamnets.py` to see.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.metadata import reading as metadata
from earmark.models.metadata.reading import InputMetadata, LabelFile, ModelMetadata, OutputMetadata
from earmark.models.metadata.writing import pack
from earmark.models.running.interpreters import Kernels
from earmark.models.scores.heads import ModelOptions
from tests.models import yamnets
from tests.models.recordings import FRAME, SAMPLE_RATE_HZ, mono, whole_frames

HOP = 7_680
WINDOW = 15_360
CLEAR_LEAD = 0.1
COUNTS = (0, 1, 5, 16, 17, 40)
CALLS = ("wren", "robin", "none of them")

Run = Callable[[np.ndarray], list[np.ndarray]]


@pytest.fixture(scope="module")
def folder(yamnet_path: Path, tensorflow_python: Path) -> Path:
    return yamnets.make(yamnet_path, tensorflow_python)


@pytest.fixture(scope="module")
def labels(yamnet_path: Path) -> tuple[str, ...]:
    found = metadata.read(yamnet_path.read_bytes()).labels
    assert found is not None
    return found


@pytest.fixture(scope="module")
def signal(shared: Path) -> np.ndarray:
    """A soundscape, with frames and more for 40 hops."""
    samples = mono(shared / "audio" / "soundscape.ogg")
    assert len(samples) > FRAME + 40 * HOP
    return samples


@pytest.fixture(scope="module")
def full(folder: Path, labels: tuple[str, ...]) -> AudioClassifier:
    options = ModelOptions(labels=labels, embeddings=True)
    return AudioClassifier.from_path(folder / "yamnet_full.tflite", options)


@pytest.fixture(scope="module")
def run_full(folder: Path) -> Run:
    """Scores, embeddings and spectrogram of samples [n]."""
    interpreter = Interpreter(str(folder / "yamnet_full.tflite"))

    def run(samples: np.ndarray) -> list[np.ndarray]:
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], samples.shape)
        return results(interpreter, samples)

    return run


@pytest.fixture(scope="module")
def packed(folder: Path, labels: tuple[str, ...]) -> bytes:
    """Model Maker's model with both heads named."""
    said = ModelMetadata(
        inputs=(InputMetadata("audio", sample_rate_hz=SAMPLE_RATE_HZ, channels=1),),
        outputs=(
            OutputMetadata("yamnet", label_files=(LabelFile("yamnet.txt", None, labels),)),
            OutputMetadata("custom", label_files=(LabelFile("custom.txt", None, CALLS),)),
        ),
    )
    return pack((folder / "model_maker.tflite").read_bytes(), said)


@pytest.fixture(scope="module")
def two_headed(packed: bytes) -> AudioClassifier:
    return AudioClassifier(packed, ModelOptions(embeddings=True))


@pytest.fixture(scope="module")
def run_two_headed(folder: Path) -> Run:
    """Scores of both heads of frames [n, 15600], one after the other."""
    interpreter = Interpreter(str(folder / "model_maker.tflite"))

    def run(frames: np.ndarray) -> list[np.ndarray]:
        given = [results(interpreter, frame[None]) for frame in frames]
        return [np.concatenate(each) for each in zip(*given, strict=True)]

    return run


@pytest.fixture(scope="module")
def at_own_hop(full: AudioClassifier, signal: np.ndarray, run_full: Run) -> list[np.ndarray]:
    """Scores and embeddings of 40 frames that the model itself has cut."""
    given = run_full(signal[: FRAME + 39 * HOP])
    assert [len(each) for each in given[:2]] == [40, 40]
    return given[:2]


def test_the_full_model_is_framed_as_yamnet_is(full, labels):
    assert (full.frame_samples, full.hop_samples, full.window_samples) == (FRAME, HOP, WINDOW)
    assert full.channels == 1
    assert [(len(head.labels), head.max_score) for head in full.heads] == [(521, 1.0)]
    assert full.labels == labels
    assert full.embedding_size == 1024
    assert full.interface.unused == (2,)


def test_its_spectrogram_is_no_head_where_embeddings_are_not_wanted(folder):
    classifier = AudioClassifier.from_path(folder / "yamnet_full.tflite")
    assert [len(head.labels) for head in classifier.heads] == [521]
    assert classifier.embedding_size is None
    assert classifier.predict(np.zeros((1, FRAME), np.float32)).embeddings is None


@pytest.mark.parametrize("count", COUNTS)
def test_frames_at_its_own_hop_get_what_it_gives_for_the_whole_signal(
    full, signal, at_own_hop, count
):
    given = full.predict(cut(signal, HOP, count))
    assert given.scores.shape == (count, 521)
    assert given.embeddings.shape == (count, 1024)
    np.testing.assert_allclose(given.scores, at_own_hop[0][:count], rtol=0, atol=1e-5)
    np.testing.assert_allclose(given.embeddings, at_own_hop[1][:count], rtol=0, atol=1e-5)


@pytest.mark.parametrize("hop", [FRAME // 4, HOP - 1, HOP + 1, FRAME])
@pytest.mark.parametrize("count", COUNTS)
def test_frames_at_another_hop_get_what_it_gives_for_each_alone(full, run_full, signal, hop, count):
    frames = cut(np.tile(signal, 3), hop, count)
    given = full.predict(frames)
    assert given.scores.shape == (count, 521)
    assert given.embeddings.shape == (count, 1024)
    for frame, scores, embedding in zip(frames, given.scores, given.embeddings, strict=True):
        alone = run_full(frame)
        np.testing.assert_allclose(scores, alone[0][0], rtol=0, atol=1e-5)
        np.testing.assert_allclose(embedding, alone[1][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("place", [0, 15])
def test_a_frame_that_does_not_follow_the_one_before_is_not_taken_for_the_signals(
    full, run_full, signal, at_own_hop, place
):
    frames = cut(signal, HOP, 16)
    frames[place] = signal[-FRAME:]
    expected = at_own_hop[0][:16].copy()
    expected[place] = run_full(signal[-FRAME:])[0]
    np.testing.assert_allclose(full.score(frames), expected, rtol=0, atol=1e-5)


def test_it_gives_the_same_without_xnnpack(folder, full, signal):
    options = ModelOptions(embeddings=True, kernels=Kernels(xnnpack=False))
    plain = AudioClassifier.from_path(folder / "yamnet_full.tflite", options)
    frames = cut(signal, HOP, 17)
    np.testing.assert_allclose(plain.score(frames), full.score(frames), rtol=0, atol=1e-4)


def test_it_hears_what_the_int8_model_hears_wherever_that_is_clear(full, yamnet_path, shared):
    int8 = AudioClassifier.from_path(yamnet_path, ModelOptions(embeddings=True))
    frames = np.concatenate([whole_frames(path) for path in recordings(shared)])
    ours, theirs = full.predict(frames), int8.predict(frames)
    same = ours.scores.argmax(axis=1) == theirs.scores.argmax(axis=1)
    second, first = np.sort(theirs.scores, axis=1)[:, -2:].T
    clear = first - second > CLEAR_LEAD
    cosines = cosine(ours.embeddings, theirs.embeddings)
    print(f"of {len(frames)} frames {same.mean():.1%} agree, {clear.sum()} are clear")
    print(f"cosine: median {np.median(cosines):.4f}, least {cosines.min():.4f}")
    assert clear.sum() > 100
    assert same[clear].all()
    assert np.median(cosines) > 0.9


def test_model_makers_model_has_both_heads_as_its_metadata_names_them(two_headed, labels):
    assert [(head.name, head.labels) for head in two_headed.heads] == [
        ("yamnet", labels),
        ("custom", CALLS),
    ]
    assert [head.max_score for head in two_headed.heads] == [1.0, 1.0]
    assert two_headed.labels == labels + CALLS
    assert (two_headed.frame_samples, two_headed.hop_samples) == (FRAME, FRAME)
    assert two_headed.embedding_size == 1024


@pytest.mark.parametrize("count", COUNTS)
def test_each_of_its_heads_scores_as_its_output_does(two_headed, run_two_headed, signal, count):
    frames = cut(signal, HOP, count)
    scores = two_headed.score(frames)
    assert scores.shape == (count, 521 + 3)
    if count:
        yamnet, custom = run_two_headed(frames)
        np.testing.assert_allclose(scores[:, :521], yamnet, rtol=0, atol=1e-5)
        np.testing.assert_allclose(scores[:, 521:], custom, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", COUNTS)
def test_its_embeddings_are_those_of_the_full_model(two_headed, signal, at_own_hop, count):
    embeddings = two_headed.predict(cut(signal, HOP, count)).embeddings
    assert embeddings.shape == (count, 1024)
    np.testing.assert_allclose(embeddings, at_own_hop[1][:count], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("name", "part"), [("yamnet", np.s_[:521]), ("custom", np.s_[521:])])
@pytest.mark.parametrize("embeddings", [False, True])
def test_one_of_its_heads_scores_as_it_does_beside_the_other(
    packed, two_headed, signal, name, part, embeddings
):
    one = AudioClassifier(packed, ModelOptions(heads=(name,), embeddings=embeddings))
    frames = cut(signal, FRAME, 17)
    both, given = two_headed.predict(frames), one.predict(frames)
    assert one.labels == two_headed.labels[part]
    np.testing.assert_allclose(given.scores, both.scores[:, part], rtol=0, atol=1e-6)
    if embeddings:
        np.testing.assert_allclose(given.embeddings, both.embeddings, rtol=0, atol=1e-6)


def test_labels_for_both_heads_at_once_are_refused(packed, labels):
    with pytest.raises(ModelError, match=r"one head, and the model has 2 \(yamnet, custom\)"):
        AudioClassifier(packed, ModelOptions(labels=labels))


def cut(samples: np.ndarray, hop: int, count: int) -> np.ndarray:
    """The first frames of samples, float32 [count, 15600]."""
    return np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::hop][:count].copy()


def results(interpreter: Interpreter, taken: np.ndarray) -> list[np.ndarray]:
    """All outputs, in order."""
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], taken)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def recordings(shared: Path) -> list[Path]:
    """All but the one without samples."""
    return [path for path in sorted((shared / "audio").iterdir()) if path.name != "empty_2c.wav"]


def cosine(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The similarity of each row [n, values] to the other's."""
    lengths = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return (some * others).sum(axis=1) / lengths
