"""Random histories of a small county: what is published, in which order, and which ticks come between."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from schemas import topics
from schemas.codec import encode_event
from schemas.events import Event, type_name
from schemas.site import Site
from streams.backtest import SCHEMA_IDS
from tests.county import DAY, START, agency_of, demo_site
from tests.county_events import LAST_DAY, SITUATIONS, any_event
from tests.county_events import PURGED as PURGED_ON
from tests.in_memory_bus import InMemoryBus

Time = Literal["live", "history"]
AGREEMENTS: Final = ("shipped", "ends", "begins")
LAST_TICKS: Final = (LAST_DAY + 1, LAST_DAY + 5)
"""On which days a history may end: at once, or when visits come, feeds are silent, and agreements have ended."""


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
    at: int
    """When its publisher says that it came, ms since 1970."""


PURGED: Final[Mapping[Time, tuple[int | None, ...]]] = {
    "history": PURGED_ON,
    "live": (None, None, LAST_DAY + 3, LAST_DAY + 6),
}
"""A live site refuses what has reached its purge date: there it comes while the simulation runs."""
_RIVALS, *_OTHERS = SITUATIONS.values()


def random_history(choose: random.Random, time: Time) -> list[Event]:
    """Some ten events in the order in which they are published; some of them twice."""
    # Random events alone rarely make a situation.
    situations = [choose.choice([_RIVALS, *_OTHERS]), choose.choice([(), _RIVALS, choose.choice(_OTHERS)])]
    events = [*{what.head.event_id: what for of in situations for what in of if choose.random() < 0.95}.values()]
    events += [any_event(choose.choice, events, PURGED[time]) for _ in range(choose.randint(0, 5))]
    events += choose.choices(events, k=choose.randint(0, 2))
    choose.shuffle(events)
    return events


def published(what: Event, site: Site, partition: int) -> Published:
    """An event as its agency publishes it, at once."""
    kind, came = type_name(what), what.head.time // 1000
    topic = topics.inbound(site.name, agency_of(what), kind)
    return Published(topic, partition, encode_event(what, SCHEMA_IDS[kind]), f"{kind} {what.head.event_id[:8]}", came)


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
