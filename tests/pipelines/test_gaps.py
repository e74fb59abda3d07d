"""Recordings with gaps, heard by the command: rows are where a player finds the sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transforms.audio.gapped import GAPPED, write_gapped

FRAME_S = 0.975


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gapped") / "in"
    write_gapped(folder)
    return folder


def test_sound_is_where_a_player_finds_it_and_gaps_are_told(folder, tmp_path, classify, rows):
    output = tmp_path / "out"
    assert classify(folder, output)[0] == 0
    columns = "parse_filename(clip), status, reason, duration_s, heard_s, gaps"
    clips = {name: rest for name, *rest in rows(output, "clips", columns)}
    assert clips.keys() == GAPPED.keys()
    tones: dict[str, list[float]] = {name: [] for name in GAPPED}
    picked = "where label = 'tone' and end_s - start_s > 2 order by start_s"
    for name, start_s in rows(output, "events", "parse_filename(clip), start_s", picked):
        tones[name].append(start_s)
    for name, expected in GAPPED.items():
        status, reason, duration_s, heard_s, gaps = clips[name]
        assert status == expected.status, name
        assert reason == (expected.gaps[0][2] if status == "partial" else None), name
        assert duration_s == pytest.approx(expected.duration_s, abs=0.1), name
        assert [gap["why"] for gap in gaps] == [why for *_, why in expected.gaps], name
        for gap, (start_s, end_s, _) in zip(gaps, expected.gaps, strict=True):
            assert gap["start_s"] == pytest.approx(start_s, abs=expected.near_s), name
            assert gap["end_s"] == pytest.approx(end_s, abs=expected.near_s), name
        silent_s = sum(gap["end_s"] - gap["start_s"] for gap in gaps)
        assert heard_s == pytest.approx(duration_s - silent_s), name
        assert tones[name] == pytest.approx(expected.tones_s, abs=FRAME_S), name


def test_frames_that_lie_wholly_in_gaps_have_no_rows(folder, tmp_path, classify, rows):
    output = tmp_path / "out"
    assert classify(folder, output, "--min_score", "0", "--embeddings")[0] == 0
    counts = {}
    for name, duration_s, frames, gaps in rows(
        output, "clips", "parse_filename(clip), duration_s, frames, gaps"
    ):
        starts_s = [i * FRAME_S for i in range(int(duration_s / FRAME_S) + 1)]
        counts[name] = frames
        assert frames == sum(
            not any(
                gap["start_s"] <= start_s and min(start_s + FRAME_S, duration_s) <= gap["end_s"]
                for gap in gaps
            )
            for start_s in starts_s
        ), name
    for table in ("embeddings", "detections"):
        rest = "group by all"
        heard = rows(output, table, "parse_filename(clip), count(distinct start_s)", rest)
        assert dict(heard) == counts


def test_rows_are_the_same_in_spans_and_uncut(folder, tmp_path, classify, rows):
    tables = {}
    for span_s in ("60", "6000"):
        output = tmp_path / span_s
        assert classify(folder, output, "--embeddings", "--span_s", span_s)[0] == 0
        tables[span_s] = [
            rows(output, "clips", "* exclude (run_id)", "order by clip"),
            *(rows(output, table, "*", "order by all") for table in ("detections", "events")),
            rows(output, "embeddings", "*", "order by clip, start_s"),
        ]
    assert all(tables["60"])
    assert tables["60"] == tables["6000"]
