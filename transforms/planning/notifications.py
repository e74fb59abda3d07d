"""Notifications of new objects, from stores and others, by Pub/Sub or Kafka."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.io.kafka import ReadFromKafka
from apache_beam.metrics import Metrics

from earmark.transforms.listing import is_meant
from earmark.transforms.output import is_written_by_runs
from earmark.transforms.settings import Settings
from earmark.transforms.sources import Kafka, PubSub, Source
from earmark.transforms.storage import local_path, local_uri
from earmark.transforms.text import holds_credentials, masked

_EXCERPT_CHARACTERS = 120

_log = logging.getLogger(__name__)


class Said(NamedTuple):
    """The content of a message.

    Attributes:
      uris: of objects that are new, or have been written again.
      others: how many events are of other kinds, such as deletions.
      unknown: the beginnings of what is not understood, without secrets.
    """

    uris: tuple[str, ...] = ()
    others: int = 0
    unknown: tuple[str, ...] = ()


@dataclass
class ReadNotifications(beam.PTransform):  # type: ignore[misc]
    """Read notifications, without end; gives the URIs of new objects that the run is to process.

    A message may come twice, or late. What is not understood is counted, and logged as a warning.
    Events of other kinds, and objects that no pattern includes, are counted and dropped.

    Attributes:
      source: where messages come from.
      settings: of the run.
    """

    source: Source
    settings: Settings

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Apply the transform."""
        return (
            root
            | "Read" >> _ReadMessages(self.source, self.settings.output)
            | "Understand" >> beam.FlatMapTuple(_new_objects).with_output_types(str)
            | "Meant" >> beam.Filter(_is_meant, self.settings).with_output_types(str)
        )


@dataclass
class _ReadMessages(beam.PTransform):  # type: ignore[misc]
    """Read messages: payloads with their attributes."""

    source: Source
    output: str

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection[tuple[bytes, dict[str, str]]]:
        if isinstance(self.source, PubSub):
            read = ReadFromPubSub(subscription=self.source.subscription, with_attributes=True)
            return root | "PubSub" >> read | "Message" >> beam.Map(_of_pubsub)
        read = ReadFromKafka(consumer_config(self.source, self.output), [self.source.topic])
        return root | "Kafka" >> read | "Message" >> beam.MapTuple(_of_kafka)


def consumer_config(source: Kafka, output: str) -> dict[str, str]:
    """The settings of Kafka's consumer.

    A group reads each message once. So there is one group for each output, shared by all streams
    into it, one after another. A group that has read nothing yet begins with the oldest message
    that Kafka has kept: some of its objects will have rows already, but none is missed.

    The consumer commits its offsets to Kafka from time to time, so a message may be committed and
    then lost with a worker. That does not matter, since a stream resumes from the offsets in its
    snapshot, or starts anew, and then lists its inputs. Beam's way of committing offsets with a
    snapshot (commit_offset_in_finalize) makes jobs on Flink fail repeatedly: "State backend must be
    locked when retrieving the current key" (Beam 2.62 to 2.72).
    """
    group = hashlib.sha256(output.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()
    return {
        "bootstrap.servers": source.brokers,
        "group.id": f"earmark-{group[:16]}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "true",
    }


def read_message(payload: bytes, attributes: Mapping[str, str]) -> Said:
    """The objects that a message names. It may be

    - a notification of Google Cloud Storage, by its attributes:
      https://cloud.google.com/storage/docs/pubsub-notifications
    - a record, or some, of an event in S3, MinIO or Ceph, as JSON, by itself or wrapped by SNS:
      https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
    - lines with a URI or an absolute path each, as they are or as JSON: {"uri": "..."}

    Args:
      payload: its bytes.
      attributes: its attributes; empty if it has none.
    """
    if {"eventType", "bucketId", "objectId"} <= set(attributes):
        return _said_by_gcs(attributes)
    try:
        return _said_in_text(payload.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return _unknown(payload.decode("utf-8", "backslashreplace"))


# the steps of the transform


def _of_pubsub(message: PubsubMessage) -> tuple[bytes, dict[str, str]]:
    return message.data or b"", dict(message.attributes or {})


def _of_kafka(_: bytes | None, value: bytes | None) -> tuple[bytes, dict[str, str]]:
    return value or b"", {}


def _new_objects(payload: bytes, attributes: Mapping[str, str]) -> Iterator[str]:
    said = read_message(payload, attributes)
    _count("messages", 1)
    _count("other_events", said.others)
    _count("not_understood", len(said.unknown))
    for each in said.unknown:
        _log.warning("ignoring a notification that is not understood: %s", each)
    yield from said.uris


def _is_meant(uri: str, settings: Settings) -> bool:
    meant = is_meant(uri, settings.patterns, settings.all_files)
    counts = meant and not is_written_by_runs(uri, settings.output)
    _count("objects" if counts else "not_meant", 1)
    return counts


def _count(name: str, number: int) -> None:
    if number:
        Metrics.counter(ReadNotifications, name).inc(number)


# the forms of messages

_CREATED = ("ObjectCreated", "ObjectSynced:Create")  # the latter by Ceph: copied from another zone


def _said_by_gcs(attributes: Mapping[str, str]) -> Said:
    if attributes["eventType"] != "OBJECT_FINALIZE":
        return Said(others=1)
    return _said_of(f"gs://{attributes['bucketId']}/{attributes['objectId']}")


def _said_in_text(text: str) -> Said:
    if text.lstrip().startswith("{"):
        try:
            return _said_in_json(json.loads(text))
        except (ValueError, RecursionError):
            pass  # each line may be JSON by itself
    lines = [line.strip() for line in text.split("\n")]
    if not any(lines):
        return _unknown(text)
    return _together(_said_in_line(line) for line in lines if line)


def _said_in_line(line: str) -> Said:
    if not line.startswith("{"):
        return _said_of(line)
    try:
        return _said_in_json(json.loads(line))
    except (ValueError, RecursionError):
        return _unknown(line)


def _said_in_json(message: Any) -> Said:
    match message:
        case {"Records": list(records)}:
            return _together(map(_said_by_record, records))
        case {"Type": "Notification", "Message": str(inner)}:  # SNS
            return _said_in_text(inner)
        case {"Event": "s3:TestEvent"}:  # which S3 sends when notifications are set up
            return Said(others=1)
        case {"uri": str(uri)}:
            return _said_of(uri)
    return _unknown(json.dumps(message))


def _said_by_record(record: Any) -> Said:
    match record:
        case {"eventName": str(event)} if not event.removeprefix("s3:").startswith(_CREATED):
            return Said(others=1)
        case {
            "eventName": str(),
            "s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}},
        }:
            return _said_of(f"s3://{bucket}/{_object_name(key, record)}")
    return _unknown(json.dumps(record))


def _object_name(key: str, record: Mapping[str, Any]) -> str:
    """A decoded key: S3 and MinIO encode keys as forms do, a space as +; Ceph doesn't."""
    if str(record.get("eventSource", "")).startswith("ceph"):
        return key
    return unquote_plus(key, errors="surrogateescape")


def _said_of(uri: str) -> Said:
    path = local_path(uri)
    is_one = path.startswith("/") if path is not None else _OBJECT.fullmatch(uri) is not None
    if not is_one or "\0" in (path or uri) or holds_credentials(uri) or not _is_text(uri):
        return _unknown(uri)
    return Said((uri if path is None else local_uri(path),))


def _is_text(uri: str) -> bool:
    try:
        uri.encode("utf-8")
    except UnicodeEncodeError:  # a half of a pair, or bytes of a name that are no UTF-8
        return False
    return True


def _unknown(text: str) -> Said:
    shown = masked(text[: 10 * _EXCERPT_CHARACTERS])
    cut = "" if len(shown) <= _EXCERPT_CHARACTERS else "..."
    return Said(unknown=(ascii(shown[:_EXCERPT_CHARACTERS]) + cut,))


def _together(every: Iterable[Said]) -> Said:
    said = list(every)
    return Said(
        tuple(uri for each in said for uri in each.uris),
        sum(each.others for each in said),
        tuple(excerpt for each in said for excerpt in each.unknown),
    )


_OBJECT = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*/.*[^/]", re.DOTALL)
