"""What an agency usually sends, and since when it does not."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.heard import SLOT, SLOTS_AN_HOUR, Heard
from streams.pictures.expiry import Outlived
from streams.pictures.feeds import (
    KEPT,
    KNOWN_DAYS,
    LEAST_SLOTS,
    LONGEST_NOTICE,
    LONGEST_OVER,
    SLOTS_A_DAY,
    WAITS,
    Cadence,
    FeedKey,
    Feeds,
    Silence,
)

JAIL: Final = FeedKey("county-jail")
DAY: Final = SLOTS_A_DAY
HOUR: Final = SLOTS_AN_HOUR
# A Monday's midnight.
BEGIN: Final = 20_000 * DAY + 4 * DAY


def note(slot: int, hour: int | None = None, event_type: str = "HousingAssigned") -> Heard:
    return Heard(JAIL.agency, event_type, slot, hour, f"demo.county-jail.{event_type}.v1")


def told(notes: Iterable[Heard], outlived: Outlived | None = None) -> Feeds:
    feeds = Feeds(outlived or Outlived())
    for one in notes:
        feeds.fold(one)
    return feeds


def heard(slots: Iterable[int]) -> Feeds:
    return told(note(slot) for slot in slots)


def silences(feeds: Feeds, slot: int) -> list[Silence]:
    return feeds.silences(JAIL, slot * SLOT)


def silent_since(feeds: Feeds, slot: int) -> list[int]:
    return [one.since for one in silences(feeds, slot) if one.until is None]


def first_silent(feeds: Feeds, slots: Sequence[int]) -> int | None:
    return next((slot for slot in slots if silent_since(feeds, slot)), None)


def daily(days: int, at: int = 9 * HOUR) -> list[int]:
    return [BEGIN + day * DAY + at for day in range(days)]


def by_day_only(days: int) -> list[int]:
    """In every slot from 8 to 20 o'clock."""
    return [BEGIN + day * DAY + slot for day in range(days) for slot in range(8 * HOUR, 20 * HOUR)]


def working_days(days: int) -> list[int]:
    return [slot for slot in daily(days) if (slot // DAY - BEGIN // DAY) % 7 < 5]


@pytest.mark.parametrize(
    ("slots", "at_least", "at_most"),
    [
        pytest.param(daily(20), 1.9 * DAY, 2.1 * DAY, id="once a day: on the second day"),
        pytest.param(by_day_only(20), 12 * HOUR, 12.7 * HOUR, id="all day and never at night: soon after it should be"),
        # The last is a Friday's: it should come on Monday, and on Tuesday.
        pytest.param(working_days(26), 3.9 * DAY, 4.1 * DAY, id="on working days: the weekend does not count"),
        pytest.param(list(range(BEGIN, BEGIN + 20 * DAY)), 0, HOUR, id="in every slot: within the hour"),
    ],
)
def test_a_feed_is_silent_once_it_is_quiet_for_twice_as_long_as_usual(
    slots: list[int], at_least: float, at_most: float
) -> None:
    feeds = heard(slots)
    found = first_silent(feeds, range(slots[-1], slots[-1] + 7 * DAY))
    assert found is not None
    assert at_least <= found - slots[-1] <= at_most
    assert silent_since(feeds, found) == [slots[-1]]


def as_it_likes(every: float, *, days: int = 28, seed: int = 1, bursts: int = 1) -> list[int]:
    """Heard every so many slots in the mean, by chance alone; `bursts`: in so many slots together."""
    choose = random.Random(seed)
    slots: list[int] = []
    slot = BEGIN
    while slot < BEGIN + days * DAY:
        slot += 1 + int(choose.expovariate(1 / (every * bursts)))
        slots += range(slot, slot + bursts)
        slot += bursts - 1
    return slots


def limit(slots: list[int]) -> float:
    return Cadence(slots, BEGIN + 28 * DAY).limit


@pytest.mark.parametrize(
    ("an_hour", "hours"), [pytest.param(12, (3.3, 4)), pytest.param(4, (5.5, 7.5)), pytest.param(1.2, (14, 18))]
)
def test_the_less_often_a_feed_comes_as_it_likes_the_longer_it_takes_up_to_half_a_day_and_more(
    an_hour: float, hours: tuple[float, float]
) -> None:
    """As the page on silent agencies has it: docs/feeds.md."""
    choose = random.Random(1)
    at, slots = 0.0, set[int]()
    while at < 28 * 24:
        at += choose.expovariate(an_hour)
        slots.add(BEGIN + int(at * HOUR))
    last = max(slots)
    found = first_silent(heard(slots), range(last, last + 2 * DAY))
    assert found is not None
    assert hours[0] * HOUR <= found - last <= hours[1] * HOUR


def test_a_feed_that_comes_as_it_likes_is_silent_when_millions_of_quiets_would_have_none_so_long() -> None:
    slots = as_it_likes(4 * HOUR)
    longest = sorted(after - before for before, after in pairwise(slots))[-4]
    found = first_silent(heard(slots), range(slots[-1], slots[-1] + 28 * DAY))
    assert found is not None
    assert found - slots[-1] > longest
    assert 17 < limit(as_it_likes(HOUR)) < 18.5


def test_by_chance_alone_none_of_many_falls_silent() -> None:
    for seed in range(40):
        slots = as_it_likes(HOUR, seed=seed)
        assert first_silent(heard(slots), range(BEGIN + 20 * DAY, slots[-1], 3)) is None


def test_one_that_comes_in_bursts_or_is_not_known_well_is_given_more_than_that() -> None:
    assert limit(as_it_likes(HOUR, bursts=6)) > 2 * limit(as_it_likes(HOUR))
    assert limit(as_it_likes(DAY)) > 1.2 * limit(as_it_likes(HOUR))


def test_a_few_quiets_of_like_length_make_hardly_anybody_regular() -> None:
    feeds = [slots for seed in range(800) if len(slots := as_it_likes(2 * DAY, seed=seed)) > 13]
    assert sum(limit(slots) < 14 for slots in feeds) < len(feeds) / 300
    # Whereas a day's list is.
    assert limit(daily(28)) == 2


def test_an_outage_that_one_learns_from_makes_nobody_deaf() -> None:
    slots = as_it_likes(HOUR)
    outage = [slot for slot in slots if not BEGIN + 10 * DAY < slot < BEGIN + 12 * DAY]
    assert limit(outage) < 1.1 * limit(slots)


@pytest.mark.parametrize(
    ("slots", "days"),
    [
        pytest.param(daily(KNOWN_DAYS), 10, id="not known for two weeks"),
        pytest.param(daily(30)[::3], 20, id="heard in too few slots"),
        pytest.param([], 10, id="never heard of"),
    ],
)
def test_of_what_is_hardly_known_nothing_is_said(slots: list[int], days: int) -> None:
    feeds = heard(slots)
    last = slots[-1] if slots else BEGIN
    assert first_silent(feeds, range(last, last + days * DAY, HOUR)) is None


ALWAYS_FOR_TWO_WEEKS: Final = list(range(BEGIN, BEGIN + KNOWN_DAYS * DAY + 1))
"""In every slot, up to the first one of the fifteenth day."""


def test_two_weeks_before_the_day_on_which_it_was_heard_last_are_enough_and_a_slot_less_is_not() -> None:
    last = ALWAYS_FOR_TWO_WEEKS[-1]
    assert silent_since(heard(ALWAYS_FOR_TWO_WEEKS), last + HOUR) == [last]
    assert silent_since(heard(ALWAYS_FOR_TWO_WEEKS[1:]), last + DAY) == []
    # Known is it from the first time on, however long nothing came then.
    once_before = [BEGIN, *range(BEGIN + 8 * DAY, last + 1)]
    assert silent_since(heard(once_before), last + DAY) == [last]


def test_half_an_hour_is_no_silence_however_often_a_feed_is_heard() -> None:
    slots = list(range(BEGIN, BEGIN + 20 * DAY))
    found = first_silent(heard(slots), range(slots[-1], slots[-1] + DAY))
    assert found is not None
    assert found - slots[-1] == LEAST_SLOTS + 2, "half an hour, and one slot that it may be on its way"


@pytest.mark.parametrize("days", [28, 365])
def test_what_is_silent_is_so_until_something_comes_however_long_that_takes(days: int) -> None:
    feeds, last = heard(daily(20)), daily(20)[-1]
    assert silent_since(feeds, last + days * DAY) == [last]
    assert feeds.look_again(JAIL, (last + 3 * DAY) * SLOT) is None
    again = heard([*daily(20), last + days * DAY])
    assert silences(again, last + days * DAY) == [], "what was usual before is forgotten"


def test_what_an_agency_does_not_send_any_more_as_the_site_has_it_is_not_missed_and_goes_from_the_log() -> None:
    outlived = Outlived()
    feeds = Feeds(outlived, {("county-jail", "MailReceived")})
    assert [feeds.fold(note(slot)) for slot in daily(20)] == [None] * 20
    assert list(feeds.agencies()) == []
    assert outlived.take() == sorted(note(slot).key for slot in daily(20))


def test_a_quiet_that_would_have_been_silence_for_a_slot_is_said_to_be_over_and_a_shorter_one_is_not() -> None:
    last = ALWAYS_FOR_TWO_WEEKS[-1]
    for quiet, over in ((WAITS, [last]), (WAITS - 1, []), (LONGEST_OVER - 1, [last]), (LONGEST_OVER, [])):
        feeds = heard([*ALWAYS_FOR_TWO_WEEKS, last + quiet])
        assert [one.since for one in silences(feeds, last + quiet)] == over


def test_of_what_comes_every_hour_two_hours_and_the_slot_on_the_way_and_its_own_are_over_when_it_comes() -> None:
    hourly = list(range(BEGIN, BEGIN + 20 * DAY, HOUR))
    for quiet, over in ((2 * HOUR + 2, [hourly[-1]]), (2 * HOUR + 1, [])):
        feeds = heard([*hourly, hourly[-1] + quiet])
        assert [one.since for one in silences(feeds, hourly[-1] + quiet)] == over


def test_of_a_long_silence_it_is_said_for_a_day_that_it_is_over() -> None:
    last = ALWAYS_FOR_TWO_WEEKS[-1]
    again = last + 3 * DAY
    feeds = heard([*ALWAYS_FOR_TWO_WEEKS, *range(again, again + 2 * DAY)])
    assert [one.until for one in silences(feeds, again + LONGEST_NOTICE - 1)] == [again]
    assert silences(feeds, again + LONGEST_NOTICE) == []


def test_when_it_is_heard_again_that_is_said_for_as_long_as_it_was_silent_and_at_most_a_day() -> None:
    slots = by_day_only(20)
    last = slots[-1]
    short, long = last + 14 * HOUR, last + 6 * DAY
    for again, said in ((short, short - last), (long, LONGEST_NOTICE)):
        feeds = heard([*slots, again])
        over = Silence("HousingAssigned", note(0).topic, last, again)
        assert silences(feeds, again) == [over]
        assert silences(feeds, again + said) != [over]
    feeds = heard([*slots, *range(short, short + 2 * DAY)])
    assert silences(feeds, short + 14 * HOUR - 1) == [Silence("HousingAssigned", note(0).topic, last, short)]
    assert silences(feeds, short + 14 * HOUR) == []


ALWAYS: Final = "HousingAssigned"
LAST: Final = BEGIN + 30 * DAY - 1
AGAIN: Final = LAST + 2 * DAY
RARE: Final = {
    "AffiliationValidated": LAST - 4 * DAY,
    "CustodyClassified": LAST - 28 * DAY + 1,
    "DisciplinaryRecorded": LAST - 28 * DAY,
}
"""When each of what comes seldom came last."""


def seldom(event_type: str, slot: int, hour: int | None = None) -> Heard:
    return note(slot, hour, event_type)


def an_agency_that_stopped() -> list[Heard]:
    """Something came in every slot of thirty days, and then nothing more; of some types, little even before."""
    often = [note(slot) for slot in range(BEGIN, LAST + 1)]
    return [*often, *(seldom(event_type, slot) for event_type, slot in RARE.items())]


def test_what_comes_seldom_is_silent_with_all_that_its_agency_sends_where_it_came_in_the_four_weeks_before() -> None:
    assert silences(told(an_agency_that_stopped()), LAST + DAY) == [
        Silence("AffiliationValidated", note(0, None, "AffiliationValidated").topic, LAST - 4 * DAY, None),
        Silence("CustodyClassified", note(0, None, "CustodyClassified").topic, LAST - 28 * DAY + 1, None),
        Silence(ALWAYS, note(0).topic, LAST, None),
    ]


def test_alone_what_comes_seldom_is_not_silent() -> None:
    notes = [*an_agency_that_stopped(), *(note(slot) for slot in range(LAST + 1, LAST + DAY + 1))]
    assert silences(told(notes), LAST + DAY) == []


def test_when_all_comes_again_the_silence_of_what_comes_seldom_is_over_when_that_comes_again() -> None:
    seen, hour = "AffiliationValidated", LAST // HOUR
    often_again = [note(slot) for slot in range(AGAIN, AGAIN + 6)]
    again = [*often_again, seldom(seen, AGAIN + 3), seldom(seen, AGAIN + 3, hour + 5), seldom(seen, AGAIN + 4)]
    feeds = told([*an_agency_that_stopped(), *again, seldom("MailReceived", AGAIN + 1)])
    often = Silence(ALWAYS, note(0).topic, LAST, AGAIN)
    assert silences(feeds, AGAIN + 2) == [often], "of what has not come again, and of what never came before, nothing"
    over = Silence(seen, note(0, None, seen).topic, LAST - 4 * DAY, AGAIN + 3, (hour + 5,))
    assert silences(feeds, AGAIN + 5) == [over, often]


def test_a_silence_says_of_which_hours_something_came_after_it() -> None:
    slots, last = daily(20), daily(20)[-1]
    again = last + 3 * DAY
    hour = last // HOUR
    late = [
        note(again, hour + 5),
        note(again + 1, hour + 30),
        note(again + 1, hour + 5),
        note(again, hour - 4),  # before the silence
        note(last - 1, hour - 3),  # came before it
        note(again + 9, hour + 40),  # is still to come
    ]
    feeds = told([*(note(slot) for slot in [*slots, again]), *late])
    (found,) = silences(feeds, again + 3)
    assert found.late == (hour + 5, hour + 30)
    assert found.hours == 73


def test_of_the_hours_of_a_silence_that_in_which_it_ended_is_the_last() -> None:
    slots, last = daily(20), daily(20)[-1]
    again = last + 3 * DAY
    late = [note(again, again // HOUR), note(again, again // HOUR + 1), note(again, last // HOUR)]
    (found,) = silences(told([*(note(slot) for slot in [*slots, again]), *late]), again)
    assert found.late == (last // HOUR, again // HOUR)


def without(slots: list[int], *days: int) -> list[int]:
    return [slot for slot in slots if (slot - BEGIN) // DAY not in days]


def test_what_is_usual_of_an_hour_is_learned_from_that_hour_of_all_days_too() -> None:
    cadence = Cadence(working_days(28), BEGIN + 28 * DAY)
    friday, monday = BEGIN + 4 * DAY + 9 * HOUR, BEGIN + 7 * DAY + 9 * HOUR
    # Of 24 slots of that hour on four Mondays it was heard in 4, on no Saturday; on all days in 20 of 168, which counts
    # for another 12 slots.
    everyday = 12 * 20 / 168
    assert cadence.between(friday, monday) == pytest.approx(6 * (2 * everyday + 4 + everyday) / 36)


def test_a_regular_feed_is_known_by_thirteen_quiets_of_which_two_may_be_outages() -> None:
    assert Cadence(daily(14), BEGIN + 14 * DAY).limit == pytest.approx(2)
    assert Cadence(daily(13), BEGIN + 13 * DAY).limit > 14
    assert limit(without(daily(28), 10, 20)) < 14
    # The days on which it did not come are expected less afterwards: these are six quiets of another length.
    assert limit(without(daily(28), 3, 4, 5, 17, 18, 19)) > 14


def test_of_its_quiets_the_one_in_a_hundred_that_is_longest_is_not_usual() -> None:
    assert limit(without(daily(28), 10)) < 2.5
    assert limit(without(daily(28), 10, 20)) > 3.5


def test_since_when_it_is_silent_is_known_before_it_is() -> None:
    always = Cadence(list(range(BEGIN, BEGIN + 20 * DAY)), BEGIN + 20 * DAY)
    last = BEGIN + 20 * DAY
    assert not always.is_silence(last, last + LEAST_SLOTS - 1)
    assert always.is_silence(last, last + LEAST_SLOTS)
    assert always.silent_from(last) == last + LEAST_SLOTS
    every_day = Cadence(daily(28), BEGIN + 28 * DAY)
    found = every_day.silent_from(daily(28)[-1])
    assert every_day.is_silence(daily(28)[-1], found)
    assert not every_day.is_silence(daily(28)[-1], found - 1)


def test_whoever_waits_for_a_feed_that_seldom_comes_finds_it_silent_when_whoever_asks_anew_does() -> None:
    seldom = as_it_likes(2 * DAY, days=56)
    waiting, at = heard(seldom), seldom[-1]
    while not (found := waiting.silences(JAIL, at * SLOT)):
        assert heard(seldom).silences(JAIL, at * SLOT) == []
        again = waiting.look_again(JAIL, at * SLOT)
        assert again is not None, "it would never be said"
        at = again // SLOT
    assert at - seldom[-1] > 28 * DAY
    assert heard(seldom).silences(JAIL, at * SLOT) == found
    assert heard(seldom).silences(JAIL, (at - 1) * SLOT) == []


def test_it_is_looked_at_again_when_something_else_holds_and_not_before() -> None:
    slots, last = daily(20), daily(20)[-1]
    feeds = heard(slots)
    silent = first_silent(feeds, range(last, last + 7 * DAY))
    assert silent is not None
    assert feeds.look_again(JAIL, (last - 1) * SLOT) == last * SLOT, "time is behind what was heard"
    assert feeds.look_again(JAIL, last * SLOT) == (last + WAITS) * SLOT
    # A day after the last quiet it would be said no more that it was over, had it been silent.
    assert feeds.look_again(JAIL, (last + WAITS) * SLOT) == (last + DAY) * SLOT
    assert feeds.look_again(JAIL, (last + DAY) * SLOT) == silent * SLOT
    assert feeds.look_again(JAIL, silent * SLOT) is None, "until something comes"
    always, end = heard(ALWAYS_FOR_TWO_WEEKS), ALWAYS_FOR_TWO_WEEKS[-1]
    assert always.look_again(JAIL, (end + WAITS) * SLOT) is None, "it is silent from now on"
    again = last + 3 * DAY
    after = heard([*slots, again, *range(again + 1, again + 2 * DAY)])
    assert after.look_again(JAIL, (again + WAITS) * SLOT) == (again + WAITS + 1) * SLOT
    short = heard([*slots, last + 20])
    assert short.look_again(JAIL, (last + 20 + WAITS) * SLOT) == (last + 40) * SLOT
    assert feeds.look_again(FeedKey("nobody"), last * SLOT) is None


def test_types_are_told_apart_and_agencies_are() -> None:
    others = [note(slot, event_type="VisitScheduled") for slot in daily(23)]
    police = [Heard("city-pd", "StreetViolenceReported", slot, None) for slot in daily(20)]
    feeds = told([*(note(slot) for slot in daily(20)), *others, *police])
    now = daily(23)[-1]
    assert [one.event_type for one in silences(feeds, now)] == ["HousingAssigned"]
    assert [one.event_type for one in feeds.silences(FeedKey("city-pd"), now * SLOT)] == ["StreetViolenceReported"]
    assert set(feeds.agencies()) == {JAIL, FeedKey("city-pd")}


def test_what_is_known_already_changes_nothing() -> None:
    feeds = Feeds(Outlived())
    assert feeds.fold(note(BEGIN)) == JAIL
    assert feeds.fold(note(BEGIN)) is None
    assert feeds.fold(note(BEGIN, BEGIN // HOUR - 2)) == JAIL
    assert feeds.fold(note(BEGIN, BEGIN // HOUR - 2)) is None


def test_what_comes_too_late_to_be_kept_is_none() -> None:
    feeds = told([note(BEGIN + KEPT + 1)])
    assert feeds.fold(note(BEGIN)) is None
    assert feeds.fold(note(BEGIN + 1)) == JAIL


def test_what_was_heard_too_long_ago_goes_from_the_log_once() -> None:
    outlived = Outlived()
    feeds = told([note(BEGIN), note(BEGIN, 5), note(BEGIN + DAY)], outlived)
    assert outlived.take() == []
    feeds.fold(note(BEGIN + KEPT + 1))
    assert outlived.take() == sorted([note(BEGIN).key, note(BEGIN, 5).key])
    assert outlived.take() == []
    feeds.fold(note(BEGIN))
    assert outlived.take() == [note(BEGIN).key], "it came again"
    feeds.fold(note(BEGIN))
    outlived.forget(note(BEGIN).key)
    assert outlived.take() == []


notes = st.lists(
    st.builds(
        lambda day, slot, hour, kind: note(BEGIN + day * DAY + slot, hour, kind),
        st.integers(0, 30),
        st.integers(0, 12) | st.integers(100, 103),
        st.none() | st.integers(BEGIN // HOUR, BEGIN // HOUR + 24 * 30),
        st.sampled_from(["HousingAssigned", "VisitScheduled"]),
    ),
    max_size=60,
)


@given(notes, st.lists(st.integers(0, 34 * DAY), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_in_whatever_order_it_is_told_and_whenever_it_is_asked_the_same_is_found(
    more: list[Heard], looks: list[int], choose: random.Random
) -> None:
    known = [*(note(slot) for slot in daily(20) if choose.random() < 0.9), *more]
    shuffled = [*known, *choose.choices(known, k=5)]
    choose.shuffle(shuffled)
    other = Feeds(Outlived())
    for one in shuffled:
        other.fold(one)
        silences(other, BEGIN + choose.choice(looks))
    for look in looks:
        assert silences(other, BEGIN + look) == silences(told(known), BEGIN + look)
        now = (BEGIN + look) * SLOT
        assert other.look_again(JAIL, now) == told(known).look_again(JAIL, now)


@given(notes, st.integers(0, 34 * DAY))
def test_nothing_changes_before_it_is_to_be_looked_at_again(more: list[Heard], look: int) -> None:
    feeds = told([*(note(slot) for slot in daily(20)), *more])
    now = BEGIN + look
    before = silences(feeds, now)
    again = feeds.look_again(JAIL, now * SLOT)
    until = again // SLOT if again is not None else now + LONGEST_OVER
    for slot in range(now, until, max(1, (until - now) // 50)):
        assert silences(feeds, slot) == before, "it changed by itself"
