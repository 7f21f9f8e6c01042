"""Lists that are of another day than their name says are found by who is on them; a small jail is not suspected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from producers.adapters.roster import Known
from producers.adapters.roster_file import Damaged, Row, Snapshot, read_snapshot
from producers.adapters.roster_sequence import (
    ID_BITS,
    Begun,
    Imported,
    Judged,
    Listed,
    judge_sequence,
    not_as_begun,
    stays_of,
)
from producers.roster_import import State
from tests.imported_roster import REAL, needs_the_real_data

MARCH = date(2026, 3, 1)
ENDED = date(2026, 3, 31)
People = dict[str, int]
"""Ids, each with the day of March on whose noon they came; 0 is the last of February."""


def row(known_as: str, came: int) -> Row:
    admitted = datetime.combine(MARCH, datetime.min.time()) + timedelta(days=came - 1, hours=12)
    return Row(known_as, admitted, None, None, "", False, "", False)


def lists_of(*people: People) -> list[Listed]:
    """Lists of the days from the second of March on."""
    return [
        Listed(
            f"{number}.csv",
            MARCH + timedelta(days=number - 1),
            stays_of(row(known_as, came) for known_as, came in of_day.items()),
            repr(sorted(of_day.items())),
        )
        for number, of_day in enumerate(people, start=2)
    ]


def refused(judged: Judged) -> list[str]:
    return sorted({problem.file for problem in judged.damage})


LONG = dict.fromkeys("abcdefgh", 0)
"""Who is there all the time."""


@pytest.mark.parametrize(
    "people",
    [
        [LONG, {**LONG, "new": 3}, LONG, {**LONG, "next": 5}],
        [{**LONG, "new": 2}, LONG],
        [LONG, {**LONG, "new": 3}, LONG],
        [LONG, LONG, {**LONG, "new": 4}],
        [{**LONG, "old": 1}, LONG, {**LONG, "old": 1}, {**LONG, "old": 1}],
        [{**LONG, "old": 1}, {**LONG, "old": 1}, LONG, {**LONG, "old": 1, "new": 5}],
        [{**LONG, "old": 1}, LONG, {**LONG, "old": 1}],
        [{**LONG, "old": 1}, {**LONG, "new": 3}, {**LONG, "old": 1}],
        [LONG, {}, {}, LONG],
    ],
    ids=[
        "the newest leaves and nobody comes",
        "the same on the first two lists",
        "the same on the last two lists",
        "nothing happens, then somebody comes",
        "a row drops out for a day",
        "a row drops out for a day and somebody comes",
        "a row drops out of the last list but one",
        "a row drops out of the last list but one when somebody is there for a day",
        "nobody is there for two days",
    ],
)
def test_a_small_jail_in_which_little_happens_has_its_days_in_order(people: Sequence[People]) -> None:
    assert refused(judge_sequence(lists_of(*people), None, ENDED, drops_allowed=True)) == []


@pytest.mark.parametrize(
    ("people", "named"),
    [
        ([{**LONG, "goes": 0}, LONG, {**LONG, "goes": 0}, LONG], ["3.csv", "4.csv"]),
        ([LONG, {**LONG, "comes": 2}, LONG, {**LONG, "comes": 2}], ["3.csv", "4.csv"]),
        ([{**LONG, "comes": 2}, {**LONG, "goes": 0}, {**LONG, "comes": 2}], ["2.csv", "3.csv"]),
        ([LONG, {**LONG, "x": 3}, {**LONG, "x": 3, "y": 4}, LONG, {**LONG, "x": 3, "y": 4}], ["5.csv"]),
        ([LONG, {**LONG, "x": 3, "y": 3}, {**LONG, "x": 3, "y": 3}, LONG, {**LONG, "x": 3, "y": 3}], ["5.csv"]),
        ([{**LONG, "goes": 0, "too": 0}, LONG, {**LONG, "goes": 0, "too": 0}], ["3.csv", "4.csv"]),
    ],
    ids=[
        "somebody gone is back for a day",
        "somebody new is not there for a day",
        "the first two lists",
        "an old list under a new name",
        "a list that is older than its neighbours",
        "the last two lists",
    ],
)
def test_lists_that_tell_one_story_only_in_another_order_are_named(people: Sequence[People], named: list[str]) -> None:
    given = lists_of(*people)
    judged = judge_sequence(given, None, ENDED)
    assert refused(judged) == named
    assert all("--allow-order" in problem.why for problem in judged.damage)
    assert judge_sequence(given, None, ENDED, order_allowed=True).good == tuple(given)


def test_a_list_that_is_cut_off_is_not_said_to_be_swapped_with_the_next() -> None:
    many = {f"{number}": 0 for number in range(40)}
    cut = dict(list(many.items())[:20])
    judged = judge_sequence(lists_of(many, cut, {**many, "x": 4}, many), None, ENDED)
    assert [(problem.file, "lacks 20 of the 40" in problem.why) for problem in judged.damage] == [("3.csv", True)]


def test_a_list_that_was_made_before_the_one_imported_last_is_named_alone() -> None:
    imported, *given = lists_of({**LONG, "x": 2, "y": 2}, LONG, {**LONG, "x": 2, "y": 2, "z": 4})
    assert refused(judge_sequence(given, Imported(imported, {imported.day: imported.digest}), ENDED)) == ["3.csv"]


def test_the_other_half_of_a_swap_is_named_beside_a_list_of_a_later_day() -> None:
    (first, second) = lists_of(LONG, {**LONG, "x": 2})
    later = Damaged(first.file, first.day, (), datetime(2026, 3, 3, 12))  # noqa: DTZ001  # local, as lists have it
    assert refused(judge_sequence([later, second], None, ENDED)) == [second.file]
    assert refused(judge_sequence([later, second], None, ENDED, order_allowed=True)) == []


def test_a_list_is_the_same_to_the_next_one_whether_it_was_just_read_or_imported_before() -> None:
    rows = {known_as: row(known_as, came) for known_as, came in {**LONG, "x": 2}.items()}
    state = State(Known(MARCH, rows, {}), "a.csv", {MARCH: "0"})
    assert state.imported.last == Listed("a.csv", MARCH, stays_of(rows.values()), "0")
    assert state.imported.last.newest_admission == rows["x"].admitted


FIRST, SECOND, THIRD, FOURTH = lists_of(LONG, {**LONG, "x": 3}, {**LONG, "y": 4}, {**LONG, "z": 5})
OTHER = replace(THIRD, digest="other")
AFTER_FIRST = Imported(FIRST, {FIRST.day: FIRST.digest})
AFTER_THIRD = Imported(THIRD, {THIRD.day: THIRD.digest})


@pytest.mark.parametrize(
    ("lists", "before", "named"),
    [
        ([THIRD, FOURTH], AFTER_FIRST, None),
        ([FIRST], AFTER_FIRST, None),
        ([OTHER], AFTER_FIRST, "4.csv"),
        ([FOURTH], AFTER_FIRST, "5.csv"),
        ([SECOND, THIRD], AFTER_FIRST, "3.csv"),
        ([OTHER, FOURTH], AFTER_THIRD, None),
        ([THIRD], None, None),
        ([OTHER], None, "4.csv"),
        ([FIRST, SECOND, THIRD], None, None),
        ([FIRST, SECOND, OTHER], None, "4.csv"),
        ([FIRST, FOURTH], None, "5.csv"),
    ],
    ids=[
        "the same list, and the next",
        "nothing new",
        "another list of that day",
        "that day is left out",
        "a day before it, which was left out then",
        "that day was done in the end",
        "the same list, the first of all",
        "another list, the first of all",
        "all from the first day again, after what was imported was lost",
        "all from the first day again, with another list of that day",
        "all from the first day again, without that day",
    ],
)
def test_an_import_that_was_broken_off_in_the_third_list_goes_on_with_it(
    lists: Sequence[Listed], before: Imported | None, named: str | None
) -> None:
    problem = not_as_begun(lists, Begun(THIRD.day, THIRD.digest), before)
    assert (problem and problem.file) == named
    assert not_as_begun(lists, None, before) is None


# -- on the lists of a real jail, and of one in so many of its people --------------------------------------------------


@needs_the_real_data
@pytest.mark.real_data
def test_of_real_lists_and_those_of_small_jails_made_of_them_none_is_refused_and_swapped_ones_are_found() -> None:
    read = [read_snapshot(path) for path in REAL]
    whole = [Listed.of(snapshot) for snapshot in read if isinstance(snapshot, Snapshot)]
    assert len(whole) == len(REAL)
    for one_in, at_least in ((1, 1.0), (50, 0.95), (200, 0.8)):
        found = tried = 0
        for which in range(min(one_in, 3)):
            lists = [thinned(one, one_in, which) for one in whole]
            assert refused(judge_sequence(lists, None, lists[-1].day)) == []
            changing = [one for one, before in zip(lists, [None, *lists], strict=False) if not same(one, before)]
            for number in range(len(changing) - 1):
                one, other = changing[number : number + 2]
                swapped = [replace(other, file=one.file, day=one.day), replace(one, file=other.file, day=other.day)]
                given = [*changing[max(0, number - 2) : number], *swapped, *changing[number + 2 : number + 4]]
                tried += 1
                found += bool(refused(judge_sequence(given, None, lists[-1].day)))
        assert found >= at_least * tried, f"of one in {one_in} people {found} of {tried} are found"


def thinned(whole: Listed, one_in: int, which: int) -> Listed:
    """The same list of every so many-th person."""
    stays = [stay for stay in whole.stays if stay % 2**ID_BITS % one_in == which]
    return replace(whole, stays=stays, digest=str(stays))


def same(one: Listed, before: Listed | None) -> bool:
    return before is not None and one.digest == before.digest
