"""Frames and their labels from Python: what a run scores, and what its rows say."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
import soundfile as sf

import earmark


@pytest.fixture(scope="module")
def classifier():
    return earmark.load_classifier("builtin")


@pytest.mark.parametrize("channels", ["mix", "each"])
def test_frames_are_those_that_a_run_scores_to_the_bit(tmp_path, record, monkeypatch, channels):
    path = record(
        tmp_path / "in" / "long.wav", "tone", "siren", seconds=65, rate=22_050, channels=2
    )
    scored: Counter[bytes] = Counter()
    predict = earmark.AudioClassifier.predict

    def noting(self, frames):
        scored.update(frame.tobytes() for frame in frames)
        return predict(self, frames)

    monkeypatch.setattr(earmark.AudioClassifier, "predict", noting)
    options = {"hop_s": 0.8, "channels": channels}
    done = earmark.classify(
        input=path.parent, output=tmp_path / "out", model="builtin", span_s=60, **options
    )
    assert done.clips == 1
    frames = list(earmark.frames(path, **options))
    assert Counter(frame.samples.tobytes() for frame in frames) == scored
    each = [0, 1] if channels == "each" else [0]
    assert [(frame.start_s, frame.channel) for frame in frames] == [
        (pytest.approx(number * 0.8), channel)
        for number in range(len(frames) // len(each))
        for channel in each
    ]


@pytest.mark.parametrize("dtype", ["int16", "float64", "float32"])
def test_a_waveform_gives_the_frames_of_the_file_that_holds_it(tmp_path, record, dtype):
    path = record(tmp_path / "a.wav", "tone", "hum", rate=44_100, channels=2)
    waveform, rate = sf.read(path, dtype=dtype)
    of_file = [frame.samples for frame in earmark.frames(path)]
    of_waveform = [frame.samples for frame in earmark.frames(waveform, sample_rate_hz=rate)]
    np.testing.assert_array_equal(of_file, of_waveform)


def test_labels_are_those_of_a_runs_rows(tmp_path, record, classifier, rows):
    path = record(tmp_path / "in" / "a.wav", "tone", "siren", "silence", seconds=2.2)
    done = earmark.classify(input=path, output=tmp_path / "out", model="builtin", hop_s=0.5)
    columns = "start_s, end_s, label, score, head"
    expected = rows(tmp_path / "out", "detections", columns, "order by start_s, score desc")
    labelled = earmark.label(path, classifier, top_k=None, hop_s=0.5)
    assert [
        (start_s, end_s, *each) for start_s, end_s, _, labels in labelled for each in labels
    ] == expected
    assert done.detections == len(expected) > 10
    assert earmark.label(path, classifier, hop_s=0.5, min_score=1.1) == [
        frame._replace(labels=()) for frame in labelled
    ]


def test_labels_of_a_waveform_are_those_of_its_file(tmp_path, record, classifier):
    path = record(tmp_path / "a.wav", "siren", rate=8000)
    waveform, rate = sf.read(path, dtype="float32")
    of_waveform = earmark.label(waveform, classifier, sample_rate_hz=rate)
    assert of_waveform == earmark.label(str(path), classifier)
    assert of_waveform[-1].end_s == 3.0


def test_no_samples_give_no_frames(classifier):
    nothing = np.empty(0, np.float32)
    assert list(earmark.frames(nothing, sample_rate_hz=16_000)) == []
    assert earmark.label(nothing, classifier, sample_rate_hz=16_000) == []


def test_frames_that_cannot_be_scored_are_told(classifier):
    waveform = np.zeros(3 * 15_600)
    waveform[20_000] = np.nan
    waveform[40_000] = 1e300
    with pytest.warns(RuntimeWarning, match="2 frames have no labels"):
        heard = earmark.label(waveform, classifier, sample_rate_hz=16_000)
    assert [bool(frame.labels) for frame in heard] == [True, False, False]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty_file"), (b"no sound in here", "not_audio"), (None, "io")],
)
def test_an_error_has_the_reason_of_a_row(tmp_path, content, reason):
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(earmark.AudioError) as raised:
        list(earmark.frames(path))
    assert raised.value.reason == reason
    assert str(raised.value).startswith(f"{path}: ")


def test_a_name_that_no_file_has_is_a_read_error():
    with pytest.raises(earmark.AudioError, match="no name of a file") as raised:
        list(earmark.frames("\ud800.wav"))
    assert raised.value.reason == "io"


def test_good_frames_come_before_the_error(tmp_path, record):
    path = record(tmp_path / "a.wav", "tone", seconds=4)
    whole = [frame.samples for frame in earmark.frames(path)]
    path.write_bytes(path.read_bytes()[:-40_000])
    came = []
    with pytest.raises(earmark.AudioError) as raised:
        came.extend(frame.samples for frame in earmark.frames(path))
    assert raised.value.reason == "truncated"
    assert 0 < len(came) < len(whole)
    np.testing.assert_array_equal(came[:-1], whole[: len(came) - 1])


def test_a_member_of_an_archive_is_a_recording(tmp_path, record):
    import tarfile

    path = record(tmp_path / "a.wav", "tone")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(path, "b/a.wav")
    of_member = [frame.samples for frame in earmark.frames(f"{tmp_path}/a.tar!/b/a.wav")]
    np.testing.assert_array_equal(of_member, [frame.samples for frame in earmark.frames(path)])


@pytest.mark.parametrize(
    ("audio", "how", "said"),
    [
        ("a.wav", {"sample_rate_hz": 8000}, "is for a waveform"),
        ("a.wav", {"hop_s": 1e-9}, "shorter than a sample"),
        ("a.wav", {"channels": "both"}, "'mix' or 'each'"),
        ("a.wav", {"hop_s": "often"}, "hop_s often: .* number"),
        ("a.wav", {"hop_s": float("nan")}, "hop_s nan: .* finite"),
        ("a.wav", {"classifier": "builtin"}, "classifier builtin: .*load_classifier"),
        (np.zeros(9), {}, "sample_rate_hz None"),
        (np.zeros(9), {"sample_rate_hz": 10}, "4000 to 384000"),
        (np.zeros((2, 2, 2)), {"sample_rate_hz": 8000}, r"not \[2, 2, 2\]"),
        (np.zeros((2, 8000)), {"sample_rate_hz": 8000}, r"not \[2, 8000\]: transpose"),
        (np.zeros(9, np.uint8), {"sample_rate_hz": 8000}, "not uint8"),
        ([[0.0], [0.0, 0.0]], {"sample_rate_hz": 8000}, "array of numbers"),
        (np.zeros(9), {"sample_rate_hz": np.array([8000, 1])}, r"sample_rate_hz \[8000"),
    ],
)
def test_what_cannot_be_is_told_at_once(audio, how, said):
    with pytest.raises(earmark.UsageError, match=said):
        earmark.frames(audio, **how)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"top_k": 0}, "top_k 0: .* 1"),
        ({"top_k": 1.5}, "top_k 1.5"),
        ({"min_score": "much"}, "min_score much"),
        ({"min_score": float("nan")}, "min_score nan"),
        ({"min_score": np.array([1.0, 2.0])}, r"min_score \["),
        ({"classifier": None}, "classifier None"),
    ],
)
def test_labels_that_cannot_be_are_told_in_a_line(classifier, how, said):
    with pytest.raises(earmark.UsageError, match=said) as raised:
        earmark.label(np.zeros(9), sample_rate_hz=8000, **{"classifier": classifier, **how})
    assert "\n" not in str(raised.value)


def test_a_classifier_says_what_it_is(classifier):
    said = "<AudioClassifier builtin: 10 classes, frames of 15600 samples at 16000 Hz>"
    assert repr(classifier) == said


def test_a_classifier_is_loaded_as_flags_say(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"sound {number}" for number in range(10)))
    named = earmark.load_classifier("builtin", labels=names, embeddings=True)
    assert named.labels == tuple(f"sound {number}" for number in range(10))
    assert named.embedding_size == 96
    assert named is earmark.load_classifier("builtin", labels=str(names), embeddings=True)


@pytest.mark.parametrize(
    ("model", "how", "said"),
    [
        ("built-in", {}, "builtin"),
        ("builtin", {"lables": "x"}, "no option lables; did you mean labels"),
        ("builtin", {"min_score": 0.1}, "earmark.load_classifier has no option min_score"),
        ("builtin", {"heads": "others"}, "no head 'others'"),
        ("builtin", {"num_threads": 0}, "num_threads 0"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_in_a_line(model, how, said):
    with pytest.raises(earmark.UsageError, match=said) as raised:
        earmark.load_classifier(model, **how)
    assert "\n" not in str(raised.value)


def test_a_classifier_that_is_pickled_says_what_to_do(classifier):
    with pytest.raises(TypeError, match="load it in each process"):
        pickle.dumps(classifier)
