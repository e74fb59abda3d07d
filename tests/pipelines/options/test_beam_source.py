from __future__ import annotations

import argparse

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import CLASSIFY
from earmark.pipelines.options.beam_source import check_some_are_beams, flags_in_source

OWN = ["input", "output"]


def flags_of_installed_beam() -> set[str]:
    parser = argparse.ArgumentParser(conflict_handler="resolve")
    kinds = list(PipelineOptions.__subclasses__())
    for kind in kinds:  # which grows
        kinds += kind.__subclasses__()
        if kind.__module__.startswith("apache_beam.") and "_add_argparse_args" in vars(kind):
            kind._add_argparse_args(parser)
    return {flag for action in parser._actions for flag in action.option_strings}


def test_the_source_has_the_flags_that_the_installed_beam_has():
    assert set(flags_in_source()) == flags_of_installed_beam()


@pytest.mark.parametrize(
    "words",
    [
        ["--runner", "DirectRunner"],
        ["--no_such_flag", "--runner=FlinkRunner"],
        ["--no_such_flag", "--job-endpoint=localhost:8099"],
        ["--no_such_flag", "-0.5"],
        [],
    ],
)
def test_what_may_be_of_use_to_an_engine_is_accepted(words):
    check_some_are_beams(words, CLASSIFY, OWN)


def test_flags_are_refused_if_none_is_beams():
    with pytest.raises(UsageError, match=r"^unknown argument --runer=x; did you mean --runner\?$"):
        check_some_are_beams(["a.wav", "--runer=x", "b.wav", "--other"], CLASSIFY, OWN)


def test_without_its_source_at_hand_any_flag_may_be_beams(monkeypatch):
    monkeypatch.setattr("earmark.pipelines.options.beam_source.find_spec", lambda _: None)
    assert flags_in_source() == []
    check_some_are_beams(["--no_such_flag"], CLASSIFY, OWN)
