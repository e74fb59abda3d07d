"""earmark beside the Task Library's AudioClassifier: the same labels, scores and order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import NamedTuple

import numpy as np
import pytest
import soundfile as sf
import soxr

from earmark.models.classifier import AudioClassifier
from earmark.models.errors import ModelError
from earmark.models.metadata.reading import (
    CalibrationMetadata,
    InputMetadata,
    LabelFile,
    ModelMetadata,
    OutputMetadata,
)
from earmark.models.metadata.writing import pack
from earmark.models.scores.heads import Head as EarmarkHead
from earmark.models.scores.heads import ModelOptions
from earmark.models.scores.selection import score_thresholds
from earmark.transforms.detecting.aggregating import find_hits
from earmark.transforms.elements import AudioObject, FrameScores, HeadLabels, Span
from earmark.transforms.settings import Decoding, FrameGrid, Settings
from tests.models.small_models import Layer, Port, Steps, layered
from tests.models.task_library import Head, TaskLibrary, TaskLibraryError

SAMPLES = 64
LABELS = ("wren", "robin, European", "", "crow", "rain", "wren's song")
GERMAN = ("Zaunkönig", "Rotkehlchen", "Nichts", "Krähe", "", "Zaunköniglied")
FRENCH = ("troglodyte", "rouge-gorge", "rien", "corneille", "pluie", "chant")
OTHER = ("day", "night", "dawn")

LISTS = (
    {},
    {"allow": ["crow", "rain", "wren"]},
    {"deny": ["robin, European", "crow"]},
)
THRESHOLDS = (None, 0.0, 0.3, -5.0)
MOST = (None, 1, 3)
LOCALES = (None, "de", "fr")


class Options(NamedTuple):
    """What both are asked for."""

    min_score: float | None
    top_k: int | None
    locale: str | None
    lists: dict[str, list[str]]


class Row(NamedTuple):
    """A class that counts in a frame, as detections say it."""

    score: float
    index: int
    label: str
    display_name: str


class Heard(NamedTuple):
    """What earmark makes of a head in a frame: all scores, and the rows that count, best first."""

    name: str
    scores: np.ndarray
    rows: list[Row]


EVERY = [Options(*each) for each in product(THRESHOLDS, MOST, LOCALES, LISTS)]


@pytest.fixture(scope="module")
def oracle(task_library_python) -> Iterator[TaskLibrary]:
    library = TaskLibrary(task_library_python)
    yield library
    library.close()


def weights(classes: int, seed: int, values: int = SAMPLES) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.8, (classes, values)).astype(np.float32)


def frames(count: int = 12, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(9)
    loud = np.logspace(-3, 0.3, count)[:, None, None]
    return (rng.uniform(-1, 1, (count, SAMPLES, channels)) * loud).astype(np.float32)


def in_three_locales(labels: Sequence[str] = LABELS) -> tuple[LabelFile, ...]:
    return (
        LabelFile("labels.txt", None, tuple(labels)),
        LabelFile("labels_de.txt", "de", GERMAN),
        LabelFile("labels_fr.txt", "fr", FRENCH),
    )


def described(model: bytes, *outputs: OutputMetadata, channels: int = 1) -> bytes:
    audio = InputMetadata("audio", None, 16_000, channels)
    return pack(model, ModelMetadata("birds", inputs=(audio,), outputs=outputs))


def head(calibration: CalibrationMetadata | None = None) -> OutputMetadata:
    return OutputMetadata("birds", None, in_three_locales(), None, calibration)


def of_the_task_library(
    oracle: TaskLibrary, model: bytes, of: np.ndarray, asked: Options
) -> list[list[Head]]:
    return oracle.classify(
        model,
        of,
        score_threshold=asked.min_score,
        max_results=asked.top_k,
        display_names_locale=asked.locale,
        category_allowlist=asked.lists.get("allow"),
        category_denylist=asked.lists.get("deny"),
    )


def of_earmark(model: bytes, of: np.ndarray, asked: Options) -> list[list[Heard]]:
    """The heads of each frame."""
    classifier = AudioClassifier(model, ModelOptions(locale=asked.locale))
    scores = classifier.predict(of.reshape(len(of), -1)).scores
    # without a threshold, the Task Library's is 0
    least = score_thresholds(classifier.heads, asked.min_score or 0.0, **_listed(asked, classifier))
    named = tuple(
        HeadLabels(each.name, each.labels, each.display_names) for each in classifier.heads
    )
    decoding = Decoding(FrameGrid(16_000, SAMPLES, SAMPLES))
    settings = Settings(decoding, named, least, asked.top_k)
    hits = find_hits(FrameScores(Span(AudioObject("/a", 1, "")), 0, scores), settings)
    firsts = np.cumsum([0, *(len(each.labels) for each in named)])
    parts = np.split(scores, firsts[1:-1], axis=1)
    heard = [
        [Heard(h.name, p[i], []) for h, p in zip(named, parts, strict=True)] for i in range(len(of))
    ]
    for frame, column, score in zip(hits.frame, hits.label_index, hits.score, strict=True):
        of_head = int(np.searchsorted(firsts, column, side="right")) - 1
        index = int(column - firsts[of_head])
        heard[frame][of_head].rows.append(Row(float(score), index, *_names(named[of_head], index)))
    for each in chain.from_iterable(heard):
        each.rows.sort(key=lambda row: (-row.score, row.index))
    return heard


def _listed(asked: Options, classifier: AudioClassifier) -> dict[str, list[str]]:
    """The lists, with what the Task Library leaves alone: all heads but the first."""
    others = [label for each in classifier.heads[1:] for label in each.labels]
    more = others if "allow" in asked.lists else []
    return {name: [*listed, *more] for name, listed in asked.lists.items()}


def _names(head: HeadLabels, index: int) -> tuple[str, str]:
    label = head.labels[index]
    unnamed = label == f"class {index}"
    return "" if unnamed else label, head.display_names[index] if head.display_names else ""


def difference(theirs: Head, ours: Heard, top_k: int | None, atol: float) -> str | None:
    """How the two differ in a head of a frame; None where they don't.

    The Task Library orders equal scores as its sorting happens to, and top_k cuts them so. They may
    change places here; and at the cut, one may stand for another.
    """
    wanted, rows = theirs.categories, ours.rows
    if theirs.name != ours.name:
        return f"the head {ours.name!r}, not {theirs.name!r}"
    if len(rows) != len(wanted):
        return f"{len(rows)} rows, not {len(wanted)}"
    for want, row in zip(wanted, rows, strict=True):
        if not abs(row.score - want.score) <= atol:
            return f"{row}, not {want}"
        has_equals = np.count_nonzero(np.abs(ours.scores - want.score) <= 2 * atol) > 1
        if row[1:] != (want.index, *want[2:]) and not has_equals:
            return f"{row}, not {want}"
    cut = rows[-1].score + 2 * atol if len(rows) == top_k else -np.inf
    kept = {row[1:] for row in rows if row.score > cut}
    if kept != {(each.index, *each[2:]) for each in wanted if each.score > cut}:
        return f"other rows: {rows}, not {wanted}"
    return None


def differences(
    expected: list[list[Head]], got: list[list[Heard]], top_k: int | None, atol: float = 0.0
) -> list[str]:
    found = [
        difference(theirs, ours, top_k, atol)
        for heads, of_frame in zip(expected, got, strict=True)
        for theirs, ours in zip(heads, of_frame, strict=True)
    ]
    return [each for each in found if each is not None]


def compare(oracle: TaskLibrary, model: bytes, of: np.ndarray) -> None:
    """The same categories with the same scores, to the bit, for every combination of options."""
    compared = 0
    for asked in EVERY:
        expected = of_the_task_library(oracle, model, of, asked)
        assert not differences(expected, of_earmark(model, of, asked), asked.top_k), asked
        compared += sum(len(each.categories) for heads in expected for each in heads)
    assert compared > 500


def test_one_head_with_labels_in_three_locales(oracle):
    model = described(layered([Layer(weights(6, 1), "LOGISTIC")], Port([1, SAMPLES])), head())
    compare(oracle, model, frames())


def test_logits_below_zero(oracle):
    model = described(layered([Layer(weights(6, 1))], Port([SAMPLES])), head())
    compare(oracle, model, frames())


@pytest.mark.parametrize("min_score", [None, -0.25, 0.25, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [None, 1, 2, 4])
def test_scores_at_the_threshold_and_equal_ones(oracle, min_score, top_k):
    scores = np.array([[0.25], [0.3], [1.0], [0.25], [0.0], [-0.25]], np.float32)
    model = described(layered([Layer(scores)], Port([1, 1])), head())
    asked, one = Options(min_score, top_k, None, {}), np.ones((1, 1, 1), np.float32)
    expected = of_the_task_library(oracle, model, one, asked)
    assert expected[0][0].categories
    assert not differences(expected, of_earmark(model, one, asked), top_k)


def test_two_heads_by_their_names(oracle):
    model = layered(
        [Layer(weights(6, 2), "LOGISTIC"), Layer(weights(3, 3), "LOGISTIC", shape=[1, 1, 1, 3])],
        Port([1, SAMPLES]),
    )
    other = OutputMetadata("hours", label_files=(LabelFile("hours.txt", None, OTHER),))
    model = described(model, head(), other)
    compare(oracle, model, frames())


def test_quantised_scores(oracle):
    layers = [Layer(weights(6, 4), "LOGISTIC", Steps("uint8", 1 / 256))]
    compare(oracle, described(layered(layers, Port([1, SAMPLES])), head()), frames())


def test_stereo(oracle):
    model = layered([Layer(weights(6, 5, 2 * SAMPLES), "LOGISTIC")], Port([1, 2 * SAMPLES]))
    compare(oracle, described(model, head(), channels=2), frames(channels=2))


@pytest.mark.parametrize("input_shape", [[SAMPLES], [1, SAMPLES], [1, SAMPLES, 1], [SAMPLES, 1]])
def test_inputs_of_any_shape(oracle, input_shape):
    model = described(layered([Layer(weights(6, 6), "LOGISTIC")], Port(input_shape)), head())
    compare(oracle, model, frames(3))


@pytest.mark.parametrize("transformation", ["identity", "log", "inverse_logistic"])
def test_calibration_with_classes_left_out(oracle, transformation):
    lines = ["0.95,1.7,-0.4", "", "1,2,0.5,0.4", "0.5,-1,0.1", "", "0.8,12,-3,0.1"]
    calibration = CalibrationMetadata(transformation, 0.35, "\n".join(lines))
    model = described(
        layered([Layer(weights(6, 7), "LOGISTIC")], Port([1, SAMPLES])), head(calibration)
    )
    compare(oracle, model, frames())
    raw = AudioClassifier(
        described(layered([Layer(weights(6, 7), "LOGISTIC")], Port([1, SAMPLES])), head())
    )
    predicted = AudioClassifier(model).predict(frames().reshape(12, -1))
    np.testing.assert_array_equal(predicted.raw_scores, raw.score(frames().reshape(12, -1)))


@pytest.mark.parametrize("transformation", ["identity", "log", "inverse_logistic"])
def test_calibrated_scores_are_the_same_to_the_bit(oracle, transformation):
    rng = np.random.default_rng(8)
    scores = np.concatenate(
        [
            np.array([0, 1e-20, 1e-16, 1e-10, 0.5, 1, 1.0000001, 2, 1e10, -1e-17, -1, -1e10]),
            rng.random(300),
            10 ** rng.uniform(-37, 0, 200),
            1 - 10 ** rng.uniform(-7, 0, 98),
        ]
    ).astype(np.float32)
    classes = len(scores)
    numbers = zip(
        rng.random(classes), rng.normal(0, 4, classes), rng.normal(0, 4, classes), strict=True
    )
    lines = [",".join(f"{number:.6g}" for number in each) for each in numbers]
    for i in range(0, classes, 5):  # of five, one has just its least score, one less, one no line
        above = np.nextafter(scores[i + 1], np.float32(np.inf))
        lines[i : i + 3] = f"{lines[i]},{float(scores[i])}", f"{lines[i + 1]},{float(above)}", ""
    calibration = CalibrationMetadata(transformation, 0.35, "\n".join(lines))
    labels = LabelFile("labels.txt", None, tuple(f"class {i}" for i in range(classes)))
    layer = Layer(scores[:, None])
    output = OutputMetadata("scores", label_files=(labels,), calibration=calibration)
    model = described(layered([layer], Port([1, 1])), output)
    one = np.ones((1, 1, 1), np.float32)
    ((theirs,),) = oracle.classify(model, one, score_threshold=-1e9)
    expected = np.zeros(classes, np.float32)
    for each in theirs.categories:
        expected[each.index] = each.score
    got = AudioClassifier(model).predict(one[:, :, 0])
    np.testing.assert_array_equal(got.raw_scores[0], scores)
    np.testing.assert_array_equal(got.scores[0], expected)


def test_yamnet_on_real_recordings(oracle, shared, yamnet_path):
    model = yamnet_path.read_bytes()
    of = np.concatenate(
        [
            yamnet_frames(shared / "audio" / name)
            for name in ("speech.wav", "great_plains_toad.wav", "birds_10s.wav", "stereo.wav")
        ]
    )[:60:2]
    lists = (
        {},
        {"allow": ["Speech", "Child speech, kid speaking", "Frog", "Bird"]},
        {"deny": ["Silence", "Animal"]},
    )
    found: list[str] = []
    total = 0
    for min_score, top_k, listed in product((None, 0.3), (None, 1, 3), lists):
        asked = Options(min_score, top_k, None, listed)
        expected = of_the_task_library(oracle, model, of, asked)
        found += differences(expected, of_earmark(model, of, asked), top_k, 1e-6)
        total += sum(len(each.categories) for (each,) in expected)
    assert total > 15_000
    assert len(found) <= 1e-4 * total, found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-1,1,0", "line 1 has the negative scale -1"),
        ("1e39,1,0", "line 1 is '1e39,1,0'"),
        ("1,nan,0", "line 1 is '1,nan,0'"),
        ("1,1,0,-inf", "line 1 is '1,1,0,-inf'"),
        ("1,1,-1e39", "line 1 is '1,1,-1e39'"),
    ],
)
def test_calibrations_that_the_task_library_alone_takes(oracle, line, said):
    calibration = CalibrationMetadata("identity", 0.0, line + 5 * "\n1,1,0")
    model = described(
        layered([Layer(weights(6, 1), "LOGISTIC")], Port([1, SAMPLES])), head(calibration)
    )
    assert oracle.classify(model, frames(1))
    with pytest.raises(ModelError, match=f"score calibration: {said}"):
        AudioClassifier(model)


@pytest.mark.parametrize("default", [np.nan, np.inf, -np.inf, 1e39])
def test_a_default_score_that_float32_does_not_hold_is_refused(default):
    model = described(layered([Layer(weights(2, 1), "LOGISTIC")], Port([1, SAMPLES])))
    given = CalibrationMetadata("identity", default, "1,1,0\n")
    with pytest.raises(
        ModelError, match=r"score calibration: the default score .* does not fit float32"
    ):
        AudioClassifier(model, ModelOptions(calibration=given))


def test_what_only_one_of_them_refuses_is_as_documented(oracle):
    bare = layered([Layer(weights(6, 1), "LOGISTIC")], Port([1, SAMPLES]))
    model = described(bare, head())
    with pytest.raises(TaskLibraryError, match="missing TensorMetadata"):
        oracle.classify(bare, frames(1))
    assert AudioClassifier(bare).labels[0] == "class 0"
    unknown = oracle.classify(model, frames(1), category_allowlist=["crow", "krow"])
    assert {each.name for each in unknown[0][0].categories} <= {"crow"}
    heads: tuple[EarmarkHead, ...] = AudioClassifier(model).heads
    with pytest.raises(ValueError, match="no label 'krow'; did you mean 'crow'"):
        score_thresholds(heads, allow=["crow", "krow"])
    assert oracle.classify(model, frames(1), display_names_locale="xx")
    with pytest.raises(ValueError, match="no labels of the locale 'xx' \\(there is de, fr\\)"):
        AudioClassifier(model, ModelOptions(locale="xx"))


def yamnet_frames(path) -> np.ndarray:
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != 16_000:
        mono = soxr.resample(mono, rate, 16_000, quality="HQ")
    return np.pad(mono, (0, -len(mono) % 15_600)).astype(np.float32).reshape(-1, 15_600, 1)
