"""Expected trouble of workers, told from bugs by its mark however an engine hands it on."""

from __future__ import annotations

import traceback

import apache_beam as beam
import pytest
from apache_beam.io.filesystem import BeamIOError
from apache_beam.options.pipeline_options import PipelineOptions

from earmark.pipelines.engines.local import local_runner
from earmark.transforms.errors import ExpectedError
from earmark.transforms.workers import WorkerError, marking, told_by_worker

EXPECTED = [
    (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    (FileNotFoundError(2, "No such file", "/a b"), "[Errno 2] No such file: '/a b'"),
    (BeamIOError("Rename failed"), "Rename failed with exceptions None"),
    (ExpectedError("two\nlines"), "two lines"),
]


@marking
def fail(error: Exception) -> None:
    raise error


@marking
def fail_late(error: Exception):
    yield 1
    raise error


def text_of(error: Exception) -> str:
    """All that an engine elsewhere gives of what a worker raised."""
    try:
        fail(error)
    except (WorkerError, ZeroDivisionError, KeyError) as raised:
        return f"java.lang.RuntimeException: {''.join(traceback.format_exception(raised))}"
    raise AssertionError


@pytest.mark.parametrize(("error", "said"), EXPECTED)
@pytest.mark.parametrize("work", [fail, lambda error: list(fail_late(error))])
def test_expected_trouble_is_marked_where_it_is_raised(work, error, said):
    with pytest.raises(WorkerError) as raised:
        work(error)
    assert told_by_worker(str(raised.value)) == said
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("error", "said"), EXPECTED)
def test_it_is_found_in_a_text(error, said):
    assert told_by_worker(f"{text_of(error)} [while running 'Commit']\n\tat Flink.java:12") == said


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("transform", [beam.Map(fail), beam.FlatMap(fail_late)])
@pytest.mark.parametrize(("error", "said"), [EXPECTED[0], EXPECTED[3]])
def test_it_is_found_in_what_beam_raises_here(transform, workers, error, said):
    options = PipelineOptions(direct_num_workers=workers, direct_running_mode="in_memory")
    pipeline = beam.Pipeline(local_runner(), options=options)
    _ = pipeline | beam.Create([None]) | beam.Map(lambda _: error) | transform
    with pytest.raises(RuntimeError) as raised:
        pipeline.run().wait_until_finish()
    assert told_by_worker(str(raised.value)) == said


@pytest.mark.parametrize("bug", [ZeroDivisionError("by zero"), KeyError("OSError: no")])
def test_a_bug_is_not_marked(bug):
    with pytest.raises(type(bug)):
        fail(bug)
    assert told_by_worker(text_of(bug)) is None


def test_a_bug_that_came_of_trouble_is_a_bug():
    try:
        try:
            fail(OSError("no"))
        except WorkerError:
            raise ZeroDivisionError from None
    except ZeroDivisionError:
        assert told_by_worker(traceback.format_exc()) is None
    try:
        try:
            fail(OSError("no"))
        except WorkerError as error:
            raise ZeroDivisionError from error
    except ZeroDivisionError:
        assert told_by_worker(traceback.format_exc()) is None


def test_a_name_that_is_no_utf_8_travels_as_ascii():
    marked = str(WorkerError.of(OSError("no \udcff")))
    assert marked.isascii()
    assert told_by_worker(marked) == "no \udcff"


def test_a_text_that_was_cut_off_says_what_is_left():
    marked = str(WorkerError.of(OSError("a very long story")))
    assert told_by_worker(marked[:-7]) == "a very long"


def test_what_is_not_called_is_as_it_was():
    assert marking(len)("abc") == 3
    assert list(marking(reversed)("abc")) == ["c", "b", "a"]
