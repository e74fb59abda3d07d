from __future__ import annotations

from collections import Counter

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.testing.util import assert_that

from pipelines.local_runner import cores, is_local, local_runner, use_all_cores
from transforms.elements import AudioObject

OBJECTS = 50_000


def test_no_element_of_a_long_bundle_is_lost(monkeypatch):
    # Beam's timed flush of output buffers loses some now and then; this often, nearly always
    monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1)

    def every_object_once(objects):
        assert Counter(one.uri for one in objects) == Counter(map(str, range(OBJECTS)))

    options = PipelineOptions(direct_num_workers=2, direct_running_mode="multi_threading")
    with beam.Pipeline(local_runner(), options=options) as pipeline:
        objects = (
            pipeline
            | beam.Create(range(OBJECTS))
            | "Spread" >> beam.Reshuffle()
            | "Pickled" >> beam.Map(lambda number: (number, AudioObject(str(number), 1, "v")))
            | "Shuffle" >> beam.GroupByKey()
            | beam.Values()
            | beam.FlatMap(list)
        )
        assert_that(objects, every_object_once)


def test_a_local_run_has_a_thread_for_each_core_unless_told_otherwise():
    for flags, workers in ([[], cores()], [["--direct_num_workers=7"], 7]):
        options = PipelineOptions(flags)
        use_all_cores(options, flags)
        assert options.get_all_options()["direct_num_workers"] == workers
        assert options.get_all_options()["direct_running_mode"] == "multi_threading"


def test_no_runner_and_the_direct_one_mean_this_process():
    assert is_local(PipelineOptions([]))
    for name in ("DirectRunner", "directrunner", "apache_beam.runners.direct.DirectRunner"):
        assert is_local(PipelineOptions([f"--runner={name}"]))
    assert not is_local(PipelineOptions(["--runner=FlinkRunner"]))
