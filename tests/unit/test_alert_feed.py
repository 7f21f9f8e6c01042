"""What a desk's feed makes of what the bus's client says: where the log goes back, all of it is read and said anew."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError

from consumers import alert_feed
from consumers.alert_feed import AlertFeed
from consumers.board import AlertForgotten, CaughtUp, LogReplaced, Said
from schemas import topics
from schemas.settings import Settings
from tests.county import demo_site

SITE = demo_site(partitions=1)
ME = "county-jail-watch"
HOUSING = topics.alerts_for("demo", ME, "housing")


class Message:
    """A tombstone, or an error where there is a code."""

    def __init__(self, topic: str, code: int | None = None) -> None:
        self._topic, self._code = topic, code

    def error(self) -> KafkaError | None:
        return None if self._code is None else KafkaError(self._code)

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return 0

    def key(self) -> bytes:
        return b"an alert"

    def value(self) -> None:
        return None


class Client:
    """A consumer that finds every topic, and remembers what it was told to read."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.assigned: list[list[int]] = []

    def list_topics(self, topic: str, timeout: float) -> Any:
        del timeout
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=[0])})

    def assign(self, parts: Sequence[Any]) -> None:
        self.assigned.append([part.offset for part in parts])


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> AlertFeed:
    monkeypatch.setattr(alert_feed, "Consumer", Client)
    monkeypatch.setattr(Settings, "kafka", lambda *_: {})
    return AlertFeed(Settings(registry_url="http://127.0.0.1:1"), SITE, ME)


def read(feed: AlertFeed, *messages: Message) -> list[Said]:
    """What is said because of messages, in order."""
    told: list[Said] = []
    rest = feed._read(messages, told.extend)  # type: ignore[arg-type]
    return [*told, *rest]


def at_the_end(feed: AlertFeed) -> list[Message]:
    return [Message(part.topic, KafkaError._PARTITION_EOF) for part in feed._parts]


def test_where_the_log_goes_back_behind_what_was_read_it_is_read_and_said_anew(feed: AlertFeed) -> None:
    client: Any = feed._consumer
    assert client.config["auto.offset.reset"] == "error", "whoever begins again unasked can't say so"
    assert read(feed, Message(HOUSING), *at_the_end(feed)) == [AlertForgotten("an alert"), CaughtUp()]
    known_before = feed._schemas
    gone_back = Message(topics.stage_reports("demo"), KafkaError._AUTO_OFFSET_RESET)
    assert read(feed, Message(HOUSING), gone_back, Message(HOUSING)) == [LogReplaced()], "what came with it comes again"
    assert client.assigned == [[OFFSET_BEGINNING] * len(feed._parts)]
    assert feed._schemas is not known_before, "another registry may mean something else by an id"
    assert read(feed, Message(HOUSING)) == [AlertForgotten("an alert")]
    assert read(feed, *at_the_end(feed)) == [CaughtUp()]
