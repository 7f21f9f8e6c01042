"""What flows while things go wrong: all that agencies may put on the bus, good and bad, as a pure function of a seed.

People come and go over two months (`tests/county_life.py`). Of what is said of them some comes late or before its time,
some twice, some under one id with two contents; some is withdrawn, perhaps before it comes, some has a purge date.
Between it are records that nothing can be made of.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from schemas import topics
from schemas.codec import encode_event
from schemas.events import EVENT_TYPES, Event, EventWithdrawn, HousingAssigned, StreetViolenceReported, type_name
from streams.pictures.interceptions import MOST_RECIPIENTS
from tests.county import DAY, JAIL, MAIN, POLICE, SITE, START, agency_of, event
from tests.county_life import UNITS, county_life

DAYS: Final = 60
"""Days of which the events tell; they end at `county.START`."""
LAST_TICK: Final = START + DAY
TICKS: Final = 20
LATE: Final = 400
"""About so many events may come before one that happened earlier."""
LISTS: Final = 120
"""Of everybody in custody that are taken: two a day."""
CROWDS: Final = 4
"""How often somebody comes to see many at once."""
VISITOR: Final = "Ash, Rowan"
SHORT: Final = 10_000
"""Fewer events than that are a short flow."""
UNKNOWN_SCHEMA_ID: Final = 999_999


@dataclass(frozen=True, slots=True)
class Tick:
    """It is so late, microseconds."""

    time: int


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that is to become a dead letter, for this reason."""

    reason: str
    said: Event | None = None
    """Where it is an event that a publisher accepts."""
    agency: str = JAIL
    event_type: str = "HousingAssigned"
    record: Callable[[dict[str, int]], bytes] = lambda _: b""
    """Else its bytes, by the ids of the schemas."""


Item = Event | Bad | Tick


def county_flow(seed: int, count: int) -> Iterator[Item]:
    """So many events and bad records, in the order in which they are published, with ticks between them."""
    choose = random.Random(seed)
    ticks = {count * number // TICKS: number for number in range(1, TICKS)}
    held_back: list[Event | Bad] = []
    late = min(LATE, count // 10)
    said = _said(choose, count)
    for published in range(count):
        if published in ticks:
            yield Tick(START + int(_day(ticks[published] / TICKS) * DAY))
        while len(held_back) < late and (one := next(said, None)) is not None:
            held_back.append(one)
        place = choose.randrange(len(held_back))
        held_back[place], held_back[-1] = held_back[-1], held_back[place]
        yield held_back.pop()


def _day(share: float) -> float:
    """The day of the county when such a share of all was said."""
    return DAYS * (share - 1)


def _said(choose: random.Random, count: int) -> Iterator[Event | Bad]:
    """So many events and bad records, more or less in the order of time."""
    here = 0

    def moment() -> dict[str, Any]:
        day = _day(here / count)
        return {"day": day, **({"purge_day": day + choose.uniform(3, 40)} if choose.random() < 0.05 else {})}

    # Few events must lead to alerts, too.
    feuding = 8.0 if count < SHORT else 1.0
    life = county_life(choose, max(60, count // 25), max(40, count // 250), moment, feuding, gate=0.2)
    before: list[Event] = []
    waiting: list[Event] = []
    each = max(1, count // LISTS)
    for number in range(count):
        here = number
        if number % (count // CROWDS) == count // CROWDS // 2:
            waiting = [*_crowd(number, moment()["day"])]
        if number % each == each - 1:
            yield _list(number // each, _day(number / count))
            continue
        if number % each == each // 2:
            yield _only_heard(number // each, _day(number / count))
            continue
        what = _twist(choose, before, number, _day(number / count))
        if what is None:
            what = waiting.pop(0) if waiting and choose.random() < 0.5 else next(life)
        if not isinstance(what, Bad):
            before.append(what)
        yield what


def _crowd(number: int, day: float) -> Iterator[Event]:
    """One visitor is to see so many that a tip of that name means nobody; until some visits are called off."""
    crowd = [f"C{number}-{of}" for of in range(MOST_RECIPIENTS + 2)]
    for person in crowd:
        yield event("BookingReported", person, day=day)
        yield event("VisitScheduled", person, day=day, visit_number=person, visitor_name=VISITOR, starts=day + 12)
    yield event("ContrabandTipped", day=day, name=f"tip {number}", facility=MAIN, courier_name=VISITOR, method="VISIT")
    for person in crowd[:3]:
        yield event("VisitCancelled", person, day=day, visit_number=person)


def _only_heard(number: int, day: float) -> Event:
    """A call, or a hearing, set or cancelled: of it nothing follows, whatever goes wrong."""
    more: dict[str, dict[str, Any]] = {
        "CallCompleted": {"person": f"caller {number}"},
        "HearingScheduled": {"sid": f"H{number}", "starts": day + 9},
        "HearingCancelled": {"sid": f"H{number}"},
    }
    kind = sorted(more)[number % len(more)]
    return event(kind, day=day, **more[kind])


def _list(number: int, day: float) -> Event:
    """A list of everybody in custody; of ten in a row, the last three say the same."""
    content = min(number % 10, 7) + number // 10 * 10
    changed = 4 if content == number else 0
    return event("ListTaken", day=day, name=f"list {number}", content=f"{content:016x}", changed=changed)


def _twist(choose: random.Random, before: list[Event], number: int, day: float) -> Event | Bad | None:
    """What is no plain news: something again, otherwise, taken back, or bad. Mostly None."""
    draw = choose.random()
    if draw > 0.08 or len(before) < 20:
        return None
    other = choose.choice(before[-2_000:])
    if draw < 0.01:
        return choose.choice(_BAD)(number, day)
    if draw < 0.04:
        return other
    if draw < 0.06 and not isinstance(other, EventWithdrawn):
        target = other.head.event_id
        return event("EventWithdrawn", agency=agency_of(other), day=day, name=f"not {target}", target_event_id=target)
    return _otherwise(choose, other)


def _otherwise(choose: random.Random, other: Event) -> Event | None:
    """The same event id with another content. Its purge date stays: of two, what is left would be as it came."""
    if isinstance(other, HousingAssigned):
        return other.model_copy(update={"unit": choose.choice([u for u in UNITS if u != other.unit])})
    if isinstance(other, StreetViolenceReported):
        return other.model_copy(update={"retaliation_expected": not other.retaliation_expected})
    return None


# -- bad records -------------------------------------------------------------------------------------------------------


def _raw(reason: str, record: Callable[[dict[str, int]], bytes]) -> Callable[[int, float], Bad]:
    return lambda *_: Bad(reason, record=record)


def _event(reason: str, kind: str, agency: str = JAIL, **fields: object) -> Callable[[int, float], Bad]:
    def bad(number: int, day: float) -> Bad:
        said = event(kind, **{"day": day, "name": f"bad {number}", **fields})  # type: ignore[arg-type]
        return Bad(reason, said, agency)

    return bad


def _of_another_agency(number: int, day: float) -> Bad:
    what = event("HousingAssigned", f"bad {number}", day=day, unit=UNITS[0], agency=POLICE)
    return Bad("OTHER_AGENCY", record=lambda ids: encode_event(what, ids["HousingAssigned"]))


_HOUSED: Final = event("HousingAssigned", "bad", unit=UNITS[0], name="bad")
_BAD: Final = (
    _raw("NOT_FRAMED", lambda _: b"junk"),
    _raw("UNKNOWN_SCHEMA", lambda _: encode_event(_HOUSED, UNKNOWN_SCHEMA_ID)),
    _raw("BROKEN_AVRO", lambda ids: encode_event(_HOUSED, ids["HousingAssigned"])[:-9]),
    _of_another_agency,
    _event("FUTURE", "HousingAssigned", person="bad", unit=UNITS[0], day=20_000),
    _event("UNKNOWN_UNIT", "HousingAssigned", person="bad", unit="9-Z"),
    _event("UNKNOWN_FACILITY", "NoLongerListed", person="bad", facility="nowhere"),
    _event("NO_PERSON", "HousingAssigned", unit=UNITS[0], facility=MAIN, booking_number="B"),
    _event("NO_GROUPS", "StreetViolenceReported", POLICE, groups=["Eastside"]),
)


# -- what is to come of it ---------------------------------------------------------------------------------------------


def good(seed: int, count: int) -> Iterator[Event]:
    """The events of a flow that are to be taken."""
    return (item for item in county_flow(seed, count) if not isinstance(item, Bad | Tick))


def inbound_topic(site: str, item: Event | Bad) -> str:
    """Where a record is published."""
    if isinstance(item, Bad) and item.said is None:
        return topics.inbound(site, item.agency, item.event_type)
    said = item.said if isinstance(item, Bad) else item
    assert said is not None
    return topics.inbound(site, agency_of(said), type_name(said))


def flows_through() -> set[str]:
    """All types of events that the county's agencies publish."""
    return {kind for agency in SITE.agencies for kind in agency.event_types} & EVENT_TYPES.keys()
