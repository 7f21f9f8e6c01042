"""Which tips mean which deliveries at a facility, and what is touched when one or the other comes or goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import DeliveryMethod, Event, Tip
from streams.backtest import SCHEMAS
from streams.facts import Fact, Provenance
from streams.numbers import NumberSeries
from streams.pictures.decoding import decoder
from streams.pictures.deliveries import HOUR, Delivery
from streams.pictures.interceptions import (
    MOST_RECIPIENTS,
    NOTHING,
    Addressee,
    DeliveryKey,
    Interceptions,
    TipAt,
    Touched,
)
from streams.pictures.tip_match import Awaited, match
from tests.county import DAY, MAIN, POLICE, START, event, event_id
from tests.identified import fact_of

SOURCE = Provenance("county-jail", "VisitScheduled", "e", START, "t")
TIP = TipAt(MAIN, POLICE, event_id("tip"))


def addressee(person: str = "ada", *numbers: str, party: str = "Cole, Dana") -> Addressee:
    visits = tuple(
        Delivery(DeliveryMethod.VISIT, number, party, None, START + 5 * DAY, START + 6 * DAY, SOURCE)
        for number in numbers or ("V-1",)
    )
    return Addressee(person, MAIN, f"B-{person}", None, "4-A", frozenset(), visits)


def key(person: str = "ada", number: str = "V-1") -> DeliveryKey:
    return DeliveryKey(MAIN, person, "VISIT", number)


def tip(name: str = "tip", **said: Any) -> Event:
    return event("ContrabandTipped", name=name, **{"courier_name": "Dana Cole", "facility": MAIN, **said})


def outcome(name: str = "outcome", of: str = "tip") -> Event:
    return event("TipOutcome", name=name, target_event_id=event_id(of))


def told(*events: Event, people: tuple[Addressee, ...] = ()) -> Interceptions:
    made = Interceptions(SCHEMAS)
    for one in people:
        made.place(MAIN, one.person, one)
    for what in events:
        made.add(fact_of(what))
    return made


def meant(made: Interceptions, person: str = "ada", number: str = "V-1") -> list[str]:
    """The tips that mean a delivery."""
    return [found.fact.event_id for found, _ in made.meaning(key(person, number))]


BOTH = Touched(frozenset({key()}), frozenset({TIP}))


def test_a_tip_and_a_delivery_meet_whichever_comes_first() -> None:
    first = told(people=(addressee(),))
    assert first.add(fact_of(tip())) == (BOTH, None)
    second = told(tip())
    assert second.place(MAIN, "ada", addressee()) == Touched(frozenset({key()}))
    assert meant(first) == meant(second) == [event_id("tip")]
    assert set(first.focuses()) == set(second.focuses()) == {key(), TIP}


def test_what_is_known_already_touches_nothing() -> None:
    made = told(tip(), people=(addressee(),))
    assert made.add(fact_of(tip())) == (None, None)
    assert made.add(fact_of(event("BookingReported", "ada"))) == (None, None)
    assert made.remove(fact_of(outcome()).event_key) == NOTHING
    assert made.forget(fact_of(tip()).event_key, "of nothing") == NOTHING
    assert made.place(MAIN, "bo", None) == NOTHING


def test_a_tip_that_means_nothing_touches_nothing_that_is_asked() -> None:
    made = told(people=(addressee(),))
    assert made.add(fact_of(tip(courier_name="Pat Reed"))) == (NOTHING, None)
    assert meant(made) == []


@pytest.mark.parametrize("ends", ["remove", "forget"])
def test_a_tip_that_goes_means_nothing_any_more(ends: str) -> None:
    made, fact = told(tip(), people=(addressee(),)), fact_of(tip())
    gone = made.remove(fact.event_key) if ends == "remove" else made.forget(fact.event_key, fact.key.variant)
    assert gone == BOTH
    assert meant(made) == []
    assert made.tip(TIP) is None
    assert made.facts_of(fact.event_key) == ()


def test_an_outcome_closes_its_tip_until_the_outcome_goes() -> None:
    made = told(tip(), people=(addressee(),))
    assert made.add(fact_of(outcome())) == (BOTH, None)
    assert made.tip(TIP) is None
    assert meant(made) == []
    assert made.facts_of(fact_of(outcome()).event_key) != ()
    made.add(fact_of(outcome("another")))
    assert made.remove(fact_of(outcome()).event_key) == NOTHING, "another closes it still"
    assert made.remove(fact_of(outcome("another")).event_key) == BOTH
    assert meant(made) == [event_id("tip")]


def test_an_outcome_that_comes_before_its_tip_closes_it_all_the_same() -> None:
    made = told(outcome(), tip(), people=(addressee(),))
    assert made.tip(TIP) is None
    assert meant(made) == []


def test_of_two_contents_one_stands_and_the_other_is_told() -> None:
    made, other = told(tip(), people=(addressee(),)), fact_of(tip(courier_name="Pat Reed"))
    touched, conflict = made.add(other)
    assert conflict is not None
    assert {conflict.stands.raw, conflict.falls.raw} == {fact_of(tip()).raw, other.raw}
    assert (touched is None) is (conflict.falls is other)
    assert len(made.facts_of(other.event_key)) == 2


def test_an_outcome_whose_one_content_goes_closes_its_tip_no_more() -> None:
    made, fact = told(tip(), outcome(), people=(addressee(),)), fact_of(outcome())
    assert made.forget(fact.event_key, "of nothing") == NOTHING
    assert made.tip(TIP) is None
    assert made.forget(fact.event_key, fact.key.variant) == BOTH
    assert meant(made) == [event_id("tip")]


def test_an_outcome_that_turns_out_to_be_of_another_tip_closes_that_one() -> None:
    other = TIP._replace(event_id=event_id("other"))
    one, another = fact_of(outcome()), fact_of(outcome(of="other"))
    made = told(tip(), tip("other"), people=(addressee(),))
    made.add(one)
    _, conflict = made.add(another)
    assert conflict is not None
    stands = made.facts_of(one.event_key)[0]
    closed, live = (TIP, other) if stands is one else (other, TIP)
    # Told the other way round, it is the one that came first that does not stand.
    again = told(tip(), tip("other"), people=(addressee(),))
    falls = another if stands is one else one
    assert again.add(falls)[0] == Touched(frozenset({key()}), frozenset({live}))
    assert again.add(stands)[0] == Touched(frozenset({key()}), frozenset({closed, live}))
    for told_so in (made, again):
        assert told_so.tip(closed) is None
        assert meant(told_so) == [live.event_id]


def test_who_gets_other_deliveries_is_compared_anew() -> None:
    made = told(tip(), people=(addressee(),))
    touched = made.place(MAIN, "ada", addressee("ada", "V-2"))
    assert touched == Touched(frozenset({key(), key(number="V-2")}))
    assert (meant(made), meant(made, number="V-2")) == ([], [event_id("tip")])
    assert made.delivery(key()) is None
    assert made.place(MAIN, "ada", None) == Touched(frozenset({key(number="V-2")}))
    assert made.delivery(key(number="V-2")) is None


def test_tips_that_mean_one_delivery_are_in_order_of_their_time() -> None:
    events = [tip("later", day=2), tip("tip", day=1), tip("elsewhere", courier_name="Pat Reed")]
    made = told(*events, people=(addressee(),))
    assert meant(made) == [event_id("tip"), event_id("later")]


PEOPLE = tuple(addressee(f"p{number}") for number in range(MOST_RECIPIENTS))
CROWD = frozenset(key(one.person) for one in PEOPLE)


def test_the_one_too_many_touches_all_whom_the_tip_means_and_so_does_the_one_who_leaves() -> None:
    made = told(tip(), people=PEOPLE)
    assert not made.is_broad(TIP)
    assert meant(made, "p0") == [event_id("tip")]
    assert made.place(MAIN, "ada", addressee()) == Touched(CROWD | {key()}, frozenset({TIP}))
    assert made.is_broad(TIP)
    assert meant(made, "p0") == meant(made) == []
    assert made.place(MAIN, "bo", addressee("bo")) == Touched(frozenset({key("bo")})), "it was too broad already"
    assert made.place(MAIN, "bo", None) == Touched(frozenset({key("bo")}))
    assert made.place(MAIN, "ada", None) == Touched(CROWD | {key()}, frozenset({TIP}))
    assert meant(made, "p0") == [event_id("tip")]


def test_persons_are_counted_not_their_deliveries() -> None:
    made = told(tip(), people=(*PEOPLE[1:], addressee("p0", "V-1", "V-2", "V-3")))
    assert not made.is_broad(TIP)
    made.place(MAIN, "ada", addressee())
    assert made.is_broad(TIP)
    made.place(MAIN, "p0", None)
    assert not made.is_broad(TIP)


def test_whom_a_tip_only_may_mean_makes_it_broader_and_is_not_alerted_on() -> None:
    fernandez = {"courier_name": "Ana Fernandez"}
    people = tuple(addressee(f"p{number}", party="Fernandez, Ana") for number in range(MOST_RECIPIENTS))
    made = told(tip(**fernandez), people=people)
    made.place(MAIN, "bo", addressee("bo", party="Barry, Ana"))
    assert not made.is_broad(TIP)
    made.place(MAIN, "ada", addressee("ada", party="Hernandez, Ana"))
    assert made.is_broad(TIP)
    made.place(MAIN, "p0", None)
    assert meant(made, "p1") == [event_id("tip")]
    assert meant(made) == []


NY, NJ, FBI = NumberSeries("SID", "NY"), NumberSeries("SID", "NJ"), NumberSeries("UCN", "US")


@pytest.mark.parametrize(
    ("said", "known", "means"),
    [
        # Of one series each has one number: this is somebody else.
        ({"sid": "S2"}, {NY}, False),
        ({"sid": "S2", "ucn": "U2"}, {FBI}, False),
        ({"sid": "S2", "recipient_name": "Ada Adams"}, {NY}, False),
        # Of another kind, or another state's, or booked without prints: nobody can say.
        ({"sid": "S2"}, {NJ}, True),
        ({"sid": "S2"}, {FBI}, True),
        ({"sid": "S2"}, set(), True),
        # Nor of a number that nobody verified, or of the agency's own.
        ({"sid": "S2", "verified": "STATED"}, {NY, FBI}, True),
        ({"person": "p-77"}, {NY, FBI}, True),
        ({}, {NY, FBI}, True),
    ],
)
def test_a_number_rules_out_whoever_has_another_one_of_that_series(
    said: dict[str, Any], known: set[NumberSeries], means: bool
) -> None:
    ada = replace(addressee(), name="Adams, Ada", verified=frozenset(known))
    assert bool(meant(told(tip(**said), people=(ada,)))) is means


def test_by_the_number_it_is_the_person_whatever_else_is_known() -> None:
    said = tip(sid="S1")
    ada = replace(addressee(), verified=frozenset({NY}), tips=frozenset({fact_of(said).event_key}))
    ((_, found),) = told(said, people=(ada,)).meaning(key())
    assert found.reasons[0].text == "the recipient is known by number"


def test_each_facility_is_counted_by_itself() -> None:
    made = told(tip(facility=None, expected_from=4), people=PEOPLE)
    made.place("annex", "ada", Addressee("ada", "annex", None, None, None, frozenset(), addressee().deliveries))
    assert not made.is_broad(TIP)
    assert not made.is_broad(TIP._replace(facility="annex"))
    assert TIP._replace(facility="annex") in set(made.focuses())


@pytest.mark.parametrize("tip_first", [True, False])
def test_mail_that_comes_an_hour_after_a_tips_time_is_meant_whichever_was_known_first(tip_first: bool) -> None:
    mail = Delivery(DeliveryMethod.MAIL, "M-1", "Cole, Dana", None, START + 5 * DAY + HOUR, START + 8 * DAY, SOURCE)
    ada = replace(addressee(), deliveries=(mail,))
    said = tip(expected_until=5)
    made = told(said) if tip_first else told(said, people=(ada,))
    if tip_first:
        made.place(MAIN, "ada", ada)
    assert [found.fact.event_id for found, _ in made.meaning(DeliveryKey(MAIN, "ada", "MAIL", "M-1"))] == [
        said.head.event_id
    ]


WHEN = st.one_of(st.none(), st.integers(0, 80))


@given(
    st.lists(st.tuples(st.integers(0, 40), WHEN, WHEN), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 90), st.integers(-3, 3)), min_size=1, max_size=3, unique=True),
    st.sampled_from([DeliveryMethod.VISIT, DeliveryMethod.MAIL]),
    st.booleans(),
)
def test_whoever_comes_first_a_tip_means_what_it_matches(
    tips: list[tuple[int, int | None, int | None]],
    days: list[tuple[int, int]],
    method: DeliveryMethod,
    tips_first: bool,
) -> None:
    """Deliveries by day, and by half an hour before and after it.

    What is left out of the comparison, since a tip does not speak of so late a time, would not have matched."""
    some = [
        tip(f"tip {n}", day=day, expected_from=begins, expected_until=ends)
        for n, (day, begins, ends) in enumerate(tips)
        if begins is None or ends is None or begins <= ends
    ]
    times = {f"{day}:{half}": START + day * DAY + half * HOUR // 2 for day, half in days}
    coming = tuple(Delivery(method, number, "Cole, Dana", None, at, at + DAY, SOURCE) for number, at in times.items())
    ada = replace(addressee(), deliveries=coming)
    made = told(*some) if tips_first else told(*some, people=(ada,))
    if tips_first:
        made.place(MAIN, "ada", ada)
    for delivery in coming:
        awaited = Awaited(MAIN, None, False, delivery)
        matched = [one for one in map(fact_of, some) if match(tip_of(one), one.time, awaited)]
        where = DeliveryKey(MAIN, "ada", method.value, delivery.number)
        assert {found.fact.event_id for found, _ in made.meaning(where)} == {one.event_id for one in matched}


NAMED = replace(addressee("xavier"), tips=frozenset({fact_of(tip()).event_key}))
"""Who is known by the number that the tip gives."""


@pytest.mark.parametrize("others", [1, MOST_RECIPIENTS, MOST_RECIPIENTS + 1])
@pytest.mark.parametrize("first", ["the named", "the others", "the tip"])
def test_where_somebody_is_known_by_a_tip_s_number_it_means_that_one_alone(others: int, first: str) -> None:
    told_of = [addressee(f"person {number}") for number in range(others)]
    people = (NAMED, *told_of) if first == "the named" else (*told_of, NAMED)
    made = told(tip(), people=people) if first != "the tip" else told(tip())
    for one in people if first == "the tip" else ():
        made.place(MAIN, one.person, one)
    assert [known.fact.event_key for known, _ in made.meaning(key("xavier"))] == [TIP.event_key]
    assert not any(made.meaning(key(one.person)) for one in told_of)
    assert not made.is_broad(TIP)


@pytest.mark.parametrize(("others", "meant"), [(1, True), (MOST_RECIPIENTS + 1, False)])
def test_when_whom_its_number_finds_leaves_a_tip_may_mean_the_others_and_they_are_touched(
    others: int, meant: bool
) -> None:
    told_of = [addressee(f"person {number}") for number in range(others)]
    made = told(tip(), people=tuple(told_of))
    theirs = frozenset(key(one.person) for one in told_of)
    assert made.place(MAIN, "xavier", NAMED) == Touched(theirs | {key("xavier")}, frozenset({TIP}))
    assert made.place(MAIN, "xavier", None) == Touched(theirs | {key("xavier")}, frozenset({TIP}))
    assert all(bool(made.meaning(one)) is meant for one in theirs)
    assert made.is_broad(TIP) is not meant


def test_of_two_who_are_known_by_a_tip_s_number_one_may_leave() -> None:
    made = told(tip(), people=(NAMED, replace(NAMED, person="yves"), addressee("ada")))
    assert made.place(MAIN, "yves", None) == Touched(frozenset({key("yves")}))
    assert made.meaning(key("xavier"))
    assert not made.meaning(key())


def tip_of(fact: Fact) -> Tip:
    body = decoder(SCHEMAS)(fact)
    assert isinstance(body, Tip)
    return body
