"""What was withdrawn or has reached its purge date does not only count for nothing: it goes from the bus's logs."""

from __future__ import annotations

import itertools

import pytest

from schemas import topics
from schemas.events import Event
from streams.facts import Fact
from streams.pictures import expiry
from streams.pictures.expiry import Expiry
from tests.county import DAY, JAIL, POLICE, START, agency_of, demo_site, event, event_id
from tests.identified import fact_of
from tests.in_memory_bus import InMemoryBus

SAID = "said-by-nobody-else"
FACTS = {
    "of a person": event("AffiliationReported", None, sid="SID-ada", name="it", group=SAID, agency=POLICE),
    "that joins two numbers": event("BookingReported", "ada", sid="SID-ada", name="it", charges=[SAID]),
    "of everyone": event("StreetViolenceReported", name="it", groups=["Eastside", "Harbor"], place=SAID),
}
BEFORE = [
    event("HousingAssigned", "ada", unit="4-A"),
    event("AffiliationValidated", "ada", group="Eastside"),
    event("BookingReported", "cy"),
]


def with_purge(what: Event, day: int) -> Event:
    handling = what.head.handling.model_copy(update={"purge_by": START + day * DAY})
    return what.model_copy(update={"head": what.head.model_copy(update={"handling": handling})})


def withdrawal_of(what: Event) -> Event:
    return event("EventWithdrawn", agency=agency_of(what), target_event_id=event_id("it"))


def bus_after(events: list[Event], tick_day: int = 1) -> InMemoryBus:
    bus = InMemoryBus(demo_site(partitions=2))
    for what in events:
        bus.publish(what, agency_of(what))
        bus.run()
    bus.tick(START + tick_day * DAY)
    bus.run()
    return bus


def still_said(bus: InMemoryBus) -> list[tuple[str, int]]:
    """Where it still is when the facts topics are compacted."""
    facts = topics.person_facts(bus.site.name), topics.facility_facts(bus.site.name)
    for topic in facts:
        bus.compact(topic)
    return [
        where for where, log in bus.logs.items() for r in log if where[0] in facts and SAID.encode() in (r.value or b"")
    ]


@pytest.mark.parametrize("what", FACTS.values(), ids=FACTS.keys())
def test_a_fact_is_there_as_long_as_it_counts(what: Event) -> None:
    assert still_said(bus_after([*BEFORE, with_purge(what, 7)], tick_day=6))


@pytest.mark.parametrize("what", FACTS.values(), ids=FACTS.keys())
def test_a_withdrawn_fact_goes_whichever_came_first(what: Event) -> None:
    for order in itertools.permutations([what, withdrawal_of(what)]):
        assert still_said(bus_after([*BEFORE, *order])) == []


@pytest.mark.parametrize("what", FACTS.values(), ids=FACTS.keys())
def test_a_fact_goes_at_its_purge_date(what: Event) -> None:
    assert still_said(bus_after([*BEFORE, with_purge(what, 7)], tick_day=7)) == []


@pytest.mark.parametrize("what", FACTS.values(), ids=FACTS.keys())
def test_it_goes_again_when_it_comes_again(what: Event) -> None:
    assert still_said(bus_after([*BEFORE, what, withdrawal_of(what), what, what])) == []


@pytest.mark.parametrize("what", FACTS.values(), ids=FACTS.keys())
def test_it_goes_on_recovery_where_nobody_saw_it_through(what: Event) -> None:
    bus = InMemoryBus(demo_site(partitions=2))
    for one in [*BEFORE, what, withdrawal_of(what)]:
        bus.publish(one, agency_of(one))
    for number, running in bus.running.items():
        running.committed = {stage: len(bus.input_of(stage, number)) for stage in running.committed}
    bus.restart_all()
    bus.run()
    assert still_said(bus) == []


@pytest.mark.parametrize("what", FACTS.values(), ids=FACTS.keys())
def test_nothing_is_written_for_what_has_gone_already(what: Event) -> None:
    bus = bus_after([*BEFORE, what, withdrawal_of(what)])
    before = {where: len(log) for where, log in bus.logs.items()}
    bus.restart_all()
    bus.run()
    assert {where: len(log) for where, log in bus.logs.items() if log} == {k: n for k, n in before.items() if n}


def test_another_agency_takes_nothing_back() -> None:
    what = FACTS["of everyone"]
    foreign = event("EventWithdrawn", agency=JAIL, target_event_id=event_id("it"))
    assert still_said(bus_after([*BEFORE, what, foreign]))


def purged_on(day: int, name: str = "it") -> Fact:
    return fact_of(event("StreetViolenceReported", name=name, groups=["Eastside", "Harbor"], purge_day=day))


def key_of(fact: Fact) -> bytes:
    return fact.key.encoded()


def test_a_fact_that_comes_again_after_its_purge_date_goes_again() -> None:
    facts, fact = Expiry(), purged_on(7)
    told = []
    for days in ((6, 7, 8), (8, 9)):
        facts.watch(fact)
        told += [facts.take(START + day * DAY) for day in days]
    assert told == [[], [key_of(fact)], [], [key_of(fact)], []]


def test_dates_of_facts_that_are_gone_do_not_pile_up_and_those_of_others_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expiry, "KEPT", 2)
    facts, known = Expiry(), [purged_on(day, str(day)) for day in range(20, 0, -1)]
    for fact in known:
        facts.watch(fact)
    kept = []
    for fact in known[::2]:
        facts.forget(key_of(fact))
        kept.append(len(facts._dates))
    assert kept == [20] * 10, "of twenty dates ten are of facts that are there: twice as many and two may be kept"
    for fact in known[1::4]:
        facts.forget(key_of(fact))
        kept.append(len(facts._dates))
    assert kept[10:] == [20, 8, 8, 8, 8]
    told = {day: facts.take(START + day * DAY) for day in range(22)}
    assert {day: keys for day, keys in told.items() if keys} == {
        day: [key_of(known[20 - day])] for day in (1, 5, 9, 13, 17)
    }
