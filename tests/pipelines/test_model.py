from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from earmark.pipelines.cli import main

BUILTIN = Path(__file__).parents[2] / "models" / "builtin" / "builtin.tflite"


def test_info_says_what_a_model_takes_gives_and_is_called(capsys):
    assert main(["model", "info", "builtin"]) == 0
    shown = capsys.readouterr().out
    assert hashlib.sha256(BUILTIN.read_bytes()).hexdigest() in shown
    assert "15600 samples, 0.975 s, mono" in shown
    assert "16000 Hz" in shown
    assert "assumed" not in shown
    assert "10 scores" in shown
    assert "siren" in shown
    assert "'audio_clip'" in shown
    assert "10 scores, 'scores'" in shown


def test_labels_that_contain_commas_can_be_told_apart(tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("Child speech, kid speaking\n" + "\n".join("bcdefghij"))
    model = str(tmp_path / "m.tflite")
    assert main(["model", "label", "builtin", "--labels", str(labels), "--output", model]) == 0
    assert main(["model", "info", model]) == 0
    assert "Child speech, kid speaking; b; c;" in capsys.readouterr().out


def test_the_command_without_an_action_lists_its_actions(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["model"])
    assert ended.value.code == 0
    assert "pack labels and metadata into a .tflite file" in capsys.readouterr().out


def test_info_as_json_says_all_of_it(tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"Laut {i}" for i in range(10)))
    calibration = tmp_path / "calibration.txt"
    calibration.write_text("1,2,3\n" * 10)
    model = str(tmp_path / "deutsch.tflite")
    arguments = ["model", "label", "builtin", "--labels", str(labels), "--locale", "de"]
    options = ["--calibration", str(calibration), "--calibration_transformation", "log"]
    more = ["--calibration_default", "0.25", "--score_threshold", "0.5", "--name", "Laute"]
    assert main([*arguments, *options, *more, "--output", model]) == 0
    assert capsys.readouterr().out == f"{model}\n"
    assert main(["model", "info", model, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (output,) = said["metadata"]["outputs"]
    assert said["metadata"]["name"] == "Laute"
    assert [file["locale"] for file in output["label_files"]] == [None, "de"]
    assert output["score_threshold"] == 0.5
    assert output["calibration"]["transformation"] == "log"
    assert output["calibration"]["default_score"] == 0.25
    assert said["metadata"]["inputs"][0]["sample_rate_hz"] == 16_000
    assert (said["takes"]["frame_samples"], said["embedding_size"]) == (15_600, 96)
    assert said["heads"][0]["labels"][:2] == ["silence", "tone"]


def test_a_model_is_labelled_in_its_own_place_or_a_new_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("\n".join("abcdefghij"))
    assert main(["model", "label", "builtin", "--labels", "names.txt"]) == 0
    assert main(["model", "label", "builtin", "--labels", "names.txt"]) == 2
    assert "builtin-labelled.tflite exists already" in capsys.readouterr().err
    own = ["--labels", "names.txt", "--locale", "xx", "--output", "builtin-labelled.tflite"]
    assert main(["model", "label", "builtin-labelled.tflite", *own]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "builtin-labelled.tflite",
        "names.txt",
    ]


WRONG_LABELS = [
    (["--labels", "nowhere.txt"], "--labels nowhere.txt: No such file"),
    (["--labels", "few.txt"], "2 labels are given, but output 0 has 10 classes"),
    (["--calibration", "few.txt"], "score calibration: line 1 is 'a'"),
    (
        ["--calibration_transformation", "log", "--name", "x"],
        "--calibration_default need --calibration",
    ),
    (["--head", "1", "--labels", "few.txt"], "head"),
    (["--head", "-1"], "argument --head: invalid"),
    (["--locale", "de"], "nothing to pack: give --labels"),
    ([], "nothing to pack"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_LABELS, ids=lambda each: " ".join(each))
def test_a_wrong_label_command_is_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    Path("few.txt").write_text("a\nb\n")
    assert main(["model", "label", "builtin", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert [path.name for path in tmp_path.iterdir()] == ["few.txt"]


def test_info_lists_all_labels_when_asked(yamnet_path, capsys):
    assert main(["model", "info", str(yamnet_path)]) == 0
    assert "and 501 more" in capsys.readouterr().out
    assert main(["model", "info", str(yamnet_path), "--labels"]) == 0
    lines = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[-521:][0].endswith("Speech")


def test_info_says_that_a_sample_rate_is_assumed(shared, capsys):
    path = shared / "models" / "no_metadata_5360x527.tflite"
    assert main(["model", "info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "16000 Hz (assumed" in shown
    assert "class 0; class 1" in shown


def test_fetch_prints_where_a_model_is_that_was_fetched_before(
    yamnet_path, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path))
    cached = tmp_path / "yamnet-10c95ea3.tflite"
    cached.write_bytes(yamnet_path.read_bytes())
    assert main(["model", "fetch", "yamnet"]) == 0
    assert capsys.readouterr().out.replace("\n", "") == str(cached)


def test_a_file_that_is_there_is_not_written_over_for_want_of_a_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("\n".join("abcdefghij"))
    assert main(["model", "label", "builtin", "--labels", "names.txt", "--output", ""]) == 2
    assert "--output: is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--channels", "7", "15600 values, which is not a multiple of the 7 channels"),
        ("--sample_rate", "4294967295", "only 1000 to 384000 Hz are supported"),
        ("--sample_rate", "-5", "invalid whole_number value: '-5'"),
        ("--lab", "names.txt", "unrecognized arguments: --lab"),
    ],
)
def test_a_model_that_could_not_be_run_is_not_written(tmp_path, capsys, option, value, message):
    output = tmp_path / "x.tflite"
    assert main(["model", "label", "builtin", option, value, "--output", str(output)]) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()
