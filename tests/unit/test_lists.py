"""Which lists say the same again and again."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from streams.heard import SLOT, Listed
from streams.pictures.expiry import Outlived
from streams.pictures.feeds import KEPT, LONGEST_NOTICE, SLOTS_A_DAY
from streams.pictures.lists import NONE_COMES, Frozen, ListKey, Lists

MAIN: Final = ListKey("county-jail", "county-jail-main")
DAY: Final = SLOTS_A_DAY
BEGIN: Final = 20_000 * DAY


def taken(day: float, content: int, changed: int = 4, of: ListKey = MAIN) -> Listed:
    return Listed(of.agency, of.facility, BEGIN + int(day * DAY), changed, f"{content:016x}", "topic")


def told(notes: Iterable[Listed]) -> Lists:
    lists = Lists(Outlived())
    for one in notes:
        lists.fold(one)
    return lists


def found(lists: Lists, day: float, of: ListKey = MAIN) -> Frozen | None:
    return lists.frozen(of, (BEGIN + int(day * DAY)) * SLOT)


# The first is all new.
USUAL: Final = [taken(0, 0, 5_000), *(taken(day, day) for day in range(1, 10))]
SAME: Final = [taken(10, 9, 0), taken(11, 9, 0)]


def test_lists_that_say_the_same_too_often_stand_still_since_the_first_of_them() -> None:
    lists = told([*USUAL, *SAME])
    assert found(lists, 10.9) is None, "four entries should have changed"
    stands = Frozen("topic", BEGIN + 9 * DAY, BEGIN + 11 * DAY, 2, 4)
    assert found(lists, 11) == stands
    lists.fold(taken(12, 9, 0))
    assert found(lists, 12) == Frozen("topic", BEGIN + 9 * DAY, BEGIN + 12 * DAY, 3, 4)


def test_what_is_usual_is_the_median_of_lists_on_which_something_changed() -> None:
    often = [taken(0, 0, 5_000), *(taken(day, day, change) for day, change in enumerate((2, 900, 4, 4, 3), start=1))]
    assert (stands := found(told([*often, taken(6, 5, 0), taken(7, 5, 0)]), 7)) is not None
    assert stands.usual == 4
    assert found(told([*often[:-1], taken(6, 4, 0), taken(7, 4, 0)]), 7) is None, "four are too few to know"


def test_when_it_changes_that_is_said_for_as_long_as_it_stood_still_and_at_most_a_day() -> None:
    lists = told([*USUAL, *SAME, taken(13, 12, 30)])
    over = found(lists, 13)
    assert over is not None
    assert (over.again, over.changed, over.since) == (BEGIN + 13 * DAY, 30, BEGIN + 9 * DAY)
    assert found(lists, 13 + (LONGEST_NOTICE - 1) / DAY) == over
    assert found(lists, 14) is None
    quick = [taken(9.1, 9, 0), taken(9.2, 9, 0), taken(9.3, 12, 30)]
    assert found(told([*USUAL, *quick]), 9.55) is not None
    assert found(told([*USUAL, *quick]), 9.61) is None
    # However many lists are taken meanwhile.
    assert found(told([*USUAL, *quick, taken(9.4, 13), taken(9.45, 13, 0)]), 9.55) is not None


def test_a_list_that_is_taken_no_more_stands_still_for_four_weeks() -> None:
    lists = told([*USUAL, *SAME])
    assert found(lists, 11 + (NONE_COMES - 1) / DAY) is not None
    assert found(lists, 11 + NONE_COMES / DAY) is None
    assert lists.look_again(MAIN, (BEGIN + 12 * DAY) * SLOT) == (BEGIN + 11 * DAY + NONE_COMES) * SLOT


def test_a_list_that_time_has_not_come_to_is_looked_at_when_it_has() -> None:
    lists = told([*USUAL, *SAME])
    assert lists.look_again(MAIN, (BEGIN + 10 * DAY - 1) * SLOT) == (BEGIN + 10 * DAY) * SLOT
    assert lists.look_again(MAIN, (BEGIN + 10 * DAY) * SLOT) == (BEGIN + 11 * DAY) * SLOT


def test_facilities_and_agencies_are_told_apart() -> None:
    annex, prison = ListKey("county-jail", "annex"), ListKey("state-prison", "county-jail-main")
    others = [taken(day, 100 + day, 4, of) for day in range(12) for of in (annex, prison)]
    lists = told([*USUAL, *SAME, *others])
    assert found(lists, 11) is not None
    assert [found(lists, 11, of) for of in (annex, prison)] == [None, None]
    assert set(lists.keys()) == {MAIN, annex, prison}
    assert found(lists, 11, ListKey("nobody", "nowhere")) is None


def test_what_is_known_already_changes_nothing_and_what_is_old_goes_from_the_log_once() -> None:
    outlived = Outlived()
    lists = Lists(outlived)
    assert lists.fold(taken(0, 1)) == MAIN
    assert lists.fold(taken(0, 1)) is None
    assert lists.fold(taken(KEPT / DAY, 2)) == MAIN
    assert outlived.take() == []
    lists.fold(taken((KEPT + 1) / DAY, 3))
    assert outlived.take() == [taken(0, 1).key]
    assert outlived.take() == []
    assert lists.fold(taken(0, 1)) is None
    assert outlived.take() == [taken(0, 1).key], "it came again"


def changing(*changes: int, first: float = 0) -> list[Listed]:
    """A list a day: what is new on each, nothing where it says the same as the one before."""
    lists = [taken(first, 0, 5_000)]
    for number, changed in enumerate(changes, start=1):
        content = number if changed else int(lists[-1].content, 16)
        lists.append(taken(first + number, content, changed))
    return lists


def test_of_how_many_entries_change_only_what_changed_in_the_four_weeks_before_tells() -> None:
    # Quiet days are what is judged, and no part of what is usual.
    assert (stands := found(told(changing(4, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0)), 14)) is not None
    assert stands.usual == 4
    # What the lists that say the same say of themselves is none, either.
    known = changing(2, 2, 3, 4, 4)
    assert (stands := found(told([*known, *(taken(day, 5, 900) for day in (6, 7))]), 7)) is not None
    assert stands.usual == 3
    # Long ago another number was usual.
    long_ago = changing(900, 900, 900, 900, 900, first=-60)
    assert (stands := found(told([*long_ago, *changing(4, 4, 4, 4, 4, 0, 0)]), 7)) is not None
    assert stands.usual == 4, "the first of the newer lists is no first of all: it is the sixth, and all is new on it"


def test_four_weeks_are_up_to_the_first_of_those_that_say_the_same() -> None:
    lists = [taken(0, 0, 5_000), taken(2, 1), *(taken(day, day) for day in (27, 28, 29, 30)), taken(31, 30, 0)]
    assert found(told([*lists, taken(32, 30, 0)]), 32) is not None, "the second is just within"
    assert found(told([lists[0], taken(1.99, 1), *lists[2:], taken(32, 30, 0)]), 32) is None


def test_five_entries_that_should_have_changed_are_enough_and_fewer_are_not() -> None:
    assert found(told(changing(5, 5, 5, 5, 5, 0)), 6) is not None
    assert found(told(changing(1, 1, 1, 1, 1, 0, 0, 0, 0)), 9) is None
    assert found(told(changing(1, 1, 1, 1, 1, 0, 0, 0, 0, 0)), 10) is not None


def test_a_list_that_is_as_old_as_any_that_is_kept_is_kept() -> None:
    lists = told([taken(KEPT / DAY, 2)])
    assert lists.fold(taken(0, 1)) == MAIN
    assert lists.fold(taken(KEPT / DAY, 2)) is None, "it was told before, and is not the first"


def test_it_is_looked_at_again_when_it_is_said_no_more_that_the_list_changes_again() -> None:
    lists = told([taken(0, 1, 5_000), taken(0.25, 1, 0), taken(0.5, 2)])
    assert lists.look_again(MAIN, (BEGIN - 1) * SLOT) == BEGIN * SLOT, "time is behind the lists"
    ends = BEGIN + DAY
    assert lists.look_again(MAIN, (BEGIN + DAY // 2) * SLOT) == ends * SLOT
    assert lists.look_again(MAIN, ends * SLOT) == (BEGIN + DAY // 2 + NONE_COMES) * SLOT
    over = told([*USUAL, taken(9.25, 9, 0), taken(9.5, 9, 0), taken(9.75, 12, 30)])
    assert found(over, 10.5 - 1 / DAY) is not None
    assert found(over, 10.5) is None


notes = st.lists(
    st.builds(
        taken, st.integers(0, 20) | st.sampled_from([9.1, 9.2, 11.5]), st.integers(0, 9), st.sampled_from([0, 4, 9])
    ),
    max_size=15,
)


@given(notes, st.lists(st.integers(0, 60 * DAY), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_in_whatever_order_they_are_told_the_same_is_found(
    more: list[Listed], looks: list[int], choose: random.Random
) -> None:
    known = [*USUAL, *SAME, *more]
    shuffled = [*known, *choose.choices(known, k=4)]
    choose.shuffle(shuffled)
    one, other = told(known), told(shuffled)
    for look in looks:
        now = (BEGIN + look) * SLOT
        assert one.frozen(MAIN, now) == other.frozen(MAIN, now)
        assert one.look_again(MAIN, now) == other.look_again(MAIN, now)


@given(notes, st.integers(0, 40 * DAY))
def test_nothing_changes_before_it_is_to_be_looked_at_again(more: list[Listed], look: int) -> None:
    lists, slot = told([*USUAL, *more]), BEGIN + look
    before = lists.frozen(MAIN, slot * SLOT)
    again = lists.look_again(MAIN, slot * SLOT)
    until = again // SLOT if again is not None else slot + NONE_COMES
    for later in range(slot, until, max(1, (until - slot) // 50)):
        assert lists.frozen(MAIN, later * SLOT) == before, "it changed by itself"
