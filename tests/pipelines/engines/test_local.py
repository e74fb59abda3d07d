from __future__ import annotations

import copy
import inspect
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DebugOptions, DirectOptions, PipelineOptions
from apache_beam.testing.util import assert_that
from apache_beam.transforms import core

from earmark.pipelines.engines.base import Round, cores
from earmark.pipelines.engines.choosing import kind_of
from earmark.pipelines.engines.dataflow import DataflowEngine
from earmark.pipelines.engines.flink import FlinkEngine
from earmark.pipelines.engines.local import LocalEngine, local_runner
from earmark.pipelines.engines.remote import RemoteEngine
from earmark.pipelines.errors import UsageError
from earmark.pipelines.interrupts import Interrupts
from earmark.transforms.elements import AudioObject, PlannedObject


def check_that_all_come(objects: int) -> None:
    """Send objects through two shuffles between two workers."""

    def every_object_once(came):
        assert Counter(one.uri for one in came) == Counter(map(str, range(objects)))

    options = PipelineOptions(direct_num_workers=2, direct_running_mode="in_memory")
    with beam.Pipeline(local_runner(), options=options) as pipeline:
        came = (
            pipeline
            | beam.Create(range(objects))
            | "Spread" >> beam.Reshuffle()
            | "Pickled" >> beam.Map(lambda number: (number, AudioObject(str(number), 1, "v")))
            | "Shuffle" >> beam.GroupByKey()
            | beam.Values()
            | beam.FlatMap(list)
        )
        assert_that(came, every_object_once)


def test_no_element_of_a_long_bundle_is_lost():
    check_that_all_come(50_000)


def test_two_pipelines_of_one_process_run_one_after_the_other(tmp_path):
    """Two at once would share a worker, and now and then lose what it holds."""
    log = tmp_path / "log"
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(log_begin_and_end, name, log) for name in "ab"]:
            done.result()
    assert log.read_text() in ("aAbB", "bBaA")


def log_begin_and_end(name: str, log: Path) -> None:
    def begin_and_end(_: bytes) -> None:
        for sign in (name, name.upper()):
            with log.open("a") as file:
                file.write(sign)
            time.sleep(0.3)

    with beam.Pipeline(local_runner()) as pipeline:
        _ = pipeline | beam.Impulse() | beam.Map(begin_and_end)


@pytest.mark.parametrize("flags", [[], ["--direct_running_mode=multi_threading"]])
def test_a_local_run_has_a_thread_for_each_core_unless_told_otherwise(flags):
    for more, workers in ([[], cores()], [["--direct_num_workers=7"], 7]):
        options = LocalEngine([*flags, *more]).options
        assert options.get_all_options()["direct_num_workers"] == workers
        assert options.get_all_options()["direct_running_mode"] == "in_memory"


def test_views_of_options_change_together_and_not_with_those_of_a_copy():
    options = LocalEngine(["--direct_num_workers=7", "--experiments=one"]).options
    view = options.view_as(DirectOptions)
    copied = copy.deepcopy(options)
    view.direct_num_workers = 3
    assert options.view_as(DirectOptions).direct_num_workers == 3
    assert options.view_as(DebugOptions).experiments == ["one"]
    assert copied.view_as(DirectOptions).direct_num_workers == 7
    copied.view_as(DirectOptions).direct_num_workers = 5
    assert copied.get_all_options()["direct_num_workers"] == 5
    assert view.direct_num_workers == 3


def test_workers_in_processes_of_their_own_are_refused():
    flags = ["--direct_running_mode=multi_processing"]
    with pytest.raises(UsageError, match="threads of one process"):
        LocalEngine(flags)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (None, LocalEngine),
        ("DirectRunner", LocalEngine),
        ("directrunner", LocalEngine),
        ("direct", LocalEngine),
        ("apache_beam.runners.direct.DirectRunner", LocalEngine),
        ("FlinkRunner", FlinkEngine),
        ("flink", FlinkEngine),
        ("SparkRunner", RemoteEngine),
        ("apache_beam.runners.DataflowRunner", DataflowEngine),
        ("dataflow", DataflowEngine),
    ],
)
def test_an_engine_is_known_by_the_name_of_its_runner(name, kind):
    options = PipelineOptions([f"--runner={name}"] if name else [])
    assert kind_of(options) is kind


def test_beam_finds_the_same_arguments_of_methods_as_it_would_by_itself():
    class Counting(beam.DoFn):
        def process(self, element, *, scale=2, window=beam.DoFn.WindowParam):
            yield element

    for kind in (Counting, beam.DoFn, core.CallableWrapperDoFn):
        for name in ("process", "start_bundle", "setup", "get_type_hints"):
            method = getattr(kind(len) if kind is core.CallableWrapperDoFn else kind(), name)
            for _ in "again":
                assert core.get_signature(method) == inspect.signature(method)


@pytest.mark.parametrize(
    ("sizes", "threads"), [([10], 1), ([10, None, 10**5], 3), ([10] * 20, 7), ([10, 10**7], 7)]
)
def test_a_round_has_no_more_threads_than_there_may_be_spans(sizes, threads):
    engine, used = LocalEngine(["--direct_num_workers=7"]), []

    @beam.ptransform_fn
    def deal(root, dealing):
        used.append(root.pipeline.options.view_as(DirectOptions).direct_num_workers)
        return root | dealing

    objects = [AudioObject(f"/a/{i}.mp3", size, "v") for i, size in enumerate(sizes)]
    members = tuple(PlannedObject(each) for each in objects)
    this = Round("run", "00001", members, {}, "plan", 600, 60.0)
    left = engine.run_round(this, deal, Interrupts())
    assert (used, left) == ([threads], set())
    assert engine.threads == 7
