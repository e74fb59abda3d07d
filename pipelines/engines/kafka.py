"""Beam's reader of Kafka, which is written in Java: whether it can be had, and having it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from apache_beam.options.pipeline_options import CrossLanguageOptions, PipelineOptions
from apache_beam.utils.subprocess_server import JavaHelper, JavaJarServer, SubprocessServer

from earmark.pipelines.errors import RunError, UsageError
from earmark.transforms.sources import Kafka, parse_source

_SERVICE = "sdks:java:io:expansion-service:shadowJar"
"""What `--beam_services` calls the service that describes it."""


def check_reader_of_kafka(notifications: str, options: PipelineOptions) -> None:
    """Check that it can be had.

    Args:
      notifications: a topic, as the option names it.
      options: Beam's.

    Raises:
      UsageError: it cannot.
    """
    services = options.view_as(CrossLanguageOptions).beam_services
    if ":" not in services.get(_SERVICE, "") and shutil.which(JavaHelper.get_java()) is None:
        raise UsageError(
            f"--notifications {notifications}: Beam's reader of Kafka needs Java here; install it, "
            f'or name a service that has it: --beam_services={{"{_SERVICE}": "HOST:PORT"}}'
        )


@contextmanager
def describing_kafka(notifications: str | None, options: PipelineOptions) -> Iterator[None]:
    """Have Beam's services while a graph is made that may read Kafka: they describe its reader.

    Beam does this only for pipelines that are made and run in one `with`.

    Raises:
      RunError: the reader can't be had.
    """
    services = options.view_as(CrossLanguageOptions).beam_services
    try:
        with JavaJarServer.beam_services(services), SubprocessServer.cache_subprocesses():
            yield
    except (RuntimeError, OSError, grpc.RpcError) as error:
        if notifications is None or not isinstance(parse_source(notifications), Kafka):
            raise
        said = " ".join((str(error).strip() or type(error).__name__).splitlines()[0].split())
        raise RunError(
            f"--notifications {notifications}: Beam's Kafka reader is not available: {said:.300}"
        ) from error
