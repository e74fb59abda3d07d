"""The archives that benchmarks hear."""

from __future__ import annotations

import numpy as np
import soundfile

from benchmarks import memory
from benchmarks.archives import linked
from benchmarks.signals import recording


def test_a_seed_gives_the_same_recording_and_another_seed_another():
    first, again, other = (recording(seed, 2, 16_000) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_recording_is_stereo_and_never_too_loud():
    samples = recording(3, 5, 44_100)
    assert samples.shape == (5 * 44_100, 2)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1


def test_channels_have_a_part_in_common_and_parts_of_their_own():
    samples = recording(4, 20, 16_000)
    assert 0.5 < np.corrcoef(samples.T)[0, 1] < 0.99


def test_an_archive_has_its_recordings_in_turn_under_names_of_their_own(tmp_path):
    recordings = [tmp_path / f"{name}.wav" for name in "ab"]
    for path in recordings:
        path.write_text(path.stem)
    links = linked(recordings, tmp_path / "archive", 3)
    assert sorted((tmp_path / "archive").iterdir()) == links
    assert [path.read_text() for path in links] == ["a", "b", "a"]
    assert linked(recordings, tmp_path / "archive", 3) == links


def test_a_long_recording_is_as_long_as_was_asked_for(tmp_path):
    path = tmp_path / "0.002h" / "long.flac"
    path.parent.mkdir()
    memory._make(path, 0.002)
    assert list(path.parent.iterdir()) == [path]
    heard = soundfile.info(path)
    assert (heard.duration, heard.samplerate, heard.channels) == (7.2, 8000, 1)
