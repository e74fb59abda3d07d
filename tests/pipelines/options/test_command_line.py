"""How a command line is read: recordings without a flag, hyphens, help, unfit systems."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.pipelines.cli import main
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import CLASSIFY, EMBED, parse

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("line", "recordings", "beam"),
    [
        ("cards --output o", ["cards"], []),
        ("--output o cards more", ["cards", "more"], []),
        ("a --output o --input b c", ["a", "b", "c"], []),
        ("--direct_num_workers 2 2 --output o", ["2"], ["--direct_num_workers", "2"]),
        ("--direct-num-workers=2 a --output o", ["a"], ["--direct_num_workers=2"]),
        ("--no_auth a --output o b", ["a", "b"], ["--no_auth"]),
        ("a --output o --parallelism 4 b", ["a", "b"], ["--parallelism", "4"]),
        ("a-b --output o --min-score 0.5 c-d", ["a-b", "c-d"], []),
    ],
)
def test_recordings_may_stand_anywhere_without_a_flag(line, recordings, beam, monkeypatch):
    monkeypatch.setattr("earmark.pipelines.options.command_line._check_beam_flags", lambda *_: None)
    options, beam_flags = parse(line.split(), CLASSIFY)
    assert list(options.input) == recordings
    assert beam_flags == beam


def test_hyphens_in_names_of_options_count_as_underscores_and_in_values_do_not():
    line = ["a", "--output", "o", "--events-gap-s=2", "--time-pattern", "x-%Y-%m-%d-%H%M"]
    options, _ = parse(line, CLASSIFY)
    assert (options.events_gap_s, options.time_pattern) == (2.0, "x-%Y-%m-%d-%H%M")


def test_hyphens_count_as_underscores_in_other_commands_too(tmp_path, archive, classify):
    classify(archive, tmp_path / "out")
    assert main(["repair", str(tmp_path / "out"), "--dry-run"]) == 0
    assert main(["repair", str(tmp_path / "out"), "--dri-run"]) == 2


def test_hyphens_count_as_underscores_in_config_files_too(tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text("min-score: 0.3\nbeam: {direct_num_workers: 2}\n")
    options, beam_flags = parse(["a", "--output", "o", "--config", str(config)], CLASSIFY)
    assert (options.min_score, beam_flags) == (0.3, ["--direct_num_workers=2"])
    config.write_text("min-score: 0.3\nmin_score: 0.4\n")
    with pytest.raises(UsageError, match="min_score is given twice"):
        parse(["a", "--output", "o", "--config", str(config)], CLASSIFY)


@pytest.mark.parametrize(("command", "most"), [("classify", 10), ("embed", 10)])
def test_help_fits_a_screen_and_says_how_to_see_the_rest(capsys, command, most):
    shown = _help(capsys, command, "--help")
    options = re.findall(r"^  --(\w+)", shown, re.M)
    assert {"input", "output", "model", "dry_run"} <= set(options)
    assert len(set(options) - {"help_all"}) <= most
    assert len(shown.splitlines()) < 55
    assert "--help_all" in shown


def test_all_help_of_embed_has_its_options_and_none_of_scores(capsys):
    shown = _help(capsys, "embed", "--help-all")
    assert "--hop_s" in shown
    assert "--top_k" not in shown
    options, _ = parse(["a", "--output", "o"], EMBED)
    assert options.embeddings == "float32"


def _help(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0
    return capsys.readouterr().out


ON_WINDOWS = """
import signal, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
del signal.SIGHUP
"""


def test_where_it_cannot_run_the_command_says_so_in_a_line():
    script = f"{ON_WINDOWS}\nfrom earmark.pipelines.cli import run_command; run_command(LINE)"
    done = _python(script.replace("LINE", "['classify', 'a', '--output', 'o']"))
    assert done.returncode == 2
    assert done.stderr == "earmark: earmark runs on Linux and macOS\n"


def test_where_it_cannot_run_the_library_says_so():
    done = _python(f"{ON_WINDOWS}\nfrom earmark import classify")
    assert done.stderr.splitlines()[-1] == "ImportError: earmark runs on Linux and macOS"


def _python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
