"""The Flex Template: its parameters are the options of `earmark classify`, and become them."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dataflow.launch import command_line
from dataflow.metadata import metadata
from earmark.pipelines.options import CLASSIFY, parse
from earmark.pipelines.options.model import ClassifyOptions

ROOT = Path(__file__).resolve().parents[1]

FROM_THE_LAUNCHER = (
    "--runner=DataflowRunner",
    "--project=project",
    "--region=europe-west4",
    "--job_name=earmark",
    "--template_location=gs://bucket/staging/template_launches/1/job_object",
    "--staging_location=gs://bucket/staging",
    "--temp_location=gs://bucket/temp",
    "--sdk_container_image=example/earmark:1",
    "--service_account_email=earmark@example.com",
    "--max_num_workers=50",
)
"""Beam's options, as the launcher adds them."""


PARAMETERS: dict[str, dict[str, Any]] = {each["name"]: each for each in metadata()["parameters"]}


def understood(*given: str) -> tuple[ClassifyOptions, list[str]]:
    flags = ["--input=gs://a/**", "--output=gs://b", *given, *FROM_THE_LAUNCHER]
    return parse(command_line(flags), CLASSIFY)


def test_each_option_is_a_parameter_but_for_the_few_that_make_no_sense():
    assert set(PARAMETERS) | {"dry_run", "verbose"} == set(ClassifyOptions.model_fields)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_says_what_its_option_does(name):
    field = ClassifyOptions.model_fields[name]
    parameter = PARAMETERS[name]
    assert str(field.description).replace("%%", "%") in parameter["helpText"]
    assert parameter.get("isOptional", False) == (not field.is_required())
    assert parameter["label"]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_that_is_a_switch_is_true_or_false(name):
    is_switch = ClassifyOptions.model_fields[name].annotation is bool
    takes = PARAMETERS[name].get("regexes", [])
    assert is_switch == (takes == ["^(true|false)$"])


def test_a_parameter_of_a_few_values_takes_no_others():
    assert PARAMETERS["channels"]["regexes"] == ["^(mix|each)$"]
    assert PARAMETERS["embeddings"]["regexes"] == ["^(float32|float16)$"]
    assert "regexes" not in PARAMETERS["locale"]


def test_the_program_prints_the_metadata(capsys):
    runpy.run_path(str(ROOT / "dataflow" / "metadata.py"), run_name="__main__")
    assert json.loads(capsys.readouterr().out) == metadata()


@pytest.mark.parametrize("value", ["gs://bucket/archive/**", "gs://a/b c.wav,gs://d/**", "s3://a"])
def test_uris_are_taken_as_input(value):
    (pattern,) = PARAMETERS["input"]["regexes"]
    assert re.match(pattern, value)


def test_a_path_of_some_machine_is_not_taken_as_output():
    (pattern,) = PARAMETERS["output"]["regexes"]
    assert not re.match(pattern, "/tmp/labels")


def test_several_inputs_have_commas_between_them():
    given = ["--input=gs://a/x, y.wav,gs://b/**,s3://c", "--output=gs://d", *FROM_THE_LAUNCHER]
    options, _ = parse(command_line(given), CLASSIFY)
    assert options.input == ("gs://a/x, y.wav", "gs://b/**", "s3://c")


@pytest.mark.parametrize(("value", "on"), [("true", True), ("false", False), ("True", True)])
def test_switches_are_true_or_false(value, on):
    options, _ = understood(f"--all_files={value}", f"--retry_failed={value}")
    assert (options.all_files, options.retry_failed) == (on, on)


def test_a_switch_that_is_neither_is_told():
    with pytest.raises(Exception, match="all_files"):
        understood("--all_files=perhaps")


def test_labels_of_the_job_are_not_taken_for_names_of_classes():
    options, beam_flags = understood('--labels={"team": "birds"}')
    assert options.labels is None
    assert '--label={"team": "birds"}' in beam_flags


def test_names_of_classes_are_not_taken_for_labels_of_the_job():
    options, _ = understood("--labels=gs://bucket/names.txt")
    assert options.labels == "gs://bucket/names.txt"


def test_what_the_launcher_adds_reaches_beam():
    _, beam_flags = understood("--min_score=0.3", "--time_pattern=rec_%d%m%y-%H%M")
    assert tuple(beam_flags) == FROM_THE_LAUNCHER


def test_the_launched_file_needs_no_more_than_its_own_folder(tmp_path):
    """It is copied out of the checkout, and told in one line what is wrong."""
    copy = tmp_path / "launch.py"
    copy.write_text((ROOT / "dataflow" / "launch.py").read_text(encoding="utf-8"))
    ended = subprocess.run(
        [sys.executable, str(copy), "--input=gs://a", "--top_k=0", "--output=gs://b"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("earmark: --top_k 0: ")
