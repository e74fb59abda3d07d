from __future__ import annotations

import pytest

from earmark.transforms.sources import Kafka, PubSub, parse_source


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ("pubsub://project/new-audio", PubSub("projects/project/subscriptions/new-audio")),
        ("projects/p-1/subscriptions/a.b", PubSub("projects/p-1/subscriptions/a.b")),
        ("pubsub://example.com:p/sub", PubSub("projects/example.com:p/subscriptions/sub")),
        ("kafka://localhost:9092/audio", Kafka("localhost:9092", "audio")),
        ("kafka://a:1,b.example:65535/T_1.x-y", Kafka("a:1,b.example:65535", "T_1.x-y")),
        ("kafka://[::1]:9092/audio", Kafka("[::1]:9092", "audio")),
    ],
)
def test_a_source_is_understood(given, source):
    assert parse_source(given) == source


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "write it like"),
        ("amqp://host/queue", "write it like pubsub://"),
        ("audio", "write it like pubsub://"),
        ("pubsub://project", "write it like pubsub://PROJECT/SUBSCRIPTION"),
        ("pubsub://project/", "write it like pubsub://"),
        ("pubsub:///sub", "write it like pubsub://"),
        ("pubsub://project/a/b", "write it like pubsub://"),
        ("projects/p", "write it like pubsub://"),
        ("projects/p/topics/t", "is a topic"),
        ("kafka://topic", "write it like kafka://"),
        ("kafka://host/topic", "write it like kafka://"),
        ("kafka://host:0/topic", "write it like kafka://"),
        ("kafka://host:65536/topic", "write it like kafka://"),
        ("kafka://host:9092", "write it like kafka://"),
        ("kafka://host:9092/", "write it like kafka://"),
        ("kafka://host:9092,/topic", "write it like kafka://"),
        ("kafka://host:9092/a/b", "write it like kafka://"),
        ("kafka://host:9092/a topic", "write it like kafka://"),
        ("kafka://user:password@host:9092/topic", "write it like kafka://"),
    ],
)
def test_what_is_no_source_is_told_in_a_line(given, told):
    with pytest.raises(ValueError, match=told) as raised:
        parse_source(given)
    assert "\n" not in str(raised.value)
