"""Whose facts they are: of the subject alone, of the strongest number known, and back again when a join is over."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, PersonRef, type_name
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from tests.county import DAY, JAIL, MAIN, START, agency_of, demo_site, event, ids
from tests.in_memory_bus import InMemoryBus, digests

LAST = START + 9 * DAY


def told(events: Iterable[Event], partitions: int = 2) -> InMemoryBus:
    bus = InMemoryBus(demo_site(partitions=partitions))
    for what in events:
        bus.publish(what, agency_of(what))
        bus.run()
    bus.tick(LAST)
    bus.run()
    assert bus.dead_letters == []
    return bus


def and_also(what: Event, role: str, number: str, sid: str | None = None) -> Event:
    other = PersonRef.model_validate({"role": role, "ids": ids(number, sid)})
    return what.model_copy(update={"head": what.head.model_copy(update={"persons": (*what.head.persons, other)})})


def in_custody(bus: InMemoryBus) -> set[str]:
    last = {r["person_id"]: r for r in bus.history(topics.facility_facts("demo")) if "in_custody" in r}
    return {str(r["booking_number"]) for r in last.values() if r["in_custody"]}


@pytest.mark.parametrize("role", ["VICTIM", "OTHER_PARTY", "ASSOCIATE", "SUSPECT", "UNKNOWN"])
def test_who_is_only_named_in_a_booking_is_not_in_custody(role: str) -> None:
    members = [event("AffiliationValidated", who, day=1, group="Eastside") for who in ("ada", "vera")]
    assert len(in_custody(told([and_also(event("BookingReported", "ada"), role, "vera"), *members]))) == 1


def test_association_alone_makes_nobody_a_member() -> None:
    housed = [
        what
        for person in ("ada", "bo")
        for what in (
            event("BookingReported", person, sid=f"S-{person}"),
            event("HousingAssigned", person, day=1, unit="4-A"),
        )
    ]
    others = [
        event("AffiliationValidated", "ada", day=1, group="Eastside"),
        event("StreetViolenceReported", day=2, groups=["Eastside", "Harbor"]),
    ]
    report = event("AffiliationReported", None, day=1, sid="S-other", group="Harbor")
    assert told([*housed, *others, and_also(report, "ASSOCIATE", "", "S-bo")]).open_alerts() == {}
    assert (
        len(told([*housed, *others, event("AffiliationReported", day=1, sid="S-bo", group="Harbor")]).open_alerts())
        == 1
    )


STORY = [
    event("BookingReported", "ada", sid="SID-1"),
    event("CustodyClassified", "ada", day=1, sid="SID-1"),
    event("DisciplinaryRecorded", "ada", day=2),
]
STRONGER = event("HousingAssigned", "ada", day=3, ucn="UCN-1", unit="4-A")


@pytest.mark.parametrize("number", range(24))
def test_what_went_to_a_number_follows_to_a_stronger_one_in_any_order(number: int) -> None:
    order = list(permutations([*STORY, STRONGER]))[number]
    assert digests(told(order)) == digests(told([*STORY, STRONGER]))


def test_and_comes_back_when_the_stronger_join_is_withdrawn() -> None:
    withdrawal = event("EventWithdrawn", agency=JAIL, day=4, target_event_id=STRONGER.head.event_id)
    assert digests(told([*STORY, STRONGER, withdrawal])) == digests(told(STORY)) != {}


VISITED = [
    event("BookingReported", "ada", ucn="UCN-1"),
    event("VisitScheduled", "ada", day=1, ucn="UCN-1", visit_number="V-1", visitor_name="Cole, Dana", starts=12),
]
BY_SID = event("HousingAssigned", "ada", day=3, sid="SID-1", ucn="UCN-1", unit="4-A")
BY_POLICE = event("AffiliationReported", "the police's", day=3, ucn="UCN-1", group="Eastside")


def tipped(person: str | None, ucn: str | None) -> Event:
    return event("ContrabandTipped", person, day=2, sid="SID-1", ucn=ucn, facility=MAIN)


def over(what: Event) -> Event:
    return event("EventWithdrawn", day=4, agency=agency_of(what), target_event_id=what.head.event_id)


@pytest.mark.parametrize(
    ("tip", "joins", "is_over"),
    [
        (tipped(None, "UCN-1"), [BY_SID], BY_SID),
        (tipped("the police's", None), [BY_SID, BY_POLICE], BY_SID),
        (tipped("the police's", None), [BY_SID, BY_POLICE], BY_POLICE),
    ],
    ids=["it names who it is joined to", "joined by the other", "joined by the one"],
)
def test_a_tip_that_names_one_by_two_numbers_stays_by_one_of_them_when_what_joined_the_other_is_withdrawn_in_any_order(
    tip: Event, joins: list[Event], is_over: Event
) -> None:
    wanted = digests(told([*VISITED, *(one for one in joins if one is not is_over), tip]))
    assert wanted != {}
    for order in permutations([tip, *joins, over(is_over)]):
        assert digests(told([*VISITED, *order])) == wanted, [type_name(one) for one in order]


def test_the_same_event_written_with_another_version_of_its_schema_is_the_same_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SCHEMAS, 99, SCHEMAS[SCHEMA_IDS["DisciplinaryRecorded"]])
    bus = told(STORY)
    before = digests(bus)
    bus.publish(STORY[-1], JAIL, raw=encode_event(STORY[-1], 99))
    bus.run()
    assert digests(bus) == before
    assert bus.logs[topics.dead_letters("demo", JAIL), 0] == []


def two_facilities() -> Site:
    site = demo_site(partitions=1)
    prison = site.agencies[0].model_copy(update={"id": "state-prison", "ori": "NY099015C"})
    wing = site.facilities[0].model_copy(update={"id": "prison", "agency": "state-prison"})
    return site.model_copy(update={"agencies": (*site.agencies, prison), "facilities": (*site.facilities, wing)})


def test_another_facilitys_validation_does_not_end_this_ones() -> None:
    bus = InMemoryBus(two_facilities())
    for what in (
        event("BookingReported", "ada", sid="S1"),
        event("CustodyClassified", "ada", sid="S1", day=1),
        event("AffiliationValidated", "ada", sid="S1", day=2, group="Eastside"),
    ):
        bus.publish(what, JAIL)
    over_there: Any = event(
        "AffiliationValidated", "9", sid="S1", day=3, group="Eastside", status="DROPOUT", facility="prison"
    )
    over_there = over_there.model_copy(update={"head": over_there.head.model_copy(update={"ori": "NY099015C"})})
    bus.publish(over_there, "state-prison")
    bus.run()
    assert bus.dead_letters == []
    assert len(bus.open_alerts()) == 1


def test_a_clock_that_is_set_back_waits_and_what_recovers_does_not_live_in_the_past() -> None:
    bus = told([*STORY, event("StreetViolenceReported", day=0, groups=["Eastside", "Harbor"])])
    ticks = len(bus.logs[topics.person_facts("demo"), 0])
    bus.tick(LAST - 5 * DAY)
    assert len(bus.logs[topics.person_facts("demo"), 0]) == ticks
    for topic in (topics.person_facts("demo"), topics.facility_facts("demo")):
        bus.compact(topic)
    bus.restart_all()
    assert {running.partition.tick for running in bus.running.values()} == {LAST}
