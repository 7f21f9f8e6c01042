"""Following a site's logs as the bus's own user: what is written from now on, and which alerts are open already.

Nothing is written, no position is moved, and no group is joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from deploy.ways import NEVER, AlertRead, DecisionRead, Noted, Passed
from schemas import topics
from schemas.codec import decode
from schemas.registry_client import SchemaCache
from schemas.site import Site
from streams.fold import logged
from streams.records import TAKEN, header

CONNECT_S: Final = 10.0
"""Seconds that the broker is given to answer."""
POLL_S: Final = 0.5
"""Seconds that a record is waited for; then it is said that there was none."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing to be read just now, on some partition or on all. `caught_up`: what was there is told."""

    caught_up: bool


def followed(site: Site) -> list[str]:
    """The topics that are read: of agencies those whose events may be told of, the facts, the alerts, the audit."""
    name = site.name
    inbound = [
        topics.inbound(name, agency.id, event_type)
        for agency in site.agencies
        for event_type in agency.event_types
        if event_type not in NEVER
    ]
    own = topics.person_facts(name), topics.facility_facts(name), topics.alerts_raised(name), topics.disclosures(name)
    return [*inbound, *own]


def reach(site: Site, consumer: Consumer) -> None:
    """Ask the broker for something small: who only waits for records never hears that it is away.

    Raises KafkaException where there is no answer in CONNECT_S.
    """
    consumer.list_topics(topics.alerts_raised(site.name), timeout=CONNECT_S)


def follow(
    site: Site, consumer: Consumer, schemas: SchemaCache, goes_on: Callable[[], bool], *, with_old_alerts: bool = False
) -> Iterator[Noted | AlertRead | DecisionRead | Nothing]:
    """What is written from now on, as long as it `goes_on`; before that, where wanted, the alerts that are recorded.

    Raises KafkaException, RegistryAway, DecodeError.
    """
    raised, audit = topics.alerts_raised(site.name), topics.disclosures(site.name)
    old = {(raised, number) for number in range(site.partitions)} if with_old_alerts else set()
    parts = [(name, number) for name in followed(site) for number in range(site.partitions)]
    consumer.assign([TopicPartition(*part, OFFSET_BEGINNING if part in old else OFFSET_END) for part in parts])
    while goes_on():
        message = consumer.poll(POLL_S)
        if message is None:
            yield Nothing(not old)
            continue
        part, error = (message.topic() or "", message.partition() or 0), message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            # What was there when one began is read: what comes now is news.
            old.discard(part)
            yield Nothing(not old)
            continue
        record = logged(message)
        passed = Passed(*part, record.offset, record.timestamp * 1000)
        if part[0] not in (raised, audit):
            yield Noted(*part, record)
        elif record.value is not None:
            schemas.ensure([record.value])
            if part[0] == audit:
                yield DecisionRead(decode(record.value, schemas, "DisclosureDecided")[1], passed)
            else:
                taken = header(record.headers, TAKEN)
                alert = decode(record.value, schemas, "AlertRaised")[1]
                yield AlertRead(alert, passed, int(taken) if taken else None, part not in old)
