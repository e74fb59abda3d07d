"""What a run makes of a model's heads, labels, thresholds, calibration and channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from earmark.models.builtin.synthesis import LABELS, synthesise
from earmark.models.describing import describe
from earmark.models.graphs import flatbuffers as graphs
from earmark.pipelines.cli import main

BUILTIN = (Path(__file__).parents[3] / "models" / "builtin" / "builtin.tflite").read_bytes()
GERMAN = tuple(f"{label} auf Deutsch" for label in LABELS)
ROW = "clip, start_s, label, score"


@pytest.fixture(scope="module")
def archive(tmp_path_factory, record) -> Path:
    folder = tmp_path_factory.mktemp("options") / "in"
    record(folder / "a.wav", "tone", "noise", "siren")
    record(folder / "b.flac", "chord", "tone")
    return folder


@pytest.fixture(scope="module")
def heard(archive, rows) -> Callable[..., list[tuple]]:
    """Hears the archive with options, once with each; gives rows of detections, sorted."""
    outputs: dict[tuple[str, ...], Path] = {}

    def run(*options: str, columns: str = ROW, where: str = "") -> list[tuple]:
        if options not in outputs:
            output = archive.with_name(f"out{len(outputs)}")
            model = () if "--model" in options else ("--model", "builtin")
            where_to = ("--input", str(archive), "--output", str(output))
            assert main(["classify", *where_to, *model, *options]) == 0
            outputs[options] = output
        return sorted(rows(outputs[options], "detections", columns, where))

    return run


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory) -> Path:
    """The builtin model with its logits as a second head, of other labels."""
    graph = graphs.parse(BUILTIN)
    graph.metadata = []
    operators = {int(each.outputs[0]): each for each in graph.subgraphs[0].operators}
    tensor = int(graph.subgraphs[0].outputs[0])
    while graphs.operator_name(graph, operators[tensor]) != "LOGISTIC":
        tensor = int(operators[tensor].inputs[0])
    model = graphs.with_output(graphs.serialise(graph), int(operators[tensor].inputs[0]))
    model = describe(model, head=0, labels=LABELS, sample_rate_hz=16_000)
    model = describe(model, head=1, labels=[f"logit of {label}" for label in LABELS])
    path = tmp_path_factory.mktemp("two heads") / "two_heads.tflite"
    path.write_bytes(model)
    return path


def test_rows_name_the_head_and_give_nothing_where_nothing_was_asked_for(heard):
    got = set(heard(columns="head, display_name, channel, score_raw"))
    assert got == {("scores", None, None, None)}


def test_display_names_stand_beside_labels(heard, tmp_path):
    path = tmp_path / "german.tflite"
    path.write_bytes(describe(BUILTIN, labels=GERMAN, locale="de"))
    got = heard("--model", str(path), "--locale", "de", columns="label, display_name")
    assert len(set(got)) > 3
    assert all(shown == f"{label} auf Deutsch" for label, shown in got)


def test_each_head_has_rows_of_its_own_and_one_can_be_chosen(heard, two_heads):
    columns = "head, clip, start_s, label, label_index"
    both = heard("--model", str(two_heads), "--min_score", "0", "--top_k", "2", columns=columns)
    names = sorted({row[0] for row in both})
    assert len(names) == 2
    per_frame: dict[tuple, int] = {}
    for head, clip, start_s, label, label_index in both:
        per_frame[head, clip, start_s] = per_frame.get((head, clip, start_s), 0) + 1
        assert label.removeprefix("logit of ") == LABELS[label_index]
    assert max(per_frame.values()) == 2
    for name in names:
        alone = heard(
            *("--model", str(two_heads), "--min_score", "0", "--top_k", "2", "--heads", name),
            columns=columns,
        )
        assert alone == [row for row in both if row[0] == name]


def test_logits_become_scores_by_the_activation_that_is_named(heard, two_heads):
    model = ["--model", str(two_heads)]
    all_of_it = [*model, "--min_score", "-1000"]
    columns = "clip, start_s, label_index, score"
    names = sorted({head for (head,) in heard(*all_of_it, columns="head")})
    raw = {name: heard(*all_of_it, "--heads", name, columns=columns) for name in names}
    logits = next(name for name in names if min(row[3] for row in raw[name]) < 0)
    (scores,) = set(names) - {logits}
    again = heard(*all_of_it, "--heads", logits, "--activation", "sigmoid", columns=columns)
    assert [row[:3] for row in again] == [row[:3] for row in raw[scores]]
    given, expected = ([row[3] for row in each] for each in (again, raw[scores]))
    np.testing.assert_allclose(given, expected, atol=1 / 256)  # the scores are of 8 bits
    soft = heard(*all_of_it, "--heads", logits, "--activation", "softmax", columns=columns)
    sums: dict[tuple, float] = {}
    for clip, start_s, _, score in soft:
        sums[clip, start_s] = sums.get((clip, start_s), 0) + score
    assert all(math.isclose(total, 1, abs_tol=1e-5) for total in sums.values())


def test_allowed_and_denied_labels_are_a_choice_of_the_rows(heard, tmp_path):
    every = heard()
    listed = tmp_path / "labels.txt"
    listed.write_text("siren\n\n no*\n")
    wanted = [row for row in every if row[2] in ("siren", "noise", "tone")]
    assert wanted
    assert heard("--allow", "tone", "--allow", f"@{listed}") == wanted
    denied = [row for row in every if row[2] not in ("siren", "noise", "tone")]
    assert heard("--deny", f"@{listed}", "--deny", "ton?") == denied


def test_the_best_are_chosen_of_those_that_are_allowed(heard):
    best = heard("--min_score", "0", "--top_k", "1", "--deny", "tone", "--deny", "chord")
    every = heard("--min_score", "0", "--deny", "tone", "--deny", "chord")
    frames = sorted({row[:2] for row in every})
    assert [row[:2] for row in best] == frames
    for row in best:
        of_frame = [each[3] for each in every if each[:2] == row[:2]]
        assert row[3] == max(of_frame)


def test_thresholds_of_classes_go_over_the_global_one(heard, tmp_path):
    path = tmp_path / "thresholds.csv"
    path.write_text('label,min_score\ntone,0.9\n"siren",0.02\n')
    every = heard("--min_score", "0")
    least = {"tone": 0.9, "siren": 0.02}
    expected = [row for row in every if row[3] >= np.float32(least.get(row[2], 0.3))]
    assert heard("--thresholds", str(path), "--min_score", "0.3") == expected


def test_the_models_own_threshold_counts_unless_another_is_named(heard, tmp_path):
    path = tmp_path / "picky.tflite"
    path.write_bytes(describe(BUILTIN, score_threshold=0.7))
    every = heard("--min_score", "0")
    of_model = [row for row in every if row[3] >= np.float32(0.7)]
    assert heard("--model", str(path)) == of_model
    below = heard("--model", str(path), "--min_score", "0.2")
    assert below == [row for row in every if row[3] >= np.float32(0.2)]


def test_calibrated_rows_hold_both_scores(heard, tmp_path):
    path = tmp_path / "calibration.txt"
    lines = ["0.9,2.0,-0.5"] * len(LABELS)
    lines[LABELS.index("noise")] = ""
    path.write_text("\n".join(lines))
    columns = "clip, start_s, label, score_raw, score"
    options = ("--calibration", str(path), "--calibration_default", "0.25", "--min_score", "0")
    got = heard(*options, columns=columns)
    raw = heard("--min_score", "0")
    assert [row[:4] for row in got] == raw
    for _, _, label, score_raw, score in got:
        expected = 0.25 if label == "noise" else 0.9 / (1 + math.exp(-(2.0 * score_raw - 0.5)))
        assert score == pytest.approx(expected, abs=1e-6)


def test_channels_heard_by_themselves_give_the_rows_of_files_of_one(tmp_path, classify, rows):
    rng = np.random.default_rng(3)
    left, right = (synthesise(sound, rng, 70.0, 22_050) for sound in ("siren", "noise"))
    sides = {"left": left, "right": right, "both": np.stack([left, right], axis=1)}
    for name, samples in sides.items():
        (tmp_path / name).mkdir()
        sf.write(tmp_path / name / "x.wav", samples, 22_050, subtype="FLOAT")
        options = ["--channels", "each", "--hop_s", "0.7", "--span_s", "60"]
        status, _, err = classify(tmp_path / name, tmp_path / f"{name}_out", *options)
        assert status == 0, err

    def of(name: str, table: str, columns: str, where: str = "") -> list[tuple]:
        return sorted(rows(tmp_path / f"{name}_out", table, columns, where))

    for table, columns in (
        ("detections", "start_s, end_s, label, score"),
        ("events", "start_s, end_s, label, max_score, mean_score, frames"),
    ):
        for channel, name in enumerate(("left", "right")):
            assert of("both", table, columns, f"where channel = {channel}") == of(
                name, table, columns, "where channel = 0"
            )
    frames = [of(name, "clips", "frames") for name in sides]
    assert frames[0] == frames[1] == frames[2]


def test_what_channels_hear_at_once_counts_once_in_the_clips_labels(tmp_path, classify, rows):
    tone = synthesise("siren", np.random.default_rng(3), 4.0, 16_000)
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "x.wav", np.stack([tone, tone], axis=1), 16_000)
    assert classify(tmp_path / "in", tmp_path / "out", "--channels", "each")[0] == 0
    ((labels, duration_s),) = rows(tmp_path / "out", "clips", "labels, duration_s")
    siren = next(label for label in labels if label["label"] == "siren")
    assert 3 < siren["seconds"] <= duration_s


def test_a_folder_of_other_calibration_or_lists_is_told_in_a_line(archive, tmp_path, classify):
    for name, line in (("one", "1,1,0"), ("other", "1,2,0")):
        (tmp_path / name).write_text(f"{line}\n" * len(LABELS))
    how = ["--calibration", str(tmp_path / "one")]
    assert classify(archive, tmp_path / "out", *how)[0] == 0
    for options, said in (
        (["--calibration", str(tmp_path / "other")], "rows made with calibration sha256 "),
        ([*how, "--allow", "tone"], "rows made with allow none, not tone"),
        ([*how, "--channels", "each"], "rows made with channels mix, not each"),
    ):
        status, _, err = classify(archive, tmp_path / "out", *options)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err


def test_a_clip_counts_once_for_labels_of_one_name(archive, tmp_path, classify, rows):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["a"] * 4 + ["b"] * 6))
    how = ["--labels", str(names), "--min_score", "0"]
    status, shown, _ = classify(archive, tmp_path / "out", *how)
    assert status == 0
    (line,) = (line.split() for line in shown.splitlines() if line.startswith("a "))
    assert line[1] == "2"
    for (labels,) in rows(tmp_path / "out", "clips", "labels"):
        assert sorted(each["label_index"] for each in labels) == list(range(10))


WRONG = [
    (["--locale", "de"], "no labels of the locale 'de' (there is none)"),
    (["--heads", "score"], "the model has no head 'score'; did you mean scores?"),
    (["--activation", "relu"], "--activation relu: input should be 'none', 'sigmoid' or 'softmax'"),
    (["--allow", "Tone"], "the model has no label 'Tone'; did you mean 'tone'?"),
    (["--deny", "zz*"], "no label of the model fits the pattern 'zz*'"),
    (["--allow", "tone", "--deny", "noise"], "labels can be allowed or denied, not both at once"),
    (["--allow", "@nowhere.txt"], "--allow nowhere.txt: No such file"),
    (["--thresholds", "nowhere.csv"], "--thresholds nowhere.csv: No such file"),
    (["--thresholds", "{file}", "tone,much"], "line 1: the min_score 'much' is not a number"),
    (["--thresholds", "{file}", "tne,0.5"], "the model has no label 'tne'; did you mean 'tone'?"),
    (["--thresholds", "{file}", "tone"], "line 1 is 'tone', not label,min_score"),
    (["--calibration", "{file}", "1,2,3"], "it has 1 lines, but there are 10 classes"),
    (["--calibration", "{file}", "\n" * 9 + "1,x,3"], "line 10 is '1,x,3'"),
    (["--calibration_transformation", "log"], "needs --calibration: give its file"),
    (["--calibration", "{file}", "1,1,0\n" * 9], "it has 9 lines, but there are 10 classes"),
    (["--calibration_default", "0"], "needs --calibration: give its file"),
    (
        ["--thresholds", "{file}", "tone,5"],
        "'tone' has the threshold 5, from --thresholds or the model's",
    ),
    (["--deny", "*"], "--allow or --deny excludes every label"),
    (["--allow", "@"], "--allow @: name a file after the @"),
    (["--channels", "left"], "--channels left: input should be 'mix' or 'each'"),
    (["--embeddings", "int8"], "--embeddings int8: input should be 'float32' or 'float16'"),
    (["--num_threads", "0"], "--num_threads 0: input should be greater than or equal to 1"),
    (["--xnnpack", "perhaps"], "--xnnpack perhaps: must be on or off"),
    (["--min_score", "1.5"], "min_score 1.5: the model gives no score above 1"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda value: "".join(value)[:40])
def test_a_wrong_option_is_one_line(archive, tmp_path, capsys, options, message):
    if "{file}" in options:
        option, _, content = options
        (tmp_path / "given.txt").write_text(content)
        options = [option, str(tmp_path / "given.txt")]
    output = tmp_path / "out"
    arguments = ["--input", str(archive), "--output", str(output), "--model", "builtin", *options]
    assert main(["classify", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert message in err
    assert not output.exists()
