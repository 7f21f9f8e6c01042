"""The way of an event to an alert, put together from the logs."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deploy.traces import NEVER, Passed, Spans, Step, Trace, Ways, followed
from schemas import topics
from schemas.events import Event, type_name
from streams.records import LoggedRecord
from tests.county import DAY, SITE, START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus

ONE = demo_site(partitions=1)
PERSONS, FACILITIES, RAISED = topics.person_facts("demo"), topics.facility_facts("demo"), topics.alerts_raised("demo")
HOUSED = [
    event("BookingReported", "ada"),
    event("BookingReported", "bo"),
    event("AffiliationValidated", "ada", day=1, group="Eastside"),
    event("AffiliationValidated", "bo", day=1, group="Harbor"),
    event("HousingAssigned", "ada", day=1, unit="4-B"),
]
MOVED = event("HousingAssigned", "bo", day=3, unit="4-B", name="bo comes")
SHOTS = event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"], name="shots")
SECOND = 1_000_000


def happened(*events: Event) -> tuple[Ways, dict[str, Any], Passed]:
    """What was seen of the last event, and the last record of an alert. Every record is a second later than the one
    before: the event's own, persons', facilities', the alert's."""
    bus = InMemoryBus(ONE)
    for what in events[:-1]:
        bus.publish(what, agency_of(what))
    bus.tick(START + 4 * DAY)
    bus.run()
    before = {where: len(log) for where, log in bus.logs.items()}
    last = events[-1]
    bus.publish(last, agency_of(last))
    bus.run()
    ways = Ways(ONE)
    inbound = topics.inbound("demo", agency_of(last), type_name(last))
    ways.note(inbound, 0, LoggedRecord(7, None, b"", (("ce_id", last.head.event_id.encode()),), 1_000))
    for at, topic in enumerate((PERSONS, FACILITIES), start=2):
        for record in bus.logs[topic, 0][before.get((topic, 0), 0) :]:
            ways.note(topic, 0, record._replace(timestamp=at * 1_000))
    raised = bus.logs[RAISED, 0][-1]
    return ways, bus.history(RAISED)[-1], Passed(RAISED, 0, raised.offset, 4 * SECOND)


def stages(found: Trace | None) -> list[tuple[str, int, int]]:
    assert found is not None
    return [(step.name, step.began // SECOND, step.ended // SECOND) for step in found.steps]


def test_a_move_goes_through_all_stages_each_as_long_as_its_record_took() -> None:
    ways, alert, raised = happened(*HOUSED, SHOTS, MOVED)
    found = ways.trace(alert, raised, 9 * SECOND)
    assert stages(found) == [("identify", 1, 2), ("person", 2, 3), ("facility", 3, 4), ("commit", 4, 9)]
    assert found is not None
    assert (found.event_id, found.began, found.ended) == (MOVED.head.event_id, SECOND, 9 * SECOND)
    assert (found.alert_id, found.rule, found.revision) == (alert["alert_id"], "rivals_housed_together", 1)
    assert found.came == Passed("demo.county-jail.housing-assigned.v1", 0, 7, SECOND)


def test_violence_goes_to_facilities_at_once() -> None:
    found = happened(*HOUSED, MOVED, SHOTS)
    assert stages(found[0].trace(found[1], found[2], 5 * SECOND)) == [
        ("identify", 1, 3),
        ("facility", 3, 4),
        ("commit", 4, 5),
    ]


def test_a_review_is_of_the_person_stage() -> None:
    review = [event("CustodyClassified", "ada", day=1), event("DisciplinaryRecorded", "ada", day=2)]
    ways, alert, raised = happened(event("BookingReported", "ada"), *review)
    assert stages(ways.trace(alert, raised, 4 * SECOND)) == [("identify", 1, 2), ("person", 2, 4), ("commit", 4, 4)]


def test_without_the_events_own_record_it_begins_at_its_fact() -> None:
    ways, alert, raised = happened(*HOUSED, SHOTS, MOVED)
    ways._ways[MOVED.head.event_id].came = None
    found = ways.trace(alert, raised, 9 * SECOND)
    assert stages(found)[0] == ("identify", 2, 2)
    assert found is not None
    assert found.came is None


def test_where_clocks_differ_no_step_ends_before_it_begins() -> None:
    ways, alert, raised = happened(*HOUSED, SHOTS, MOVED)
    found = ways.trace(alert, raised._replace(at=2 * SECOND), SECOND)
    assert stages(found) == [("identify", 1, 2), ("person", 2, 3), ("facility", 3, 3), ("commit", 3, 3)]


@pytest.mark.parametrize(
    "changes",
    [
        {"cause": {"kind": "TICK", "event_id": None}},
        {"cause": {"kind": "FACT", "event_id": str(uuid.uuid4())}},
        {"kind": "contraband"},
        {"kind": "investigation", "evidence": []},
        {"kind": "care"},
        {"evidence": [{"event_type": "ContrabandTipped"}]},
        {"evidence": [{"event_type": "CareObserved"}]},
    ],
    ids=["time passed", "an event that was not seen", "contraband", "of an author", "health", "a tip", "health known"],
)
def test_of_what_no_event_led_to_and_of_tips_and_health_there_is_no_trace(changes: dict[str, Any]) -> None:
    ways, alert, raised = happened(*HOUSED, SHOTS, MOVED)
    changed = {**alert, **changes, "cause": {**alert["cause"], **changes.get("cause", {})}}
    assert ways.trace(changed, raised, 9 * SECOND) is None


def test_topics_of_tips_and_health_are_not_even_read() -> None:
    read = followed(SITE)
    assert topics.inbound("demo", "county-jail", "HousingAssigned") in read
    for agency in SITE.agencies:
        assert not {topics.inbound("demo", agency.id, event_type) for event_type in NEVER} & set(read)


def test_only_the_last_events_are_remembered() -> None:
    ways = Ways(ONE, most=2)
    for number in range(3):
        ways.note("demo.county-jail.x.v1", 0, LoggedRecord(number, None, b"", (("ce_id", f"e{number}".encode()),), 1))
    assert list(ways._ways) == ["e1", "e2"]


@pytest.mark.parametrize("key", [b"~tick", b"~heard/a/B/1", b"~custody/x", b"\xff", b"nonsense", None])
def test_what_says_nothing_of_an_event_is_passed_over(key: bytes | None) -> None:
    ways = Ways(ONE)
    ways.note(FACILITIES, 0, LoggedRecord(0, key, b"x"))
    assert not ways._ways


def test_a_trace_has_the_events_id_and_a_span_for_each_step_inside_one() -> None:
    event_id = str(uuid.uuid4())
    came = Passed("demo.county-jail.housing-assigned.v1", 0, 7, SECOND)
    steps = (Step("identify", 1_000, 2_000, came), Step("commit", 2_000, 5_000, came._replace(topic=RAISED)))
    exporter = InMemorySpanExporter()
    spans = Spans("demo", exporter)
    spans.tell(Trace(event_id, 1_000, 5_000, steps, "an-alert", 3, "a_rule", came))
    spans.close()
    found = {span.name: span for span in exporter.get_finished_spans()}
    assert set(found) == {"publish to alert", "identify", "commit"}
    assert {span.context.trace_id for span in found.values() if span.context} == {uuid.UUID(event_id).int}
    root = found["publish to alert"]
    assert root.parent is None
    assert root.context is not None
    assert {span.parent.span_id for span in found.values() if span.parent} == {root.context.span_id}
    assert (root.start_time, root.end_time) == (1_000_000, 5_000_000)
    assert (found["commit"].start_time, found["commit"].end_time) == (2_000_000, 5_000_000)
    assert root.attributes is not None
    assert root.attributes["sallyport.alert.id"] == "an-alert"
    assert root.attributes["messaging.kafka.offset"] == 7
    assert root.resource.attributes["service.namespace"] == "demo"
