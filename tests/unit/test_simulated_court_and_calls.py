"""Calls and hearings of a simulated county: who may be called or heard, when, and that nothing else changes by them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest

from producers.simulator import telephones
from producers.simulator.county import DAY
from producers.simulator.court import is_court
from producers.simulator.noise import HOUR, Noise
from producers.simulator.simulation import START, Simulation
from producers.simulator.world import Told
from schemas.events import (
    CallCompleted,
    ContactClass,
    CustodyEnded,
    HearingCancelled,
    HearingScheduled,
    HousingAssigned,
    MovementPurpose,
    MovementScheduled,
)
from schemas.site import Site
from tests.small_county import SMALL_COUNTY

QUIET = Noise().times(0)
(COURT,) = [agency.id for agency in SMALL_COUNTY.agencies if is_court(agency)]


def lived(site: Site, noise: Noise, days: int) -> tuple[list[Told], Simulation]:
    simulation = Simulation(site, 1, noise)
    return [*simulation.told(START + days * DAY)], simulation


@pytest.fixture(scope="module")
def week() -> list[Told]:
    """What was told in it, in the order in which it happened."""
    return sorted(lived(SMALL_COUNTY, QUIET, 7)[0], key=lambda one: one.event.head.time)


def test_neither_changes_anything_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = Noise().times(2)
    told, simulation = lived(SMALL_COUNTY, noisy, 3)
    without_court = SMALL_COUNTY.model_copy(
        update={
            "agencies": tuple(one for one in SMALL_COUNTY.agencies if one.id != COURT),
            "agreements": tuple(one for one in SMALL_COUNTY.agreements if one.source != COURT),
        }
    )
    monkeypatch.setattr(telephones, "CALLS_A_DAY", 1e-9)
    silent, other = lived(without_court, noisy, 3)
    assert [one for one in told if one.agency != COURT and not isinstance(one.event, CallCompleted)] == silent
    assert simulation.truth.situations == other.truth.situations


def test_whoever_goes_to_court_has_a_hearing_before_the_way_back(week: list[Told]) -> None:
    set_at = defaultdict(list)
    for one in week:
        if isinstance(one.event, HearingScheduled):
            set_at[one.event.head.time].append(one.event.starts)
    taken = [
        one.event
        for one in week
        if isinstance(one.event, MovementScheduled) and one.event.purpose is MovementPurpose.COURT
    ]
    assert len(taken) > 10
    for way in taken:
        assert any(way.head.time < starts < way.returns for starts in set_at[way.head.time])


def test_a_hearing_is_cancelled_or_set_anew_before_it_begins_and_of_the_same_person(week: list[Told]) -> None:
    known: dict[str, list[HearingScheduled | HearingCancelled]] = defaultdict(list)
    for one in week:
        if isinstance(one.event, (HearingScheduled, HearingCancelled)):
            assert one.agency == COURT
            known[one.event.hearing_number].append(one.event)
    changed = [of for of in known.values() if len(of) > 1]
    assert {type(of[-1]) for of in changed} == {HearingScheduled, HearingCancelled}
    for of in known.values():
        assert isinstance(of[0], HearingScheduled)
        for before, after in pairwise(of):
            assert isinstance(before, HearingScheduled)
            assert after.head.time < before.starts
            assert after.head.persons == before.head.persons


def test_who_is_housed_telephones_by_day_and_nobody_else(week: list[Told]) -> None:
    housed, calls = set[str](), 0
    for one in week:
        match one.event:
            case HousingAssigned(unit=unit, booking_number=number) if unit != "INTAKE":
                housed.add(number)
            case CustodyEnded(booking_number=number):
                housed.discard(number)
            case CallCompleted(booking_number=number):
                calls += 1
                assert number in housed
                assert 8 <= (one.event.head.time - START) % DAY / HOUR < 22
    assert calls > 100


def test_somebody_calls_few_numbers_and_nobody_elses(week: list[Told]) -> None:
    numbers = defaultdict(set)
    for one in week:
        if isinstance(one.event, CallCompleted) and one.event.contact is ContactClass.ORDINARY:
            # The number that any jail knows somebody by is made of the county's own.
            numbers[one.event.head.persons[0].ids[0].value].add(one.event.called_number)
    assert max(map(len, numbers.values())) == telephones.CALLED
    assert sum(map(len, numbers.values())) == len(set().union(*numbers.values()))


def test_some_calls_are_to_attorneys_and_some_are_not_answered(week: list[Told]) -> None:
    calls = [one.event for one in week if isinstance(one.event, CallCompleted)]
    assert {one.contact for one in calls} == {ContactClass.ORDINARY, ContactClass.ATTORNEY}
    assert any(one.seconds == 0 for one in calls)
    assert max(one.seconds for one in calls) <= telephones.LONGEST_S
