from __future__ import annotations

import threading
from dataclasses import replace

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from pipelines.local_runner import local_runner
from transforms import sharing
from transforms.elements import AudioObject, Span
from transforms.sharing import ShareAmongThreads


def spans(*sizes: int | None) -> list[Span]:
    return [Span(AudioObject(f"/a/{i}.wav", size, "v")) for i, size in enumerate(sizes)]


@pytest.fixture
def run_id(request):
    yield request.node.name
    sharing.forget(request.node.name)


def threads(count: int) -> PipelineOptions:
    return PipelineOptions(direct_num_workers=count, direct_running_mode="multi_threading")


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_every_span_is_given_out_once(run_id, workers, count):
    there = spans(*range(count))
    with beam.Pipeline(local_runner(), options=threads(workers)) as pipeline:
        shared = pipeline | beam.Create(there) | ShareAmongThreads(run_id)
        assert_that(shared, equal_to(there))


def test_whoever_is_free_takes_what_is_left(run_id):
    """One worker holds on to its first span until the others have all been taken."""
    taken: list[str] = []
    rest_is_taken = threading.Event()

    def take(span: Span) -> None:
        taken.append(span.clip.uri)
        if len(taken) == 9:
            rest_is_taken.set()
        if span.clip.uri == "/a/0.wav":
            assert rest_is_taken.wait(30)

    hear.take = take
    with beam.Pipeline(local_runner(), options=threads(2)) as pipeline:
        _ = (
            pipeline
            | beam.Create(spans(1000, *[1] * 8))
            | ShareAmongThreads(run_id)
            | beam.Map(hear)
        )
    assert len(taken) == 9


def hear(span: Span) -> None:
    """Calls what a test has put here: Beam copies what lies in a closure."""
    hear.take(span)


def test_the_longest_is_given_out_first_and_equals_in_their_order(run_id):
    long = [replace(span, count=4, index=i) for i, span in enumerate(spans(400, 400))]
    there = [*spans(None, 100, 99), *long]
    given: list[Span] = []
    hear.take = given.append
    with beam.Pipeline(local_runner(), options=threads(1)) as pipeline:
        _ = (
            pipeline
            | beam.Create(there, reshuffle=False)
            | ShareAmongThreads(run_id)
            | beam.Map(hear)
        )
    assert [span.clip.size_bytes for span in given] == [100, 400, 400, 99, None]
