"""Rows of other settings, derived from those that are there: the same as of a run with them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from shutil import copytree

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from earmark.models.builtin.synthesis import synthesise
from earmark.pipelines.cli import main
from tests.transforms.output.test_committing import KilledError, killed_at

TABLES = ("detections", "events", "embeddings", "clips", "failures")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Recordings of several sounds in two channels, with times in their names; one is broken."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    for name, sounds in {
        "20240331_023000.wav": ("tone", "hum", "tone"),
        "site/20241027_023000.wav": ("hum", "silence", "hum", "siren"),
        "site/rec_280524-1000.wav": ("siren", "tone", "siren"),
        "19700101_000000.wav": ("silence",),
    }.items():
        mono = np.concatenate([synthesise(sound, rng, 2, 16_000) for sound in sounds])
        noise = rng.normal(0, 0.001, (len(mono), 2))
        (folder / name).parent.mkdir(exist_ok=True)
        sf.write(folder / name, (mono[:, None] * [1, 0.3] + noise).clip(-1, 1), 16_000)
    (folder / "broken.wav").write_bytes(b"RIFF, and then nothing of the kind")
    return folder


def heard(recordings: Path, output: Path, options: list[str]) -> Path:
    where = ["--input", str(recordings), "--output", str(output)]
    least = [] if "--min_score" in options else ["--min_score", "0.02"]
    assert main(["classify", *where, "--model", "builtin", *least, *options]) == 0
    return output


@pytest.fixture(scope="module")
def output(recordings, tmp_path_factory) -> Path:
    how = ["--channels", "each", "--embeddings"]
    return heard(recordings, tmp_path_factory.mktemp("heard") / "out", how)


@pytest.fixture
def rederive(capsys) -> Callable[..., tuple[int, str, str]]:
    def run(output: Path, *options: str) -> tuple[int, str, str]:
        status = main(["rederive", str(output), *options])
        return status, *capsys.readouterr()

    return run


def content(output: Path) -> dict[str, list[str]]:
    """The rows of each table but for the run that made them, and what files state."""
    tables: dict[str, list[str]] = {}
    for table in TABLES:
        rows = [row for path in sorted((output / table).glob("*")) for row in _rows(path)]
        tables[table] = sorted(rows)
    said = pq.read_metadata(next((output / "clips").glob("*"))).metadata
    hidden = (b"earmark.run_id", b"ARROW:schema")
    tables["said"] = sorted(str(item) for item in said.items() if item[0] not in hidden)
    return tables


def _rows(path: Path) -> list[str]:
    rows = pq.read_table(path)
    kept = [name for name in rows.column_names if name != "run_id"]
    return list(map(str, rows.select(kept).to_pylist()))


def file_of(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


CASES = {
    "a higher threshold": ["--min_score", "0.4"],
    "a denied label": ["--deny", "tone", "--deny", "s*"],
    "allowed labels": ["--allow", "@allow.txt"],
    "thresholds": ["--thresholds", "thresholds.csv", "--min_score", "0.1"],
    "a gap": ["--events_gap_s", "2.5"],
    "a zone": ["--time_zone", "Europe/Berlin"],
    "a pattern": ["--time_pattern", "rec_%d%m%y-%H%M", "--time_zone", "America/New_York"],
    "all at once": [
        *("--min_score", "0.2", "--events_gap_s", "1", "--deny", "hum"),
        *("--time_zone", "Asia/Kolkata"),
    ],
    "nothing left": ["--allow", "clicks", "--min_score", "0.9999"],
}


@pytest.fixture
def lists(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    file_of(tmp_path, "allow.txt", "tone\nsi*\n")
    file_of(tmp_path, "thresholds.csv", "label,min_score\ntone,0.3\nhum,0.05\n")


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_derived_rows_are_those_that_a_run_would_write(
    tmp_path, recordings, output, rederive, options
):
    derived = copytree(output, tmp_path / "derived")
    before = content(derived)
    status, out, err = rederive(derived, *options)
    assert (status, err) == (0, "")
    assert "derived; nothing was heard" in out
    how = ["--channels", "each", "--embeddings", *options]
    anew = content(heard(recordings, tmp_path / "anew", how))
    assert content(derived) == anew != before
    assert rederive(derived, *options)[1].endswith("these are the settings of the rows.\n")
    heard(recordings, derived, how)  # which the folder now takes


@pytest.mark.usefixtures("lists")
def test_settings_are_derived_one_after_another(tmp_path, recordings, output, rederive):
    derived = copytree(output, tmp_path / "derived")
    steps = (["--min_score", "0.1"], ["--deny", "hum"], ["--time_zone", "Asia/Tokyo"])
    for options in steps:
        assert rederive(derived, *options)[0] == 0
    how = ["--channels", "each", "--embeddings", *chain.from_iterable(steps)]
    assert content(derived) == content(heard(recordings, tmp_path / "anew", how))


def test_the_best_of_a_frame_are_told_where_only_the_threshold_rises(
    tmp_path, recordings, rederive
):
    derived = heard(recordings, tmp_path / "derived", ["--top_k", "2"])
    assert rederive(derived, "--min_score", "0.3")[0] == 0
    anew = heard(recordings, tmp_path / "anew", ["--top_k", "2", "--min_score", "0.3"])
    assert content(derived) == content(anew)
    status, _, err = rederive(derived, "--deny", "tone")
    assert status == 2
    assert "with --top_k 2 the rows don't have what another label may have kept" in err


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ([], ["--min_score", "0.01"], "have no scores below 0.02, and 0.01 was asked for"),
        (["--deny", "hum"], ["--deny", "tone"], "of 'hum' the rows have none of its scores"),
        (["--allow", "hum"], ["--allow", "*"], "and 8 other labels the rows have none"),
        (["--deny", "hum"], ["--allow", "tone"], "not both at once"),
        ([], ["--deny", "hmu"], "did you mean 'hum'"),
        ([], ["--time_zone", "Berlin"], "--time_zone Berlin: no such time zone"),
        ([], [], "say what is to be other: --min_score, --thresholds"),
    ],
)
def test_what_rows_do_not_tell_is_refused_with_the_reason(
    tmp_path, output, rederive, first, then, said
):
    derived = copytree(output, tmp_path / "derived")
    assert not first or rederive(derived, *first)[0] == 0
    before = content(derived)
    status, _, err = rederive(derived, *then)
    assert status == 2
    assert err.count("\n") == 1
    assert said in err
    assert content(derived) == before
    assert not list(derived.glob("_*-*"))


def test_a_run_says_how_its_settings_can_be_had(tmp_path, output, recordings, capsys):
    where = ["--input", str(recordings), "--output", str(output), "--model", "builtin"]
    how = ["--channels", "each", "--embeddings"]
    for options, said in (
        (["--min_score", "0.3"], f"run `earmark rederive {output} --min_score 0.3`, which"),
        (
            ["--min_score", "0.02", "--deny", "tone", "--time_zone", "Asia/Tokyo"],
            "with deny none, not tone, and time_zone UTC, not Asia/Tokyo",
        ),
        (["--min_score", "0.01"], "the rows hold no lower scores; name another folder"),
        (["--min_score", "0.02", "--hop_s", "0.5"], "hop_samples 15600, not 8000; name another"),
    ):
        for dry_run in ([], ["--dry_run"]):
            assert main(["classify", *where, *how, *options, *dry_run]) == 2
            assert said in capsys.readouterr().err


def test_a_folder_without_rows_is_told(tmp_path, rederive):
    assert rederive(tmp_path / "none", "--min_score", "1")[2].endswith("no such folder\n")
    assert "no run has written to it" in rederive(tmp_path, "--min_score", "1")[2]


def test_metadata_that_may_name_a_zone_is_read_again_where_the_recording_is_at_hand(
    tmp_path, rederive
):
    recording = tmp_path / "in" / "x.wav"
    recording.parent.mkdir()
    sf.write(recording, synthesise("tone", np.random.default_rng(0), 2, 16_000), 16_000)
    note = b"GUANO|Version: 1.0\nTimestamp: 2024-05-28T10:00:00\n"
    whole = recording.read_bytes() + b"guan" + struct.pack("<I", len(note)) + note
    whole += bytes(len(note) % 2)
    recording.write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])
    derived = heard(recording, tmp_path / "out", [])
    assert rederive(derived, "--time_zone", "Europe/Berlin")[0] == 0
    berlin = content(derived)
    assert berlin == content(heard(recording, tmp_path / "anew", ["--time_zone", "Europe/Berlin"]))
    recording.rename(tmp_path / "away.wav")
    assert rederive(derived, "--events_gap_s", "0", "--dry_run")[0] == 0
    assert rederive(derived, "--time_zone", "UTC", "--dry_run")[0] == 2
    status, _, err = rederive(derived, "--time_zone", "UTC")
    assert status == 2
    assert "x.wav: its row doesn't tell whether its time, of guano, depends on the zone" in err
    assert content(derived) == berlin


def test_a_derivation_that_is_cut_off_is_finished_or_undone_by_the_next_run(
    tmp_path, output, recordings
):
    options = ["--min_score", "0.3", "--time_zone", "Asia/Tokyo"]
    where = ["--input", str(recordings), "--output"]
    how = [*("--model", "builtin", "--channels", "each", "--embeddings"), *options]
    before, outcomes = content(output), []
    for step in range(0, 200, 3):
        derived = copytree(output, tmp_path / str(step))
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(step)(monkeypatch)
            try:
                main(["rederive", str(derived), *options])
                break
            except KilledError:
                pass
        for lock in derived.glob("_locks/*.json"):
            lock.unlink()  # of a process that is still there
        outcomes.append(main(["classify", *where, str(derived), *how]))
        assert (content(derived) == before) == (outcomes[-1] == 2)
    assert set(outcomes) == {0, 2}
    assert outcomes == sorted(outcomes, reverse=True)


def test_long_lists_are_taken_from_the_file_of_the_last_run_or_a_copy(
    tmp_path, recordings, rederive
):
    stars = "".join(f"t{'*' * count}\n" for count in range(1, 70))  # too long to be stated
    deny = file_of(tmp_path, "deny.txt", stars)
    derived = heard(recordings, tmp_path / "derived", ["--deny", f"@{deny}"])
    assert rederive(derived, "--min_score", "0.1")[0] == 0
    Path(deny).rename(tmp_path / "copy.txt")
    status, _, err = rederive(derived, "--min_score", "0.3")
    assert status == 2
    assert "made with deny of sha256 " in err
    assert "give it by --deny" in err
    given = ["--min_score", "0.3", "--deny", f"@{tmp_path / 'copy.txt'}"]
    assert rederive(derived, *given)[0] == 0
    assert content(derived) == content(heard(recordings, tmp_path / "anew", given))
