"""Which engine Beam's options name: the only place that asks."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from earmark.pipelines.engines.base import Engine
from earmark.pipelines.engines.dataflow import DataflowEngine
from earmark.pipelines.engines.flink import FlinkEngine, job_server
from earmark.pipelines.engines.local import LocalEngine
from earmark.pipelines.engines.remote import RemoteEngine
from earmark.transforms.storage.beam_filesystems import use_options

_LOCAL = ("direct", "switchingdirect", "fnapi")


def engine_of(flags: Sequence[str], *, is_stream: bool = False) -> Engine:
    """The engine that Beam's options name; with those, its filesystems are set up.

    Args:
      flags: Beam's options.
      is_stream: whether a stream is to be run.

    Raises:
      UsageError: there is no such engine, or it cannot be had so.
    """
    engine = kind_of(PipelineOptions(list(flags)))(flags, is_stream)
    use_options(engine.options)
    return engine


def kind_of(options: PipelineOptions) -> type[LocalEngine | RemoteEngine]:
    """By the runner's name, whether it is given in full, in small letters or without Runner."""
    given = options.view_as(StandardOptions).runner or "DirectRunner"
    name = given.lower().rsplit(".", 1)[-1].removesuffix("runner")
    if name in _LOCAL:
        return LocalEngine
    if name.endswith("dataflow"):
        return DataflowEngine
    return FlinkEngine if name == "flink" or job_server(options) else RemoteEngine
