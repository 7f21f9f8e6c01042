"""The records that the benches run on: the head and the mix of real events, of an invented county of any size.

A person's facts are stays: booked, classified, housed and moved, now and then an infraction or a validated
affiliation, at last no longer listed; then the next stay. How often each happens is as three months of a real city
jail's lists have it (docs/roster.md); housing, which those lists lack, is a move every other week. Police report
members and street violence beside it, so that alerts rise and end.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from schemas import topics
from schemas.codec import encode_event
from schemas.events import EVENT_TYPES, CustodyEvent, Event, IdKind, type_name
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.identify import DeadLetter, Source, identify
from streams.records import LoggedRecord, Out
from tests.county import DAY, JAIL, MAIN, POLICE, START, demo_site

SITE: Final = demo_site()
FEWEST_GROUPS: Final = 12
PEOPLE_A_GROUP: Final = 800
"""Of whom some forty are affiliated with it: a larger county has more groups, not larger ones."""
BY_SID: Final = 0.5
"""Share of persons whose events carry a state number verified by fingerprint too: a link between two numbers."""
AFFILIATED: Final = 0.05
INFRACTION: Final = 0.06
RECLASSIFIED: Final = 0.13
LISTED_STILL: Final = 0.55
RARE: Final = 0.01
VIOLENCE_EVERY: Final = 2_000
"""Persons' events for one of street violence."""


@dataclass(frozen=True, slots=True)
class Published:
    """An event and who publishes it."""

    event: Event
    agency: str


def county(people: int, facts_each: int, seed: int = 1, start: int = START, first: int = 0) -> Iterator[Published]:
    """The events of so many people, some `facts_each` of each, people's lives interleaved, in order of time.

    Lives begin within 300 days before `start`, microseconds, and last half a year or so. The people
    are numbered from `first`.
    """
    choose = random.Random(seed + first)
    groups = [f"Group {number}" for number in range(max(FEWEST_GROUPS, people // PEOPLE_A_GROUP))]
    lives = [_life(first + n, random.Random(seed * 1_000_003 + first + n), start, groups) for n in range(people)]
    done = 0
    for _ in range(facts_each):
        for life in lives:
            yield from islice(life, 1)
            done += 1
            if done % VIOLENCE_EVERY == 0:
                yield _violence(choose, done, start, groups)


def with_the_rare(events: Iterable[Published], seed: int = 1) -> Iterator[Published]:
    """The same events and, among them, those of the types that three months of lists have none of.

    Observations of care, custody that is known to have ended, events that are taken back: one in a hundred each.
    """
    choose = random.Random(seed)
    for published in events:
        yield published
        head, event = published.event.head, published.event
        if not isinstance(event, CustodyEvent) or choose.random() >= 3 * RARE:
            continue
        kind = choose.choice(["CareObserved", "CustodyEnded", "EventWithdrawn"])
        own = {"facility": event.facility, "booking_number": event.booking_number}
        fields: dict[str, Any] = {
            "CareObserved": {**own, "observation": "MENTAL_HEALTH", "active": True},
            "CustodyEnded": {**own, "reason": "BAIL"},
            "EventWithdrawn": {"target_event_id": head.event_id, "reason": "ENTERED_IN_ERROR"},
        }
        known_by = {number.kind: number.value for person in head.persons for number in person.ids}
        local = known_by.get(IdKind.LOCAL) if kind != "EventWithdrawn" else None
        sid = known_by.get(IdKind.SID) if kind != "EventWithdrawn" else None
        yield _event(choose, kind, published.agency, head.time, local, sid, fields[kind])


def _life(number: int, choose: random.Random, start: int, groups: Sequence[str]) -> Iterator[Published]:
    """One person's events, without an end."""
    local, sid = f"P{number:07}", f"S{number:07}" if choose.random() < BY_SID else None
    units = [unit.id for unit in SITE.facility_by_id[MAIN].units]
    group = choose.choice(groups) if choose.random() < AFFILIATED else None
    time = start - choose.randrange(300 * DAY)
    stay = 0
    while True:
        stay += 1
        booking = f"{local}-{stay}"

        def said(kind: str, agency: str = JAIL, **fields: Any) -> Published:
            custody = {"facility": MAIN, "booking_number": booking} if agency == JAIL else {}  # noqa: B023
            return _event(choose, kind, agency, time, local, sid, {**custody, **fields})  # noqa: B023

        charges = [f"{choose.randrange(100, 280)}.{choose.randrange(100):02}"]
        name = f"Name {number}, Given {number % 97}"
        yield said("BookingReported", admitted=time, legal_status="DE", charges=charges, name=name)
        time += choose.randrange(DAY)
        yield said("HousingAssigned", unit="INTAKE", cell=None)
        time += choose.randrange(3 * DAY)
        yield said("CustodyClassified", level=choose.choice(["MINIMUM", "MEDIUM", "MAXIMUM"]), initial=True)
        if group is not None:
            yield said("AffiliationValidated", group=group, status="MEMBER", criteria=["self-admission"])
            if sid is not None:
                criteria = ["field contact"]
                grade = {"reliability": "B", "credibility": 2}
                yield said("AffiliationReported", POLICE, group=group, status="MEMBER", criteria=criteria, **grade)
        while True:
            time += choose.randrange(7 * DAY, 21 * DAY)
            yield said("HousingAssigned", unit=choose.choice(units), cell=str(choose.randrange(48)))
            if choose.random() < INFRACTION:
                yield said("DisciplinaryRecorded", infraction="100.10", severity="MINOR", violent=False)
            if choose.random() < RECLASSIFIED:
                yield said("CustodyClassified", level=choose.choice(["MINIMUM", "MEDIUM", "MAXIMUM"]), initial=False)
            if choose.random() > LISTED_STILL:
                break
        time += choose.randrange(7 * DAY)
        yield said("NoLongerListed", last_listed=time)
        time += choose.randrange(30 * DAY)


def _violence(choose: random.Random, number: int, start: int, groups: Sequence[str]) -> Published:
    fields = {
        "incident_number": f"26-{number}",
        "groups": choose.sample(groups, 2),
        "place": "5th and Main",
        "retaliation_expected": choose.random() < 0.3,
    }
    return _event(choose, "StreetViolenceReported", POLICE, start - choose.randrange(150 * DAY), None, None, fields)


def _event(
    choose: random.Random, kind: str, agency: str, time: int, local: str | None, sid: str | None, fields: dict[str, Any]
) -> Published:
    ids = []
    if local is not None and agency == JAIL:
        ids.append({"kind": "LOCAL", "value": local, "issuer": "jms", "verified": "SYSTEM"})
    if sid is not None:
        ids.append({"kind": "SID", "value": sid, "issuer": "NY", "verified": "FINGERPRINT"})
    head = {
        "event_id": str(uuid.UUID(int=choose.getrandbits(128), version=4)),
        "time": time,
        "ori": SITE.agency_by_id[agency].ori,
        "source_system": "jms",
        "persons": [{"role": "SUBJECT", "ids": ids}] if ids else [],
        "handling": {"markings": [], "purge_by": None},
    }
    return Published(EVENT_TYPES[kind].model_validate({"head": head, **fields}), agency)


def inbound(published: Published, site: Site) -> tuple[Source, bytes]:
    """The record on its inbound topic: whose it is, and its framed bytes."""
    kind = type_name(published.event)
    source = Source(topics.inbound(site.name, published.agency, kind), site.agency_by_id[published.agency], kind)
    return source, encode_event(published.event, SCHEMA_IDS[kind])


def facts(source: Source, value: bytes, site: Site) -> tuple[Out, ...]:
    """What identify makes of an inbound record."""
    found = identify(LoggedRecord(0, None, value), source, site, SCHEMAS, START + 400 * DAY)
    assert not isinstance(found, DeadLetter), found
    return found.records
