"""The way of an event to an alert, put together from the logs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from deploy.log_follower import followed
from deploy.ways import (
    DECIDED_WITHIN,
    NEVER,
    UNMATCHED,
    AlertRead,
    Decided,
    DecisionRead,
    Noted,
    Passed,
    Step,
    Trace,
    Ways,
)
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


SAID = {"ce_recordedtime": "1970-01-01T00:00:00.250000Z", "ce_traceparent": "00-a-b-01"}
"""What our publisher says of an event beside its id: it was handed over three quarters of a second before it came."""


def happened(*events: Event, said: Mapping[str, str] = SAID) -> tuple[Ways, AlertRead]:
    """What was seen of the last event, and the last record of an alert. Every record is a second later than the one
    before: the event's own, persons', facilities', the alert's. The stage took up what led to the alert half a second
    before it wrote it."""
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
    headers = [(name, value.encode()) for name, value in {"ce_id": last.head.event_id, **said}.items()]
    ways.see(Noted(inbound, 0, LoggedRecord(7, None, b"", headers, 1_000)), 0)
    for at, topic in enumerate((PERSONS, FACILITIES), start=2):
        for record in bus.logs[topic, 0][before.get((topic, 0), 0) :]:
            ways.see(Noted(topic, 0, record._replace(timestamp=at * 1_000)), 0)
    raised = bus.logs[RAISED, 0][-1]
    return ways, AlertRead(bus.history(RAISED)[-1], Passed(RAISED, 0, raised.offset, 4 * SECOND), 3_500_000)


def decided(alert: AlertRead, recipient: str, decision: str = "DISCLOSED", at: int = 4_100_000) -> DecisionRead:
    what = {
        "alert_id": alert.alert["alert_id"],
        "revision": alert.alert["revision"],
        "recipient": recipient,
        "decision": decision,
        "reason": "AGREEMENT",
    }
    return DecisionRead(what, Passed("demo.audit.disclosures.v1", 0, 3, at))


def found_by(ways: Ways, alert: AlertRead, read: int, *decisions: DecisionRead) -> Trace | None:
    """The trace of an alert that could be read at a time, once nobody waits for decisions any more."""
    ways.see(alert, read)
    for one in decisions:
        ways.see(one, read)
    return next(ways.traces(read + DECIDED_WITHIN), None)


def stages(found: Trace | None) -> list[tuple[str, float, float]]:
    assert found is not None
    return [(step.name, step.began / SECOND, step.ended / SECOND) for step in found.steps]


def test_a_move_goes_through_all_stages_each_as_long_as_its_record_took() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    found = found_by(ways, alert, 9 * SECOND)
    assert stages(found) == [
        ("publish", 0.25, 1),
        ("identify", 1, 2),
        ("person", 2, 3),
        ("facility", 3, 4),
        ("commit", 4, 9),
    ]
    assert found is not None
    assert (found.event_id, found.began, found.ended) == (MOVED.head.event_id, 250_000, 9 * SECOND)
    assert (found.traceparent, found.is_first) == ("00-a-b-01", True)
    assert (found.alert_id, found.rule, found.revision) == (alert.alert["alert_id"], "rivals_housed_together", 1)
    assert found.came == Passed("demo.county-jail.housing-assigned.v1", 0, 7, SECOND)
    waited, was_decided = found.steps[3].parts
    assert waited == Step("waiting", 3 * SECOND, 3_500_000, alert.passed)
    assert was_decided == Step("deciding", 3_500_000, 4 * SECOND, alert.passed)


def test_violence_goes_to_facilities_at_once() -> None:
    ways, alert = happened(*HOUSED, MOVED, SHOTS)
    assert stages(found_by(ways, alert, 5 * SECOND))[1:] == [("identify", 1, 3), ("facility", 3, 4), ("commit", 4, 5)]


def test_a_review_is_of_the_person_stage() -> None:
    review = [event("CustodyClassified", "ada", day=1), event("DisciplinaryRecorded", "ada", day=2)]
    ways, alert = happened(event("BookingReported", "ada"), *review)
    assert stages(found_by(ways, alert, 4 * SECOND))[1:] == [("identify", 1, 2), ("person", 2, 4), ("commit", 4, 4)]


@pytest.mark.parametrize(
    "said",
    [{}, {"ce_recordedtime": "yesterday"}, {"ce_recordedtime": "1970-01-01T00:00:00.25"}, {"ce_recordedtime": ""}],
)
def test_of_another_client_that_does_not_say_when_it_begins_at_the_broker(said: dict[str, str]) -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED, said=said)
    found = found_by(ways, alert, 9 * SECOND)
    assert stages(found)[0] == ("identify", 1, 2)
    assert found is not None
    assert found.traceparent == ""


def test_an_agency_whose_clock_is_ahead_published_in_no_time() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED, said={"ce_recordedtime": "1970-01-01T01:00:00Z"})
    assert stages(found_by(ways, alert, 9 * SECOND))[0] == ("publish", 1, 1)


def test_without_the_events_own_record_it_begins_at_its_fact() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    ways._ways[MOVED.head.event_id].came = None
    found = found_by(ways, alert, 9 * SECOND)
    assert stages(found)[0] == ("identify", 2, 2)
    assert found is not None
    assert found.came is None


def test_where_clocks_differ_no_step_ends_before_it_begins() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    found = found_by(ways, replace(alert, passed=alert.passed._replace(at=2 * SECOND), taken=99 * SECOND), SECOND)
    assert stages(found)[1:] == [("identify", 1, 2), ("person", 2, 3), ("facility", 3, 3), ("commit", 3, 3)]
    assert found is not None
    assert [(part.began, part.ended) for part in found.steps[3].parts] == [(3 * SECOND, 3 * SECOND)] * 2


def test_a_record_that_does_not_say_when_it_was_taken_up_is_one_step() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    found = found_by(ways, replace(alert, taken=None), 9 * SECOND)
    assert found is not None
    assert not any(step.parts for step in found.steps)


# -- who was told ----------------------------------------------------------------------------------------------------


def test_it_waits_until_all_who_are_to_be_asked_have_a_decision_whichever_is_seen_first() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    asked = [one.id for one in ONE.recipients if "housing" in one.kinds]
    assert len(asked) > 1
    first, *others = (decided(alert, one) for one in asked)
    ways.see(first, 5 * SECOND)
    ways.see(alert, 5 * SECOND)
    for one in others:
        assert list(ways.traces(5 * SECOND)) == []
        ways.see(one, 5 * SECOND)
    (found,) = ways.traces(5 * SECOND)
    assert [one.recipient for one in found.decisions] == sorted(asked)
    assert list(ways.traces(99 * SECOND)) == [], "it is told once"


def test_who_was_told_is_a_step_of_its_own_between_the_alert_and_that_it_can_be_read() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    decisions = decided(alert, "a", at=4_300_000), decided(alert, "b", "WITHHELD", at=4_200_000)
    found = found_by(ways, alert, 5 * SECOND, *decisions)
    assert stages(found)[3:] == [("facility", 3, 4), ("disclose", 4, 4.3), ("commit", 4.3, 5)]
    assert found is not None
    assert found.decisions == (Decided("a", "DISCLOSED", "AGREEMENT"), Decided("b", "WITHHELD", "AGREEMENT"))


@pytest.mark.parametrize(("written", "told"), [(3 * SECOND, 4), (9 * SECOND, 5)], ids=["before", "after"])
def test_a_decision_whose_clock_says_before_the_alert_or_after_it_was_read_is_within(written: int, told: int) -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    found = found_by(ways, alert, 5 * SECOND, decided(alert, "a", at=written))
    assert stages(found)[4:] == [("disclose", 4, told), ("commit", told, 5)]


def test_an_event_that_leads_to_two_alerts_has_two_traces_of_which_one_is_the_first() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    other = replace(alert, alert={**alert.alert, "alert_id": "another"})
    found = found_by(ways, alert, 9 * SECOND), found_by(ways, other, 9 * SECOND)
    assert [one is not None and one.is_first for one in found] == [True, False]


# -- what is never told ----------------------------------------------------------------------------------------------


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
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    changed = {**alert.alert, **changes, "cause": {**alert.alert["cause"], **changes.get("cause", {})}}
    assert found_by(ways, replace(alert, alert=changed), 9 * SECOND, decided(alert, "a")) is None


def test_of_what_was_recorded_before_anybody_looked_there_is_none() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    assert found_by(ways, replace(alert, is_news=False), 9 * SECOND) is None


def test_topics_of_tips_and_health_are_not_even_read() -> None:
    read = followed(SITE)
    assert topics.inbound("demo", "county-jail", "HousingAssigned") in read
    for agency in SITE.agencies:
        assert not {topics.inbound("demo", agency.id, event_type) for event_type in NEVER} & set(read)


def test_only_the_last_events_are_remembered() -> None:
    ways = Ways(ONE, most=2)
    for number in range(3):
        record = LoggedRecord(number, None, b"", (("ce_id", f"e{number}".encode()),), 1)
        ways.see(Noted("demo.county-jail.x.v1", 0, record), 0)
    assert list(ways._ways) == ["e1", "e2"]


@pytest.mark.parametrize("key", [b"~tick", b"~heard/a/B/1", b"~custody/x", b"\xff", b"nonsense", None])
def test_what_says_nothing_of_an_event_is_passed_over(key: bytes | None) -> None:
    ways = Ways(ONE)
    ways.see(Noted(FACILITIES, 0, LoggedRecord(0, key, b"x")), 0)
    assert not ways._ways


def test_decisions_on_alerts_that_never_come_are_forgotten() -> None:
    ways, alert = happened(*HOUSED, SHOTS, MOVED)
    for number in range(UNMATCHED + 5):
        ways.see(decided(replace(alert, alert={"alert_id": f"{number}", "revision": 1}), "a"), 0)
    assert len(ways._early) == UNMATCHED
