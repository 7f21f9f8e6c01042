"""contraband_delivery_expected and tip_too_broad in detail: what is said, of what, on which side of the line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from schemas.events import DeliveryMethod, Event
from streams.backtest import SCHEMAS
from streams.correlations import contraband_delivery_expected, tip_too_broad
from streams.correlations.contraband_delivery_expected import CALL, PARTIES, STEPS, WATCH, WRITE_DOWN
from streams.correlations.situation import Caution, Cautioned, Confidence, Evidence, Line, Severity, Situation, Subject
from streams.facts import Provenance
from streams.pictures.deliveries import Delivery
from streams.pictures.facility import FacilityPicture
from streams.pictures.interceptions import MOST_RECIPIENTS, Addressee, DeliveryKey, TipAt
from tests.county import DAY, MAIN, POLICE, START, event, event_id
from tests.identified import fact_of

NOW = START + 4 * DAY
AT = START + 5 * DAY
SCHEDULED = Provenance("county-jail", "VisitScheduled", "e", START, "t")
VISIT = DeliveryKey(MAIN, "ada", "VISIT", "V-1")
COURIER = {"courier_name": "Danna Cole"}


def visited(person: str = "ada", **changes: Any) -> Addressee:
    """Who is to be visited by Dana Cole."""
    visit = Delivery(DeliveryMethod.VISIT, "V-1", "Cole, Dana", None, AT, AT + DAY, SCHEDULED)
    ada = Addressee(person, MAIN, f"B-{person}", person.title(), "4-A", frozenset(), (visit,))
    return replace(ada, **changes)


def tip(name: str = "tip", **said: Any) -> Event:
    told = {"facility": MAIN, "substance": "", "handling": "ACT", "reliability": "B", "credibility": 2}
    return event("ContrabandTipped", name=name, **{**told, **COURIER, **said})


def picture(tips: Iterable[Event], people: Iterable[Addressee] = (visited(),)) -> FacilityPicture:
    made = FacilityPicture(SCHEMAS)
    for one in people:
        made.interceptions.place(MAIN, one.person, one)
    for what in tips:
        made.interceptions.add(fact_of(what))
    return made


def expected(*tips: Event, ada: Addressee | None = None, where: DeliveryKey = VISIT, now: int = NOW) -> set[Situation]:
    return contraband_delivery_expected.situations(picture(tips, [ada or visited()]), where, now)


def above(what: Event, text: str, *fields: str, **more: Any) -> Evidence:
    """What is torn off a tip and handed on."""
    source = fact_of(what).provenance
    return Evidence(text, fields, source, None, "tip", source.event_id, line=Line.ABOVE, **more)


def test_a_situation_says_what_comes_for_whom_and_how_it_is_known_and_what_to_do() -> None:
    said = tip(substance="fentanyl", method="VISIT", handling="CALL_FIRST", deconfliction_reference="DC-77")
    source = fact_of(said).provenance
    steps = STEPS[DeliveryMethod.VISIT]
    points = (
        "6 points speak for it: the courier's name is alike, 98 of 100 (4), the facility is the same (1) "
        "and the method is the same (1)"
    )
    assert expected(said) == {
        Situation(
            key=(MAIN, "ada", "VISIT", "V-1"),
            least_severity=Severity.HIGH,
            headline="Contraband may come with a visit",
            subjects=(Subject("ada", "county-jail", "B-ada", "Ada"),),
            evidence=(
                Evidence("A visit was scheduled", ("starts",), SCHEDULED, "ada", "delivery", "V-1", due=AT),
                Evidence(
                    "The facility's number of the visit is V-1", ("visit_number",), SCHEDULED, "ada", "delivery", "V-1"
                ),
                Evidence("The visitor is Cole, Dana", ("visitor_name",), SCHEDULED, "ada", "delivery", "V-1"),
                above(
                    said,
                    "Contraband is said to be coming",
                    confidence=Confidence.MODERATE,
                    caution=Caution.CALL_FIRST,
                ),
                above(said, "It is said to be fentanyl", "substance"),
                above(said, "It is said to come with a visit", "method"),
                above(said, "Deconfliction reference DC-77", "deconfliction_reference"),
                Evidence(points, ("courier_name", "facility", "method"), source, line=Line.BELOW),
                Evidence(
                    "The source is graded B, the information 2",
                    ("reliability", "credibility"),
                    source,
                    line=Line.BELOW,
                ),
            ),
            actions=steps,
            cautions=(
                Cautioned(Caution.WATCH_ONLY, WATCH, (WRITE_DOWN,)),
                Cautioned(Caution.CALL_FIRST, CALL, steps),
            ),
            facility=MAIN,
            unit="4-A",
            until=None,
        )
    }


@pytest.mark.parametrize(
    ("method", "number", "due"),
    [
        ("VISIT", "The facility's number of the visit is N-1", AT),
        ("MAIL", "The facility's number of the item is N-1", None),
        ("DEPOSIT", "The facility's number of the payment is N-1", None),
        ("COURT_RETURN", "The facility's number of the movement is N-1", AT),
        ("WORK_CREW", "The facility's number of the movement is N-1", AT),
    ],
)
def test_what_is_to_be_met_can_be_found_and_is_expected_only_where_it_is_not_there_already(
    method: str, number: str, due: int | None
) -> None:
    by_whom = "Cole, Dana" if method in PARTIES else None
    to_come = Delivery(DeliveryMethod(method), "N-1", by_whom, None, AT, AT + DAY, SCHEDULED)
    said = tip(method=method, facility=MAIN, sid="S1")
    ada = visited(deliveries=(to_come,), tips=frozenset({fact_of(said).event_key}))
    (situation,) = expected(said, ada=ada, where=DeliveryKey(MAIN, "ada", method, "N-1"))
    assert number in [item.text for item in situation.evidence]
    assert [item.due for item in situation.evidence if item.due is not None] == ([] if due is None else [due])


def test_what_touches_staff_makes_a_situation_of_its_own_of_which_every_piece_says_so() -> None:
    known, kept = tip(), tip("of staff", touches_staff=True)
    by_key = {one.key: one for one in expected(known, kept)}
    assert set(by_key) == {(MAIN, "ada", "VISIT", "V-1"), (MAIN, "ada", "VISIT", "V-1", "staff")}
    for key, what, of_staff in ((tuple(VISIT), known, False), ((*VISIT, "staff"), kept, True)):
        of_tip = [item for item in by_key[key].evidence if item.source.event_type == "ContrabandTipped"]
        assert [item.staff for item in of_tip] == [of_staff] * 3
        assert {item.source.event_id for item in of_tip} == {what.head.event_id}


@pytest.mark.parametrize(
    ("said", "by_number", "confidence"),
    [
        ({}, False, Confidence.LOW),
        ({"method": "VISIT"}, False, Confidence.MODERATE),
        ({"courier_name": "Dana", "sid": "S1"}, True, Confidence.MODERATE),
        ({"courier_name": "Dana Cole", "facility": None, "sid": "S1"}, True, Confidence.HIGH),
        # All that there is, but for a letter of the name.
        ({"method": "VISIT", "expected_from": 5, "sid": "S1"}, True, Confidence.MODERATE),
    ],
)
def test_how_sure_it_is_goes_by_the_points(said: dict[str, Any], by_number: bool, confidence: Confidence) -> None:
    what = tip(**said)
    ada = visited(tips=frozenset({fact_of(what).event_key})) if by_number else None
    (situation,) = expected(what, ada=ada)
    assert situation.confidence is confidence


def test_of_a_name_that_is_only_nearly_alike_it_is_never_sure() -> None:
    born = "1990-05-01"
    visits = tuple(visit._replace(born=born) for visit in visited().deliveries)
    for courier, confidence in (("Dana Cole", Confidence.HIGH), ("Gana Cole", Confidence.MODERATE)):
        what = tip(courier_name=courier, courier_born=born, sid="S1")
        ada = visited(tips=frozenset({fact_of(what).event_key}), deliveries=visits)
        (situation,) = expected(what, ada=ada)
        assert situation.confidence is confidence


def test_how_the_originator_is_found_is_said_to_who_is_to_call_and_nobody_else() -> None:
    for handling in ("ACT", "WATCH_ONLY"):
        (situation,) = expected(tip(handling=handling, deconfliction_reference="DC-77"))
        assert not any("DC-77" in item.text for item in situation.evidence)
    (situation,) = expected(tip(handling="CALL_FIRST"))
    assert not any("Deconfliction" in item.text for item in situation.evidence)


def test_it_is_looked_at_again_when_the_first_of_its_tips_is_purged() -> None:
    tips = [tip(), tip("a week", purge_day=7), tip("six days", purge_day=6)]
    (situation,) = expected(*tips)
    assert situation.until == START + 6 * DAY
    (situation,) = expected(*tips, now=START + 6 * DAY)
    assert situation.until == START + 7 * DAY
    assert expected(tips[1], now=START + 7 * DAY - 1) != set()
    assert expected(tips[1], now=START + 7 * DAY) == set()


def test_nothing_is_expected_where_nothing_is_to_come() -> None:
    assert expected(tip(), where=VISIT._replace(number="V-2")) == set()


# -- tip_too_broad -----------------------------------------------------------------------------------------------------

TIP = TipAt(MAIN, POLICE, event_id("tip"))
CROWD = [visited(f"p{number}") for number in range(MOST_RECIPIENTS + 1)]


def broad(what: Event, people: Iterable[Addressee] = CROWD, now: int = NOW) -> set[Situation]:
    return tip_too_broad.situations(picture([what], people), TIP, now)


@pytest.mark.parametrize("touches_staff", [False, True])
def test_the_author_of_a_tip_that_could_mean_too_many_is_told_what_is_missing(touches_staff: bool) -> None:
    what = tip(touches_staff=touches_staff, purge_day=7)
    assert broad(what) == {
        Situation(
            key=tuple(TIP),
            least_severity=Severity.MEDIUM,
            headline="A tip could mean so many people that nobody is alerted by it",
            subjects=(),
            evidence=(
                Evidence(
                    "More than 5 persons in custody could be meant",
                    ("recipient_name", "courier_name", "method", "expected_from", "expected_until"),
                    fact_of(what).provenance,
                    None,
                    "tip",
                    what.head.event_id,
                    line=Line.BELOW,
                    staff=touches_staff,
                ),
            ),
            actions=("Publish it again with what is missing: for whom, by whom, how, or when; and withdraw this one",),
            facility=MAIN,
            until=START + 7 * DAY,
        )
    }
    assert broad(what, now=START + 7 * DAY - 1) != set()
    assert broad(what, now=START + 7 * DAY) == set()


def test_a_tip_that_means_few_is_not_too_broad() -> None:
    assert broad(tip(), CROWD[1:]) == set()
