"""From options to settings: what each stage gets, and what files state of it."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from earmark.models.builtin.synthesis import LABELS
from earmark.models.running import Kernels
from earmark.models.scores import ModelOptions
from earmark.pipelines.options import EMBED
from earmark.pipelines.options.model import ClassifyKeywords, ClassifyOptions, EmbedKeywords, told
from earmark.pipelines.runs import configure
from earmark.transforms.output import provenance_of
from earmark.transforms.settings import Decoding, Settings

OPTIONS = ClassifyOptions.model_fields

STATED_BY_EFFECT = {
    *("model", "labels", "sample_rate", "heads", "hop_s", "channels"),
    *("calibration_transformation", "calibration_default"),
}
"""Options that rows depend on, of which files state what comes of them."""

NOT_OF_ROWS = {
    *(
        "input",
        "output",
        "uri_column",
        "all_files",
        "span_s",
        "num_threads",
        "num_shards",
        "commit_every_s",
    ),
    *("watch", "window_s", "notifications", "retry_failed", "dry_run", "verbose"),
    *("root", "as_new"),
}


def test_files_state_each_option_that_rows_depend_on():
    stated = {name for name in OPTIONS if told(name)["stated"] is not False}
    assert stated | STATED_BY_EFFECT | NOT_OF_ROWS == set(OPTIONS)
    assert not stated & (STATED_BY_EFFECT | NOT_OF_ROWS)


UNLESS_GIVEN = {
    "schema_version": "3",
    "tables": "detections, events, clips, failures",
    "heads": "scores",
    "labels_sha256": "d57433fce3ceb259d912d935cc462b8ffecbbd8bc3d9ac7e29bdecf81ebea72a",
    "sample_rate_hz": "16000",
    "frame_samples": "15600",
    "window_samples": "15600",
    "hop_samples": "15600",
    "channels": "mix",
    "min_score": "0.1",
    "top_k": "all",
    "locale": "none",
    "activation": "none",
    "sensitivity": "1.0",
    "calibration": "of the model",
    "thresholds": "none",
    "allow": "none",
    "deny": "none",
    "place": "none",
    "xnnpack": "on",
    "embeddings": "none",
    "events_gap_s": "0.0",
    "time_pattern": "",
    "time_zone": "UTC",
}
"""As runs wrote it before settings were made of options by their names."""

GIVEN = {
    "min_score": 0.2,
    "top_k": 2,
    "events_gap_s": 1,
    "channels": "each",
    "embeddings": "float16",
    "hop_s": 0.5,
    "allow": ("tone", "si*", "hum"),
    "time_zone": "Europe/Berlin",
    "time_pattern": "yard_%Y%m%d_%H%M%S",
    "xnnpack": False,
    # and of no interest to rows
    "num_threads": 2,
    "span_s": 60,
    "num_shards": 2,
    "all_files": True,
}

IF_GIVEN = {
    "tables": "detections, events, embeddings, clips, failures",
    "hop_samples": "8000",
    "channels": "each",
    "min_score": "0.2",
    "top_k": "2",
    "calibration": "sha256 1c737cb2517d177c16cd25ce8fa8078b0f978d661e4a63fabe32a0454245a467",
    "thresholds": "hum,0.05; tone,0.3",
    "allow": "hum; si*; tone",
    "xnnpack": "off",
    "embeddings": "float16",
    "events_gap_s": "1.0",
    "time_pattern": "yard_%Y%m%d_%H%M%S",
    "time_zone": "Europe/Berlin",
}


def configured(**given: Any) -> Settings:
    asked = {"input": ("in",), "output": "out", "model": "builtin", **given}
    return configure(ClassifyOptions.model_validate(asked))[0]


def stated(settings: Settings) -> dict[str, str]:
    said = dict(provenance_of(settings))
    assert said.pop("model_sha256") == settings.model_sha256
    return said


def test_files_state_the_defaults_as_they_always_have():
    assert stated(configured()) == UNLESS_GIVEN


def test_files_state_what_is_given_as_they_always_have(tmp_path):
    (tmp_path / "calibration").write_text("0.9,2.0,-0.5\n" * len(LABELS))
    (tmp_path / "thresholds").write_text("label,min_score\ntone,0.3\nhum,0.05\n")
    how = {"calibration_transformation": "log", "calibration_default": 0.25}
    files = {path.name: str(path) for path in Path(tmp_path).iterdir()}
    assert stated(configured(**GIVEN, **files, **how)) == {**UNLESS_GIVEN, **IF_GIVEN}


def test_stages_get_what_is_given():
    settings = configured(**GIVEN)
    assert (settings.top_k, settings.events_gap_s, settings.embeddings) == (2, 1.0, "float16")
    assert settings.decoding.time_pattern == GIVEN["time_pattern"]
    assert (settings.decoding.time_zone, settings.decoding.use.each) == ("Europe/Berlin", True)
    assert (settings.all_files, settings.output) == (True, "out")
    assert settings.patterns == (str(Path.cwd() / "in"),)


def kinds(hint: Any) -> set[Any]:
    """The types that a value may have; of one of a few words, just text."""
    if get_origin(hint) in (Union, UnionType):
        return set().union(*map(kinds, get_args(hint)))
    return {str} if get_origin(hint) is Literal else {hint}


@pytest.mark.parametrize(
    ("kind", "others"),
    [
        (Settings, {"heads"}),
        (Decoding, set()),
        (ModelOptions, {"labels", "calibration", "embeddings"}),
        (Kernels, set()),
    ],
)
def test_what_is_filled_by_an_options_name_has_its_type(kind, others):
    fields = get_type_hints(kind)
    names = set(fields) & set(OPTIONS) - others
    assert names
    for name in names:
        assert kinds(fields[name]) == kinds(OPTIONS[name].annotation), name


def test_keywords_of_the_library_are_the_options():
    flags = {"config", *OPTIONS} - {"dry_run", "verbose"}
    assert set(ClassifyKeywords.__annotations__) == flags
    assert set(EmbedKeywords.__annotations__) == flags - {*EMBED.without}


@pytest.mark.parametrize("name", sorted(ClassifyKeywords.__annotations__.keys() - {"config"}))
def test_a_keyword_takes_what_its_option_takes(name):
    takes = get_type_hints(ClassifyKeywords)[name]
    assert kinds(OPTIONS[name].annotation) - {tuple[str, ...]} <= kinds(takes)
    if tuple[str, ...] in kinds(OPTIONS[name].annotation):
        assert {str} < kinds(takes)
