"""What a run says before it begins and after it has ended."""

from __future__ import annotations

import re

from tests.pipelines.test_terminal import on_a_terminal
from tests.transforms.audio.gapped import GAPPED


def test_the_header_names_model_input_output_and_what_differs_from_the_defaults(
    tmp_path, archive, classify
):
    _, _, err = classify(archive, tmp_path / "out", "--min_score", "0.25", "--time_zone", "UTC")
    names = [line.split()[0] for line in err.splitlines()]
    assert names == ["model", "input", "output", "min_score"]
    assert re.search(r"^min_score +0.25$", err, re.M)


def test_what_is_piped_is_not_wrapped(tmp_path, record, classify):
    folder = tmp_path / ("a long name of a folder " * 5).strip()
    record(folder / "a.wav", "tone")
    _, _, err = classify(folder, tmp_path / "out")
    assert f"input   {folder}\n" in err


def test_the_summary_covers_the_whole_folder_where_it_holds_more(tmp_path, archive, classify, rows):
    output = tmp_path / "out"
    _, out, _ = classify(archive / "a.wav", output)
    assert "1 clip scored, 6 seconds of audio" in out
    assert "now holds" not in out
    _, out, _ = classify(archive, output)
    assert "2 clips scored, 12 seconds of audio" in out
    detections, events = (
        rows(output, table, "count(*)")[0][0] for table in ("detections", "events")
    )
    held = f"3 clips, 18 seconds of audio; {detections} detections; {events} events; 1 failure"
    assert f"{output}/ now holds {held}\n" in out
    _, out, _ = classify(archive, output)
    assert "Nothing to do: 4 objects already processed." in out
    assert f"now holds {held}\n" in out


def test_gaps_do_not_count_as_audio(tmp_path, classify):
    late, output = tmp_path / "late.mkv", tmp_path / "out"
    GAPPED["late.mkv"].write(late)  # 10 s of sound after 4.9 s without
    _, out, _ = classify(late, output)
    assert "1 clip scored, 10 seconds of audio" in out
    _, out, _ = classify(late, output)
    assert "now holds 1 clip, 10 seconds of audio" in out


def test_a_run_that_could_hear_nothing_fails(tmp_path, archive, classify, record):
    broken = archive / "broken.wav"
    status, out, err = classify(broken, tmp_path / "out")
    assert (status, err.splitlines()[-1]) == (
        1,
        "earmark: nothing could be heard: 1 recording failed; failures/ says why",
    )
    assert "0 clips scored" in out
    assert "in DuckDB" not in out
    assert classify(broken, tmp_path / "out")[0] == 0, "it has nothing to do"
    assert classify(archive, tmp_path / "out")[0] == 0, "something is heard"


def test_what_cannot_be_read_again_is_no_failure_where_something_was_heard_before(
    tmp_path, archive, classify
):
    (archive / "away.wav").symlink_to(tmp_path / "nowhere.wav")
    assert classify(archive / "away.wav", tmp_path / "one")[0] == 2, "there is nothing to hear"
    assert classify(archive, tmp_path / "out")[0] == 0
    status, out, _ = classify(archive, tmp_path / "out")
    assert (status, "1 retried" in out) == (0, True)


def test_at_80_columns_the_bar_and_the_times_are_readable(tmp_path, record):
    record(tmp_path / "in" / "a.wav", "tone", seconds=600)
    status, shown = on_a_terminal(
        *("classify", str(tmp_path / "in"), "--output", str(tmp_path / "out")),
        *("--model", "builtin"),
        columns=80,
    )
    assert status == 0
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown)]
    bars = [line for line in lines if line.startswith("\u2501")]
    assert all(
        re.fullmatch(r"[\u2501\u2578\u257a]{40} +\d+% · \d:\d\d:\d\d.*", bar) for bar in bars
    )
    assert any(re.fullmatch(r"[01] of 1 object · .* real time", line) for line in lines)
    assert max(map(len, bars)) <= 80
