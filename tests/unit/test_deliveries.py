"""Deliveries: what is to come to somebody, told fact by fact in order of event time."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.events import DeliveryMethod
from streams.backtest import SCHEMAS
from streams.pictures.decoding import Told, decoder
from streams.pictures.deliveries import (
    DELIVERY_TYPES,
    DEPOSIT_COUNTS,
    HOUR,
    MAIL_WAITS,
    RETURN_LINGERS,
    VISIT_LINGERS,
    Delivery,
    expected,
)
from tests.county import DAY, START, event, event_id
from tests.identified import fact_of

BODY = decoder(SCHEMAS)


def told(*events: Any) -> list[Told[Any]]:
    facts = [fact_of(one) for one in events]
    return [Told(fact, BODY(fact)) for fact in facts]


def known(*events: Any, now: int = START) -> list[tuple[str, str]]:
    return [(one.method.value, one.number) for one in expected(told(*events), now)]


def visit(number: str = "V-1", day: float = 1, starts: float = 5, **more: Any) -> Any:
    return event("VisitScheduled", "ada", day=day, visit_number=number, starts=starts, **more)


def mail(number: str = "M-1", day: float = 1) -> Any:
    return event("MailReceived", "ada", day=day, item_number=number)


def movement(day: float, purpose: str, number: str = "C-1") -> Any:
    return event("MovementScheduled", "ada", day=day, purpose=purpose, movement_number=number, returns=5)


def seized(day: float, **fields: Any) -> Any:
    return event("ContrabandSeized", "ada", day=day, **fields)


def test_a_visit_says_who_comes_and_when_and_where_it_is_known_from() -> None:
    what = visit(visitor_name="Cole, Dana", visitor_born="1990-05-01", name="it")
    ((fact, _),) = told(what)
    (found,) = expected(told(what), START)
    at = START + 5 * DAY
    over = at + HOUR + VISIT_LINGERS
    assert found == Delivery(DeliveryMethod.VISIT, "V-1", "Cole, Dana", "1990-05-01", at, over, fact.provenance)
    assert found.source.event_id == event_id("it")
    assert Delivery.of(found.record()) == found


@pytest.mark.parametrize(
    ("what", "method", "party", "at", "over"),
    [
        (
            event("MailReceived", "ada", day=1, sender_name="Cole, Dana"),
            DeliveryMethod.MAIL, "Cole, Dana", START + DAY, START + DAY + MAIL_WAITS,
        ),
        (
            event("DepositReceived", "ada", day=1, depositor_name="Cole, Dana"),
            DeliveryMethod.DEPOSIT, "Cole, Dana", START + DAY, START + DAY + DEPOSIT_COUNTS,
        ),
        (
            event("MovementScheduled", "ada", day=1, returns=2),
            DeliveryMethod.COURT_RETURN, None, START + 2 * DAY, START + 2 * DAY + RETURN_LINGERS,
        ),
        (
            event("MovementScheduled", "ada", day=1, returns=2, purpose="WORK_CREW"),
            DeliveryMethod.WORK_CREW, None, START + 2 * DAY, START + 2 * DAY + RETURN_LINGERS,
        ),
    ],
)  # fmt: skip
def test_each_way_has_its_hour_and_its_end(
    what: Any, method: DeliveryMethod, party: str | None, at: int, over: int
) -> None:
    (found,) = expected(told(what), START)
    assert (found.method, found.party, found.born, found.at, found.over) == (method, party, None, at, over)
    assert expected(told(what), over - 1) == [found]
    assert expected(told(what), over) == []


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ([visit(setting="VIDEO")], []),
        ([visit(setting="BARRIER")], [("VISIT", "V-1")]),
        ([event("MovementScheduled", "ada", day=1, returns=2, purpose="UNKNOWN")], []),
        ([visit(), event("VisitCancelled", "ada", day=2)], []),
        ([visit(), event("VisitCompleted", "ada", day=2)], []),
        ([visit(), event("VisitCancelled", "ada", day=2, visit_number="V-2")], [("VISIT", "V-1")]),
        ([event("VisitCancelled", "ada", day=1), visit(day=2)], [("VISIT", "V-1")]),
        # Of one time: what is put in its place holds, and what is over was planned before; whatever their ids are.
        *[([event("VisitCancelled", "ada", day=1, name=n), visit()], [("VISIT", "V-1")]) for n in "abcd"],
        *[([event("VisitCompleted", "ada", day=1, name=n), visit()], []) for n in "abcd"],
        *[([mail(), seized(1, method="MAIL", name=n)], []) for n in "abcd"],
        # One number of two ways is two things.
        ([visit("N"), mail("N", 2)], [("MAIL", "N"), ("VISIT", "N")]),
        # Told again under its number it is what is said last, also where nothing can come with that.
        ([visit(), visit(day=2, setting="VIDEO")], []),
        ([visit(setting="VIDEO"), visit(day=2)], [("VISIT", "V-1")]),
        ([visit(), visit(day=2, setting="VIDEO"), visit(day=3, setting="BARRIER")], [("VISIT", "V-1")]),
        ([visit(), visit("V-2", day=2, setting="VIDEO")], [("VISIT", "V-1")]),
        ([visit("N"), movement(2, "UNKNOWN", "N")], [("VISIT", "N")]),
        ([movement(1, "COURT"), movement(2, "WORK_CREW")], [("WORK_CREW", "C-1")]),
        ([movement(1, "WORK_CREW"), movement(2, "COURT")], [("COURT_RETURN", "C-1")]),
        ([movement(1, "COURT"), movement(2, "UNKNOWN")], []),
        # Without a reference: what had come that way by then.
        ([visit(), mail(), seized(2, method="MAIL")], [("VISIT", "V-1")]),
        ([visit(), mail(day=3), seized(2, method="MAIL")], [("MAIL", "M-1"), ("VISIT", "V-1")]),
        ([visit(starts=2), mail(), seized(2, method="VISIT")], [("MAIL", "M-1")]),
        # What is found a microsecond before somebody comes back did not come that way.
        ([movement(1, "COURT"), seized(5 - 1e-12, method="COURT_RETURN")], [("COURT_RETURN", "C-1")]),
        ([movement(1, "COURT"), seized(5, method="COURT_RETURN")], []),
        # A visitor is searched before the visit begins.
        ([visit(starts=2), seized(2 - 2 / 24, method="VISIT")], []),
        ([visit(starts=2), seized(2 - 2.01 / 24, method="VISIT")], [("VISIT", "V-1")]),
        # Who knows neither the way nor a number found something that may have been there for long.
        (
            [visit(starts=2), mail(), movement(1, "COURT"), seized(6)],
            [("COURT_RETURN", "C-1"), ("MAIL", "M-1"), ("VISIT", "V-1")],
        ),
        # With one: that, whenever it is.
        ([visit(), mail(), seized(2, reference="V-1")], [("MAIL", "M-1")]),
        ([visit("N"), mail("N"), seized(2, reference="N", method="VISIT")], [("MAIL", "N")]),
        ([visit(), mail(), seized(2, reference="V-1", method="MAIL")], [("MAIL", "M-1"), ("VISIT", "V-1")]),
        ([visit(), mail(), seized(2, reference="another")], [("MAIL", "M-1"), ("VISIT", "V-1")]),
    ],
)
def test_what_is_left(events: list[Any], left: list[tuple[str, str]]) -> None:
    assert sorted(known(*events)) == left


def test_a_visit_scheduled_again_is_the_later_one() -> None:
    (found,) = expected(told(visit(starts=5), visit(day=2, starts=6)), START)
    assert found.at == START + 6 * DAY


def test_they_are_in_order_of_time() -> None:
    assert known(visit("V-9", starts=5), visit("V-1", starts=6), mail()) == [
        ("MAIL", "M-1"),
        ("VISIT", "V-9"),
        ("VISIT", "V-1"),
    ]


def test_these_events_tell_of_deliveries() -> None:
    assert sorted(DELIVERY_TYPES) == [
        "ContrabandSeized",
        "DepositReceived",
        "MailReceived",
        "MovementScheduled",
        "VisitCancelled",
        "VisitCompleted",
        "VisitScheduled",
    ]
