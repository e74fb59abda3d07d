from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import soundfile as sf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import (
    FixedWindows,
    GlobalWindow,
    GlobalWindows,
    TimestampedValue,
)

from earmark.models.classifier import Prediction
from earmark.shared import lending
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.decoding.stage import DecodeFrames, _DecodeFn, are_short, decode_frames
from earmark.transforms.detecting import ScoreFrames
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.settings import Decoding, FrameGrid
from earmark.transforms.storage.object_stores import ObjectStores
from earmark.transforms.storage.stored import Reading, Stored

DECODING = Decoding(FrameGrid(16_000, 15_600, 15_600))
FAULTY = Path(__file__).with_name("faulty_decoder.py")


def recording(path: Path, seconds: float = 3) -> AudioObject:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * 16_000))
    sf.write(path, samples, 16_000)
    return AudioObject(str(path), path.stat().st_size, "v")


def test_an_object_elsewhere_is_decoded_as_if_it_were_here(tmp_path, monkeypatch):
    span = Span(recording(tmp_path / "a.wav"))
    here = list(decode_frames([span], DECODING))
    content = (tmp_path / "a.wav").read_bytes()
    there = Stored("az://bucket/a.wav", len(content), 1.0)
    elsewhere = Span(AudioObject(there.uri, there.size_bytes, there.version))
    monkeypatch.setattr(ObjectStores, "read", lambda *_: Reading(there, iter([content])))
    got = list(decode_frames([elsewhere], DECODING))
    assert [block.frames.tobytes() for block in got] == [block.frames.tobytes() for block in here]
    assert got[-1].ending == here[-1].ending
    assert {block.span for block in got} == {elsewhere}


def test_an_object_elsewhere_that_cannot_be_read_has_an_ending_that_says_so(monkeypatch):
    def fail(*_):
        raise PermissionError("the store is down")

    monkeypatch.setattr(ObjectStores, "read", fail)
    (block,) = decode_frames([Span(AudioObject("az://bucket/a.wav", 1, "v"))], DECODING)
    assert block.frames.shape == (0, 15_600)
    assert block.ending.trouble[:2] == ("read", "io")
    assert "the store is down" in block.ending.trouble.message


def test_short_recordings_wait_to_be_decoded_together_and_long_ones_do_not(tmp_path):
    short = [Span(recording(tmp_path / name, 1)) for name in ("a.wav", "b.wav")]
    long = Span(recording(tmp_path / "c.wav")._replace(size_bytes=1 << 30))
    window = GlobalWindow()
    stage = _DecodeFn(DecodeFrames(DECODING))
    stage.start_bundle()
    assert list(stage.process(short[0], window)) == list(stage.process(short[1], window)) == []
    at_once = [each.value for each in stage.process(long, window)]
    assert [block.span for block in at_once if block.ending] == [*short, long]
    assert list(stage.process(short[0], window)) == []
    assert [each.value.span for each in stage.finish_bundle() if each.value.ending] == [short[0]]


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([32_000] * 32, 1, True),
        ([32_000] * 33, 1, False),
        ([600_000, 600_000], 1, False),
        ([2_000_000], 1, False),
        ([None], 1, False),
        ([32_000], 2, False),
    ],
)
def test_as_many_are_decoded_together_as_are_soon_done(sizes, count, expected):
    spans = [Span(AudioObject("a.wav", size, "v"), 0, count) for size in sizes]
    assert are_short(spans) == expected


def test_what_is_decoded_and_scored_together_stays_in_its_window(tmp_path):
    clips = [recording(tmp_path / f"{second}.wav", 1) for second in (1, 11, 2, 12, 3)]

    def in_its_window(block, window=beam.DoFn.WindowParam):
        second = int(Path(block.span.clip.uri).stem)
        assert (window.start, window.end) == (second // 10 * 10, second // 10 * 10 + 10)
        return second, len(block.scores)

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        scored = (
            pipeline
            | beam.Create([Span(clip) for clip in clips])
            | beam.Map(lambda span: TimestampedValue(span, int(Path(span.clip.uri).stem)))
            | "Windows" >> beam.WindowInto(FixedWindows(10))
            | DecodeFrames(DECODING)
            | ScoreFrames(Silent)
            | beam.Map(in_its_window)
            | "NoWindows" >> beam.WindowInto(GlobalWindows())
        )
        every = [(second, frames) for second in (1, 2, 3, 11, 12) for frames in (2, 0)]
        assert_that(scored, equal_to(every))


class Silent:
    together = 16

    def predict(self, frames):
        return Prediction(np.zeros((len(frames), 2), np.float32), None, None)


@pytest.fixture(name="_faulty")
def _fixture():
    pool = DecoderPool(f"import runpy; runpy.run_path({str(FAULTY)!r})['main']()")
    with lending(pool):
        yield
    pool.close()


@pytest.mark.usefixtures("_faulty")
def test_a_recording_that_crashes_the_decoder_costs_itself_and_no_other(tmp_path):
    names = ["a.wav", "segfault_open.wav", "b.wav", "exit_1.wav", "c.wav", "cut.wav"]
    objects = [recording(tmp_path / name) for name in names]
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:40_000])
    reasons = [None, "crashed", None, "crashed", None, "truncated"]
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        endings = (
            pipeline
            | beam.Create([Span(clip) for clip in objects])
            | DecodeFrames(DECODING)
            | beam.Filter(lambda block: block.ending)
            | beam.Map(
                lambda block: (
                    Path(block.span.clip.uri).name,
                    block.ending.trouble and block.ending.trouble.reason,
                )
            )
        )
        assert_that(endings, equal_to(list(zip(names, reasons, strict=True))))
