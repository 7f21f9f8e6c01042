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
