"""Traces as an OpenTelemetry collector gets them: whose ids they have, what is in what, and what they say."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from itertools import count
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, generate_latest

from deploy import traces
from deploy.tallies import Tallies
from deploy.traces import ROOT, Spans
from deploy.ways import Decided, Passed, Step, Trace
from schemas.events import Event
from schemas.registry_client import SchemaCache
from tests.county import SITE, event
from tests.unit.test_ways import decided, found_by, happened

EVENT = "7d4b1c9e-2f63-4f0e-9a51-0c8de1b2a377"
CAME = Passed("demo.county-jail.housing-assigned.v1", 0, 7, 2_000)
RAISED = CAME._replace(topic="demo.alerts.raised.v1")
STEPS = (
    Step("publish", 1_000, 2_000, CAME),
    Step(
        "facility",
        2_000,
        4_000,
        RAISED,
        (Step("waiting", 2_000, 3_000, RAISED), Step("deciding", 3_000, 4_000, RAISED)),
    ),
    Step("disclose", 4_000, 4_500, RAISED),
    Step("commit", 4_500, 5_000, RAISED),
)
OURS = f"00-{uuid.UUID(EVENT).hex}-00f067aa0ba902b7-01"
THEIRS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
DECISIONS = (Decided("desk", "DISCLOSED", "AGREEMENT"), Decided("unit", "WITHHELD", "NO_AGREEMENT"))


def trace(traceparent: str = OURS, steps: tuple[Step, ...] = STEPS, *, is_first: bool = True) -> Trace:
    return Trace(EVENT, traceparent, steps, "an-alert", 3, "a_rule", CAME, is_first, DECISIONS)


def told(*traces: Trace) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    spans = Spans("demo", exporter)
    for one in traces:
        spans.tell(one)
    spans.close()
    return list(exporter.get_finished_spans())


def tree(spans: Sequence[ReadableSpan]) -> list[tuple[str, str | None]]:
    """Each span with the one that it is in: its name, or its id where it is nobody's."""
    names = {span.context.span_id: span.name for span in spans if span.context}
    parents = {
        span.name: span.parent and names.get(span.parent.span_id, f"{span.parent.span_id:016x}") for span in spans
    }
    return sorted(parents.items())


def test_the_first_span_is_the_publishing_and_has_the_id_that_its_record_says() -> None:
    spans = told(trace())
    assert tree(spans) == [
        ("commit", ROOT),
        ("deciding", "facility"),
        ("disclose", ROOT),
        ("facility", ROOT),
        ("publish", None),
        (ROOT, "publish"),
        ("waiting", "facility"),
    ]
    assert {span.context.trace_id for span in spans if span.context} == {uuid.UUID(EVENT).int}
    (publish,) = (span for span in spans if span.name == "publish")
    assert publish.context is not None
    assert (publish.context.span_id, publish.kind) == (0x00F067AA0BA902B7, SpanKind.PRODUCER)
    times = {span.name: (span.start_time, span.end_time) for span in spans}
    assert times["publish"] == (1_000_000, 2_000_000)
    assert times[ROOT] == (1_000_000, 5_000_000)
    assert times["deciding"] == (3_000_000, 4_000_000)


def test_an_event_that_led_to_two_alerts_was_published_once() -> None:
    spans = told(trace(), trace(is_first=False))
    assert sorted(span.name for span in spans).count("publish") == 1
    roots = [span for span in spans if span.name == ROOT]
    assert len(roots) == 2
    assert {root.parent.span_id for root in roots if root.parent} == {0x00F067AA0BA902B7}


@pytest.mark.parametrize(
    "traceparent", ["", "no traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"]
)
def test_where_the_record_says_no_span_the_root_holds_the_publishing(traceparent: str) -> None:
    spans = told(trace(traceparent))
    assert ("publish", ROOT) in tree(spans)
    assert (ROOT, None) in tree(spans)
    assert {span.context.trace_id for span in spans if span.context} == {uuid.UUID(EVENT).int}


def test_an_agency_that_traces_its_own_system_finds_it_in_its_trace_even_if_it_keeps_none_itself() -> None:
    spans = told(trace(THEIRS))
    assert (ROOT, "00f067aa0ba902b7") in tree(spans)
    assert {span.context.trace_id for span in spans if span.context} == {0x4BF92F3577B34DA6A3CE929D0E0E4736}
    assert {span.attributes["sallyport.event.id"] for span in spans if span.name == ROOT and span.attributes} == {EVENT}


def test_of_what_came_before_anybody_looked_there_is_the_rest() -> None:
    spans = told(Trace(EVENT, "", STEPS[1:], "an-alert", 3, "a_rule", None, is_first=True))
    assert "publish" not in {span.name for span in spans}


def test_it_says_where_whose_and_who_was_told_and_nothing_else() -> None:
    spans = {span.name: span.attributes or {} for span in told(trace())}
    place = {
        "messaging.system": "kafka",
        "messaging.destination.name": "demo.county-jail.housing-assigned.v1",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 7,
    }
    assert dict(spans["publish"]) == place | {"sallyport.event.id": EVENT}
    assert dict(spans[ROOT]) == place | {
        "sallyport.event.id": EVENT,
        "sallyport.alert.id": "an-alert",
        "sallyport.alert.revision": 3,
        "sallyport.rule": "a_rule",
    }
    there = place | {"messaging.destination.name": RAISED.topic}
    assert dict(spans["facility"]) == dict(spans["commit"]) == dict(spans["waiting"]) == there
    assert dict(spans["disclose"]) == there | {
        "sallyport.disclosed": ("desk AGREEMENT",),
        "sallyport.withheld": ("unit NO_AGREEMENT",),
    }


def test_it_says_of_which_site_it_is() -> None:
    assert {span.resource.attributes["service.namespace"] for span in told(trace())} == {"demo"}


# -- what is not in it -----------------------------------------------------------------------------------------------

SENTINEL = "SENTINEL"
REVIEWED = [
    event("BookingReported", f"{SENTINEL}-ada", sid=f"{SENTINEL}-S1", booked_as=f"{SENTINEL}, Ada"),
    event("CustodyClassified", f"{SENTINEL}-ada", day=1, sid=f"{SENTINEL}-S1"),
    event("DisciplinaryRecorded", f"{SENTINEL}-ada", day=2, sid=f"{SENTINEL}-S1"),
]
RIVALS = [
    event("AffiliationValidated", f"{SENTINEL}-{who}", day=1, group=f"{SENTINEL} {group}", name=f"{who} is of it")
    for who, group in (("ada", "Eastside"), ("bo", "Harbor"))
]
TOGETHER = [
    event("BookingReported", f"{SENTINEL}-bo", sid=f"{SENTINEL}-S2", booked_as=f"{SENTINEL}, Bo"),
    *RIVALS,
    event("StreetViolenceReported", day=2, groups=[f"{SENTINEL} Eastside", f"{SENTINEL} Harbor"]),
    event("HousingAssigned", f"{SENTINEL}-ada", day=1, unit="4-B"),
    event("HousingAssigned", f"{SENTINEL}-bo", day=3, unit="4-B"),
]


@pytest.mark.parametrize("events", [REVIEWED, [REVIEWED[0], *TOGETHER]], ids=["a review", "rivals"])
def test_whatever_is_known_of_a_person_is_neither_in_a_trace_nor_in_the_metrics(events: list[Event]) -> None:
    ways, alert = happened(*events)
    assert SENTINEL in str(alert.alert)
    found = found_by(ways, alert, 9_000_000, decided(alert, "county-jail-watch"))
    assert found is not None
    spans = told(found)
    assert len(spans) > 6
    assert SENTINEL not in "".join(span.to_json() for span in spans)
    registry = CollectorRegistry()
    tallies = Tallies(SITE, registry)
    tallies.alert(alert)
    tallies.decision(decided(alert, "county-jail-watch"))
    tallies.trace(found)
    tallies.caught_up()
    assert any(tallies.standing().alerts.values())  # type: ignore[union-attr]
    text = generate_latest(registry).decode() + str(tallies.standing())
    assert SENTINEL not in text
    assert alert.alert["alert_id"] not in text
    assert found.event_id not in text


class Silent:
    """A consumer to which nothing comes, of a broker that answers so many times and then no more."""

    def __init__(self, answers: int) -> None:
        self.answers = answers

    def assign(self, parts: Sequence[object]) -> None:
        pass

    def poll(self, seconds: float) -> None:
        pass

    def list_topics(self, *_: object, **__: object) -> None:
        self.answers -= 1
        if self.answers < 0:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def test_a_broker_that_goes_away_ends_it_and_one_that_has_nothing_to_tell_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "QUIET_S", 0.0)
    silent: Any = Silent(answers=3)
    looks = count()
    to_tell = traces.traces(SITE, cast(Consumer, silent), cast(SchemaCache, {}), lambda: next(looks) < 100, lambda: 0)
    with pytest.raises(KafkaException):
        list(to_tell)
    assert next(looks) == 4
