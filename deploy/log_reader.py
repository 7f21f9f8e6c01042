"""A site's logs, read as its own workers read them, for whoever must show what happened: `explain` and `replay`.

Nothing is written and no position is moved. What is read is personal data: it is handed to the caller and to nobody
else, never logged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient

from deploy.acls import BUS
from deploy.broker_says import in_a_line
from schemas import topics
from schemas.codec import DecodeError, decode
from schemas.registry_client import RegistryAway, SchemaCache, registry_client
from schemas.settings import Settings
from schemas.site import Site
from streams.fold import BrokerQuietError, plain_consumer, read_back
from streams.records import LoggedRecord
from streams.replay import Place

REQUEST_SECONDS: Final = 15
TOLD_EVERY: Final = 20_000
"""Records between two words of progress."""
SHOWN: Final = 3
"""Alerts named where a prefix means several."""
Tell = Callable[[str], None]
"""Takes a line that says how far the reading is."""


class LogError(Exception):
    """The logs can't be read, or hold no such alert; the message is one line for a person and shows no value."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record, and where it is."""

    place: Place
    record: LoggedRecord


@dataclass(frozen=True, slots=True)
class Said:
    """A decoded record, and where it is."""

    place: Place
    value: Mapping[str, Any]


class LogReader:
    """Reads a site's topics from the beginning to the end that they have now."""

    def __init__(self, site: Site, consumer: Consumer, registry: SchemaRegistryClient, tell: Tell) -> None:
        self.site = site
        self.schemas = SchemaCache(registry)
        self._consumer = consumer
        self._tell = tell

    def partitions(self, topic: str) -> range:
        """The partitions of a topic; none where there is no such topic (any more)."""
        found = self._consumer.list_topics(topic, timeout=REQUEST_SECONDS).topics[topic]
        return range(len(found.partitions)) if found.error is None else range(0)

    def records(self, topic: str, partition: int) -> Iterator[LoggedRecord]:
        """Every record of a partition, in order; what is needed to decode it is there when it comes."""
        where = f"{topic}, partition {partition}"
        self._tell(f"Reading {where}")
        for number, (_, record) in enumerate(read_back(self._consumer, [(topic, partition)]), start=1):
            if number % TOLD_EVERY == 0:
                self._tell(f"Reading {where}: {number:,} records")
            if record.value is not None:
                self.schemas.ensure([record.value])
            yield record

    def matching(
        self, topic: str, wanted: Callable[[LoggedRecord], bool], partitions: Iterable[int] | None = None
    ) -> Iterator[Found]:
        """The records of a topic, or of some of its partitions, that are wanted."""
        for partition in self.partitions(topic) if partitions is None else partitions:
            for record in self.records(topic, partition):
                if wanted(record):
                    yield Found(Place(topic, partition, record.offset), record)

    def events(self, topic: str, ids: Iterable[str]) -> Iterator[Found]:
        """The records of an inbound topic that carry one of these event ids, or withdraw it."""
        wanted = [one.encode() for one in ids]
        return self.matching(topic, lambda one: any(known in (one.value or b"") for known in wanted))

    # -- alerts ----------------------------------------------------------------------------------------------------

    def alert(self, prefix: str) -> list[Said]:
        """The records of one alert that are on `alerts.raised`, by its id or the beginning of it, in order.

        Raises LogError where there is none, or several begin so.
        """
        beginning = prefix.lower()
        if not re.fullmatch(r"[0-9a-f-]{1,36}", beginning):
            raise LogError(f"{prefix!r} is no alert's id, nor the beginning of one")
        topic = topics.alerts_raised(self.site.name)
        start = beginning.encode()
        found = list(self.matching(topic, lambda one: one.value is not None and (one.key or b"").startswith(start)))
        ids = sorted({(one.record.key or b"").decode() for one in found})
        if not ids:
            raise LogError(f"no alert begins with {beginning} on site {self.site.name}")
        if len(ids) > 1:
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            raise LogError(f"{len(ids)} alerts begin with {beginning}: {', '.join(ids[:SHOWN])}{more}")
        return sorted(self._decoded(found, "AlertRaised"), key=lambda one: one.value["revision"])

    def decisions(self, alert_id: str, partition: int) -> list[Said]:
        """What was decided on the disclosure of an alert, in order; its audit is on the alert's own partition."""
        key = alert_id.encode()
        found = self.matching(topics.disclosures(self.site.name), lambda one: one.key == key, [partition])
        return list(self._decoded(found, "DisclosureDecided"))

    def _decoded(self, found: Iterable[Found], name: str) -> Iterator[Said]:
        for one in found:
            yield Said(one.place, decode(one.record.value or b"", self.schemas, name)[1])


@contextmanager
def log_reader(settings: Settings, site: Site, tell: Tell) -> Iterator[LogReader]:
    """A reader of a site's logs as the bus's own user. Whatever the reading runs into becomes a LogError."""
    consumer = plain_consumer(settings, site.user(BUS), topics.consumer_group(site.name))
    try:
        with registry_client(settings) as registry:
            yield LogReader(site, consumer, registry, tell)
    except KafkaException as error:
        raise LogError(
            f"the bus at {settings.bootstrap_servers} does not answer as asked ({in_a_line(error)}): "
            "is it up (`sallyport up`), and the site provisioned?"
        ) from error
    except (BrokerQuietError, RegistryAway) as error:
        raise LogError(f"the bus at {settings.bootstrap_servers} can't be read: {error}") from error
    except DecodeError as error:
        raise LogError(f"a record of the bus can't be read by this version: {error}") from error
    finally:
        consumer.close()
