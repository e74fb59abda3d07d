"""What a user gets for a mistake: one clear line, exit status 2, and nothing run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    PipelineOptions,
    StandardOptions,
)

from earmark.pipelines.cli import main
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import CLASSIFY, parse


@pytest.fixture
def archive(tmp_path, record) -> Path:
    record(tmp_path / "archive" / "a.wav", "tone")
    return tmp_path / "archive"


def said(capsys, *arguments: str) -> str:
    """The one line that a wrong command line gets."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err.removeprefix("earmark: ").strip()


WRONG_OPTIONS = [
    (["--min_score", "2"], "min_score 2: the model gives no score above 1"),
    (["--min_score", "much"], "--min_score much: input should be a valid number"),
    (["--min_score", "nan"], "--min_score nan: input should be"),
    (["--hop_s", "0"], "--hop_s 0: input should be greater than 0"),
    (["--hop_s", "0.00001"], "--hop_s 1e-05: shorter than a sample"),
    (["--top_k", "0"], "--top_k 0: input should be greater than or equal to 1"),
    (["--num_shards", "0"], "--num_shards 0: input should be greater"),
    (["--events_gap_s", "-1"], "--events_gap_s -1: input should be greater"),
    (["--place", "50.8,12.9"], "--place: builtin has no companion that tells what is plausible"),
    (["--place", "-33.9,18.4"], "of known models there is one for birdnet_v2.4"),
    (["--place", "own"], "--place: builtin has no companion"),
    (["--place", "Chemnitz"], "--place Chemnitz: must be own, or a latitude and a longitude"),
    (["--place", "95,12.9"], "such as 50.8,12.9"),
    (["--sensitivity", "1.25"], "--sensitivity: only for scores that --activation sigmoid makes"),
    (["--sensitivity", "2"], "--sensitivity 2: input should be less than or equal to 1.5"),
    (["--time_zone", "Berlin"], "--time_zone Berlin: no such time zone"),
    (["--time_pattern", "%H%M"], "--time_pattern %H%M: "),
    (["--min_scores", "0.5"], "unknown argument --min_scores; did you mean --min_score?"),
    (["archive/"], "archive does not exist"),
    (["--min-score", "2"], "min_score 2: the model gives no score above 1"),
    (["--min-scores", "0.5"], "unknown argument --min-scores; did you mean --min_score?"),
    (["--min-score=0.5", "--min_score=0.4"], "--min_score: given twice"),
    (["--direct_num_worker", "2"], "did you mean --direct_num_workers?"),
    (["--direct_num_workers", "many"], "--direct_num_workers"),
    (["--model", "yamet"], "yamnet"),
    (["--model", "nowhere.tflite"], "nowhere.tflite"),
    (["--labels", "nowhere.txt"], "nowhere.txt"),
    (["--direct_num_workers", "-3"], "--direct_num_workers -3: 1 to 64"),
    (["--direct_running_mode", "multi_processing"], "a local run has threads of one process"),
    (["--runner", "DataflowRunner"], "temp_location; Missing GCS path option: staging_location; "),
    (["--runner", "FlinkRuner"], "--runner FlinkRuner: no such runner; did you mean"),
    (["--events_gap_s", "inf"], "--events_gap_s inf: input should be a finite number"),
    (["--labels", ""], "--labels"),
    (["--model", "a\0b.tflite"], "contains a NUL"),
    (["--config", "nowhere.yaml"], "--config nowhere.yaml: No such file or directory"),
    (["--sample_rate", "8000"], "8000"),
    (["--events_gap_s", "1e308"], "--events_gap_s 1e308: input should be less than or equal to 1"),
    (["--hop_s", "1e-300"], "--hop_s 1e-300: shorter than a sample"),
    (["--hop_s", "1e300"], "--hop_s 1e300: input should be less than or equal to 3600"),
    (["--span_s", "6" + "0" * 30], "input should be less than or equal to 1000000"),
    (["--span_s", "-60"], "--span_s -60: input should be greater than 0"),
    (["--top_k", "1" + "0" * 30], "input should be less than or equal to 1000000"),
    (["--top_k", "1" + "0" * 5000], "--top_k 1000"),
    (["--num_shards", "1000000000"], "input should be less than or equal to 100000"),
    (["--num_threads", "1000000"], "input should be less than or equal to 256"),
    (["--commit_every_s", "1e308"], "input should be less than or equal to 31536000"),
    (["--commit_every_s=-1e308"], "input should be greater than 0"),
    (["--watch", "--window_s", "1" + "0" * 30], "input should be less than or equal to 86400"),
    (["--sample_rate", "1" + "0" * 30], "input should be less than or equal to 384000"),
    (["--min_score=-1e308"], "input should be greater than or equal to -1000000000"),
    (["--min_score", "1e9"], "the model gives no score above 1"),
    (["--top_k", "1_000"], "--top_k 1_000: a number is written like 600 or 0.5"),
    (["--top_k", "010"], "--top_k 010: a number is written like 600 or 0.5"),
    (["--xnnpack", "1"], "--xnnpack 1: must be on or off"),
    (["--min_score", "0.1", "--min_score", "0.2"], "--min_score: given twice"),
    (["--watch", "--watch"], "--watch: given twice"),
    (["--embeddings", "--embeddings=float16"], "--embeddings: given twice"),
    (["--runner", "DirectRunner", "--runner=FnApiRunner"], "--runner: given twice"),
    (["--direct_num_workers=1", "--direct_num_workers", "2"], "--direct_num_workers: given twice"),
    (["--model", "builtin", "--model", "yamnet"], "--model: given twice"),
    (["--config", "a.yaml", "--config", "b.yaml"], "--config: given twice"),
    (["--locale", "\x1b[31mred\n\u202e"], "\\x1b[31mred\\n\\u202e"),
    (["--window_s", "60"], "--window_s 60: needs --watch: add it, or leave this out"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS, ids=lambda value: " ".join(value))
def test_a_wrong_option_is_one_line(archive, tmp_path, capsys, options, message):
    model = [] if "--model" in options else ["--model", "builtin"]
    output = tmp_path / "out"
    line = said(
        capsys, "classify", "--input", str(archive), "--output", str(output), *model, *options
    )
    assert message in line
    assert not output.exists()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nowhere", "nowhere"),
        ("nowhere/**", "nowhere"),
        ("archive/*.mp3", "matches nothing"),
        ("archive/nowhere.wav", "nowhere.wav"),
        ("nowhere.csv", "nowhere.csv"),
        ("zz://bucket/**", "zz"),
    ],
)
def test_input_that_is_not_there_is_one_line(
    archive, tmp_path, capsys, monkeypatch, pattern, message
):
    monkeypatch.chdir(tmp_path)
    line = said(capsys, "classify", "--input", pattern, "--output", "out", "--model", "builtin")
    assert message in line
    assert not Path("out").exists()


def test_output_that_cannot_be_written_to_is_one_line(archive, tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    output = f"{blocked}/below"
    line = said(
        capsys, "classify", "--input", str(archive), "--output", output, "--model", "builtin"
    )
    assert line.startswith(f"--output {output}: cannot be written to")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission_is_one_line(archive, tmp_path, capsys):
    tmp_path.chmod(0o500)
    line = said(capsys, "classify", "--input", str(archive), "--output", f"{tmp_path}/out")
    assert "cannot be written to" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_score: 2\nmodel: builtin", "min_score 2: the model gives no score above 1"),
        ("min_skore: 0.5", "unknown key min_skore; did you mean min_score?"),
        (
            "beam: {runer: DirectRunner}",
            "unknown argument --runer=DirectRunner; did you mean --runner?",
        ),
        ("beam: [1]", "beam: must be a mapping of Beam's options"),
        ("- a list", "contains no options"),
        ("top_k: 3\ntop_k: 4", "top_k is given twice"),
        ("time_pattern: 2024-99-99", "time_pattern 2024-99-99: "),
        ("min_score: " + "[" * 3000, "not YAML"),
        ('labels: "\\0"', "contains a NUL"),
        ("min_score: [", "not YAML"),
        ("", "contains no options"),
    ],
)
def test_a_wrong_config_file_is_one_line(archive, tmp_path, capsys, text, message):
    config = tmp_path / "job.yaml"
    config.write_text(text)
    line = said(
        capsys, "classify", "--input", str(archive), "--output", "out", "--config", str(config)
    )
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clasify"], "unknown command clasify; did you mean classify?"),
        (["transcribe"], "unknown command transcribe; see earmark --help"),
        (["classify", "--input", "x"], "--output is required"),
        (["classify", "--output", "x"], "--input is required"),
        (["classify", "--input", "x", "--output", "y", "--model"], "expected one argument"),
        (["model", "info", "nothing.tflite"], "nothing.tflite"),
        (["model", "fetch", "yamne"], "did you mean yamnet?"),
        (["demo", "--outptu", "x"], "--outptu"),
    ],
)
def test_a_wrong_command_is_one_line(capsys, arguments, message):
    assert message in said(capsys, *arguments)


@pytest.mark.parametrize("option", ["--output", "--model"])
def test_a_model_is_labelled_with_each_option_once(capsys, option):
    flag = {"--output": "--output", "--model": "--name"}[option]
    assert f"{flag}: given twice" in said(capsys, "model", "label", "builtin", flag, "a", flag, "b")


def test_lists_may_be_repeated_and_flags_go_before_beams_part_of_a_config_file(tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text("beam: {runner: FlinkRunner, experiments: [a]}")
    options, beam_flags = parse(
        [*("--config", str(config), "--input", "x", "--input", "y", "z", "--output", "o")]
        + ["--allow", "a", "--allow", "b", "--runner", "DirectRunner"]
        + ["--experiments", "b", "--experiments", "c"],
        CLASSIFY,
    )
    assert (options.input, options.allow) == (("x", "y", "z"), ("a", "b"))
    beam = PipelineOptions(beam_flags)
    assert beam.view_as(StandardOptions).runner == "DirectRunner"
    assert beam.view_as(DebugOptions).experiments == ["a", "b", "c"]


SPECIAL = {
    "device": "is not a regular file",
    "pipe": "is not a regular file",
    "folder": "Is a directory",
    "huge": "is larger than ",
}


@pytest.fixture(params=SPECIAL)
def special(request, tmp_path) -> tuple[str, str]:
    """A device without an end, a pipe without a writer, a folder, a file of 10 GB; and its line."""
    path = tmp_path / request.param
    if request.param == "device":
        path = Path("/dev/zero")
    elif request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(10**10)
    return str(path), SPECIAL[request.param]


@pytest.mark.parametrize("option", ["labels", "thresholds", "calibration", "allow", "config"])
def test_what_is_no_file_to_be_read_whole_is_one_line(archive, tmp_path, capsys, special, option):
    path, message = special
    given = f"@{path}" if option == "allow" else path
    run = ["classify", "--input", str(archive), "--output", f"{tmp_path}/out", "--model", "builtin"]
    line = said(capsys, *run, f"--{option}", given)
    assert line.startswith(f"--{option} {path}: {message}")


def test_what_is_no_model_is_one_line(capsys, special):
    path, message = special
    line = said(capsys, "model", "info", path)
    assert path in line
    assert message in line or "not a regular file" in line


def test_a_manifest_that_is_no_list_of_lines_is_one_line(tmp_path, capsys):
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(10**10)
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in {"huge": "line 1 is longer", "pipe": "is not a regular file"}.items():
        manifest = str(tmp_path / f"{name}.csv")
        run = ["classify", "--input", manifest, "--output", f"{tmp_path}/out"]
        assert message in said(capsys, *run, "--model", "builtin")


def test_a_labelled_model_never_takes_the_place_of_a_device_or_a_folder(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        output = str(tmp_path / name)
        line = said(capsys, "model", "label", "builtin", "--name", "x", "--output", output)
        assert "is not a regular file; name another" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_flags_go_before_the_config_file_and_that_before_defaults(tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(
        "input: archive/**\nmin_score: 0.3\ntop_k: 4\nbeam:\n  direct_num_workers: 3\n"
    )
    arguments = ["--config", str(config), "--output", "out", "--min_score", "0.7"]
    options, beam_flags = parse(arguments, CLASSIFY)
    assert options.input == ("archive/**",)
    assert (options.min_score, options.top_k, options.events_gap_s) == (0.7, 4, 0.0)
    assert options.model == "yamnet"
    assert beam_flags == ["--direct_num_workers=3"]


@pytest.mark.parametrize(
    "config", sorted(Path(__file__).parents[3].glob("configs/*.yaml")), ids=str
)
def test_the_configs_that_come_with_the_project_are_valid(config):
    options, _ = parse(["--config", str(config), "--input", "x", "--output", "y"], CLASSIFY)
    assert options.output == "y"


def test_help_shows_no_internals(capsys):
    with pytest.raises(SystemExit):
        main(["classify", "--help"])
    assert "Undefined" not in capsys.readouterr().out


def test_help_names_every_option(capsys):
    from earmark.pipelines.options.model import ClassifyOptions

    with pytest.raises(SystemExit) as ended:
        main(["classify", "--help_all"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in ClassifyOptions.model_fields:
        assert f"--{name}" in shown


def test_without_a_command_the_help_is_shown(capsys):
    assert main([]) == 0
    assert "earmark classify" in capsys.readouterr().out


def test_a_usage_error_is_what_parse_raises():
    with pytest.raises(UsageError):
        parse(["--input"], CLASSIFY)


def test_blas_has_one_thread_for_each_worker_unless_told_otherwise():
    script = (
        "import os; from earmark.pipelines.cli import main; main(['model', 'info', 'builtin']);"
        "print([os.environ[f'{name}_NUM_THREADS'] for name in ('OPENBLAS', 'OMP', 'MKL')])"
    )
    environ = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env={**environ, "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "['1', '3', '1']"
