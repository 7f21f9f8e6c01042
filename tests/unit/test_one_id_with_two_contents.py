"""One event id with two contents: the same one stands whichever came first, and the other becomes a dead letter."""

from __future__ import annotations

import itertools

import pytest

from schemas import topics
from schemas.events import Event
from streams.records import header
from tests.county import START, agency_of, demo_site, event
from tests.in_memory_bus import InMemoryBus, digests

BACKGROUND = [event("BookingReported", "ada", day=0), event("CustodyClassified", "ada", day=1)]
INFRACTIONS = [
    event("DisciplinaryRecorded", "ada", day=2, name="one id", violent=violent, infraction=code)
    for violent, code in ((True, "101.11"), (False, "200.10"))
]
VIOLENCE = [
    event("StreetViolenceReported", day=2, name="one id", groups=["Eastside", "Harbor"], place=place)
    for place in ("here", "there")
]


def told(events: list[Event]) -> InMemoryBus:
    bus = InMemoryBus(demo_site(partitions=2))
    for what in [*BACKGROUND, *events]:
        bus.publish(what, agency_of(what))
        bus.run()
    bus.tick(START + 3 * 86_400_000_000)
    bus.run()
    return bus


def test_the_same_content_stands_in_either_order() -> None:
    first, second = (told(list(order)) for order in itertools.permutations(INFRACTIONS))
    assert digests(first) == digests(second) != {}


@pytest.mark.parametrize("contents", [INFRACTIONS, VIOLENCE], ids=["of a person", "of everyone"])
def test_the_other_becomes_one_dead_letter_of_its_agency(contents: list[Event]) -> None:
    bus = told(contents)
    letters = bus.logs[topics.dead_letters("demo", agency_of(contents[0])), 0]
    assert [header(letter.headers, "reason") for letter in letters] == ["CONFLICT"]


def test_compaction_does_not_choose_between_them() -> None:
    expected = digests(told(INFRACTIONS))
    for order in itertools.permutations(INFRACTIONS):
        bus = told(list(order))
        bus.compact(topics.person_facts("demo"))
        bus.restart_all()
        assert digests(bus) == expected


JOINS = [event("BookingReported", "ada", name="one id", sid="SID-ada", purge_day=purge) for purge in (7, None)]
A_FEUD = [
    event("HousingAssigned", "ada", day=2, unit="4-A"),
    event("HousingAssigned", "cy", day=2, unit="4-A"),
    event("AffiliationValidated", "ada", day=3, group="Eastside"),
    event("AffiliationValidated", "cy", day=3, group="Harbor"),
    event("StreetViolenceReported", day=30, groups=["Eastside", "Harbor"]),
]


@pytest.mark.parametrize("cut", range(len(A_FEUD) + 1))
def test_facts_forwarded_by_a_content_that_falls_go_where_the_other_content_sends_them(cut: int) -> None:
    """One content joins two numbers for a week, the other for ever; whoever got facts meanwhile must not keep them."""
    found = []
    for first, second in itertools.permutations(JOINS):
        bus = InMemoryBus(demo_site(partitions=2))
        for what in [first, *A_FEUD[:cut], second, *A_FEUD[cut:]]:
            bus.publish(what, agency_of(what))
            bus.run()
            bus.restart_all()
        bus.tick(START + 40 * 86_400_000_000)
        bus.run()
        found.append(digests(bus))
    assert found[0] == found[1] != {}
