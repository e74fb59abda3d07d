"""Scoring frames of audio."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import soxr

from earmark.models.classifier import AudioClassifier, load_classifier, parse_labels
from earmark.models.errors import ModelError
from earmark.models.metadata import writing as metadata_writer
from earmark.models.metadata.reading import InputMetadata, LabelFile, ModelMetadata, OutputMetadata
from earmark.models.running import interpreters
from earmark.models.scores.heads import ModelOptions
from earmark.models.sources import ModelSource

ROOT = Path(__file__).parents[2]
WEIGHTS = np.random.default_rng(3).normal(size=(5, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def five_classes(tiny_model: Callable[..., bytes]) -> bytes:
    return tiny_model(WEIGHTS)


@pytest.fixture(scope="module")
def yamnet(yamnet_path: Path) -> AudioClassifier:
    return AudioClassifier.from_path(yamnet_path)


def packed(
    model: bytes,
    *,
    sample_rate_hz: int = 32_000,
    channels: int = 1,
    labels: Sequence[str] = "abcde",
) -> bytes:
    audio = InputMetadata(sample_rate_hz=sample_rate_hz, channels=channels)
    scores = OutputMetadata(label_files=(LabelFile("labels.txt", None, tuple(labels)),))
    return metadata_writer.pack(model, ModelMetadata("fen", inputs=(audio,), outputs=(scores,)))


def noise(frames: int, samples: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.2, (frames, samples)).astype(np.float32)


def test_yamnet_is_described_by_its_own_metadata(yamnet: AudioClassifier) -> None:
    assert yamnet.name == "yamnet/classification"
    assert yamnet.sha256 == "10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de"
    assert (yamnet.frame_samples, yamnet.classes, yamnet.channels) == (15_600, 521, 1)
    assert (yamnet.sample_rate_hz, yamnet.sample_rate_assumed) == (16_000, False)
    assert yamnet.labels[0] == "Speech"


def test_scores_are_the_task_librarys(yamnet: AudioClassifier, shared: Path) -> None:
    with np.load(shared / "golden" / "yamnet_tasklib_scores.npz") as golden:
        expected = {name: golden[name] for name in golden.files}
    scores = {name: yamnet.score(frames_of(shared / "audio" / name)) for name in expected}
    differ = sum(np.sum(np.abs(scores[name] - expected[name]) > 1e-6) for name in expected)
    assert len(expected) > 8
    assert differ <= 1e-4 * sum(each.size for each in expected.values())
    for name in expected:
        np.testing.assert_array_equal(scores[name].argmax(1), expected[name].argmax(1), name)


def test_frames_taken_together_have_the_bits_that_each_has_alone(yamnet: AudioClassifier) -> None:
    assert yamnet.together > 1
    frames = noise(37, yamnet.frame_samples)
    alone = np.concatenate([yamnet.score(frame[None]) for frame in frames])
    for together in (2, 5, 16, 37):
        parts = [yamnet.score(frames[i : i + together]) for i in range(0, 37, together)]
        assert np.array_equal(np.concatenate(parts), alone)


def test_a_real_model_of_other_sizes_and_without_metadata_works(shared: Path) -> None:
    other = AudioClassifier.from_path(shared / "models" / "no_metadata_5360x527.tflite")
    assert (other.frame_samples, other.classes) == (5_360, 527)
    assert (other.sample_rate_hz, other.sample_rate_assumed) == (16_000, True)
    assert other.labels[17] == "class 17"
    scores = other.score(noise(3, 5_360))
    assert (scores.shape, scores.dtype) == ((3, 527), np.float32)
    assert 0 <= scores.min() < scores.max() <= 1


@pytest.mark.parametrize("frames", [0, 1, 7])
def test_each_frame_gets_its_own_row_of_scores(five_classes: bytes, frames: int) -> None:
    scores = AudioClassifier(five_classes).score(noise(frames))
    assert (scores.shape, scores.dtype) == ((frames, 5), np.float32)
    np.testing.assert_allclose(scores, noise(frames) @ WEIGHTS.T, rtol=1e-4, atol=1e-5)


def test_frames_that_overlap_in_memory_are_scored_like_copies(five_classes: bytes) -> None:
    signal = noise(1, 200)[0]
    frames = np.lib.stride_tricks.sliding_window_view(signal, 64)[::16]
    scores = AudioClassifier(five_classes).score(frames)
    np.testing.assert_allclose(scores, frames.copy() @ WEIGHTS.T, rtol=1e-4, atol=1e-5)


def test_scores_outlive_the_next_call(five_classes: bytes) -> None:
    classifier = AudioClassifier(five_classes)
    first = classifier.score(noise(2))
    kept = first.copy()
    classifier.score(noise(2, seed=9))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("input_shape", "output_shape"), [([64], [1, 5]), ([1, 64], [1, 5]), ([64], [5])]
)
def test_a_batch_dimension_may_be_there_or_not(
    tiny_model: Callable[..., bytes], input_shape: list[int], output_shape: list[int]
) -> None:
    classifier = AudioClassifier(tiny_model(WEIGHTS, input_shape, output_shape))
    assert (classifier.frame_samples, classifier.classes) == (64, 5)
    np.testing.assert_allclose(
        classifier.score(noise(2)), noise(2) @ WEIGHTS.T, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 64), np.float64),
        np.zeros((2, 64), np.int16),
        np.zeros((2, 63), np.float32),
        np.zeros(64, np.float32),
        np.zeros((2, 64, 1), np.float32),
        np.zeros(0, np.float32),
        np.float32(0),
    ],
)
def test_frames_of_another_shape_or_dtype_are_refused(
    five_classes: bytes, frames: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"float32 \[n, 64\]"):
        AudioClassifier(five_classes).score(frames)


def test_many_threads_score_as_one_would(five_classes: bytes) -> None:
    classifier = AudioClassifier(five_classes)
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda seed: classifier.score(noise(50, seed=seed)), range(64)))
    for seed, found in enumerate(scores):
        np.testing.assert_allclose(
            found, noise(50, seed=seed) @ WEIGHTS.T, rtol=1e-4, atol=1e-5, err_msg=f"seed {seed}"
        )


def test_no_more_interpreters_than_threads_that_scored_at_once(
    five_classes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = AudioClassifier(five_classes)
    made = count_calls(monkeypatch, interpreters, "Interpreter")
    for seed in range(20):
        classifier.score(noise(3, seed=seed))
    assert len(made) == 0  # the one that it was tried out with
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda seed: classifier.score(noise(20, seed=seed)), range(60)))
    assert len(made) <= 2


def test_packed_labels_name_the_classes(five_classes: bytes) -> None:
    classifier = AudioClassifier(packed(five_classes))
    assert classifier.labels == ("a", "b", "c", "d", "e")
    assert classifier.name == "fen"


def test_given_labels_win_over_packed_ones(five_classes: bytes) -> None:
    assert AudioClassifier(
        packed(five_classes), ModelOptions(labels=list("vwxyz"))
    ).labels == tuple("vwxyz")


def test_a_class_without_a_label_is_called_by_its_number(five_classes: bytes) -> None:
    given = AudioClassifier(five_classes, ModelOptions(labels=["a", "", "c", "d", ""]))
    assert given.labels == ("a", "class 1", "c", "d", "class 4")


@pytest.mark.parametrize("count", [0, 4, 6])
def test_a_wrong_number_of_labels_is_refused_with_both_numbers(
    five_classes: bytes, count: int
) -> None:
    with pytest.raises(ModelError, match=f"{count} labels are given, but the model has 5 classes"):
        AudioClassifier(five_classes, ModelOptions(labels=["x"] * count))
    with pytest.raises(ModelError, match=f"{count} labels are packed in the model, .* 5 classes"):
        AudioClassifier(packed(five_classes, labels=["x"] * count))


def test_the_callers_sample_rate_counts_where_the_model_is_silent(five_classes: bytes) -> None:
    classifier = AudioClassifier(five_classes, ModelOptions(sample_rate_hz=48_000))
    assert (classifier.sample_rate_hz, classifier.sample_rate_assumed) == (48_000, False)


def test_a_sample_rate_that_contradicts_the_model_is_refused(five_classes: bytes) -> None:
    model = packed(five_classes)
    assert AudioClassifier(model, ModelOptions(sample_rate_hz=32_000)).sample_rate_hz == 32_000
    with pytest.raises(ModelError, match="at 32000 Hz, not at the 48000 Hz given"):
        AudioClassifier(model, ModelOptions(sample_rate_hz=48_000))
    with pytest.raises(ModelError, match="-1 Hz"):
        AudioClassifier(five_classes, ModelOptions(sample_rate_hz=-1))


def test_a_model_of_two_channels_takes_them_interleaved(five_classes: bytes) -> None:
    classifier = AudioClassifier(packed(five_classes, channels=2))
    assert (classifier.channels, classifier.frame_samples) == (2, 32)
    np.testing.assert_allclose(
        classifier.score(noise(3)), noise(3) @ WEIGHTS.T, rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ModelError, match="64 values, which is not a multiple of the 3 channels"):
        AudioClassifier(packed(five_classes, channels=3))


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([([1, 224, 224, 3],)], [([1, 5],)], r"takes float32 \[1, 224, 224, 3\], .* not audio"),
        ([([1, 224, 224, 3], "uint8")], [([1, 5],)], r"takes uint8 \[1, 224, 224, 3\]"),
        ([([64], "int8")], [([5],)], r"takes int8 \[64\], which is not audio"),
        (
            [([64, 2],)],
            [([1, 5],)],
            r"gives float32 \[1, 5\], which is not scores: .* \[64, classes",
        ),
        (
            [([1], "float32", [-1])],
            [([5],)],
            r"of any length, but gives no more rows for longer audio",
        ),
        ([([64],), ([1], "int32")], [([5],)], r"2 inputs \(float32 \[64\], int32 \[1\]\): one"),
        ([([64],)], [([1, 10, 5],)], r"gives float32 \[1, 10, 5\], which is not scores"),
        ([([64],)], [([1, 5], "uint8")], r"gives uint8 \[1, 5\], which is not scores"),
        ([([64],)], [([3, 5],)], r"gives float32 \[3, 5\], which is not scores"),
    ],
)
def test_a_model_that_does_not_classify_mono_audio_is_refused(
    odd_model: Callable[..., bytes],
    port: Callable[..., Any],
    inputs: list[tuple[Any, ...]],
    outputs: list[tuple[Any, ...]],
    says: str,
) -> None:
    model = odd_model([port(*each) for each in inputs], [port(*each) for each in outputs])
    with pytest.raises(ModelError, match=says) as refused:
        AudioClassifier(model)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html><body>404</body></html>",
        bytes(1_000),
        np.random.default_rng(0).bytes(100_000),
        b"\x1c\x00\x00\x00TFL3" + np.random.default_rng(0).bytes(100_000),
    ],
    ids=["empty", "html", "zeros", "random", "random behind the identifier"],
)
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError) as refused:
        AudioClassifier(content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [9, 100, 10_000, 1_000_000, 4_000_000, 4_120_000, 4_126_800])
def test_a_model_that_was_cut_short_is_refused(yamnet_path: Path, kept: int) -> None:
    with pytest.raises(ModelError, match=r"cut short|valid Flatbuffer"):
        AudioClassifier(yamnet_path.read_bytes()[:kept])


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    missing = tmp_path / "missing.tflite"
    with pytest.raises(ModelError, match=r"missing\.tflite: No such file"):
        AudioClassifier.from_path(missing)


def test_an_error_about_a_file_names_the_file(tmp_path: Path) -> None:
    page = tmp_path / "page.tflite"
    page.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ModelError, match=r"page\.tflite: not a TFLite model"):
        AudioClassifier.from_path(page)


def test_labels_in_a_file_are_its_lines() -> None:
    content = b"\xef\xbb\xbfbittern\r\n water rail\r\n\r\nbearded tit \r\n\r\n\r\n"
    assert parse_labels(content) == ("bittern", "water rail", "", "bearded tit")


@pytest.mark.parametrize("content", [b"", b"\n\n \n", b"\xff\xfeb\x00", b"caf\xe9\n"])
def test_what_is_no_file_of_labels_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="not a file of labels"):
        parse_labels(content)


def test_workers_of_a_process_share_one_classifier_read_once(
    five_classes: bytes, tmp_path: Path
) -> None:
    reads: list[str] = []
    barrier = threading.Barrier(8)
    source = source_of(five_classes, "mem://shared.tflite")

    def read(uri: str) -> bytes:
        reads.append(uri)
        return five_classes

    def load(_: int) -> AudioClassifier:
        barrier.wait()
        return load_classifier(source, read=read)

    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(load, range(8)))
    assert reads == ["mem://shared.tflite"]
    assert all(each is loaded[0] for each in loaded)
    assert loaded[0].name == "shared"


def test_classifiers_are_shared_only_where_all_is_the_same(
    five_classes: bytes, tiny_model: Callable[..., bytes]
) -> None:
    source = source_of(five_classes, "mem://apart.tflite")
    other = tiny_model(2 * WEIGHTS)

    def read(uri: str) -> bytes:
        return {"mem://apart.tflite": five_classes, "mem://other.tflite": other}[uri]

    plain = load_classifier(source, read=read)
    labelled = load_classifier(source, ModelOptions(labels=tuple("abcde")), read=read)
    faster = load_classifier(source, ModelOptions(sample_rate_hz=48_000), read=read)
    doubled = load_classifier(source_of(other, "mem://other.tflite"), read=read)
    assert len({plain, labelled, faster, doubled}) == 4
    assert (plain.labels[0], labelled.labels[0]) == ("class 0", "a")
    assert (plain.sample_rate_hz, faster.sample_rate_hz) == (16_000, 48_000)


def test_a_model_that_fails_to_load_is_tried_again(five_classes: bytes) -> None:
    source = source_of(five_classes, "mem://again.tflite")
    with pytest.raises(ModelError, match="is not the file it was"):
        load_classifier(source, read=lambda uri: b"something else")
    assert load_classifier(source, read=lambda uri: five_classes).classes == 5


def test_loading_says_nothing_on_stderr_but_hides_nothing_else(
    five_classes: bytes, tmp_path: Path
) -> None:
    model = tmp_path / "five.tflite"
    model.write_bytes(five_classes)
    script = (
        "import os, sys; from earmark.models import classifier\n"
        "from earmark.models.running import interpreters\n"
        "class Loud(interpreters.Interpreter):\n"
        "    def allocate_tensors(self):\n"
        "        os.write(2, b'a warning\\n')\n"
        "        super().allocate_tensors()\n"
        "if sys.argv[2] == 'loud': interpreters.Interpreter = Loud\n"
        "classifier.AudioClassifier.from_path(sys.argv[1]); os.write(2, b'done\\n')\n"
    )
    said = {how: stderr_of(script, str(model), how) for how in ("as it is", "loud")}
    assert said["as it is"] == "done\n"
    assert set(said["loud"].splitlines()) == {"a warning", "done"}


def frames_of(path: Path) -> np.ndarray:
    """Frames as the reference scores were made from."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    mono = samples @ np.full(samples.shape[1], 1 / samples.shape[1], np.float32)
    if rate != 16_000:
        mono = soxr.resample(mono, rate, 16_000, quality="HQ")
    return np.pad(mono, (0, -len(mono) % 15_600)).astype(np.float32).reshape(-1, 15_600)


def source_of(model: bytes, uri: str) -> ModelSource:
    return ModelSource(Path(uri).stem, uri, hashlib.sha256(model).hexdigest())


def count_calls(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[None]:
    """A list that grows with each call of what has this name in the module."""
    real = getattr(module, name)
    calls: list[None] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, counted)
    return calls


def stderr_of(script: str, *args: str) -> str:
    command = [sys.executable, "-c", script, *args]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stderr
