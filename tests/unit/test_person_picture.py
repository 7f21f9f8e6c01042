"""The person's picture, fact by fact: what folding one changes, what counts of it, and whose it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from schemas.codec import DecodeError, encode, encode_event
from schemas.events import (
    AffiliationReport,
    AffiliationStatus,
    Booking,
    Classification,
    DeliveryMethod,
    Event,
    Housing,
    Infraction,
    Validation,
    type_name,
)
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.facts import (
    SAME_AS,
    TICK_KEY,
    Fact,
    FactKey,
    Joining,
    KeyKind,
    Rarity,
    event_key,
    sort_of,
)
from streams.identify import on_to_person, to_person
from streams.pictures import person as module
from streams.pictures.person import JOINED, NOTHING, PURGED, REPLACED, Change, PersonPicture
from streams.pictures.stays import Stay
from streams.records import LoggedRecord
from tests.county import DAY, JAIL, MAIN, SITE, START, agency_of, event

STAY = (MAIN, "B-ada")


def fact(what: Event, person: str = "ada", role: str = "subject", via: str = "", **rare: Any) -> Fact:
    """An event as a fact of one person, who was known in it by `via`; `rare` is what few facts have."""
    stay = (what.facility, what.booking_number) if hasattr(what, "booking_number") else None  # type: ignore[attr-defined]
    return Fact(
        person,
        event_key(agency_of(what), what.head.event_id),
        role,
        sort_of(type_name(what), "t", False, via),
        what.head.time,
        0,
        encode_event(what, SCHEMA_IDS[type_name(what)]),
        Rarity(purge_by=what.head.handling.purge_by, **rare),
        stay,
    )


def of_everyone(what: Event) -> Fact:
    return fact(what, "", "")


def link(what: Event, to: str, person: str = "ada", rank: int = 1) -> Fact:
    """That a person is the same as another."""
    return fact(what, person, SAME_AS, same_as=f"{rank}/{to}")


def by(what: Event, of: str, purge_by: int | None = None) -> Joining:
    return Joining(of, agency_of(what), what.head.event_id, purge_by)


def record(one: Fact) -> LoggedRecord:
    return LoggedRecord(0, one.key.encoded(), one.raw, one.headers())


def tombstone(one: Fact) -> LoggedRecord:
    return LoggedRecord(0, one.key.encoded(), None)


def withdrawal(what: Event) -> LoggedRecord:
    return LoggedRecord(0, FactKey(KeyKind.WITHDRAWN, "", agency_of(what), what.head.event_id).encoded(), b"it")


def joined(person: str, to: str) -> LoggedRecord:
    """By its owner's word."""
    return LoggedRecord(0, FactKey(KeyKind.JOINED, person).encoded(), b"", (("to", to.encode()),))


def tick(day: float) -> LoggedRecord:
    return LoggedRecord(0, TICK_KEY, encode("Tick", {"time": START + int(day * DAY)}, SCHEMA_IDS["Tick"]))


def picture(*come: Fact | LoggedRecord) -> PersonPicture:
    made = PersonPicture(SCHEMAS)
    fold(made, *come)
    return made


def fold(made: PersonPicture, *come: Fact | LoggedRecord) -> Change:
    """What the last of them changed."""
    change = NOTHING
    for one in come:
        change = made.fold(record(one) if isinstance(one, Fact) else one)
    return change


def key_of(what: Event) -> bytes:
    return event_key(agency_of(what), what.head.event_id)


def changes(person: str, event_type: str, what: Event) -> Change:
    return Change(frozenset({person}), frozenset(), event_type, key_of(what))


def infractions(made: PersonPicture, person: str = "ada") -> list[str]:
    return [told.fact.event_id for told in made.told(person, Infraction)]


def moves(made: PersonPicture, person: str = "ada") -> list[tuple[str, str, tuple[Joining, ...]]]:
    """Which facts of a person belong elsewhere: the event, whose it is to be, and how it comes there."""
    return [(here.event_id, there.person, there.rarity.joined_by) for here, there in made.misplaced(person)]


BOOKED = event("BookingReported", "ada", name="booked")
FINE = event("DisciplinaryRecorded", "ada", day=1, name="fine")
FIGHT = event("DisciplinaryRecorded", "ada", day=2, name="fight")
LATER = event("DisciplinaryRecorded", "ada", day=3, name="later")
FOR_A_WEEK = event("DisciplinaryRecorded", "ada", day=2, name="for a week", purge_day=7)
JOIN = event("BookingReported", "ada", day=1, name="join")
OTHER_JOIN = event("BookingReported", "ada", day=1, name="other join")
OTHER_FOR_A_WEEK = event("BookingReported", "ada", day=3, name="other for a week", purge_day=7)
JOIN_FOR_A_WEEK = event("BookingReported", "ada", day=1, name="join for a week", purge_day=7)
FEUD = event("StreetViolenceReported", day=1, name="feud", groups=["Eastside", "Harbor"])
FEUD_AGAIN = event("StreetViolenceReported", day=1, name="feud", groups=["Eastside", "Northside"])
MEMBER = event("AffiliationValidated", "ada", day=1, name="member", group="Eastside")
CELL = event("HousingAssigned", "ada", day=0.5, name="cell", unit="4-A")


# -- what folding a record changes -------------------------------------------------------------------------------------


def test_a_fact_concerns_its_person() -> None:
    made = PersonPicture(SCHEMAS)
    change = fold(made, fact(FINE))
    assert change == changes("ada", "DisciplinaryRecorded", FINE)
    assert change.event_id == FINE.head.event_id
    assert list(made.persons()) == ["ada"]
    assert infractions(made) == [FINE.head.event_id]


def test_the_same_again_changes_nothing() -> None:
    assert fold(picture(fact(FINE)), fact(FINE)) is NOTHING
    assert fold(picture(of_everyone(FEUD)), of_everyone(FEUD)) == NOTHING


def test_the_same_that_came_another_way_takes_its_place() -> None:
    made = picture(fact(FINE, joined_by=(by(OTHER_JOIN, "bo"),), origin="bo"))
    came = fact(FINE, joined_by=(by(JOIN, "bo"),), origin="bo")
    assert fold(made, came) == changes("ada", REPLACED, FINE)
    (told,) = made.told("ada", Infraction)
    assert told.fact.rarity == came.rarity
    assert made.facts == 1
    assert fold(made, came) is NOTHING


@pytest.mark.parametrize("turned", [False, True])
def test_what_came_by_two_numbers_of_one_person_stands_once_and_by_the_other_once_the_first_is_gone(
    turned: bool,
) -> None:
    itself, came = fact(FINE), fact(FINE, joined_by=(by(JOIN, "bo"),), origin="bo")
    made = picture(*((came, itself) if turned else (itself, came)))
    (told,) = made.told("ada", Infraction)
    assert told.fact.rarity == itself.rarity, "what names the person itself stands"
    assert made.facts == 2
    for gone, left in ((itself, came), (came, itself)):
        again = picture(itself, came)
        assert fold(again, tombstone(gone)) == changes("ada", PURGED, FINE)
        (told,) = again.told("ada", Infraction)
        assert told.fact.rarity == left.rarity
        fold(again, tombstone(left))
        assert list(again.persons()) == []


def test_one_event_of_two_persons_is_a_fact_of_each() -> None:
    made = picture(fact(FINE), fact(FINE, "bo"))
    assert infractions(made, "ada") == infractions(made, "bo") == [FINE.head.event_id]
    fold(made, tombstone(fact(FINE)))
    assert (infractions(made, "ada"), infractions(made, "bo")) == ([], [FINE.head.event_id])


def test_a_tick_lets_it_be_later_and_never_earlier() -> None:
    made = PersonPicture(SCHEMAS)
    assert fold(made, tick(1)) == Change(ticked=True)
    assert made.now == START + DAY
    assert fold(made, tick(1)) is NOTHING
    assert fold(made, tick(0)) is NOTHING
    assert made.now == START + DAY


def test_what_is_no_tick_and_no_fact_is_refused() -> None:
    made = PersonPicture(SCHEMAS)
    with pytest.raises(DecodeError):
        made.fold(LoggedRecord(0, TICK_KEY, fact(FINE).raw))
    with pytest.raises(DecodeError, match="NOT_FRAMED"):
        made.fold(LoggedRecord(0, TICK_KEY, None))
    for nothing in (LoggedRecord(0, None, b"x"), LoggedRecord(0, None, None)):
        with pytest.raises(ValueError, match=r"a (key|fact)"):
            made.fold(nothing)


def test_a_withdrawal_concerns_whomever_the_event_was_about_once() -> None:
    made = picture(fact(FINE), fact(FINE, "bo"), fact(FIGHT, "cy"))
    expected = Change(frozenset({"ada", "bo"}), frozenset(), "EventWithdrawn", key_of(FINE))
    assert fold(made, withdrawal(FINE)) == expected
    assert fold(made, withdrawal(FINE)) is NOTHING
    assert infractions(made) == []
    assert infractions(made, "cy") == [FIGHT.head.event_id]


def test_an_event_that_is_withdrawn_before_it_comes_counts_for_nothing() -> None:
    made = picture(fact(LATER))
    assert infractions(made) == [LATER.head.event_id]
    assert fold(made, withdrawal(FINE)) is NOTHING
    assert fold(made, fact(FINE)) is NOTHING
    assert infractions(made) == [LATER.head.event_id]
    last = event("DisciplinaryRecorded", "ada", day=9, name="last")
    assert fold(made, withdrawal(last), fact(last)) is NOTHING
    assert infractions(made) == [LATER.head.event_id], "nor as the last of them"


def test_a_withdrawal_of_violence_concerns_its_groups() -> None:
    made = picture(of_everyone(FEUD))
    both = frozenset({"eastside", "harbor"})
    assert fold(made, withdrawal(FEUD)) == Change(frozenset(), both, "EventWithdrawn", key_of(FEUD))
    assert fold(made, of_everyone(FEUD)) is NOTHING
    assert list(made.street.feuds_of("eastside", START + 2 * DAY)) == []


def test_a_withdrawal_of_what_joined_persons_concerns_whoever_got_facts_by_it() -> None:
    made = picture(fact(FINE, joined_by=(by(JOIN, "bo"),), origin="bo"))
    assert infractions(made) == [FINE.head.event_id]
    assert fold(made, withdrawal(JOIN)) == Change(frozenset({"ada"}), frozenset(), "EventWithdrawn", key_of(JOIN))
    assert infractions(made) == []


def test_to_whom_a_person_is_joined_now_concerns_whoever_got_facts_through_it() -> None:
    made = picture(fact(FINE, joined_by=(by(JOIN, "bo"),), origin="bo"))
    assert infractions(made) == [FINE.head.event_id]
    assert fold(made, joined("bo", "cy")) == Change(frozenset({"ada"}), event_type=JOINED)
    assert made.announced == {"bo": "cy"}
    assert infractions(made) == [], "they went to another by now"
    assert moves(made) == [(FINE.head.event_id, "bo", ())]
    fold(made, joined("bo", "ada"))
    assert infractions(made) == [FINE.head.event_id]
    assert moves(made) == []


def test_that_a_person_is_joined_to_nobody_now_is_told_by_an_empty_name() -> None:
    made = PersonPicture(SCHEMAS)
    assert fold(made, joined("bo", "")) == Change(event_type=JOINED)
    assert made.announced == {"bo": ""}
    fold(made, LoggedRecord(0, b"~joined/cy", b""))
    assert made.announced == {"bo": "", "cy": ""}


def test_a_tombstone_takes_the_fact_and_a_person_without_facts_is_unknown() -> None:
    made = picture(fact(FINE), fact(FIGHT), withdrawal(FIGHT))
    assert fold(made, tombstone(fact(FINE))) == changes("ada", "Purged", FINE)
    assert list(made.persons()) == ["ada"]
    assert fold(made, tombstone(fact(FINE))) is NOTHING
    assert fold(made, tombstone(fact(FIGHT))) == changes("ada", "Purged", FIGHT)
    assert list(made.persons()) == []
    assert infractions(made) == []
    assert fold(made, fact(FINE)) == changes("ada", "DisciplinaryRecorded", FINE)


def test_what_followed_from_a_fact_goes_with_it() -> None:
    booked, housed = fact(event("BookingReported", "ada")), fact(event("HousingAssigned", "ada", day=1, unit="4-B"))
    made = picture(booked, housed)
    assert made.stay("ada") is not None
    fold(made, tombstone(booked), tombstone(housed))
    fold(made, fact(event("AffiliationReported", "ada", day=2, group="Harbor", agency="city-pd")))
    assert made.stay("ada") is None


def test_a_tombstone_of_other_bytes_takes_nothing() -> None:
    made = picture(fact(FINE))
    key = FactKey(KeyKind.PERSON, "ada", JAIL, FINE.head.event_id, "subject", "000000000000")
    assert fold(made, LoggedRecord(0, key.encoded(), None)) is NOTHING
    assert infractions(made) == [FINE.head.event_id]


def test_a_tombstone_of_what_everyone_was_told_concerns_its_groups() -> None:
    made = picture(of_everyone(FEUD))
    gone = Change(groups=frozenset({"eastside", "harbor"}), event_type="Purged", event=key_of(FEUD))
    assert fold(made, tombstone(of_everyone(FEUD))) == gone
    assert fold(made, tombstone(of_everyone(FEUD))) is NOTHING


def test_violence_that_is_told_again_and_again_is_waited_for_once_until_its_purge_date() -> None:
    handling = FEUD.head.handling.model_copy(update={"purge_by": START + DAY})
    dated = of_everyone(FEUD.model_copy(update={"head": FEUD.head.model_copy(update={"handling": handling})}))
    made = picture(*[dated] * 5)
    assert len(made._expiry._dates) == 1


def test_violence_concerns_its_groups() -> None:
    made = PersonPicture(SCHEMAS)
    both = frozenset({"eastside", "harbor"})
    told = Change(frozenset(), both, "StreetViolenceReported", key_of(FEUD), stay=False)
    assert fold(made, of_everyone(FEUD)) == told


@pytest.mark.parametrize("order", list(itertools.permutations([FEUD, FEUD_AGAIN])))
def test_of_violence_told_in_two_ways_the_groups_of_both_are_concerned_where_the_second_stands(
    order: list[Event],
) -> None:
    first, second = (of_everyone(what) for what in order)
    change = fold(picture(first), second)
    assert change.conflict is not None
    groups = frozenset({"eastside", "harbor", "northside"})
    told = Change(frozenset(), groups, "StreetViolenceReported", key_of(FEUD), stay=False)
    assert change._replace(conflict=None) == (told if change.conflict.stands.raw == second.raw else NOTHING)
    assert {change.conflict.stands.raw, change.conflict.falls.raw} == {first.raw, second.raw}


# -- one id, two contents ----------------------------------------------------------------------------------------------

AS_MINOR = FINE
AS_MAJOR = event("DisciplinaryRecorded", "ada", day=1, name="fine", severity="MAJOR")
OTHER_FIGHT = event("DisciplinaryRecorded", "ada", day=2, name="fight", severity="MAJOR")


@pytest.mark.parametrize("order", list(itertools.permutations([AS_MINOR, AS_MAJOR])))
def test_of_two_contents_one_stands_and_the_conflict_is_told(order: list[Event]) -> None:
    made = picture(fact(order[0]))
    change = fold(made, fact(order[1]))
    assert change.conflict is not None
    assert change._replace(conflict=None) == changes("ada", REPLACED, FINE)
    (told,) = made.told("ada", Infraction)
    assert told.fact.raw == change.conflict.stands.raw
    assert {change.conflict.stands.raw, change.conflict.falls.raw} == {fact(what).raw for what in order}
    assert fold(made, fact(order[0])) is NOTHING
    assert fold(made, fact(order[1])) is NOTHING


def test_what_is_held_is_counted_and_what_goes_is_not_counted_any_more() -> None:
    made = picture(*([fact(AS_MINOR), fact(LATER), fact(AS_MAJOR)] * 2), withdrawal(LATER))
    held = [fact(AS_MINOR), fact(LATER), fact(AS_MAJOR)]
    while held:
        assert (made.facts, made.fact_bytes) == (len(held), sum(len(one.raw) for one in held))
        gone = held.pop()
        fold(made, tombstone(gone), tombstone(gone))
    assert (made.facts, made.fact_bytes) == (0, 0)


def test_where_the_content_that_stood_goes_the_other_stands() -> None:
    made = picture(fact(AS_MINOR), fact(LATER))
    conflict = fold(made, fact(AS_MAJOR)).conflict
    assert conflict is not None
    assert infractions(made) == [FINE.head.event_id, LATER.head.event_id]
    assert fold(made, tombstone(conflict.stands)) == changes("ada", "Purged", FINE)
    assert [told.fact.raw for told in made.told("ada", Infraction)] == [conflict.falls.raw, fact(LATER).raw]
    fold(made, tombstone(conflict.falls))
    assert infractions(made) == [LATER.head.event_id]


def test_where_the_content_that_fell_goes_nothing_else_changes() -> None:
    made = picture(fact(AS_MINOR))
    conflict = fold(made, fact(AS_MAJOR)).conflict
    assert conflict is not None
    assert fold(made, tombstone(conflict.falls)) == changes("ada", "Purged", FINE)
    assert [told.fact.raw for told in made.told("ada", Infraction)] == [conflict.stands.raw]
    fold(made, tombstone(conflict.stands))
    assert list(made.persons()) == []


def test_a_content_that_fell_keeps_its_person_known() -> None:
    made = picture(fact(AS_MINOR), fact(AS_MAJOR))
    assert list(made.persons()) == ["ada"]
    fold(made, withdrawal(FINE))
    assert infractions(made) == []


def test_contents_are_of_one_person_and_role() -> None:
    made = picture(fact(AS_MINOR), fact(AS_MINOR, "bo"), fact(AS_MINOR, "ada", "victim"))
    assert fold(made, fact(AS_MAJOR, "bo")).conflict is not None
    assert [told.fact.raw for told in made.told("ada", Infraction)] == [fact(AS_MINOR).raw]
    assert fold(made, fact(AS_MAJOR)).conflict is not None
    assert fold(made, fact(AS_MAJOR, "ada", "victim")).conflict is not None


def test_each_person_has_the_content_that_came_for_it_and_of_one_content_the_bytes_are_there_once() -> None:
    made = picture(fact(AS_MINOR), fact(AS_MAJOR, "bo"), fact(AS_MINOR, "cy"))
    raws = [told.fact.raw for person in ("ada", "bo", "cy") for told in made.told(person, Infraction)]
    assert raws == [fact(what).raw for what in (AS_MINOR, AS_MAJOR, AS_MINOR)]
    assert raws[0] is raws[2]


@pytest.mark.parametrize(
    "alike",
    [
        [link(JOIN_FOR_A_WEEK, "bo"), link(OTHER_FOR_A_WEEK, "bo")],
        [fact(what, joined_by=(by(JOIN, "cy"),), origin="cy") for what in (FOR_A_WEEK, OTHER_FOR_A_WEEK)],
    ],
    ids=["links to one person", "facts that came the same way"],
)
def test_what_few_facts_have_is_there_once_for_those_of_a_person_that_have_the_same(alike: list[Fact]) -> None:
    made = picture(*alike)
    first, second = (found for what in alike for found in made._facts_of(what.event_key))
    assert first.rarity == second.rarity == alike[0].rarity
    assert first.rarity is second.rarity


def test_all_contents_move_with_their_person() -> None:
    made = picture(link(JOIN, "bo"), fact(AS_MINOR), fact(AS_MAJOR), fact(FIGHT), fact(OTHER_FIGHT))
    way = (by(JOIN, "ada"),)
    fights = [(FIGHT.head.event_id, "bo", way)] * 2
    assert sorted(moves(made)) == sorted([*[(FINE.head.event_id, "bo", way)] * 2, *fights])
    for content in (AS_MINOR, AS_MAJOR):
        fold(made, tombstone(fact(content)))
    assert moves(made) == fights


def test_of_a_link_too_one_content_stands_and_both_may_go() -> None:
    as_said, otherwise = link(JOIN, "bo"), link(event("BookingReported", "ada", day=9, name="join"), "bo")
    made = picture(as_said, otherwise)
    assert made.joined_to("ada") is not None
    fold(made, tombstone(as_said))
    assert made.joined_to("ada") == ("bo", by(JOIN, "ada"))
    fold(made, tombstone(otherwise))
    assert list(made.persons()) == []


# -- in order of time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations([FINE, FIGHT, LATER])))
@pytest.mark.parametrize("asked", [False, True])
def test_facts_are_in_order_of_time_whichever_came_first_and_whenever_they_are_asked_for(
    order: list[Event], asked: bool
) -> None:
    made = PersonPicture(SCHEMAS)
    for what in order:
        fold(made, fact(what))
        if asked:
            infractions(made)
    assert infractions(made) == [what.head.event_id for what in (FINE, FIGHT, LATER)]


def test_facts_of_one_moment_are_in_order_of_their_events() -> None:
    moment = [event("DisciplinaryRecorded", "ada", day=1, name=name) for name in "abcd"]
    for order in (moment, moment[::-1]):
        made = PersonPicture(SCHEMAS)
        for what in order:
            fold(made, fact(what))
            infractions(made)
        assert infractions(made) == sorted(what.head.event_id for what in moment)


def test_what_is_known_of_a_person_grows_with_each_fact() -> None:
    made = picture(fact(BOOKED))
    assert made.stay("ada") is not None
    assert made.told("ada", Infraction, Classification) == []
    kept = made._views["ada"]
    fold(made, fact(FINE))
    assert made._views["ada"] is kept, "it is not derived anew"
    assert infractions(made) == [FINE.head.event_id]
    fold(made, fact(event("CustodyEnded", "ada", day=2)))
    assert made.stay("ada") is None
    assert infractions(made) == [FINE.head.event_id]


def test_of_who_was_asked_about_it_is_told_whether_the_stays_are_others_by_it() -> None:
    made = picture(fact(BOOKED))
    assert made.stay("ada") is not None
    assert not fold(made, fact(FINE)).stay
    assert not fold(made, fact(event("BookingReported", "cy", day=1.5), role="victim")).stay
    assert fold(made, fact(event("CustodyEnded", "ada", day=2.5))).stay
    assert fold(made, fact(CELL)).stay, "it came late"
    joined_to_bo = picture(fact(BOOKED), link(JOIN, "bo"))
    assert joined_to_bo.stay("ada") is None
    assert not fold(joined_to_bo, fact(event("CustodyEnded", "ada", day=2.5))).stay, "the other has the facts"


def test_what_few_facts_have_counts_whenever_they_come() -> None:
    made = picture(fact(BOOKED), withdrawal(JOIN))
    assert made.until("ada") is None
    fold(made, fact(FOR_A_WEEK))
    assert made.until("ada") == START + 7 * DAY
    fold(made, fact(LATER, joined_by=(by(JOIN, "bo"),), origin="bo"))
    assert infractions(made) == [FOR_A_WEEK.head.event_id]


def test_what_a_person_is_only_named_in_is_known_of_nobody() -> None:
    made = picture(fact(CELL), fact(FINE))
    assert infractions(made) == [FINE.head.event_id]
    fold(made, fact(FIGHT, role="victim"))
    assert infractions(made) == [FINE.head.event_id]
    fold(made, fact(LATER))
    assert infractions(made) == [FINE.head.event_id, LATER.head.event_id]
    fold(made, fact(event("BookingReported", "cy", day=4), role="victim"))
    stay = made.stay("ada")
    assert stay is not None
    assert stay.key == STAY
    assert infractions(picture(fact(FIGHT, role="victim"))) == []


def test_as_many_persons_are_kept_derived_as_were_asked_about_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VIEWS", 2)
    people = ("ada", "bo", "cy")
    made = picture(*(fact(FINE, person) for person in people))
    for person in people:
        assert infractions(made, person) == [FINE.head.event_id]
    assert list(made._views) == ["bo", "cy"]
    kept = made._views["cy"]
    infractions(made, "cy")
    assert made._views["cy"] is kept
    fold(made, *(fact(FIGHT, person) for person in people))
    for person in people:
        assert len(infractions(made, person)) == 2


def test_who_is_unknown_is_nobody() -> None:
    made = PersonPicture(SCHEMAS)
    assert made.told("ada", Infraction) == []
    assert made.stay("ada") is None
    assert made.until("ada") is None
    assert made.joined_to("ada") is None
    assert not made.is_contested("ada")
    assert not made.may_have_moved("ada")
    assert moves(made) == []
    assert list(made.persons_affiliated("eastside")) == []
    assert (made._views, made.now) == ({}, 0)


# -- deliveries --------------------------------------------------------------------------------------------------------


def test_what_is_to_come_is_of_the_stay_that_a_person_is_in_and_counts_until_it_is_over() -> None:
    visit = event("VisitScheduled", "ada", day=1, starts=5)
    made = picture(fact(BOOKED), fact(visit), fact(event("MailReceived", "ada", day=1.5, booking_number="B-another")))
    stay = made.stay("ada")
    assert stay is not None
    (coming,) = made.deliveries("ada", stay)
    assert (coming.method, coming.source.event_id) == (DeliveryMethod.VISIT, visit.head.event_id)
    assert made.until("ada") == coming.over
    fold(made, tick(5))
    assert made.deliveries("ada", stay) == [coming]
    fold(made, tick((coming.over - START) / DAY))
    assert (made.deliveries("ada", stay), made.until("ada")) == ([], None)


def test_nothing_is_to_come_to_who_is_in_no_stay() -> None:
    made = picture(fact(BOOKED), fact(event("VisitScheduled", "ada", day=1, starts=5)))
    assert made.until("ada") is not None
    fold(made, fact(event("CustodyEnded", "ada", day=2)))
    assert (made.stay("ada"), made.until("ada")) == (None, None)


# -- purge dates -------------------------------------------------------------------------------------------------------


def test_a_fact_counts_until_its_purge_date() -> None:
    made = picture(fact(FOR_A_WEEK), fact(LATER), tick(6.99))
    both = [FOR_A_WEEK.head.event_id, LATER.head.event_id]
    assert (infractions(made), made.until("ada")) == (both, START + 7 * DAY)
    assert made.spent() == []
    fold(made, tick(7))
    assert (infractions(made), made.until("ada")) == ([LATER.head.event_id], None)
    assert made.spent() == [fact(FOR_A_WEEK).key.encoded()]
    assert made.spent() == []


def test_the_first_purge_date_that_is_to_come_is_told() -> None:
    longer = event("DisciplinaryRecorded", "ada", day=3, name="longer", purge_day=9)
    made = picture(fact(longer), fact(FOR_A_WEEK), fact(FINE))
    assert made.until("ada") == START + 7 * DAY
    fold(made, tick(7))
    assert made.until("ada") == START + 9 * DAY
    fold(made, tick(9))
    assert made.until("ada") is None


def test_the_purge_date_of_what_joined_a_fact_is_one_too() -> None:
    made = picture(fact(FINE, joined_by=(by(JOIN, "bo", START + 7 * DAY),), origin="bo"), tick(6.99))
    assert (infractions(made), made.until("ada")) == ([FINE.head.event_id], START + 7 * DAY)
    assert moves(made) == []
    fold(made, tick(7))
    assert (infractions(made), made.until("ada")) == ([], None)
    assert moves(made) == [(FINE.head.event_id, "bo", ())]


@pytest.mark.parametrize("first", [True, False])
def test_the_purge_date_of_a_content_that_fell_is_one_too(first: bool) -> None:
    fell = 0
    for day in range(5, 15):
        dated, other = fact(with_purge(AS_MINOR, day)), fact(AS_MAJOR)
        made = PersonPicture(SCHEMAS)
        conflict = fold(made, *((dated, other) if first else (other, dated))).conflict
        assert made.until("ada") == START + day * DAY
        fell += conflict is not None and conflict.falls.raw == dated.raw
    assert fell, "which of them stands hangs on their digests"


def test_a_purge_date_is_not_forgotten_for_what_comes_without_one() -> None:
    made = picture(fact(FOR_A_WEEK), fact(FIGHT, joined_by=(by(JOIN, "bo"),), origin="bo"))
    assert made.until("ada") == START + 7 * DAY


def with_purge(what: Event, day: int) -> Event:
    handling = what.head.handling.model_copy(update={"purge_by": START + day * DAY})
    return what.model_copy(update={"head": what.head.model_copy(update={"handling": handling})})


def test_whose_facts_have_no_purge_date_has_none_by_anothers() -> None:
    made = picture(fact(FOR_A_WEEK, "bo"), fact(FINE), link(JOIN, "bo", "cy"))
    assert made.until("ada") is made.until("cy") is None


def test_a_withdrawn_fact_goes_at_once_and_its_purge_date_is_none_any_more() -> None:
    made = picture(fact(FOR_A_WEEK), of_everyone(FEUD), withdrawal(FEUD), withdrawal(FOR_A_WEEK))
    gone = sorted([fact(FOR_A_WEEK).key.encoded(), of_everyone(FEUD).key.encoded()])
    assert made.spent() == gone
    assert made.spent() == []


def test_what_comes_after_its_withdrawal_is_to_go_from_the_log() -> None:
    made = picture(withdrawal(FINE), withdrawal(FEUD), fact(FINE), of_everyone(FEUD))
    assert made.spent() == sorted([fact(FINE).key.encoded(), of_everyone(FEUD).key.encoded()])


def test_violence_goes_at_its_purge_date() -> None:
    made = picture(of_everyone(with_purge(FEUD, 7)), tick(7))
    assert made.spent() == [of_everyone(with_purge(FEUD, 7)).key.encoded()]


def test_what_has_gone_from_the_log_is_not_to_go_again() -> None:
    made = picture(fact(FOR_A_WEEK), tombstone(fact(FOR_A_WEEK)), fact(FINE), withdrawal(FINE), tombstone(fact(FINE)))
    fold(made, tick(8))
    assert made.spent() == []


# -- joined to another -------------------------------------------------------------------------------------------------


def test_a_link_joins_its_person_to_another_who_has_the_facts_then() -> None:
    made = picture(fact(BOOKED), fact(FINE))
    assert infractions(made) == [FINE.head.event_id]
    assert not made.may_have_moved("ada")
    assert fold(made, link(JOIN, "bo")) == changes("ada", JOINED, JOIN)
    assert made.joined_to("ada") == ("bo", by(JOIN, "ada"))
    assert made.may_have_moved("ada")
    assert not made.is_contested("ada")
    assert (infractions(made), made.stay("ada")) == ([], None)
    way = (by(JOIN, "ada"),)
    assert moves(made) == [(BOOKED.head.event_id, "bo", way), (FINE.head.event_id, "bo", way)]
    fold(made, fact(LATER))
    assert infractions(made) == []
    assert len(moves(made)) == 3


@pytest.mark.parametrize(
    "what",
    [fact(FINE), fact(FOR_A_WEEK), fact(FINE, joined_by=(by(OTHER_JOIN, "cy"),), origin="cy")],
    ids=["its own", "that will be purged", "that came from another"],
)
def test_a_fact_of_a_joined_person_goes_on_without_being_kept_as_it_would_if_it_were(what: Fact) -> None:
    made = picture(link(JOIN, "bo"))
    assert made.would_stand(record(what))
    found = made.goes_to("ada")
    assert made.facts == 1, "the link"
    fold(made, what)
    ((_, there),) = made.misplaced("ada")
    assert found is not None
    assert on_to_person(record(what), *found, SITE) == to_person(there, SITE)


@pytest.mark.parametrize(
    ("known", "what"),
    [
        ([], fact(FINE)),
        ([fact(BOOKED)], fact(FINE)),
        ([link(JOIN, "bo", "dot")], fact(FINE)),
        ([link(JOIN, "bo"), withdrawal(JOIN)], fact(FINE)),
        ([link(JOIN_FOR_A_WEEK, "bo"), tick(7)], fact(FINE)),
        ([link(JOIN, "bo"), link(OTHER_JOIN, "cy")], fact(FINE)),
        ([link(JOIN, "bo"), withdrawal(FINE)], fact(FINE)),
        ([link(JOIN, "bo"), tick(7)], fact(FOR_A_WEEK)),
        ([link(JOIN, "bo"), withdrawal(OTHER_JOIN)], fact(FINE, joined_by=(by(OTHER_JOIN, "cy"),), origin="cy")),
    ],
    ids=[
        "of whom nothing is known",
        "who is joined to nobody",
        "another is joined",
        "by what is withdrawn",
        "by what is purged",
        "it is contested to whom",
        "what is withdrawn",
        "what is purged",
        "what came by a join that is withdrawn",
    ],
)
def test_every_other_fact_is_to_be_kept_first(known: Iterable[Fact | LoggedRecord], what: Fact) -> None:
    made = picture(*known)
    assert made.goes_to("ada") is None or not made.would_stand(record(what))


def test_a_fact_that_goes_on_says_its_whole_way() -> None:
    made = picture(fact(FINE, "ada", joined_by=(by(OTHER_JOIN, "cy"),), origin="cy"), link(JOIN, "bo"))
    assert moves(made) == [(FINE.head.event_id, "bo", (by(OTHER_JOIN, "cy"), by(JOIN, "ada")))]
    ((here, there),) = made.misplaced("ada")
    assert (here.person, there.origin) == ("ada", "cy")


def test_a_join_that_is_withdrawn_joins_nobody_and_its_facts_come_back() -> None:
    made = picture(fact(FINE), link(JOIN, "bo"))
    assert fold(made, withdrawal(JOIN)).persons == {"ada"}
    assert made.joined_to("ada") is None
    assert infractions(made) == [FINE.head.event_id]
    assert moves(made) == []
    assert made.may_have_moved("ada"), "it was joined once"
    came = picture(fact(FINE, "bo", joined_by=(by(JOIN, "ada"),), origin="ada"), withdrawal(JOIN))
    assert moves(came, "bo") == [(FINE.head.event_id, "ada", ())]
    assert came.may_have_moved("bo")


def test_a_join_that_was_withdrawn_before_it_came_concerns_its_person_all_the_same() -> None:
    made = picture(withdrawal(JOIN))
    assert fold(made, link(JOIN, "bo")) == changes("ada", JOINED, JOIN)
    assert made.joined_to("ada") is None


def test_a_join_counts_until_its_purge_date() -> None:
    made = picture(fact(FINE), link(JOIN_FOR_A_WEEK, "bo"), tick(6.99))
    assert made.joined_to("ada") == ("bo", by(JOIN_FOR_A_WEEK, "ada", START + 7 * DAY))
    assert made.until("ada") == START + 7 * DAY
    fold(made, tick(7))
    assert made.joined_to("ada") is None
    assert infractions(made) == [FINE.head.event_id]


def test_a_withdrawn_or_purged_fact_moves_no_more() -> None:
    made = picture(fact(FINE), fact(FOR_A_WEEK), link(JOIN, "bo"), withdrawal(FINE))
    assert [known_as for known_as, _, _ in moves(made)] == [FOR_A_WEEK.head.event_id]
    fold(made, tick(7))
    assert moves(made) == []


def test_of_several_links_the_strongest_counts_and_of_equal_ones_the_first_event() -> None:
    made = picture(link(JOIN, "bo", rank=2), link(OTHER_JOIN, "cy", rank=1))
    assert made.joined_to("ada") == ("cy", by(OTHER_JOIN, "ada"))
    fold(made, withdrawal(OTHER_JOIN))
    assert made.joined_to("ada") == ("bo", by(JOIN, "ada"))
    first, second = sorted([JOIN, OTHER_JOIN], key=lambda what: event_key(JAIL, what.head.event_id))
    for order in itertools.permutations([first, second]):
        assert picture(*(link(what, "bo") for what in order)).joined_to("ada") == ("bo", by(first, "ada"))


def test_a_fact_that_came_two_steps_stays_as_long_as_both_stand() -> None:
    ways = (by(JOIN, "cy"), by(OTHER_JOIN, "bo"))
    made = picture(fact(FINE, joined_by=ways, origin="cy"))
    assert infractions(made) == [FINE.head.event_id]
    for ends in (withdrawal(JOIN), withdrawal(OTHER_JOIN), joined("cy", "dot"), joined("bo", "")):
        made = picture(fact(FINE, joined_by=ways, origin="cy"))
        infractions(made)
        assert fold(made, ends).persons == {"ada"}
        assert infractions(made) == []
        assert moves(made) == [(FINE.head.event_id, "cy", ())]
    for stays in (joined("cy", "bo"), joined("bo", "ada"), joined("dot", "ada")):
        assert infractions(picture(fact(FINE, joined_by=ways, origin="cy"), stays)) == [FINE.head.event_id]


@pytest.mark.parametrize(
    ("come", "contested"),
    [
        ([link(JOIN, "bo"), link(OTHER_JOIN, "bo")], False),
        ([link(JOIN, "bo"), link(OTHER_JOIN, "cy")], True),
        ([link(JOIN, "bo"), link(event("BookingReported", "ada", day=9, name="join"), "bo")], True),
        ([fact(AS_MINOR), fact(AS_MAJOR)], False),
        ([link(JOIN, "bo"), link(OTHER_JOIN, "cy"), withdrawal(OTHER_JOIN)], True),
        ([link(JOIN, "bo"), withdrawal(OTHER_JOIN), link(OTHER_JOIN, "cy")], True),
        ([fact(FINE)], False),
    ],
)
def test_it_is_contested_to_whom_a_person_is_joined_where_it_was_ever_said_otherwise(
    come: Iterable[Fact | LoggedRecord], contested: bool
) -> None:
    made = PersonPicture(SCHEMAS)
    for one in come:
        fold(made, one)
        made.is_contested("ada")
    assert made.is_contested("ada") is contested


def test_a_second_event_that_joins_the_same_two_for_ever_changes_nothing() -> None:
    made = picture(link(JOIN, "bo"))
    assert fold(made, link(OTHER_JOIN, "bo")) is NOTHING
    fold(made, withdrawal(JOIN))
    assert made.joined_to("ada") == ("bo", by(OTHER_JOIN, "ada"))


@pytest.mark.parametrize(
    "before",
    [
        [link(JOIN, "cy")],
        [link(JOIN, "bo", rank=2)],
        [link(JOIN_FOR_A_WEEK, "bo")],
        [link(JOIN, "bo"), withdrawal(JOIN)],
        [link(JOIN, "bo", "cy")],
        [fact(FINE)],
    ],
    ids=["to another", "by a weaker number", "for a time", "that was withdrawn", "of another", "none"],
)
def test_but_after_any_other_it_changes_something(before: list[Fact | LoggedRecord]) -> None:
    assert fold(picture(*before), link(OTHER_JOIN, "bo")) == changes("ada", JOINED, OTHER_JOIN)


def test_a_second_link_with_a_purge_date_changes_something() -> None:
    change = fold(picture(link(JOIN, "bo")), link(JOIN_FOR_A_WEEK, "bo"))
    assert change == changes("ada", JOINED, JOIN_FOR_A_WEEK)


def test_who_is_joined_anew_may_have_moved() -> None:
    assert picture(joined("ada", "bo")).may_have_moved("ada")
    assert not picture(joined("ada", "bo")).may_have_moved("bo")


# -- what is asked -----------------------------------------------------------------------------------------------------

OTHER_STAY = event("DisciplinaryRecorded", "ada", day=4, name="other stay", booking_number="B-2")
NEW_CELL = event("HousingAssigned", "ada", day=2, name="new cell", unit="4-B")
OTHER_CELL = event("HousingAssigned", "ada", day=3, name="other cell", unit="5-A", booking_number="B-2")
IN = Stay(STAY, None, 0)


def test_what_is_told_of_a_stay_is_of_that_stay_alone() -> None:
    made = picture(fact(FINE), fact(OTHER_STAY))
    assert [told.fact.event_id for told in made.told("ada", Infraction, stay=IN)] == [FINE.head.event_id]
    assert len(made.told("ada", Infraction)) == 2


def test_what_is_told_is_of_the_kinds_that_are_asked_for() -> None:
    made = picture(fact(BOOKED), fact(CELL), fact(FINE))
    assert [type(told.body) for told in made.told("ada", Booking, Housing)] == [Booking, Housing]
    assert [type(told.body) for told in made.told("ada", Classification, Housing)] == [Housing]
    assert made.told("ada", Classification) == []


def test_the_latest_of_a_stay_is_the_last_fact_that_says_such() -> None:
    made = picture(fact(CELL), fact(NEW_CELL), fact(OTHER_CELL), fact(FINE))
    latest = made.latest("ada", Housing, IN)
    assert latest is not None
    assert (latest.fact.event_id, latest.body.unit) == (NEW_CELL.head.event_id, "4-B")
    assert made.latest_fact("ada", Housing, IN) is latest.fact
    assert made.latest("ada", Classification, IN) is None
    assert made.latest_fact("ada", Classification, IN) is None
    assert made.latest("ada", Housing, Stay((MAIN, "B-3"), None, 0)) is None


def test_a_fact_says_what_its_type_says() -> None:
    made = picture(fact(CELL))
    one = made.latest_fact("ada", Housing, IN)
    assert one is not None
    said = made.say(one, Housing)
    assert said is not None
    assert said.unit == "4-A"
    assert made.say(one, Booking) is None


def test_the_stay_is_that_of_the_last_booking_that_has_not_ended() -> None:
    made = picture(fact(BOOKED), fact(CELL))
    stay = made.stay("ada")
    assert stay is not None
    assert (stay.key, stay.began) == (STAY, START)


def standing(what: Event, status: str) -> tuple[str, AffiliationStatus, str]:
    return what.group, AffiliationStatus(status), what.head.event_id  # type: ignore[attr-defined]


def test_affiliations_are_each_agencys_latest_with_each_group_in_order_of_group_and_agency() -> None:
    told = [
        MEMBER,
        event("AffiliationValidated", "ada", day=2, name="again", group="EASTSIDE ", status="DROPOUT"),
        event("AffiliationReported", "ada", day=1, name="police", group="Eastside"),
        event("AffiliationValidated", "ada", day=1, name="another", group="Docks", status="SUSPECT"),
        event("AffiliationValidated", "ada", day=1, name="of no group", group=None),
    ]
    made = picture(*(fact(what) for what in told))
    found = [(one.group, one.status, one.source.event_id) for one in made.affiliations("ada")]
    assert found == [standing(told[3], "SUSPECT"), standing(told[2], "MEMBER"), standing(told[1], "DROPOUT")]
    assert len(made.told("ada", Validation, AffiliationReport)) == len(told)


def test_of_which_series_a_person_has_a_verified_number_is_what_standing_facts_of_these_types_tell() -> None:
    by_sid, by_ucn = "SID by fingerprint", "UCN by fingerprint"
    made = picture(
        fact(event("BookingReported", "ada", ucn="U-1"), via=by_ucn),
        fact(event("HousingAssigned", "ada", day=1, sid="S-1", unit="4-A"), via=by_sid),
        fact(event("DisciplinaryRecorded", "ada", day=2, ucn="U-1"), via=by_ucn),
        fact(event("BookingReported", "bo", sid="S-2"), "bo"),
    )
    both = ("BookingReported", "HousingAssigned")
    assert made.verified("ada", both) == [("SID", "NY"), ("UCN", "US")]
    assert made.verified("ada", ("HousingAssigned",)) == [("SID", "NY")]
    assert made.verified("bo", both) == [], "nobody was known by it"


def test_whom_an_event_ever_affiliated_with_a_group_is_told_by_the_groups_key() -> None:
    made = picture(
        fact(MEMBER),
        fact(MEMBER, "bo", "associate"),
        fact(event("AffiliationReported", "cy", name="police", group=" eastSIDE"), "cy"),
        fact(event("AffiliationValidated", "dot", name="other", group="Harbor"), "dot"),
        fact(event("AffiliationValidated", "eve", name="of none", group=None), "eve"),
        fact(FINE, "fay"),
    )
    assert set(made.persons_affiliated("eastside")) == {"ada", "cy"}
    assert set(made.persons_affiliated("harbor")) == {"dot"}
    fold(made, withdrawal(MEMBER))
    assert "ada" in set(made.persons_affiliated("eastside")), "the caller asks whether it still holds"


def test_who_is_affiliated_by_nothing_any_more_is_found_by_no_group() -> None:
    again = fact(event("AffiliationReported", "ada", name="again", group="EASTSIDE "))
    made = picture(fact(MEMBER), again, fact(event("AffiliationValidated", "ada", name="other", group="Harbor")))
    fold(made, tombstone(fact(MEMBER)))
    assert set(made.persons_affiliated("eastside")) == {"ada"}, "another event says so"
    fold(made, tombstone(again))
    assert set(made.persons_affiliated("eastside")) == set()
    assert set(made.persons_affiliated("harbor")) == {"ada"}


def test_of_whom_nothing_came_by_a_join_any_more_nobody_is_asked_when_it_is_withdrawn() -> None:
    ways = [(by(JOIN, "bo"),), (by(JOIN, "bo"), by(OTHER_JOIN, "cy")), (by(OTHER_JOIN, "bo"),)]
    came = [fact(what, joined_by=way, origin="bo") for what, way in zip((FINE, FIGHT, LATER), ways, strict=True)]
    made = picture(*came)
    fold(made, tombstone(came[0]))
    assert made.fold(joined("bo", "")).persons == {"ada"}
    assert made.fold(joined("cy", "")).persons == {"ada"}
    fold(made, tombstone(came[1]))
    assert made.fold(joined("cy", "")).persons == set()
    assert made.fold(joined("bo", "")).persons == {"ada"}
    assert fold(made, withdrawal(JOIN)) is NOTHING
    assert fold(made, withdrawal(OTHER_JOIN)).persons == {"ada"}
    fold(made, tombstone(came[2]))
    assert made.fold(joined("bo", "")).persons == set()
    assert (made._by_group, made._joined_by, made._holders, made._people) == ({}, {}, {}, {})
