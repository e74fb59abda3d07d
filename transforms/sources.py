"""Where a watch learns of new objects, as an option names it: a subscription, or a topic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class PubSub:
    """A subscription of Google's Pub/Sub: projects/PROJECT/subscriptions/SUBSCRIPTION."""

    subscription: str


@dataclass(frozen=True)
class Kafka:
    """A topic of Kafka.

    Attributes:
      brokers: some of the cluster's: HOST:PORT, with commas between them.
      topic: its name.
    """

    brokers: str
    topic: str


Source: TypeAlias = PubSub | Kafka


def parse_source(text: str) -> Source:
    """The source of notifications: pubsub://PROJECT/SUBSCRIPTION or kafka://HOST:PORT,.../TOPIC.

    The former may also be written as projects/PROJECT/subscriptions/SUBSCRIPTION.

    Raises:
      ValueError: it is neither; the message is one line.
    """
    if _GOOGLE_TOPIC.fullmatch(text):
        raise ValueError("is a topic; name a subscription to it")
    if found := _SUBSCRIPTION.fullmatch(text) or _GOOGLE_SUBSCRIPTION.fullmatch(text):
        return PubSub(f"projects/{found['project']}/subscriptions/{found['name']}")
    if text.startswith(("pubsub:", "projects/")):
        raise ValueError("write it like pubsub://PROJECT/SUBSCRIPTION")
    if not text.startswith("kafka:"):
        raise ValueError("write it like pubsub://PROJECT/SUBSCRIPTION or kafka://HOST:PORT/TOPIC")
    found = _TOPIC.fullmatch(text)
    if found is None or not all(map(_is_broker, found["brokers"].split(","))):
        raise ValueError("write it like kafka://HOST:PORT/TOPIC, or kafka://HOST:PORT,HOST:PORT/T")
    return Kafka(found["brokers"], found["topic"])


def _is_broker(address: str) -> bool:
    found = _BROKER.fullmatch(address)
    return found is not None and 0 < int(found["port"]) < 1 << 16


_PROJECT, _NAME = r"(?P<project>[a-z][a-z0-9.:-]*)", r"(?P<name>[A-Za-z][A-Za-z0-9_.~+%-]{2,254})"
_SUBSCRIPTION = re.compile(f"pubsub://{_PROJECT}/{_NAME}")
_GOOGLE_SUBSCRIPTION = re.compile(f"projects/{_PROJECT}/subscriptions/{_NAME}")
_GOOGLE_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_TOPIC = re.compile(r"kafka://(?P<brokers>[^/@]+)/(?P<topic>[A-Za-z0-9._-]{1,249})")
_BROKER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
