"""Stays in custody: what begins one, what ends it, and which is open where several have begun."""

from __future__ import annotations

import pytest

from streams.facts import Fact, StayKey, event_key, sort_of
from streams.pictures.stays import Stay, Stays
from tests.county import event_id

FIRST, SECOND = ("main", "B-1"), ("main", "B-2")


def fact(event_type: str, time: int, stay: StayKey | None = FIRST) -> Fact:
    sort = sort_of(event_type, "t", False, "")
    return Fact("p", event_key("jail", event_id(f"{event_type}/{time}")), "subject", sort, time, 0, b"", stay=stay)


BOOKED, ENDED = fact("BookingReported", 1), fact("CustodyEnded", 5)
STAY = Stay(FIRST, BOOKED, 1)


def test_nobody_of_whom_nothing_is_told_is_in_custody() -> None:
    assert Stays(()).open is None


def test_a_stay_is_of_a_facility_and_has_its_number_there() -> None:
    assert (STAY.facility, STAY.booking_number) == ("main", "B-1")


def test_a_booking_begins_a_stay() -> None:
    assert Stays([BOOKED]).open == STAY


@pytest.mark.parametrize("event_type", ["HousingAssigned", "CustodyClassified"])
def test_so_does_what_is_told_of_one_whose_booking_is_not_known(event_type: str) -> None:
    assert Stays([fact(event_type, 2)]).open == Stay(FIRST, None, 2)


@pytest.mark.parametrize("told", [fact("DisciplinaryRecorded", 2), fact("HousingAssigned", 2, None)])
def test_what_else_is_told_of_a_person_begins_none(told: Fact) -> None:
    assert Stays([told]).open is None


def test_what_is_told_of_a_stay_that_has_begun_begins_it_no_second_time() -> None:
    assert Stays([BOOKED, fact("HousingAssigned", 2)]).open == STAY


def test_where_the_booking_comes_later_the_stay_began_with_it() -> None:
    late = fact("BookingReported", 3)
    assert Stays([fact("HousingAssigned", 2), late]).open == Stay(FIRST, late, 3)


def test_a_second_booking_of_a_stay_stands_in_the_place_of_the_first() -> None:
    again = fact("BookingReported", 3)
    assert Stays([BOOKED, again]).open == Stay(FIRST, again, 3)
    assert Stays([BOOKED, again, ENDED]).open is None
    same_moment = fact("BookingReported", 1)
    assert Stays([BOOKED, same_moment]).open == Stay(FIRST, same_moment, 1)


@pytest.mark.parametrize("event_type", ["CustodyEnded", "NoLongerListed"])
def test_an_end_ends_a_stay_and_only_a_later_booking_undoes_it(event_type: str) -> None:
    told = [BOOKED, fact(event_type, 5), fact("HousingAssigned", 6)]
    assert Stays(told).open is None
    again = fact("BookingReported", 7)
    assert Stays([*told, again]).open == Stay(FIRST, again, 7)
    assert Stays([*told, again, fact("CustodyEnded", 8)]).open is None


def test_a_stay_that_is_ended_twice_has_ended() -> None:
    twice = [BOOKED, ENDED, fact("NoLongerListed", 6)]
    assert Stays(twice).open is None
    assert Stays([*twice, fact("HousingAssigned", 7)]).open is None


def test_each_fact_tells_whether_the_stays_are_others_by_it() -> None:
    stays = Stays(())
    told = [
        (fact("DisciplinaryRecorded", 1), False),
        (fact("HousingAssigned", 1, None), False),
        (fact("HousingAssigned", 1), True),
        (fact("HousingAssigned", 2), False),
        (fact("BookingReported", 3), True),
        (fact("BookingReported", 4), True),
        (fact("HousingAssigned", 5), False),
        (fact("CustodyEnded", 6), True),
        (fact("NoLongerListed", 7), False),
        (fact("HousingAssigned", 8), False),
        (fact("CustodyEnded", 8, SECOND), True),
    ]
    assert [stays.tell(one) for one, _ in told] == [changed for _, changed in told]


def test_an_end_counts_for_its_own_stay_alone() -> None:
    other = fact("BookingReported", 2, SECOND)
    assert Stays([BOOKED, other, ENDED]).open == Stay(SECOND, other, 2)
    assert Stays([BOOKED, other, fact("CustodyEnded", 6, SECOND)]).open == STAY


def test_what_was_ended_before_stays_so_when_another_stay_is_ended_or_booked_again() -> None:
    other = fact("BookingReported", 2, SECOND)
    both = [BOOKED, other, ENDED, fact("CustodyEnded", 6, SECOND)]
    assert Stays([*both, fact("HousingAssigned", 7)]).open is None
    assert Stays([*both, fact("HousingAssigned", 7, SECOND)]).open is None
    again = fact("BookingReported", 8, SECOND)
    assert Stays([*both, again, fact("HousingAssigned", 9)]).open == Stay(SECOND, again, 8)


def test_of_several_that_are_open_it_is_the_one_that_began_last_and_of_one_moment_that_of_the_greater_number() -> None:
    later = fact("BookingReported", 4, ("annex", "B-0"))
    assert Stays([BOOKED, later]).open == Stay(("annex", "B-0"), later, 4)
    # Told in order of time; of one moment in any order.
    moment = [fact("BookingReported", 4, SECOND), fact("BookingReported", 4)]
    for told in (moment, moment[::-1]):
        assert Stays(told).open == Stay(SECOND, moment[0], 4)


def test_a_booking_among_open_stays_leaves_the_others_open() -> None:
    second, third = fact("BookingReported", 2, SECOND), fact("BookingReported", 3)
    told = Stays([BOOKED, second, third])
    assert told.open == Stay(FIRST, third, 3)
    told.tell(ENDED)
    assert told.open == Stay(SECOND, second, 2)
