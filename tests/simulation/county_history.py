"""Random histories of a small county: what is published, in which order, and which ticks come between."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, type_name
from schemas.site import Site
from streams.backtest import SCHEMA_IDS
from tests.county import DAY, START, agency_of, demo_site, event, event_id
from tests.in_memory_bus import InMemoryBus

Time = Literal["live", "history"]
PEOPLE: Final = ("ada", "bo", "cy")
GROUPS: Final = ("Eastside", "Harbor")
AGREEMENTS: Final = ("shipped", "ends", "begins")
LAST_DAY: Final = 40
"""The last day of which an event tells."""


@cache
def county_site(partitions: int, time: Time, agreements: str) -> Site:
    """The demo's site. What the police grants the jail lasts, ends or begins while the simulation runs."""
    changes: dict[str, dict[str, int]] = {
        "shipped": {},
        "ends": {"valid_until": START + 44 * DAY},
        "begins": {"valid_from": START + 43 * DAY},
    }
    site = demo_site(partitions, clock=time)
    return site.model_copy(
        update={
            "agreements": tuple(
                a.model_copy(update=changes[agreements]) if a.source == "city-pd" else a for a in site.agreements
            )
        }
    )


@dataclass(frozen=True, slots=True)
class Published:
    """A record as an agency publishes it."""

    topic: str
    partition: int
    value: bytes
    says: str


@cache
def _a_jail() -> tuple[Event, ...]:
    """A jail in which something can happen: random events alone rarely make a situation."""
    return (
        event("BookingReported", "ada", name="jail-book-ada", sid="SID-ada"),
        event("BookingReported", "bo", name="jail-book-bo", sid="SID-bo"),
        event("HousingAssigned", "ada", day=2, name="jail-house-ada", unit="4-A"),
        event("HousingAssigned", "bo", day=2, name="jail-house-bo", unit="4-A"),
        event("CustodyClassified", "ada", day=1, name="jail-class-ada"),
        event("AffiliationValidated", "ada", day=3, name="jail-stg-ada", group="Eastside", status="MEMBER"),
        event("AffiliationReported", None, day=3, name="police-stg-bo", sid="SID-bo", group="Harbor"),
        event("StreetViolenceReported", day=30, name="street-0", groups=list(GROUPS), retaliation_expected=True),
    )


def random_event(choose: random.Random, number: int, time: Time) -> Event:
    """Any event of the county."""
    day = choose.randint(0, LAST_DAY)
    # A live site refuses what has reached its purge date: there it comes while the simulation runs.
    purges = [None, None, day + 7] if time == "history" else [None, None, LAST_DAY + choose.randint(3, 8)]
    purge = choose.choice(purges)
    kind = choose.choice(
        [
            "HousingAssigned",
            "HousingAssigned",
            "CustodyClassified",
            "DisciplinaryRecorded",
            "AffiliationValidated",
            "AffiliationReported",
            "StreetViolenceReported",
            "CustodyEnded",
            "NoLongerListed",
            "EventWithdrawn",
            "EventWithdrawn",
            "BookingReported",
        ]
    )
    if kind == "StreetViolenceReported":
        return event(
            kind,
            day=day,
            name=f"street-{number}",
            purge_day=purge,
            groups=list(GROUPS),
            retaliation_expected=choose.random() < 0.5,
        )
    if kind == "EventWithdrawn":
        target = choose.choice([e for e in _a_jail() if e.head.event_id != event_id("jail-book-ada")])
        name = f"withdraw-{target.head.event_id}"
        return event(kind, day=day, agency=agency_of(target), name=name, target_event_id=target.head.event_id)
    person = choose.choice(PEOPLE)
    extras: dict[str, dict[str, Any]] = {
        "HousingAssigned": {"unit": choose.choice(["4-A", "4-B"])},
        "CustodyClassified": {"level": choose.choice(["MINIMUM", "MEDIUM", "MAXIMUM"])},
        "AffiliationValidated": {
            "group": choose.choice(GROUPS),
            "status": choose.choice(["MEMBER", "SUSPECT", "DROPOUT"]),
        },
        "AffiliationReported": {"group": choose.choice(GROUPS)},
    }
    strong = choose.choice([{}, {"sid": f"SID-{person}"}, {"sid": f"SID2-{person}"}, {"ucn": f"UCN-{person}"}])
    return event(kind, person, day=day, name=f"more-{number}", purge_day=purge, **strong, **extras.get(kind, {}))


def random_history(choose: random.Random, time: Time) -> list[Event]:
    """Some ten events in the order in which they are published; some of them twice."""
    base = [e for e in _a_jail() if choose.random() < 0.95]
    events = base + [random_event(choose, number, time) for number in range(choose.randint(0, 5))]
    events += choose.choices(events, k=choose.randint(0, 2))
    choose.shuffle(events)
    return events


def published(what: Event, site: Site, partition: int) -> Published:
    """An event as its agency publishes it."""
    kind = type_name(what)
    topic = topics.inbound(site.name, agency_of(what), kind)
    return Published(topic, partition, encode_event(what, SCHEMA_IDS[kind]), f"{kind} {what.head.event_id[:8]}")


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to be open in the end: digests by alert id."""

    alerts: dict[str, str]
    shown: dict[str, dict[str, str]]
    """By recipient."""


def from_scratch(history: Iterable[Event], site: Site, last_tick: int) -> Expected:
    """The open alerts when every event is there before anything is evaluated, once, on one partition."""
    bus = InMemoryBus(county_site_of_one(site))
    for what in history:
        bus.publish(what, agency_of(what))
    bus.tick(last_tick)
    for number, running in bus.running.items():
        for stage in running.committed:
            running.committed[stage] = max((r.offset + 1 for r in bus.input_of(stage, number)), default=0)
    bus.restart_all()
    bus.run()
    return Expected(
        {known_as: alert["digest"] for known_as, alert in bus.open_alerts().items()},
        {
            recipient.id: {known_as: told["digest"] for known_as, told in bus.shown_to(recipient.id).items()}
            for recipient in site.recipients
        },
    )


_ONES: dict[int, Site] = {}


def county_site_of_one(site: Site) -> Site:
    """The same site with one partition."""
    if id(site) not in _ONES:
        _ONES[id(site)] = site.model_copy(update={"partitions": 1})
    return _ONES[id(site)]
