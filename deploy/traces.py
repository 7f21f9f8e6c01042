"""Traces: the way of an event from its agency's topic to an alert that can be read, as OpenTelemetry has it.

Whoever follows the logs sees of each event when its record came, when each stage wrote what it led to, and when the
alert could be read: one trace for each record of an alert that an event led to, whose id is the event's. Workers do
nothing for it. It names topics, offsets, rules and ids of events and alerts; nothing of a person. Nothing of tips
either, nor of health: from a trace one could tell that there is one.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from schemas import topics
from schemas.codec import decode
from schemas.events import CARE_EVENTS, TIP_EVENTS
from schemas.registry_client import SchemaCache
from schemas.site import Site
from streams.alerts import CauseKind
from streams.custody import CUSTODY, read_placed
from streams.facts import KeyKind, parse_key
from streams.fold import logged
from streams.records import LoggedRecord, header
from streams.stage import FACILITY

NEVER: Final = TIP_EVENTS | CARE_EVENTS
"""Types of events that nothing is told of, nor of what rests on them."""
NEVER_KINDS: Final = frozenset({"contraband", "investigation", "care"})
"""Kinds of alerts that rest on such, or may: of a withdrawal its evidence is not known."""
REMEMBERED: Final = 100_000
"""Events whose records are remembered, until an alert follows or they are forgotten."""
POLL_S: Final = 0.5


class Passed(NamedTuple):
    """A record on the way of an event."""

    topic: str
    partition: int
    offset: int
    at: int
    """When it was written, microseconds; the logs have milliseconds."""


@dataclass(slots=True)
class Way:
    """The records on the way of one event; the first of each, None for what was not seen."""

    came: Passed | None = None
    of_person: Passed | None = None
    """Its fact about a person."""
    of_all: Passed | None = None
    """Its fact about no one person."""
    placed: Passed | None = None
    """The record of a person in custody that it led to."""


class Step(NamedTuple):
    """What one stage did of it."""

    name: str
    began: int
    ended: int
    """Microseconds."""
    wrote: Passed


@dataclass(frozen=True, slots=True)
class Trace:
    """The way of one event to one record of an alert."""

    event_id: str
    began: int
    ended: int
    """Microseconds: when the alert could be read."""
    steps: tuple[Step, ...]
    alert_id: str
    revision: int
    rule: str
    came: Passed | None
    """None where its record came before anybody looked."""


@dataclass
class Ways:
    """The ways of the events that were seen last."""

    site: Site
    most: int = REMEMBERED
    _ways: OrderedDict[str, Way] = field(default_factory=OrderedDict)

    def note(self, topic: str, partition: int, record: LoggedRecord) -> None:
        """Take in a record of an inbound topic or of the facts. What says nothing of an event is passed over."""
        passed = Passed(topic, partition, record.offset, record.timestamp * 1000)
        try:
            self._note(passed, record)
        except ValueError:
            return

    def _note(self, passed: Passed, record: LoggedRecord) -> None:
        key, name = record.key or b"", self.site.name
        if passed.topic not in (topics.person_facts(name), topics.facility_facts(name)):
            event_id = header(record.headers, "ce_id")
            if event_id is not None:
                way = self._way(event_id)
                way.came = way.came or passed
        elif key.startswith(CUSTODY):
            if record.value is not None and (event_id := read_placed(record)[2].event_id):
                way = self._way(event_id)
                way.placed = way.placed or passed
        elif record.value is not None:
            parsed = parse_key(key)
            if parsed.kind is KeyKind.PERSON:
                way = self._way(parsed.event_id)
                way.of_person = way.of_person or passed
            elif parsed.kind is KeyKind.EVERYONE and passed.topic == topics.facility_facts(name):
                way = self._way(parsed.event_id)
                way.of_all = way.of_all or passed

    def _way(self, event_id: str) -> Way:
        way = self._ways.setdefault(event_id, Way())
        if len(self._ways) > self.most:
            self._ways.popitem(last=False)
        return way

    def trace(self, alert: Mapping[str, Any], raised: Passed, read: int) -> Trace | None:
        """The way to a record of `alerts.raised` that was read at a time (microseconds); None where no event led to it
        whose way was seen, or nothing is to be told."""
        cause = alert["cause"]
        event_id = cause["event_id"]
        way = self._ways.get(event_id) if event_id is not None else None
        if way is None or CauseKind(cause["kind"]) is not CauseKind.FACT or is_never_told(alert):
            return None
        if cause["stage"] != FACILITY:
            before = [("identify", way.of_person or way.of_all)]
        elif way.placed is None:
            before = [("identify", way.of_all or way.of_person)]
        else:
            before = [("identify", way.of_person), ("person", way.placed)]
        written = [*((name, passed) for name, passed in before if passed is not None), (cause["stage"], raised)]
        steps: list[Step] = []
        # The reader's clock is not the broker's, nor is one broker's another's: no step ends before it begins.
        at = way.came.at if way.came is not None else written[0][1].at
        began = at
        for name, passed in written:
            steps.append(Step(name, at, max(at, passed.at), passed))
            at = steps[-1].ended
        ended = max(at, read)
        steps.append(Step("commit", at, ended, raised))
        return Trace(
            event_id, began, ended, tuple(steps), alert["alert_id"], alert["revision"], alert["rule"], way.came
        )


def is_never_told(alert: Mapping[str, Any]) -> bool:
    """Whether an alert rests on a tip or on health, or may."""
    return alert["kind"] in NEVER_KINDS or any(item["event_type"] in NEVER for item in alert["evidence"])


def followed(site: Site) -> list[str]:
    """The topics that are read: of agencies those whose events may be told of, the facts, and the alerts."""
    inbound = [
        topics.inbound(site.name, agency.id, event_type)
        for agency in site.agencies
        for event_type in agency.event_types
        if event_type not in NEVER
    ]
    return [*inbound, topics.person_facts(site.name), topics.facility_facts(site.name), topics.alerts_raised(site.name)]


def follow(
    site: Site, consumer: Consumer, schemas: SchemaCache, goes_on: Callable[[], bool], now: Callable[[], int]
) -> Iterator[Trace]:
    """The traces of what is raised from now on, as long as it `goes_on`. Raises KafkaException, RegistryAway."""
    parts = [TopicPartition(topic, number, OFFSET_END) for topic in followed(site) for number in range(site.partitions)]
    consumer.assign(parts)
    ways, raised_on = Ways(site), topics.alerts_raised(site.name)
    while goes_on():
        message = consumer.poll(POLL_S)
        if message is None:
            continue
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            continue
        topic, partition, record = message.topic() or "", message.partition() or 0, logged(message)
        if topic != raised_on:
            ways.note(topic, partition, record)
        elif record.value is not None:
            schemas.ensure([record.value])
            alert = decode(record.value, schemas, "AlertRaised")[1]
            passed = Passed(topic, partition, record.offset, record.timestamp * 1000)
            found = ways.trace(alert, passed, now())
            if found is not None:
                yield found


# -- as OpenTelemetry has it -----------------------------------------------------------------------------------------


class _OfEvents(RandomIdGenerator):
    """A trace has the id of its event, so that whoever has one finds the other."""

    def __init__(self) -> None:
        self.event_id = uuid.UUID(int=1)

    def generate_trace_id(self) -> int:
        """The event's id."""
        return self.event_id.int


class Spans:
    """Where traces go: an OpenTelemetry collector."""

    def __init__(self, site: str, exporter: SpanExporter) -> None:
        self._ids = _OfEvents()
        resource = Resource.create({"service.name": "sallyport", "service.namespace": site})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("sallyport")

    @classmethod
    def to(cls, site: str, url: str) -> Spans:
        """To a collector's OTLP address over HTTP, such as http://127.0.0.1:4318/v1/traces."""
        return cls(site, OTLPSpanExporter(endpoint=url))

    def tell(self, one: Trace) -> None:
        """Hand on a trace; it is sent a moment later."""
        self._ids.event_id = uuid.UUID(one.event_id)
        about = {
            "sallyport.alert.id": one.alert_id,
            "sallyport.alert.revision": one.revision,
            "sallyport.rule": one.rule,
            **(_place(one.came) if one.came is not None else {}),
        }
        root = self._tracer.start_span(
            "publish to alert", context=Context(), start_time=one.began * 1000, attributes=about
        )
        inside = trace.set_span_in_context(root, Context())
        for step in one.steps:
            span = self._tracer.start_span(
                step.name, context=inside, start_time=step.began * 1000, attributes=_place(step.wrote)
            )
            span.end(step.ended * 1000)
        root.end(one.ended * 1000)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _place(passed: Passed) -> dict[str, str | int]:
    """A record's place, by OpenTelemetry's names (semantic conventions for messaging, Kafka)."""
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": passed.topic,
        "messaging.destination.partition.id": str(passed.partition),
        "messaging.kafka.offset": passed.offset,
    }
