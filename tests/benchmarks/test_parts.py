"""The parts of a frame, and the ways to do them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import ideal, parts
from benchmarks.archives import FORMATS
from benchmarks.decoding import WAYS
from benchmarks.environments import MissingPeerError
from benchmarks.processes import Cost, Finished, ProcessError
from benchmarks.setting import Setting
from earmark.models.graphs.log_mel import LogMel

SETTING = Setting(Path("model"), 16_000, 15_600, Path("cache"), Path(), 40, 5, 1)
FILES = [Path("0.flac"), Path("1.flac")]
KINDS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III")}


@pytest.fixture(params=KINDS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two and a half seconds of stereo noise."""
    container, subtype = KINDS[request.param]
    noise = np.random.default_rng(0).normal(0, 0.1, (110_250, 2))
    path = tmp_path / f"a.{request.param}"
    soundfile.write(path, noise, 44_100, subtype, format=container)
    return path


def test_every_way_of_earmarks_own_environment_decodes_all_of_a_file(file):
    for name, way in WAYS.items():
        if not way.takes(file) or way.requirements:
            continue
        if name == "libFLAC" and find_spec("flacarray") is None:
            continue
        # an mp3 has whole frames, and may have a delay
        assert way.decode(str(file)) == pytest.approx(2.5, abs=0.06 if "mp3" in file.name else 1e-9)


def test_what_a_frame_takes_is_all_time_by_all_frames(monkeypatch):
    clock = iter([0.0, 0.0, 0.2, 0.4, 0.7])
    monkeypatch.setattr(parts.time, "process_time", lambda: next(clock))
    # a first go that isn't counted, then 0.7 s for three times 50 frames
    assert parts.milliseconds(lambda: 50) == pytest.approx(0.7e3 / 150)


def test_a_way_without_its_library_is_left_out(monkeypatch, capsys):
    def prepare(way: str, frame_s: float, *inputs: str) -> parts.Work:
        if way == "by none":
            raise ImportError("no such library")
        return lambda: frame_s * len(inputs)

    monkeypatch.setattr(parts, "_log_mel", prepare)
    monkeypatch.setattr(parts, "milliseconds", lambda work: work())
    parts.main("log-mel", "by none;by one", "0.5", "a model")
    assert json.loads(capsys.readouterr().out) == {"by one": 0.5}


class Machine:
    """Stands in for processes that measure; two cores, of which one takes 2 ms longer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, took: dict[str, float]) -> None:
        self.took = took
        monkeypatch.setattr(ideal, "cores", lambda: 2)
        monkeypatch.setattr(ideal, "run_together", self.run_together)
        monkeypatch.setattr(ideal, "python_with", self.python_with)

    def run_together(self, commands: list[list[str]], environment: object) -> list[Finished]:
        assert len(commands) == 2
        answers = []
        for core, command in enumerate(commands):
            ways = command[4].split(";")
            took = {way: self.took[way] + 2 * core for way in ways if way in self.took}
            answers.append(Finished(Cost(0, 0, 0), json.dumps(took)))
        return answers

    def python_with(self, requirements: object, folder: Path) -> Path:
        raise MissingPeerError("not installed: there is no network")


def test_the_fastest_way_is_one_that_can_be_had(monkeypatch, capsys):
    Machine(monkeypatch, {"soundfile, int16": 5, "PyAV": 4, "libFLAC": 3, "dr_flac": 1})
    assert ideal.fastest_way(SETTING, "decoding", FORMATS["flac"], FILES) == "libFLAC"
    assert "decoding without dr_flac: not installed" in capsys.readouterr().out


def test_a_part_that_can_be_done_in_no_way_is_an_error(monkeypatch):
    Machine(monkeypatch, {})
    with pytest.raises(ProcessError, match="log-mel"):
        ideal.fastest_way(SETTING, "log-mel", FORMATS["flac"], FILES)


def test_a_part_is_the_mean_of_all_cores(monkeypatch):
    Machine(monkeypatch, {"libFLAC": 3, "in batches of 64": 1})
    ways = {"decoding": "libFLAC", "network": "in batches of 64"}
    measured = ideal.measure(SETTING, FORMATS["flac"], FILES, ways)
    assert measured == {"decoding": 4, "network": 2}


@pytest.mark.parametrize("way", parts.TRANSFORMS)
def test_the_log_mel_patch_is_what_its_formula_says(way):
    if way == "by ducc0":
        pytest.importorskip("ducc0")
    rng = np.random.default_rng(0)
    front = LogMel(
        window=np.hanning(40).astype(np.float32),
        hop_samples=16,
        rows=3,
        fft_length=64,
        mel=np.vstack([np.zeros((2, 5)), rng.uniform(0, 1, (28, 5)), np.zeros((3, 5))]),
        offset=np.full(5, 0.01),
    )
    windows = rng.normal(0, 1, (6, 40)).astype(np.float32)
    spectra = np.fft.rfft(windows.astype(np.float64) * front.window, 64)
    expected = np.log(np.abs(spectra) @ front.mel + front.offset)
    computed = parts.log_mel_of(way, front, 6)(windows)
    np.testing.assert_allclose(computed.T, expected, rtol=1e-6)


def test_a_resampled_minute_has_as_many_frames_as_it_lasts():
    assert parts._resampling("in blocks of 10 s", 0.5, "8000", "16000")() == 120
