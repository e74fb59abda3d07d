"""Watches that are fed by notifications: what is told before they begin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.coders import RowCoder
from apache_beam.portability.api import (
    beam_expansion_api_pb2,
    beam_expansion_api_pb2_grpc,
    external_transforms_pb2,
)
from apache_beam.typehints.schemas import named_tuple_from_schema

from earmark.pipelines.engines import kafka
from earmark.pipelines.errors import UsageError
from earmark.pipelines.options import CLASSIFY, parse
from earmark.transforms.planning.notifications import consumer_config
from earmark.transforms.sources import Kafka

KAFKA, PUBSUB = "kafka://localhost:9092/audio", "pubsub://project/new-audio"
SERVICE = "sdks:java:io:expansion-service:shadowJar"


class NoKafka(beam_expansion_api_pb2_grpc.ExpansionServiceServicer):
    """An expansion service that has nothing, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def Expand(self, request, context):  # noqa: N802 (the service's name)
        self.asked.append(request.transform.spec)
        return beam_expansion_api_pb2.ExpansionResponse(error="there is no Kafka\n  at Java.java:1")


@pytest.fixture
def service() -> Iterator[tuple[NoKafka, str]]:
    service, server = NoKafka(), grpc.server(ThreadPoolExecutor(1))
    beam_expansion_api_pb2_grpc.add_ExpansionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def told(record, classify, tmp_path):
    """What a command line ends with."""
    record(tmp_path / "in" / "a.wav", "tone")

    def run(*options: str, inputs: Path | None = None) -> tuple[int, str]:
        status, output, errors = classify(inputs or tmp_path / "in", tmp_path / "out", *options)
        assert output == ""
        line = errors.splitlines()[-1]  # behind what says how it goes
        return status, line

    return run


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--watch", "--notifications=amqp://host/queue"],
            "earmark: --notifications amqp://host/queue: write it like "
            "pubsub://PROJECT/SUBSCRIPTION or kafka://HOST:PORT/TOPIC",
        ),
        (
            ["--watch", "--notifications=kafka://user:secret@host:9092/t"],
            "earmark: --notifications kafka://user:***@host:9092/t: write it like "
            "kafka://HOST:PORT/TOPIC, or kafka://HOST:PORT,HOST:PORT/T",
        ),
        (
            ["--watch", "--notifications=projects/p/topics/t"],
            "earmark: --notifications projects/p/topics/t: is a topic; name a subscription to it",
        ),
        (
            [f"--notifications={KAFKA}"],
            f"earmark: --notifications {KAFKA}: needs --watch: add it, or leave this out",
        ),
        (
            ["--watch", f"--notifications={KAFKA}"],
            f"earmark: --notifications {KAFKA}: a local watch lists its inputs itself; leave this "
            "out, or name a --runner",
        ),
        (
            ["--watch", f"--notifications={PUBSUB}", "--runner=FlinkRunner"],
            f"earmark: --notifications {PUBSUB}: only Dataflow reads Pub/Sub; name a Kafka topic",
        ),
    ],
)
def test_what_cannot_be_is_told_in_a_line(told, options, line):
    assert told(*options) == (2, line)


def test_a_manifest_is_not_fed(told, tmp_path):
    manifest = tmp_path / "archive.csv"
    manifest.write_text("uri\na.wav\n")
    status, line = told(
        "--watch", f"--notifications={KAFKA}", "--runner=FlinkRunner", inputs=manifest
    )
    assert status == 2
    assert line.startswith(
        f"earmark: --input {manifest}: there are no notifications for a manifest; "
    )


def test_without_java_a_service_has_to_be_named(told, monkeypatch):
    monkeypatch.setattr(kafka.shutil, "which", lambda _: None)
    status, line = told("--watch", f"--notifications={KAFKA}", "--runner=FlinkRunner")
    assert status == 2
    assert line == (
        f"earmark: --notifications {KAFKA}: Beam's reader of Kafka needs Java here; install it, or "
        f'name a service that has it: --beam_services={{"{SERVICE}": "HOST:PORT"}}'
    )


def test_a_reader_of_kafka_that_cannot_be_had_is_told_before_anything_starts(told, service):
    asked, address = service
    services = json.dumps({SERVICE: address})
    status, line = told(
        "--watch",
        f"--notifications={KAFKA}",
        "--runner=FlinkRunner",
        f"--beam_services={services}",
    )
    assert status == 1
    assert line.startswith(
        f"earmark: --notifications {KAFKA}: Beam's Kafka reader is not available: "
    )
    assert "there is no Kafka" in line
    assert asked.asked


def test_the_reader_of_kafka_is_asked_for_as_it_should_be(told, service, tmp_path):
    asked, address = service
    services = json.dumps({SERVICE: address})
    told(
        "--watch",
        "--notifications=kafka://a:1,b:2/audio",
        "--runner=FlinkRunner",
        f"--beam_services={services}",
    )
    [spec] = asked.asked
    payload = external_transforms_pb2.ExternalConfigurationPayload.FromString(spec.payload)
    row = RowCoder(payload.schema).decode(payload.payload)
    assert isinstance(row, named_tuple_from_schema(payload.schema))
    assert spec.urn == "beam:transform:org.apache.beam:kafka_read_without_metadata:v1"
    config = consumer_config(Kafka("a:1,b:2", "audio"), str(tmp_path / "out"))
    assert (row.consumer_config, list(row.topics)) == (config, ["audio"])
    assert row.commit_offset_in_finalize is False  # with which jobs on Flink fail over and over
    assert row.timestamp_policy == "ProcessingTime"  # or an idle topic would hold windows back


def test_in_a_file_of_options_it_stands_beside_the_watch(tmp_path):
    config = tmp_path / "earmark.yaml"
    config.write_text(f"notifications: {KAFKA}\nwatch: true\ninput: a\noutput: b\n")
    options, _ = parse(["--config", str(config)], CLASSIFY)
    assert options.notifications == KAFKA
    config.write_text(f"notifications: {KAFKA}\ninput: a\noutput: b\n")
    with pytest.raises(UsageError, match="needs --watch"):
        parse(["--config", str(config)], CLASSIFY)
