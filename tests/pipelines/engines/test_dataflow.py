"""The graph as Dataflow would get it: translated by Beam's own runner, up to the last request.

Only that is left out which needs an account: credentials, and writing to a bucket.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import yaml
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2

from earmark.pipelines.engines.dataflow import DataflowEngine
from earmark.pipelines.engines.remote import DealToWorkers
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import CLASSIFY, parse
from earmark.pipelines.runs import Run, prepare
from earmark.pipelines.runs.graph import ClassifyRound, ClassifyStream
from earmark.transforms.elements import Listed
from earmark.transforms.storage.beam_filesystems import use_options

apiclient = pytest.importorskip(
    "apache_beam.runners.dataflow.internal.apiclient", reason="earmark[gcp] is not installed"
)

MODEL_BYTES = 100_000
LIMIT_BYTES = 10 * 1000**2
"""Of a job's description, by Dataflow; what is staged beside it is to stay below it, too."""

CONFIG = Path(__file__).parents[3] / "configs" / "dataflow.yaml"
ASKED: Mapping[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["beam"]
"""Beam's options in the example that comes with the project, which is what is submitted here."""

SHUFFLES = {
    "SpreadObjects",  # so that any worker may look at any object
    "SpreadSpans",  # and hear any part of it
    "AggregateClips",  # the parts of a recording
    "AllRows",  # how many rows there are
    "WriteParquet",  # recordings to their files
    "CommitRound",  # the files of a round
}
"""The stages that send elements from one worker to another, once each."""


@dataclass(frozen=True)
class Submitted:
    """What would go to Dataflow: the job, the pipeline, and what is staged, by name."""

    job: Mapping[str, Any]
    pipeline: Any
    staged: Mapping[str, bytes]
    result: Any

    @property
    def environment(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.job["environment"]
        return found

    @property
    def workers(self) -> Mapping[str, Any]:
        (pool,) = self.environment["workerPools"]
        found: Mapping[str, Any] = pool
        return found


@pytest.fixture(autouse=True, scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Beam asks nobody for credentials, nor buckets for their settings."""
    from apache_beam.internal.gcp import auth

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth._Credentials, "_credentials_init", True)
        patch.setattr(auth._Credentials, "_credentials", None)
        patch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda *_: None)
        yield patch


@pytest.fixture(scope="module")
def submit(patch) -> Iterator[Callable[[beam.PTransform, Run], Submitted]]:
    """Translates a graph as DataflowRunner does, and keeps what it would have sent."""
    staged: dict[str, bytes] = {}

    def stage(self, folder, name, stream, *args, **kwargs):
        staged[name] = stream.read()

    patch.setattr(apiclient.DataflowApplicationClient, "stage_file", stage)

    def run(graph: beam.PTransform, prepared: Run) -> Submitted:
        staged.clear()
        pipeline = beam.Pipeline(options=prepared.engine.options)
        _ = pipeline | graph
        result = pipeline.run()
        staged_pipeline = beam_runner_api_pb2.Pipeline.FromString(staged["pipeline.pb"])
        return Submitted(json.loads(staged["job"]), staged_pipeline, dict(staged), result)

    yield run
    use_options(PipelineOptions([]))
    pickler.set_library("default")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, record) -> Run:
    folder = tmp_path_factory.mktemp("dataflow")
    record(folder / "in" / "a.wav", "tone")
    folders = ["--input", str(folder / "in"), "--output", str(folder / "out")]
    flags = ["--config", str(CONFIG), "--model", "builtin", "--template_location=gs://bucket/job"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataflowEngine, "check", lambda *_: None)
        return prepare(*parse([*folders, *flags, "--job_name=earmark"], CLASSIFY))


@pytest.fixture(scope="module")
def submitted(prepared, submit) -> Submitted:
    return submit(graph_of(prepared), prepared)


def graph_of(run: Run) -> beam.PTransform:
    return round_of(run, Listed(1, {}))


def round_of(run: Run, listed: Listed) -> beam.PTransform:
    deal = DealToWorkers("gs://bucket/00001.plan", b"", listed, run.options.span_s)
    return ClassifyRound(run, "00001", deal)


def steps(pipeline) -> dict[str, Any]:
    """The transforms that are run, by their full names."""
    transforms = pipeline.components.transforms.values()
    return {each.unique_name: each for each in transforms if not each.subtransforms}


def function_of(step) -> Any:
    return beam_runner_api_pb2.ParDoPayload.FromString(step.spec.payload).do_fn


def test_the_graph_is_translated_for_dataflow(submitted):
    assert submitted.job["name"] == "earmark"
    assert submitted.job["type"] == "JOB_TYPE_BATCH"
    assert steps(submitted.pipeline)


def test_a_template_has_no_job_to_wait_for(submitted):
    """Beam says that it is done: nothing of it has been run by then."""
    assert not submitted.result.has_job
    assert submitted.result.wait_until_finish() == "DONE"


def test_the_workers_are_those_asked_for(submitted):
    workers = submitted.workers
    (image,) = workers["sdkHarnessContainerImages"]
    assert image["containerImage"] == workers["workerHarnessContainerImage"]
    assert image["containerImage"] == ASKED["sdk_container_image"]
    assert image["useSingleCorePerContainer"] is True
    assert workers["machineType"] == ASKED["machine_type"]
    assert workers["diskSizeGb"] == ASKED["disk_size_gb"]
    assert workers["autoscalingSettings"]["maxNumWorkers"] == ASKED["max_num_workers"]
    assert workers["numThreadsPerWorker"] == ASKED["number_of_worker_harness_threads"]
    assert workers["ipConfiguration"] == "WORKER_IP_PRIVATE"


def test_all_stages_are_run_in_that_image(submitted):
    environments = submitted.pipeline.components.environments
    used = {each.environment_id for each in submitted.pipeline.components.transforms.values()}
    images = {
        beam_runner_api_pb2.DockerPayload.FromString(environments[name].payload).container_image
        for name in used
        if name
    }
    assert images == {ASKED["sdk_container_image"]}
    assert all(
        each.urn == common_urns.environments.DOCKER.urn
        for name, each in environments.items()
        if name in used
    )


def test_nothing_of_this_program_travels_but_the_graph(submitted):
    assert "pickled_main_session" not in submitted.staged
    names = {package["name"] for package in submitted.workers.get("packages", [])}
    assert names <= {"submission_environment_dependencies.txt"}


READ_ON_A_WORKER = """
import sys
from apache_beam.internal import pickler
pickler.set_library("cloudpickle")
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        pickler.loads(file.read())
"""


def test_what_runs_on_workers_can_be_read_there(submitted, tmp_path):
    """By a process that shares nothing with this one but what is installed."""
    ends = ("Read", "Decode", "Score", "Tally", "Write", "Commit")
    for end in ends:
        (function,) = (
            function_of(step)
            for name, step in steps(submitted.pipeline).items()
            if name.endswith(f"/{end}")
        )
        assert function.urn == python_urns.PICKLED_DOFN_INFO
        (tmp_path / end).write_bytes(function.payload)
    reading = subprocess.run(
        [sys.executable, "-c", READ_ON_A_WORKER, *ends],
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert reading.returncode == 0, reading.stderr.decode()


def test_the_model_travels_by_its_name_and_sum_only(submitted, prepared):
    (score,) = (step for name, step in steps(submitted.pipeline).items() if name.endswith("/Score"))
    assert len(score.spec.payload) < MODEL_BYTES
    source = pickler.loads(function_of(score).payload)[0]._load.__self__.source
    assert (source.name, source.sha256) == ("builtin", prepared.classifier.sha256)


def test_elements_go_between_workers_only_where_they_must(submitted):
    shuffled = [
        name
        for name, step in steps(submitted.pipeline).items()
        if step.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn
    ]
    innermost = [[part for part in name.split("/") if part in SHUFFLES][-1:] for name in shuffled]
    assert sorted(innermost) == sorted([stage] for stage in SHUFFLES), shuffled


def test_decoding_and_scoring_are_not_torn_apart_by_a_shuffle(submitted):
    """Samples would cross it."""
    decode, score = (
        next(step for name, step in steps(submitted.pipeline).items() if name.endswith(end))
        for end in ("/Decode", "/Score")
    )
    assert set(decode.outputs.values()) == set(score.inputs.values())


def test_names_of_stages_are_unique(submitted):
    names = [each.unique_name for each in submitted.pipeline.components.transforms.values()]
    assert len(names) == len(set(names))


def test_the_job_is_far_below_dataflows_limit(submitted):
    assert len(submitted.staged["job"]) < LIMIT_BYTES / 100
    assert len(submitted.staged["pipeline.pb"]) < LIMIT_BYTES / 10


def test_the_size_of_the_job_does_not_depend_on_the_size_of_the_archive(prepared, submit):
    few, many = (
        submit(round_of(prepared, listed), prepared)
        for listed in (Listed(1, {}), Listed(10**9, {}))
    )
    assert abs(len(many.staged["pipeline.pb"]) - len(few.staged["pipeline.pb"])) < 100


def test_a_run_that_goes_on_for_ever_is_a_streaming_job(prepared, submit):
    options = prepared.options.model_copy(update={"watch": True})
    submitted = submit(ClassifyStream(replace(prepared, options=options)), prepared)
    assert submitted.job["type"] == "JOB_TYPE_STREAMING"
    names = [each.unique_name for each in submitted.pipeline.components.transforms.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--input", "/archive", "--output", "gs://bucket/out"],
            "--input /archive: Dataflow's workers cannot see it; name a gs:// URI",
        ),
        (
            ["--input", "gs://bucket/in", "--output", "out"],
            "--output out: Dataflow's workers cannot see it; name a gs:// URI",
        ),
        (
            ["--input", "gs://bucket/in", "--output", "gs://bucket/out", "--project", "No"],
            "Invalid Project ID (No)",
        ),
    ],
)
def test_what_dataflow_cannot_do_is_told_in_one_line(arguments, told):
    config = ["--config", str(CONFIG), "--model", "builtin"]
    with pytest.raises(UsageError) as raised:
        prepare(*parse([*config, *arguments], CLASSIFY))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def fed(prepared, submit) -> Submitted:
    """A stream that is told of new objects."""
    update = {"watch": True, "notifications": "pubsub://project/new-audio"}
    options = prepared.options.model_copy(update=update)
    return submit(ClassifyStream(replace(prepared, options=options)), prepared)


def test_a_stream_that_is_fed_reads_its_subscription(fed):
    assert fed.job["type"] == "JOB_TYPE_STREAMING"
    [read] = (
        step
        for step in steps(fed.pipeline).values()
        if step.spec.urn == common_urns.composites.PUBSUB_READ.urn
    )
    payload = beam_runner_api_pb2.PubSubReadPayload.FromString(read.spec.payload)
    assert payload.subscription == "projects/project/subscriptions/new-audio"
    assert payload.with_attributes


def test_what_is_flattened_is_encoded_alike(fed):
    """Else it can be read in the wrong way."""
    components = fed.pipeline.components
    flattens = [
        step
        for step in components.transforms.values()
        if step.spec.urn == common_urns.primitives.FLATTEN.urn and len(step.inputs) > 1
    ]
    assert any("Occasions" in step.unique_name for step in flattens)
    for step in flattens:
        coders = {
            components.pcollections[each].coder_id
            for each in (*step.inputs.values(), *step.outputs.values())
        }
        assert len(coders) == 1, step.unique_name
