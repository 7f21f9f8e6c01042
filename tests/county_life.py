"""Life in the invented county, without an end: people are booked, housed, moved, classified, and let go, and come back.

So many are in custody at a time, out of so many known. What is said of whom is drawn from a seed; when it happened, and
when it is to be purged, is told by who asks.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from schemas.events import Event
from tests.county import MAIN, SITE, event

UNITS: Final = tuple(unit.id for unit in SITE.facility_by_id[MAIN].units)
VISITORS: Final = ("Cole, Dana", "Reed, Pat", "Marlow, Iris", "Vance, Otto", "Quill, Ada", "Nash, Leo")
GROUPS: Final = ("Eastside", "Harbor", "Mill Street", "Northgate", "Ferry Lane", "Old Quarry")
LEVELS: Final = ("MINIMUM", "MEDIUM", "MAXIMUM")
AFFILIATED: Final = 0.08
VIOLENCE_EVERY: Final = 500
"""Persons' events for one of street violence. With this and the affiliated, one event in ten changes an alert."""
STAYS_ON: Final = 0.75
"""How likely somebody is moved once more before the stay ends."""

Moment = Callable[[], dict[str, Any]]
"""When what is said now happened, as arguments of `event`: its day, and where it has one its purge date."""


def county_life(
    choose: random.Random, people: int, custody: int, moment: Moment, feuding: float = 1.0, gate: float = 0.0
) -> Iterator[Event]:
    """The events of a county with so many people, of whom so many are in custody at a time.

    `feuding`: how many times as many are affiliated, and as often there is violence. `gate`: how often, after somebody
    was moved, something is said of what is to come to them.
    """
    outside = [f"P{number:05}" for number in range(people)]
    choose.shuffle(outside)
    lives = {person: _life(choose, person, moment, feuding, gate) for person in (outside.pop() for _ in range(custody))}
    inside = list(lives)
    while True:
        if choose.random() < feuding / VIOLENCE_EVERY:
            sides = choose.sample(GROUPS, 2)
            retaliation = choose.random() < 0.3
            yield event("StreetViolenceReported", **moment(), groups=sides, retaliation_expected=retaliation)
        place = choose.randrange(len(inside))
        said = next(lives[inside[place]], None)
        if said is not None:
            yield said
            continue
        # Somebody leaves, and somebody else comes.
        other = choose.randrange(len(outside))
        inside[place], outside[other] = outside[other], inside[place]
        del lives[outside[other]]
        lives[inside[place]] = _life(choose, inside[place], moment, feuding, gate)


def _life(choose: random.Random, person: str, moment: Moment, feuding: float, gate: float) -> Iterator[Event]:
    """One stay."""
    # What a person is does not change from stay to stay.
    fixed = random.Random(person)
    numbers: dict[str, Any] = {}
    if fixed.random() < 0.5:
        numbers["sid"] = f"SID-{person}"
    if fixed.random() < 0.1:
        numbers["ucn"] = f"UCN-{person}"
    group = fixed.choice(GROUPS) if fixed.random() < AFFILIATED * feuding else None
    booking = f"{person}-{choose.getrandbits(40)}"

    def said(kind: str, **fields: Any) -> Event:
        return event(kind, person, **moment(), **numbers, booking_number=booking, **fields)

    yield said("BookingReported", name=f"{booking} is booked")
    yield said("HousingAssigned", unit="INTAKE")
    yield said("CustodyClassified", level=choose.choice(LEVELS))
    if group is not None:
        yield said("AffiliationValidated", group=group, status=fixed.choice(["MEMBER", "MEMBER", "SUSPECT", "DROPOUT"]))
        if "sid" in numbers:
            yield event("AffiliationReported", None, **moment(), sid=numbers["sid"], group=group)
    while True:
        yield said("HousingAssigned", unit=choose.choice(UNITS))
        if choose.random() < 0.06:
            yield said("DisciplinaryRecorded")
        if choose.random() < 0.13:
            yield said("CustodyClassified", level=choose.choice(LEVELS), initial=False)
        if choose.random() < 0.03:
            yield said("CareObserved")
        if gate and choose.random() < gate:
            yield from _at_the_gate(choose, said, moment, numbers)
        if choose.random() > STAYS_ON:
            break
    yield said(choose.choice(["CustodyEnded", "NoLongerListed"]))


def _at_the_gate(
    choose: random.Random, said: Callable[..., Event], moment: Moment, numbers: dict[str, Any]
) -> Iterator[Event]:
    """Something is to come to somebody in custody; now and then there is a tip, and an end of it."""
    number, who, when = f"{choose.getrandbits(40)}", choose.choice(VISITORS), moment()["day"]
    coming: list[tuple[str, dict[str, Any]]] = [
        ("VisitScheduled", {"visit_number": number, "visitor_name": who, "starts": when + choose.uniform(0, 9)}),
        ("MailReceived", {"item_number": number, "sender_name": who}),
        ("DepositReceived", {"transaction_number": number, "depositor_name": who}),
        ("MovementScheduled", {"movement_number": number, "returns": when + choose.uniform(0, 2)}),
    ]
    kind, fields = choose.choice(coming)
    yield said(kind, **fields)
    if choose.random() < 0.3:
        named = {"sid": numbers["sid"]} if "sid" in numbers else {"facility": MAIN}
        told: dict[str, Any] = {
            "courier_name": who,
            "method": choose.choice(["UNKNOWN", "VISIT", "MAIL"]),
            "handling": choose.choice(["ACT", "CALL_FIRST", "WATCH_ONLY"]),
            "touches_staff": choose.random() < 0.2,
        }
        tip = event("ContrabandTipped", **moment(), **named, **told, name=f"tip {number}")
        yield tip
        if choose.random() < 0.2:
            yield event("TipOutcome", **moment(), target_event_id=tip.head.event_id)
    if choose.random() < 0.3:
        ends = [
            ("VisitCancelled", "visit_number"),
            ("VisitCompleted", "visit_number"),
            ("ContrabandSeized", "reference"),
        ]
        kind, field = choose.choice(ends)
        yield said(kind, **{field: number})
