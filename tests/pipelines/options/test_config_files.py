"""What a config file's scalars mean, and that its trouble is told without what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import CLASSIFY, parse
from earmark.pipelines.options.config_files import LARGEST_BYTES, read_config

HUSH = "hush-hush"


def parsed(folder: Path, text: str):
    config = folder / "job.yaml"
    config.write_text(text, encoding="utf-8")
    return parse(["--config", str(config), "--input", "x", "--output", "y"], CLASSIFY)


@pytest.mark.parametrize(
    "line",
    [
        "min_score: yes",
        "min_score: on",
        "min_score: true",
        "hop_s: 1:30",
        "top_k: 010",
        "top_k: 0x10",
        "top_k: 0o17",
        "top_k: 1_000",
        "span_s: 2024-05-01",
        "min_score: .nan",
        "min_score: nan",
        "events_gap_s: .inf",
        "events_gap_s: 1e400",
        "events_gap_s: [1]",
        "watch: 1",
        "watch: maybe",
        "watch: {a: b}",
    ],
)
def test_what_is_no_number_or_no_switch_is_an_error_that_names_it(tmp_path, line):
    name, _, value = line.partition(": ")
    with pytest.raises(UsageError, match=name) as refused:
        parsed(tmp_path, line)
    shown = {"true": "True", "1e400": "inf", "[1]": "[1]", "{a: b}": "{'a': 'b'}"}.get(value, value)
    assert f"{name} {shown}: " in str(refused.value)


def test_text_stays_as_it_stands(tmp_path):
    options, beam = parsed(
        tmp_path,
        "locale: no\ntime_zone: UTC\nthresholds: 2024-05-01\nmodel: 010\nallow: [on, yes, 1:30]\n"
        "beam: {job_name: no, s3_region_name: 010, environment_config: {env: {A: no}, b: 1}}",
    )
    assert (options.locale, options.thresholds, options.model) == ("no", "2024-05-01", "010")
    assert options.allow == ("on", "yes", "1:30")
    assert beam == [
        "--job_name=no",
        "--s3_region_name=010",
        '--environment_config={"env": {"A": "no"}, "b": 1}',
    ]


def test_numbers_switches_and_nothing_are_what_they_look_like(tmp_path):
    options, beam = parsed(
        tmp_path,
        'min_score: -1.5e-1\ntop_k: 7\nhop_s: "0.5"\nwatch: yes\nall_files: ON\nxnnpack: off\n'
        "dry_run: false\nembeddings: true\nlabels: null\nnum_shards: ~\ncommit_every_s:\n"
        "beam: {streaming: true, save_main_session: false, direct_num_workers: 2}",
    )
    assert (options.min_score, options.top_k, options.hop_s) == (-0.15, 7, 0.5)
    assert (options.watch, options.all_files, options.xnnpack) == (True, True, False)
    assert (options.dry_run, options.embeddings) == (False, "float32")
    assert (options.labels, options.num_shards, options.commit_every_s) == (None, None, None)
    assert beam == ["--streaming", "--direct_num_workers=2"]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"output: y\nmodel: a: {HUSH}", "line 2, column 9"),
        (f"min_score: [{HUSH}", "line 1"),
        (f'min_score: "{HUSH}', "line 1"),
        (f"a: 1\n{HUSH}\nb: 2", "line 3"),
        (f"a: &{HUSH} 1", "anchors (&name) are not supported"),
        (f"a: *{HUSH}", "aliases (*name) are not supported"),
        (f"a: !{HUSH} 1", "tags (!name) are not supported"),
        (f"a: !!python/name:os.{HUSH} 1", "tags (!name) are not supported"),
        (f"a: \x01{HUSH}", "not YAML"),
        (f"a: {'[' * 3000}{HUSH}", "nested too deeply"),
        (f"beam: {HUSH}", "must be a mapping of Beam's options"),
        (f"? [{HUSH}]\n: 1", "line 1, column 3"),
    ],
)
def test_what_is_wrong_is_told_by_its_place_not_its_content(tmp_path, text, where):
    with pytest.raises(UsageError) as refused:
        parsed(tmp_path, text)
    assert where in str(refused.value)
    assert HUSH not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_aliases_that_would_swell_are_refused(tmp_path):
    laughs = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(UsageError, match="repeat the value") as refused:
        parsed(tmp_path, laughs)
    assert len(str(refused.value)) < 300


def test_a_long_value_is_cut(tmp_path):
    with pytest.raises(UsageError) as refused:
        parsed(tmp_path, f"min_score: {'x' * 100_000}")
    assert len(str(refused.value)) < 400
    with pytest.raises(UsageError, match="unknown key") as refused:
        parsed(tmp_path, f"{'x' * 1000}: 1")
    assert len(str(refused.value)) < 400


def test_a_secret_in_a_value_is_not_told(tmp_path):
    with pytest.raises(UsageError) as refused:
        parsed(tmp_path, f"channels: s3://me:{HUSH}@bucket")
    assert HUSH not in str(refused.value)


def test_a_large_file_is_refused_and_many_keys_are_read_in_good_time(tmp_path):
    with pytest.raises(UsageError, match="larger than 1 MB"):
        parsed(tmp_path, "#" * (LARGEST_BYTES + 1))
    config = tmp_path / "many.yaml"
    config.write_text("".join(f"k{number}: 1\n" for number in range(20_000)))
    assert len(read_config(str(config))) == 20_000


def test_a_name_that_stands_twice_and_is_no_option_is_not_told(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("beam: {hunter2: 1, hunter2: 2}\n")
    with pytest.raises(UsageError, match=r"line 1, column 20: a name is given twice$"):
        read_config(str(config))
