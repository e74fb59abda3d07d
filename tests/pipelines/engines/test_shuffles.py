"""What crosses shuffles: the bytes of all of them together, as workers encode them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.runners.portability.fn_api_runner import execution
from apache_beam.runners.runner import PipelineRunner

from earmark.models.builtin.synthesis import SOUNDS, synthesise
from earmark.pipelines.engines.local import local_runner
from earmark.pipelines.options.model import ClassifyOptions
from earmark.pipelines.runs import execute, holding_output, prepare

LIMIT_BYTES_AN_HOUR = 200_000

RATE_HZ = 16_000
MINUTE = 60 * RATE_HZ


class ElsewhereRunner(PipelineRunner):
    """An engine that isn't the local one by its name, so that a run takes the graph for those."""

    def run_pipeline(self, pipeline, options):
        direct = options.view_as(DirectOptions)
        direct.direct_num_workers, direct.direct_running_mode = 2, "in_memory"
        return local_runner().run_pipeline(pipeline, options)


@pytest.fixture
def crossing(monkeypatch) -> Counter:
    """Counts the bytes of what workers send to be grouped, by the step that groups."""
    counted: Counter[str] = Counter()
    get_buffer = execution.BundleContextManager.get_buffer

    def get_counting_buffer(self, buffer_id, transform_id):
        buffer = get_buffer(self, buffer_id, transform_id)
        if not isinstance(buffer, execution.GroupingBuffer) or "append" in vars(buffer):
            return buffer
        name, append = execution.split_buffer_id(buffer_id)[1], buffer.append

        def count(encoded: bytes) -> None:
            counted[name] += len(encoded)
            append(encoded)

        buffer.append = count
        return buffer

    monkeypatch.setattr(execution.BundleContextManager, "get_buffer", get_counting_buffer)
    return counted


def write_archive(folder: Path, sound: np.ndarray, files: int, minutes: int) -> Path:
    """Write recordings that go on, one after another, with a sound that is repeated."""
    folder.mkdir()
    samples = np.tile(sound, -(-files * minutes * MINUTE // len(sound)))
    for number in range(files):
        part = samples[number * minutes * MINUTE : (number + 1) * minutes * MINUTE]
        sf.write(folder / f"{number:02d}.flac", part, RATE_HZ)
    return folder


def hear(archive: Path, output: Path, model: str | Path, **how: str) -> dict:
    options = ClassifyOptions(input=(str(archive),), output=str(output), model=str(model), **how)
    run = prepare(options, ["--runner", f"{__name__}.ElsewhereRunner"])
    with holding_output(run):
        return execute(run).record["totals"]


def bytes_an_hour(crossing: Counter, totals: dict) -> float:
    hours = totals["audio_s"] / 3600
    for name, size in crossing.most_common():
        print(f"{size / hours / 1000:8.2f} kB an hour of sound: {name}")
    an_hour = sum(crossing.values()) / hours
    print(f"{an_hour / 1000:8.2f} kB in all, with {totals['detections'] / hours:.0f} detections")
    return an_hour


@pytest.mark.parametrize("how", [{}, {"embeddings": "float32"}], ids=["scores", "embeddings"])
@pytest.mark.parametrize(("files", "minutes"), [(1, 20), (4, 5)])
def test_an_hour_of_busy_sound_is_less_than_200_kb_in_all_shuffles(
    tmp_path, shared, yamnet_path, crossing, files, minutes, how
):
    names = ("speech.wav", "soundscape.ogg", "birds_10s.wav", "great_plains_toad.wav", "1min.wav")
    read = [sf.read(shared / "audio" / name, dtype="float32", always_2d=True) for name in names]
    sound = np.concatenate([soxr.resample(each.mean(1), rate, RATE_HZ) for each, rate in read])
    archive = write_archive(tmp_path / "in", sound, files, minutes)
    totals = hear(archive, tmp_path / "out", yamnet_path, **how)
    assert (totals["clips"], totals["detections"] > 3500) == (files, True)
    assert len(crossing) == 6  # objects, spans, tallies, how many rows, shards, the commit
    assert bytes_an_hour(crossing, totals) < LIMIT_BYTES_AN_HOUR


def test_so_it_is_with_the_builtin_model(tmp_path, crossing):
    rng = np.random.default_rng(7)
    sound = np.concatenate([synthesise(name, rng, 2, RATE_HZ) for name in sorted(SOUNDS)])
    archive = write_archive(tmp_path / "in", sound.astype(np.float32), files=2, minutes=5)
    totals = hear(archive, tmp_path / "out", "builtin")
    assert (totals["clips"], totals["detections"] > 500) == (2, True)
    assert len(crossing) == 6
    assert bytes_an_hour(crossing, totals) < LIMIT_BYTES_AN_HOUR
