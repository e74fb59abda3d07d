from __future__ import annotations

import hashlib
from pathlib import Path

from pipelines.cli import main

BUILTIN = Path(__file__).parents[2] / "models" / "builtin.tflite"


def test_info_says_what_a_model_takes_gives_and_is_called(capsys):
    assert main(["model", "info", "builtin"]) == 0
    shown = capsys.readouterr().out
    assert hashlib.sha256(BUILTIN.read_bytes()).hexdigest() in shown
    assert "15600 samples, 0.975 s, mono" in shown
    assert "16000 Hz" in shown
    assert "assumed" not in shown
    assert "10 scores" in shown
    assert "siren" in shown


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
    assert "class 0, class 1" in shown


def test_fetch_prints_where_a_model_is_that_was_fetched_before(
    yamnet_path, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path))
    cached = tmp_path / "yamnet-10c95ea3.tflite"
    cached.write_bytes(yamnet_path.read_bytes())
    assert main(["model", "fetch", "yamnet"]) == 0
    assert capsys.readouterr().out.replace("\n", "") == str(cached)
