"""Whether a watch can be fed by notifications here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from apache_beam.options.pipeline_options import (
    CrossLanguageOptions,
    PipelineOptions,
    StandardOptions,
)
from apache_beam.utils.subprocess_server import JavaHelper, JavaJarServer, SubprocessServer

from earmark.pipelines.engines import is_local
from earmark.pipelines.errors import RunError, UsageError
from earmark.pipelines.options import ClassifyOptions
from earmark.transforms.listing import is_manifest
from earmark.transforms.planning import Kafka, PubSub, parse_source
from earmark.transforms.storage import shown

_KAFKA_SERVICE = "sdks:java:io:expansion-service:shadowJar"
"""What `--beam_services` calls the service that describes Beam's reader of Kafka."""


def check_notifications(options: ClassifyOptions, beam_options: PipelineOptions) -> None:
    """Check, before anything runs, that the engine can read the topic.

    Raises:
      UsageError: it cannot, or the input can't be fed so.
    """
    if options.notifications is None:
        return
    given, source = f"--notifications {options.notifications}", parse_source(options.notifications)
    if is_local(beam_options):
        raise UsageError(
            f"{given}: a watch on this machine looks for itself; leave it out, or name a --runner"
        )
    for pattern in filter(is_manifest, options.input):
        raise UsageError(
            f"--input {shown(pattern)}: of a manifest nothing is notified; name a folder or a "
            "pattern, or leave out --notifications"
        )
    runner = beam_options.view_as(StandardOptions).runner
    if isinstance(source, PubSub) and not runner.endswith("DataflowRunner"):
        raise UsageError(f"{given}: only Dataflow reads Pub/Sub; name a topic of Kafka's")
    if isinstance(source, Kafka) and not _has_reader_of_kafka(beam_options):
        raise UsageError(
            f"{given}: Beam's reader of Kafka needs Java here; install it, or name a service that "
            f'has it: --beam_services={{"{_KAFKA_SERVICE}": "HOST:PORT"}}'
        )


def _has_reader_of_kafka(beam_options: PipelineOptions) -> bool:
    services = beam_options.view_as(CrossLanguageOptions).beam_services
    is_address = ":" in services.get(_KAFKA_SERVICE, "")
    return is_address or shutil.which(JavaHelper.get_java()) is not None


@contextmanager
def describing_kafka(options: ClassifyOptions, beam_options: PipelineOptions) -> Iterator[None]:
    """Have Beam's services while a graph is made that may read Kafka: they describe its reader.

    Beam does this only for pipelines that are made and run in one `with`.

    Raises:
      RunError: the reader can't be had.
    """
    source = options.notifications
    services = beam_options.view_as(CrossLanguageOptions).beam_services
    try:
        with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
            yield
    except (RuntimeError, OSError, grpc.RpcError) as error:
        if source is None or not isinstance(parse_source(source), Kafka):
            raise
        said = " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())
        raise RunError(
            f"--notifications {source}: Beam's reader of Kafka can't be had: {said:.300}"
        ) from error
