"""Deliveries: what is to come to a person in custody from outside, or has come and is not handed over yet. Pure.

A visit, an item of mail, money paid in, the way back from court or from a work crew: whatever contraband could come
with. What is told again under its number is the later one, also where nothing can come with that, such as a visit that
is by video now. A visit is over when it is cancelled, completed, or its time has passed. What came with contraband is
over when that is seized, where it is known by its number or its way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.events import (
    TYPE_OF_BODY,
    DeliveryMethod,
    Deposit,
    Mail,
    Movement,
    MovementPurpose,
    Seizure,
    Visit,
    VisitCancellation,
    VisitCompletion,
    VisitSetting,
)
from streams.facts import Provenance
from streams.pictures.decoding import Told

HOUR: Final = 3_600_000_000
"""An hour in microseconds."""
VISIT_LINGERS: Final = 2 * HOUR
"""How long after its end a visit counts as not over, where nobody says that it is: visitors come late."""
MAIL_WAITS: Final = 72 * HOUR
"""How long an item of mail is taken to be in the mail room."""
DEPOSIT_COUNTS: Final = 72 * HOUR
"""How long money that was paid in says that something is under way."""
RETURN_LINGERS: Final = 12 * HOUR
"""How long after its hour somebody may come back from court or a work crew, and be searched on return."""
SEARCHED_BEFORE: Final = 2 * HOUR
"""How long before a visit is to begin what is found on a visitor is of that visit: who comes is searched first."""
DELIVERY_BODIES: Final = (Visit, VisitCancellation, VisitCompletion, Mail, Deposit, Movement, Seizure)
DELIVERY_TYPES: Final = frozenset(TYPE_OF_BODY[body] for body in DELIVERY_BODIES)
"""The events that tell of deliveries."""
Said: TypeAlias = Visit | VisitCancellation | VisitCompletion | Mail | Deposit | Movement | Seizure
_MOVEMENTS: Final[Mapping[MovementPurpose, DeliveryMethod]] = {
    MovementPurpose.COURT: DeliveryMethod.COURT_RETURN,
    MovementPurpose.WORK_CREW: DeliveryMethod.WORK_CREW,
}


class Delivery(NamedTuple):
    """One thing that is to come, or has come, to a person in custody."""

    method: DeliveryMethod
    number: str
    """The facility's number for it."""
    party: str | None
    """Who brings or sends it, as the facility has the name."""
    born: str | None
    """That one's date of birth, as YYYY-MM-DD."""
    at: int
    """When it comes, or came, microseconds."""
    over: int
    """When it is over, microseconds, where nobody says so before."""
    source: Provenance

    @property
    def ends(self) -> int | None:
        """When it ends as planned, microseconds; None where that is not known."""
        return self.over - VISIT_LINGERS if self.method is DeliveryMethod.VISIT else None

    def record(self) -> dict[str, Any]:
        """As the fields of the contract's record."""
        told = {"method": self.method.value, "number": self.number, "party": self.party, "born": self.born}
        return {**told, "delivery_at": self.at, "delivery_over": self.over, **self.source.record()}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Delivery:
        """From a record of the contract."""
        method, times = DeliveryMethod(record["method"]), (record["delivery_at"], record["delivery_over"])
        return cls(method, record["number"], record["party"], record["born"], *times, Provenance.of(record))


_PLANNED: Final = 1
_AT_ONE_TIME: Final[Mapping[type[Any], int]] = {VisitCancellation: 0, VisitCompletion: 2, Seizure: 3}
"""In which order what is told of one time is taken; what comes, or is to come, is between."""


def expected(told: Iterable[Told[Any]], now: int) -> list[Delivery]:
    """The deliveries of one stay that are not over at `now` (microseconds), in order of time.

    `told` are the standing facts that tell of deliveries (DELIVERY_BODIES), in order of event time.
    """
    known: dict[_Numbered, Delivery] = {}
    # Systems that note minutes, or days, tell several things of one time. What is called off and what is put in its
    # place: the latter holds. Nothing is over before it was planned, and nothing is found before it came.
    for one in sorted(told, key=lambda one: (one.fact.time, _AT_ONE_TIME.get(type(one.body), _PLANNED))):
        if isinstance(one.body, Seizure):
            known = {key: left for key, left in known.items() if not _ended_by(one.body, one.fact.time, left)}
            continue
        key = _numbered(one.body)
        # Whatever was known of it before is so no more, whether anything can come with it now or not.
        known.pop(key, None)
        delivery = _delivery(one)
        if delivery is not None:
            known[key] = delivery
    return sorted((one for one in known.values() if one.over > now), key=lambda one: (one.at, one.method, one.number))


_Numbered = tuple[type[Visit | Mail | Deposit | Movement], str]
"""What a facility numbers, and the number: one series of numbers for visits, one for mail, money and movements each,
whatever they are for."""


def _numbered(body: Visit | VisitCancellation | VisitCompletion | Mail | Deposit | Movement) -> _Numbered:
    """What a fact tells of."""
    match body:
        case Mail():
            return Mail, body.item_number
        case Deposit():
            return Deposit, body.transaction_number
        case Movement():
            return Movement, body.movement_number
    return Visit, body.visit_number


def _ended_by(seizure: Seizure, time: int, delivery: Delivery) -> bool:
    if seizure.reference is not None:
        return seizure.reference == delivery.number and seizure.method in (DeliveryMethod.UNKNOWN, delivery.method)
    # Of what lay in a cell nobody knows how it came, nor when: the letter of today is still to be opened.
    if seizure.method is not delivery.method:
        return False
    early = SEARCHED_BEFORE if delivery.method is DeliveryMethod.VISIT else 0
    return delivery.at - early <= time


def _delivery(told: Told[Any]) -> Delivery | None:
    """What a fact says is to come; None where nothing can come with it."""
    body, time, source = told.body, told.fact.time, told.fact.provenance
    match body:
        case Visit(setting=VisitSetting.VIDEO):
            return None
        case Visit():
            who = body.visitor_name, body.visitor_born
            return Delivery(
                DeliveryMethod.VISIT, body.visit_number, *who, body.starts, body.ends + VISIT_LINGERS, source
            )
        case Mail():
            return Delivery(
                DeliveryMethod.MAIL, body.item_number, body.sender_name, None, time, time + MAIL_WAITS, source
            )
        case Deposit():
            who = body.depositor_name, None
            return Delivery(DeliveryMethod.DEPOSIT, body.transaction_number, *who, time, time + DEPOSIT_COUNTS, source)
        case Movement() if body.purpose in _MOVEMENTS:
            over = body.returns + RETURN_LINGERS
            return Delivery(_MOVEMENTS[body.purpose], body.movement_number, None, None, body.returns, over, source)
    return None
