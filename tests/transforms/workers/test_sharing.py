from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from earmark.pipelines.engines.local import local_runner
from earmark.transforms.elements import AudioObject, Span
from earmark.transforms.workers import sharing
from earmark.transforms.workers.sharing import ShareAmongThreads


def spans(*sizes: int | None) -> list[Span]:
    return [Span(AudioObject(f"/a/{i}.wav", size, "v")) for i, size in enumerate(sizes)]


def threads(count: int) -> PipelineOptions:
    return PipelineOptions(direct_num_workers=count, direct_running_mode="in_memory")


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_every_span_is_given_out_once_and_every_clip_counted_once(workers, count):
    there = [
        replace(span, index=index, count=3) for span in spans(*range(count)) for index in range(3)
    ]
    with (
        sharing.queue("run") as left,
        beam.Pipeline(local_runner(), options=threads(workers)) as pipeline,
    ):
        shared = pipeline | beam.Create(there) | ShareAmongThreads("run")
        assert_that(shared.spans, equal_to(there), "spans")
        begun = shared.clips | beam.CombineGlobally(sum)
        assert_that(begun, equal_to([count]), "clips")
    assert left == set()


def share(there: list[Span], workers: int, take: Callable[[Span], None]) -> set[str]:
    """Give spans to a function in worker threads; gives the URIs of those that were left."""
    hear.take = take
    with (
        sharing.queue("run") as left,
        beam.Pipeline(local_runner(), options=threads(workers)) as pipeline,
    ):
        shared = pipeline | beam.Create(there, reshuffle=False) | ShareAmongThreads("run")
        _ = shared.spans | beam.Map(hear)
    return left


def test_whoever_is_free_takes_what_is_left():
    """One worker holds on to its first span until the others have all been taken."""
    taken: list[str] = []
    rest_is_taken = threading.Event()

    def take(span: Span) -> None:
        taken.append(span.clip.uri)
        if len(taken) == 9:
            rest_is_taken.set()
        if span.clip.uri == "/a/0.wav":
            assert rest_is_taken.wait(30)

    share(spans(1000, *[1] * 8), 2, take)
    assert len(taken) == 9


def test_what_nobody_has_begun_when_it_is_stopped_is_left_and_a_clip_begun_is_finished():
    first, second, third = spans(300, 300, 300)
    there = [replace(span, count=2, index=i) for span in (first, second, third) for i in (0, 1)]
    given: list[tuple[str, int]] = []

    def take(span: Span) -> None:
        given.append((span.clip.uri, span.index))
        if span.clip == second.clip:
            sharing.stop("run")

    assert share(there, 1, take) == {third.clip.uri}
    assert given == [("/a/0.wav", 0), ("/a/0.wav", 1), ("/a/1.wav", 0), ("/a/1.wav", 1)]


def test_a_round_takes_its_time_but_at_least_one_clip():
    there = spans(3, 2, 1)
    with (
        sharing.queue("run", 0.0) as left,
        beam.Pipeline(local_runner(), options=threads(1)) as pipeline,
    ):
        shared = pipeline | beam.Create(there) | ShareAmongThreads("run")
        assert_that(shared.spans, equal_to(there[:1]))
    assert left == {span.clip.uri for span in there[1:]}


def hear(span: Span) -> None:
    """Calls what a test has put here: Beam copies what lies in a closure."""
    hear.take(span)


def test_the_longest_is_given_out_first_and_equals_in_their_order():
    long = [replace(span, count=4, index=i) for i, span in enumerate(spans(400, 400))]
    given: list[Span] = []
    share([*spans(None, 100, 99), *long], 1, given.append)
    assert [span.clip.size_bytes for span in given] == [100, 400, 400, 99, None]


def test_one_of_each_of_several_kinds_of_middle_size_goes_before_the_longest():
    there = [
        Span(AudioObject(f"/a/{kind}{size}.{kind}", size, "v"))
        for kind, size in [("wav", 900), ("wav", 800), ("wav", 10), ("mp3", 3), ("MP3", 1)]
    ]
    given: list[Span] = []
    share(there, 1, given.append)
    assert [span.clip.size_bytes for span in given] == [800, 1, 900, 10, 3]
