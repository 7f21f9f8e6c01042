"""The study of reviews on real lists: who is held against whom, and how sure a share is."""

from __future__ import annotations

import random

import pytest

from schemas.events import CustodyLevel
from tests.study.classification_reviews import (
    DAY,
    FOLLOWED,
    Case,
    Life,
    Review,
    Stratum,
    cases,
    days_of_standing_still,
    difference,
    share_of_cases,
    share_of_controls,
    standing_still,
    stratum,
    wilson,
)

MINIMUM, MEDIUM, MAXIMUM = CustodyLevel.MINIMUM, CustodyLevel.MEDIUM, CustodyLevel.MAXIMUM
ENDS = [number * DAY for number in range(100)]


def life(*levels: tuple[int, CustodyLevel], began: int = 0, ended: int | None = None, broke: int | None = None) -> Life:
    infractions = [] if broke is None else [broke]
    return Life(began * DAY, [*levels], infractions, [began], [] if ended is None else [ended])


@pytest.mark.parametrize(
    ("levels", "after"),
    [
        ([(2, MINIMUM), (15, MEDIUM)], 5),
        ([(2, MINIMUM), (12, MAXIMUM), (15, MEDIUM)], 2),
        ([(2, MEDIUM), (15, MINIMUM), (20, MAXIMUM)], 10),
        ([(2, MEDIUM), (15, MINIMUM)], None),
        ([(2, MINIMUM), (10, MEDIUM)], None),  # on the day itself: it is at medium then
        ([(2, MINIMUM), (10 + FOLLOWED, MEDIUM)], FOLLOWED),
        ([(2, MINIMUM), (11 + FOLLOWED, MEDIUM)], None),
        ([(12, MEDIUM)], None),
        ([], None),
    ],
)
def test_a_level_is_raised_where_a_higher_one_comes_within_thirty_days(
    levels: list[tuple[int, CustodyLevel]], after: int | None
) -> None:
    assert life(*levels).raised_after(10) == after


@pytest.mark.parametrize(("day", "custody"), [(4, False), (5, True), (8, True), (9, False), (20, True)])
def test_one_is_in_custody_from_the_first_list_to_the_one_it_is_missing_on_and_when_it_is_back(
    day: int, custody: bool
) -> None:
    stay = Life(0, [], [], [5, 15], [9])
    assert stay.is_in_custody(day) is custody


@pytest.mark.parametrize(
    ("stay", "known"),
    [
        (life((2, MINIMUM)), Stratum(MINIMUM, 0, False)),
        (life((2, MEDIUM), began=-20), Stratum(MEDIUM, 2, False)),
        (life((2, MEDIUM), broke=9), Stratum(MEDIUM, 0, True)),
        (life((2, MEDIUM), broke=10), Stratum(MEDIUM, 0, False)),
        (life((2, MAXIMUM)), None),
        (life(), None),
    ],
)
def test_stays_are_alike_in_level_age_and_earlier_infractions(stay: Life, known: Stratum | None) -> None:
    assert stratum(stay, 10, ENDS) == known


def test_a_case_is_held_against_those_alike_who_had_no_review_so_far() -> None:
    stays = {
        "case": life((2, MINIMUM), (13, MEDIUM)),
        "raised": life((2, MINIMUM), (20, MAXIMUM)),
        "not raised": life((2, MINIMUM)),
        "reviewed later": life((2, MINIMUM), (40, MEDIUM)),
        "reviewed before": life((2, MINIMUM)),
        "other level": life((2, MEDIUM)),
        "gone": life((2, MINIMUM), ended=9),
        "longer": life((2, MINIMUM), began=-30),
    }
    found = [Review("case", 10, ()), Review("reviewed later", 30, ()), Review("reviewed before", 9, ())]
    held = {case.review.booking: case for case in cases(found, stays, ENDS, random.Random(1))}
    assert held["case"].raised_after == 3
    assert sorted(held["case"].controls, key=str) == [10, 30, None]


def test_a_review_that_can_not_be_followed_to_the_end_is_no_case() -> None:
    stays = {"a": life((2, MINIMUM)), "b": life((2, MINIMUM))}
    last = len(ENDS) - 1 - FOLLOWED
    found = [Review("a", last, ()), Review("b", last + 1, ())]
    assert [case.review.booking for case in cases(found, stays, ENDS, random.Random(1))] == ["a"]


def test_no_more_than_five_are_drawn() -> None:
    stays = {str(number): life((2, MINIMUM)) for number in range(20)}
    (case,) = cases([Review("0", 10, ())], stays, ENDS, random.Random(1))
    assert len(case.controls) == 5


@pytest.mark.parametrize(
    ("found", "of", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_an_interval_is_wilsons(found: int, of: int, low: float, high: float) -> None:
    assert wilson(found, of) == pytest.approx((low, high), abs=1e-4)


def case(after: int | None, *controls: int | None) -> Case:
    return Case(Review("x", 0, ()), after, controls)


def test_each_case_counts_alike_however_many_it_is_held_against() -> None:
    held = [case(3, 1, None), case(None, None), case(9, 4)]
    assert share_of_cases(held) == pytest.approx(2 / 3)
    assert share_of_controls(held) == pytest.approx((0.5 + 0 + 1) / 3)


def test_the_interval_of_a_difference_holds_it_and_narrows_with_more() -> None:
    few = [case(1, None), case(None, None), case(None, 2), case(5, None)]
    more, low, high = difference(few, random.Random(1))
    assert low <= more <= high
    _, lower, higher = difference(few * 20, random.Random(1))
    assert higher - lower < (high - low) / 2


def alert(severity: str, rule: str = "feed_frozen") -> dict[str, str]:
    return {"rule": rule, "severity": severity}


def test_a_list_stands_still_from_the_day_on_which_it_is_said_to_the_day_before_it_changes() -> None:
    said = [[], [alert("HIGH")], [], [alert("HIGH"), alert("LOW")], [alert("HIGH", "other")], [alert("HIGH")]]
    assert days_of_standing_still(said) == {1, 2, 5}


def test_of_lists_that_repeat_themselves_it_is_counted_which_were_told() -> None:
    words = standing_still({5, 6, 9}, {1, 5, 6, 20}, 30).replace("\n", " ")
    assert "4 of the 30 lists" in words
    assert "have told of 2 of them" in words
    assert "and of 1 others; 1 came before it knew" in words
