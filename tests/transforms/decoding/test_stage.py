from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import soundfile as sf
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from earmark.shared import lending
from earmark.transforms.decoding.pool import DecoderPool
from earmark.transforms.decoding.stage import DecodeFrames, decode_frames
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
    here = list(decode_frames(span, DECODING))
    content = (tmp_path / "a.wav").read_bytes()
    there = Stored("az://bucket/a.wav", len(content), 1.0)
    elsewhere = Span(AudioObject(there.uri, there.size_bytes, there.version))
    monkeypatch.setattr(ObjectStores, "read", lambda *_: Reading(there, iter([content])))
    got = list(decode_frames(elsewhere, DECODING))
    assert [block.frames.tobytes() for block in got] == [block.frames.tobytes() for block in here]
    assert got[-1].ending == here[-1].ending
    assert {block.span for block in got} == {elsewhere}


def test_an_object_elsewhere_that_cannot_be_read_has_an_ending_that_says_so(monkeypatch):
    def fail(*_):
        raise PermissionError("the store is down")

    monkeypatch.setattr(ObjectStores, "read", fail)
    (block,) = decode_frames(Span(AudioObject("az://bucket/a.wav", 1, "v")), DECODING)
    assert block.frames.shape == (0, 15_600)
    assert block.ending.trouble[:2] == ("read", "io")
    assert "the store is down" in block.ending.trouble.message


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
