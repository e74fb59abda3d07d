from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any
from urllib.parse import quote, quote_plus

import apache_beam as beam
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from earmark.transforms.planning import notifications
from earmark.transforms.planning.notifications import (
    ReadNotifications,
    Said,
    consumer_config,
    read_message,
)
from earmark.transforms.sources import Kafka, PubSub
from tests.transforms.output.results import SETTINGS

KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
).filter(lambda key: not key.endswith("/"))
"""Names of objects: any signs but halves of pairs, which aren't text."""

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["uri"]), inner),
)


def text(message: object) -> bytes:
    return json.dumps(message).encode()


def said(message: object, **attributes: str) -> Said:
    payload = message if isinstance(message, bytes) else text(message)
    return read_message(payload, attributes)


def record(
    key: str, event: str = "ObjectCreated:Put", source: str = "aws:s3", bucket: str = "archive"
) -> dict[str, Any]:
    """As S3 writes it; what nobody reads is left out but for one field."""
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "eventName": event,
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 1024}},
    }


def gcs(key: str, event: str = "OBJECT_FINALIZE") -> dict[str, str]:
    return {
        "notificationConfig": "projects/_/buckets/archive/notificationConfigs/1",
        "eventType": event,
        "payloadFormat": "JSON_API_V1",
        "bucketId": "archive",
        "objectId": key,
        "objectGeneration": "1700000000000000",
    }


# Google Cloud Storage


@given(KEYS)
def test_an_object_of_google_cloud_storage_is_named_as_it_is(key):
    assert said({"kind": "storage#object"}, **gcs(key)) == Said((f"gs://archive/{key}",))


def test_its_payload_is_not_needed():
    assert said(b"", **gcs("a.wav")).uris == ("gs://archive/a.wav",)
    assert said(b"\xff", **gcs("a.wav")).uris == ("gs://archive/a.wav",)


@pytest.mark.parametrize("event", ["OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE"])
def test_what_else_happens_to_its_objects_is_ignored(event):
    assert said({}, **gcs("a.wav", event)) == Said(others=1)


# S3 and what is like it


@given(KEYS)
def test_keys_of_s3_are_decoded(key):
    expected = Said((f"s3://archive/{key}",))
    assert said({"Records": [record(quote_plus(key))]}) == expected
    assert said({"Records": [record(quote(key))]}) == expected


@given(KEYS)
def test_keys_of_ceph_are_as_they_are(key):
    ceph = record(key, "s3:ObjectCreated:Put", "ceph:s3")
    assert said({"Records": [ceph]}) == Said((f"s3://archive/{key}",))


def test_minio_writes_keys_as_forms_do_and_says_more_around_it():
    message = {
        "EventName": "s3:ObjectCreated:Put",
        "Key": "archive/2024/dawn chorus+1.wav",
        "Records": [record("2024%2Fdawn+chorus%2B1.wav", "s3:ObjectCreated:Put", "minio:s3")],
    }
    assert said(message) == Said(("s3://archive/2024/dawn chorus+1.wav",))


@pytest.mark.parametrize(
    "event",
    ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "s3:ObjectCreated:Copy"],
)
def test_objects_are_new_however_they_were_written(event):
    assert said({"Records": [record("a.wav", event)]}).uris == ("s3://archive/a.wav",)


@pytest.mark.parametrize(
    "event", ["ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated", "ObjectTagging:Put"]
)
def test_what_else_happens_in_s3_is_ignored(event):
    assert said({"Records": [record("a.wav", event)]}) == Said(others=1)


def test_a_message_of_several_records_gives_each():
    records = [record("a.wav"), record("b.wav", "ObjectRemoved:Delete"), {"no": 1}, record("c.wav")]
    found = said({"Records": records})
    assert found.uris == ("s3://archive/a.wav", "s3://archive/c.wav")
    assert (found.others, found.unknown) == (1, ("'{\"no\": 1}'",))


def test_a_record_may_be_wrapped_by_sns():
    inner = json.dumps({"Records": [record("a.wav")]})
    assert said({"Type": "Notification", "Message": inner}).uris == ("s3://archive/a.wav",)


def test_what_s3_sends_to_try_it_out_is_ignored():
    test = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "archive"}
    assert said(test) == Said(others=1)
    assert said({"Type": "Notification", "Message": json.dumps(test)}) == Said(others=1)


def test_a_key_that_is_no_text_is_not_understood():
    assert len(said({"Records": [record("%FF.wav")]}).unknown) == 1


# of one's own making


@pytest.mark.parametrize(
    ("message", "uris"),
    [
        (b"s3://b/a.wav", ["s3://b/a.wav"]),
        (b"  gs://b/a b.wav\r\n", ["gs://b/a b.wav"]),
        (b"\xef\xbb\xbfgs://b/a.wav", ["gs://b/a.wav"]),
        (b"/mnt/rec/a.wav", ["/mnt/rec/a.wav"]),
        (b"/mnt//rec/../a.wav", ["/mnt/a.wav"]),
        (b"file:///mnt/a%20b.wav", ["/mnt/a b.wav"]),
        (b"file:///mnt/%FF.wav", ["file:///mnt/%FF.wav"]),
        (b"s3://b/a.wav\n\ns3://b/b.wav\n", ["s3://b/a.wav", "s3://b/b.wav"]),
        (b'{"uri": "s3://b/a\\nb.wav"}', ["s3://b/a\nb.wav"]),
        (b'{"uri": "s3://b/a"}\n{"uri": "s3://b/b"}', ["s3://b/a", "s3://b/b"]),
        (b'{\n "uri": "s3://b/a",\n "by": "recorder 7"\n}', ["s3://b/a"]),
        (b's3://b/a\n{"uri": "s3://b/b"}', ["s3://b/a", "s3://b/b"]),
        (b"hdfs:///archive/a.wav", ["hdfs:///archive/a.wav"]),
    ],
)
def test_lines_name_objects(message, uris):
    assert said(message) == Said(tuple(uris))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b" \n ",
        b"\xff\xfe",
        b"a.wav",
        b"C:\\a.wav",
        b"s3://b",
        b"s3://b/",
        b"s3://b/folder/",
        b"/mnt/a\0.wav",
        b"file:///mnt/a%00.wav",
        b"s3://key:secret@b/a.wav",
        b"s3://b/a.wav?X-Amz-Signature=secret",
        b"{",
        b'{"uri": 1}',
        b'{"uri": "a.wav"}',
        b'{"uri": "s3://b/\\ud800"}',
        b"[]",
        b'"s3://b/a.wav"',
        b'{"Records": "s3://b/a.wav"}',
        b'{"Records": [1]}',
        b'{"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": null}}]}',
        b'{"Type": "Notification", "Message": "{"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_none_of_these_is_told_briefly_and_without_secrets(message):
    found = said(message)
    assert found.uris == ()
    assert found.others == 0
    [excerpt] = found.unknown
    assert len(excerpt) < 1000
    assert excerpt.isascii()
    assert excerpt.isprintable()
    assert "secret" not in excerpt


def test_what_is_understood_of_a_message_counts_whatever_else_is_in_it():
    found = said(b"s3://b/a.wav\nnonsense\ns3://b/b.wav")
    assert found == Said(("s3://b/a.wav", "s3://b/b.wav"), 0, ("'nonsense'",))


@given(st.binary(max_size=200) | ANYTHING.map(text))
def test_no_message_is_too_odd_and_none_is_dropped_in_silence(payload):
    found = read_message(payload, {})
    for uri in found.uris:
        assert uri.encode("utf-8")
    if payload != text({"Records": []}):
        assert found.uris or found.others or found.unknown


@given(st.dictionaries(st.sampled_from(["eventType", "bucketId", "objectId", "x"]), st.text()))
def test_no_attributes_are_too_odd(attributes):
    found = read_message(b"", attributes)
    assert len(found.uris) + found.others + len(found.unknown) == 1


# where they come from


def test_streams_into_one_output_read_each_message_once_and_into_two_both_do():
    source = Kafka("localhost:9092", "audio")
    groups = [consumer_config(source, output)["group.id"] for output in ("/a", "/a/", "/b")]
    assert groups[0] == groups[1] != groups[2]


# the transform

ARCHIVE = "gs://archive/2024"


def read(monkeypatch, source, messages) -> tuple[beam.Pipeline, beam.PCollection, list[Any]]:
    """The transform, with messages in the place of the topic; and how the topic was asked for."""
    asked: list[Any] = []

    def stand_in(*args, **kwargs):
        asked.append((args, kwargs))
        return beam.Create(messages)

    monkeypatch.setattr(notifications, "ReadFromPubSub", stand_in)
    monkeypatch.setattr(notifications, "ReadFromKafka", stand_in)
    settings = replace(SETTINGS, patterns=(ARCHIVE,), output=ARCHIVE)
    pipeline = beam.Pipeline(runner=FnApiRunner())
    return pipeline, pipeline | ReadNotifications(source, settings), asked


def counts(result) -> dict[str, int]:
    counters = result.metrics().query(MetricsFilter().with_namespace(ReadNotifications))["counters"]
    return {
        each.key.metric.name: each.committed
        for each in counters
        if each.key.metric.namespace.endswith("ReadNotifications")
    }


def test_of_pubsub_those_objects_come_that_patterns_mean(monkeypatch, caplog):
    messages = [
        PubsubMessage(b"", gcs("2024/a.wav")),
        PubsubMessage(b"", gcs("2024/notes.txt")),
        PubsubMessage(b"", gcs("2023/a.wav")),
        PubsubMessage(b"", gcs("2024/clips/1.parquet")),
        PubsubMessage(b"", gcs("2024/clips/1.wav")),  # in a table's folder, but no run's file
        PubsubMessage(b"", gcs("2024/b.wav", "OBJECT_DELETE")),
        PubsubMessage(b"gs://archive/2024/c.wav", {}),
        PubsubMessage(b"password=", {}),
    ]
    source = PubSub("projects/p/subscriptions/s")
    pipeline, uris, asked = read(monkeypatch, source, messages)
    expected = [f"gs://archive/2024/{name}.wav" for name in ("a", "c", "clips/1")]
    assert_that(uris, equal_to(expected))
    with caplog.at_level(logging.WARNING):
        result = pipeline.run()
    assert asked == [((), {"subscription": "projects/p/subscriptions/s", "with_attributes": True})]
    assert counts(result) == {
        "messages": 8,
        "objects": 3,
        "not_meant": 3,
        "other_events": 1,
        "not_understood": 1,
    }
    assert "ignoring a notification that is not understood: 'password='" in caplog.text


def test_of_kafka_those_objects_come_that_patterns_mean(monkeypatch):
    messages = [
        (None, text({"Records": [record("2024/a.wav", bucket="x")]})),
        (b"key", b"gs://archive/2024/a.wav"),
        (b"a tombstone", None),
    ]
    pipeline, uris, asked = read(monkeypatch, Kafka("a:1,b:2", "audio"), messages)
    assert_that(uris, equal_to(["gs://archive/2024/a.wav"]))
    assert counts(pipeline.run()) == {
        "messages": 3,
        "objects": 1,
        "not_meant": 1,
        "not_understood": 1,
    }
    [((config, topics), others)] = asked
    assert config == {
        "bootstrap.servers": "a:1,b:2",
        "group.id": consumer_config(Kafka("", ""), ARCHIVE)["group.id"],
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "true",
    }
    assert (topics, others) == (["audio"], {})
