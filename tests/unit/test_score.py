"""How good alerts are against the truth: found in time, so while they were told, and about nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from producers.simulator.noise import HOUR
from producers.simulator.score import GRACE, Raised, Score, raised, score
from producers.simulator.truth import BROAD, DELIVERY, REVIEW, RIVALS, SILENT, Decoy, Situation

END = 100 * HOUR
KEY = (RIVALS, "main", "4-B", "canal", "larkspur")


def situation(since: float, until: float | None, *bookings: str) -> Situation:
    return Situation(
        KEY, int(since * HOUR), None if until is None else int(until * HOUR), {*(bookings or ("1", "2"))}, "a scene"
    )


def alert(since: float, until: float | None, *bookings: str) -> Raised:
    end = None if until is None else int(until * HOUR)
    return Raised(KEY, int(since * HOUR), end, frozenset(bookings or ("1", "2")))


def of(situations: list[Situation], alerts: list[Raised], *decoys: Decoy) -> Score:
    return score(situations, decoys, alerts, END)[RIVALS]


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (alert(10, 40), 1),
        (alert(10, None), 1),
        (alert(14, 40), 1),  # what told of it came late
        (alert(15, 40), 0),  # too late
        (alert(2, 9), 0),  # over before it began
        (alert(10, 11), 0),  # withdrawn while it was so
        (alert(10, 39), 0),
        (alert(10, 45), 1),
    ],
)
def test_a_situation_is_found_by_an_alert_in_time(told: Raised, found: int) -> None:
    got = of([situation(10, 40)], [told])
    assert (got.situations, got.found, len(got.missed)) == (1, found, 1 - found)


def test_one_that_is_raised_again_is_found_where_nothing_is_left_out() -> None:
    assert of([situation(10, 40)], [alert(12, 20), alert(20, 40)]).found == 1
    assert of([situation(10, 40)], [alert(12, 20), alert(21, 40)]).found == 0


def test_one_that_was_over_before_it_can_be_known_is_not_asked_for() -> None:
    assert of([situation(10, 10 + GRACE / HOUR)], []).situations == 0
    assert of([situation(10, 10.1 + GRACE / HOUR)], []).situations == 1
    assert of([situation(99, None)], []).situations == 0


@pytest.mark.parametrize(
    ("true", "told", "why"),
    [
        ([situation(10, 40)], alert(10, 40), ""),
        ([situation(10, 40)], alert(12, 44), ""),  # its end was told late
        ([situation(10, None)], alert(10, None), ""),
        ([situation(10, 20), situation(22, 40)], alert(10, 40), ""),  # a gap that was not seen in time
        ([situation(10, 12)], alert(11, 12), ""),  # short, and right
        ([], alert(10, 40), "there is no such situation"),
        ([situation(10, 40)], alert(9, 40), "it was not so when it was raised"),
        ([situation(10, 40)], alert(60, 70), "it was not so when it was raised"),
        ([situation(10, 20), situation(30, 40)], alert(26, 40), "it was not so when it was raised"),
        ([situation(10, 12)], alert(13, 14), ""),  # all of it was told late
        ([situation(10, 40)], alert(10, 40, "1"), "it names too few"),
        ([situation(10, 40)], alert(10, 45), "it was over, and the alert went on"),
        ([situation(10, 40)], alert(10, None), "it was over, and the alert went on"),
        ([situation(10, 20), situation(30, 40)], alert(10, 40), "it was over, and the alert went on"),
        ([situation(10, 40)], alert(10, 40, "1", "2", "3"), "it names somebody whom it does not concern"),
    ],
)
def test_an_alert_is_right_while_it_is_so_and_about_those_alone(true: list[Situation], told: Raised, why: str) -> None:
    got = of(true, [told])
    assert [reason for _, reason in got.wrong] == ([why] if why else [])
    assert (got.raised, got.right) == (1, 0 if why else 1)


def test_what_was_taken_in_by_a_decoy_says_by_which() -> None:
    decoy = Decoy("moved_away", "they are apart", 9 * HOUR, ("1", "2"))
    other = Decoy("another", "somebody else", 9 * HOUR, ("7",))
    got = of([], [alert(10, 40)], other, decoy)
    assert [reason for _, reason in got.wrong] == ["moved_away: they are apart"]


def test_a_key_is_compared_without_the_buss_ids_of_persons() -> None:
    def record(rule: str, *key: str) -> dict[str, Any]:
        return {"alert_id": "/".join(key), "at": 5, "state": "OPEN", "rule": rule, "key": [*key], "subjects": []}

    told = raised(
        [
            record(RIVALS, "main", "4-B", "canal", "larkspur"),
            record(REVIEW, "a person", "main", "26-1", "feud"),
            record(DELIVERY, "main", "a person", "VISIT", "V-1", "staff"),
            record(BROAD, "main", "city-pd", "a tip"),
        ]
    )
    assert [one.key for one in told] == [
        KEY,
        (REVIEW, "main", "26-1", "feud"),
        (DELIVERY, "main", "VISIT", "V-1", "staff"),
        (BROAD, "main", "city-pd", "a tip"),
    ]


def test_an_alert_that_comes_again_is_another_one() -> None:
    def record(at: int, state: str, *bookings: str) -> dict[str, Any]:
        subjects = [{"booking_number": booking} for booking in bookings]
        return {"alert_id": "a", "at": at, "state": state, "rule": RIVALS, "key": KEY[1:], "subjects": subjects}

    told = raised(
        [
            record(1, "OPEN", "1", "2"),
            record(2, "OPEN", "2", "3"),
            record(3, "WITHDRAWN"),
            record(4, "WITHDRAWN"),
            record(5, "OPEN", "1", "4"),
        ]
    )
    assert [(one.since, one.until, sorted(one.bookings)) for one in told] == [
        (1, 3, ["1", "2", "3"]),
        (5, None, ["1", "4"]),
    ]


@pytest.mark.parametrize(
    ("one", "is_tried", "reaches"),
    [
        (Score(), False, True),
        (Score(situations=4, found=4), True, True),
        (Score(situations=4, found=3), True, False),
        (Score(raised=4, right=4), True, True),
        (Score(raised=4, right=3), True, False),
    ],
)
def test_of_nothing_there_is_no_share_and_no_reason_to_fail(one: Score, is_tried: bool, reaches: bool) -> None:
    assert (one.is_tried, one.reaches(1.0)) == (is_tried, reaches)
    assert (one.recall is None, one.precision is None) == (not one.situations, not one.raised)


def test_whoever_was_of_it_all_the_while_has_to_be_named_by_one_alert_or_another() -> None:
    true = situation(10, 40, "1", "2", "3")
    true.throughout = {"1", "2"}
    assert of([true], [alert(10, 40, "1", "2")]).found == 1
    assert of([true], [alert(10, 40, "1", "3")]).found == 0
    assert of([true], [alert(10, 20, "1", "3"), alert(20, 40, "2", "3")]).found == 1
    assert of([true], [alert(2, 9, "2"), alert(10, 40, "1", "3")]).found == 0, "one of before does not count"


def test_a_delivery_that_comes_has_to_be_known_of_by_whom_it_is_for() -> None:
    true = Situation(
        (DELIVERY, "main", "MAIL", "M-1"), 10 * HOUR, 12 * HOUR, {"1"}, known=10 * HOUR, due=11 * HOUR, throughout={"1"}
    )
    for named, found in (("1", 1), ("2", 0)):
        told = Raised(true.key, 10 * HOUR, None, frozenset({named}))
        assert score([true], [], [told], END)[DELIVERY].found == found


def test_scores_add_up() -> None:
    one, other = Score(4, 3, 2, 2), Score(0, 0, 2, 1)
    assert (one.recall, one.precision, other.recall, other.precision) == (0.75, 1.0, None, 0.5)
    both = one + other
    assert (both.situations, both.found, both.raised, both.right, both.precision) == (4, 3, 4, 3, 0.75)


@pytest.mark.parametrize(
    ("since", "until", "found", "right"),
    [
        (22, 60, 1, 1),  # half a day after it began
        (23, 60, 0, 1),
        (22, 84, 1, 1),  # a day after its end it may still be said
        (22, 89, 1, 0),
        (9, 60, 1, 0),
    ],
)
def test_a_silence_shows_within_half_a_day_and_it_may_be_said_for_a_day_that_it_is_over(
    since: int, until: int, found: int, right: int
) -> None:
    key = (SILENT, "lockup")
    silence = Situation(key, 10 * HOUR, 60 * HOUR)
    got = score([silence], [], [Raised(key, since * HOUR, until * HOUR, frozenset())], END)[SILENT]
    assert (got.situations, got.found, got.right) == (1, found, right)


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        (10.2, 11.5, 1),  # open when it comes, and withdrawn when it is over
        (11, None, 1),  # in the last moment
        (11.1, None, 0),  # after it has come
        (10.2, 10.9, 0),  # withdrawn before it comes
    ],
)
def test_a_delivery_that_is_known_of_in_time_is_asked_for_when_it_comes_however_short_a_while(
    since: float, until: float | None, found: int
) -> None:
    late_tip = Situation(
        (DELIVERY, "main", "VISIT", "V-1"), 10 * HOUR, 12 * HOUR, {"1"}, known=10 * HOUR, due=11 * HOUR
    )
    told = Raised(late_tip.key, int(since * HOUR), None if until is None else int(until * HOUR), frozenset({"1"}))
    got = score([late_tip], [], [told], END)[DELIVERY]
    assert (got.situations, got.found) == (1, found)


def test_a_delivery_that_lasts_has_to_be_known_of_in_the_end_and_when_it_comes() -> None:
    tip = Situation((DELIVERY, "main", "MAIL", "M-1"), 10 * HOUR, 60 * HOUR, {"1"}, known=10 * HOUR, due=12 * HOUR)

    def found(since: int, until: int) -> int:
        told = Raised(tip.key, since * HOUR, until * HOUR, frozenset({"1"}))
        return score([tip], [], [told], END)[DELIVERY].found

    assert (found(11, 60), found(13, 60), found(11, 50)) == (1, 0, 0)


def test_what_is_over_before_it_comes_or_comes_after_the_end_is_not_asked_for_at_the_gate() -> None:
    called_off = Situation(
        (DELIVERY, "main", "VISIT", "V-1"), 10 * HOUR, 11 * HOUR, {"1"}, known=10 * HOUR, due=12 * HOUR
    )
    to_come = Situation((DELIVERY, "main", "VISIT", "V-2"), 99 * HOUR, None, {"1"}, known=99 * HOUR, due=101 * HOUR)
    assert score([called_off, to_come], [], [], END)[DELIVERY].situations == 0
