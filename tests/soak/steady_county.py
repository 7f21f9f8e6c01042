"""A county in a steady state: people come and go, and what was said of them is purged; probes change alerts on purpose.

What the bus knows in truth is as much after an hour as after ten minutes: so many people, in so many stays, of whom
what was said in the last `keep_s` seconds counts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any, Final

from schemas.events import Event
from tests.county import DAY, START, event
from tests.county_life import UNITS, county_life

PEOPLE: Final = 5_000
CUSTODY: Final = 400
FEUDS: Final = 40
"""Of the probes: an alert shows all the reports that bear it out, so they take turns."""


def now_day() -> float:
    """Now, as a day of the tests' county."""
    return (time.time_ns() // 1000 - START) / DAY


def life(seed: int, keep_s: float) -> Iterator[Event]:
    """What is said of the county's people, as it happens; each event is purged after so many seconds."""

    def moment() -> dict[str, Any]:
        day = now_day()
        return {"day": day, "purge_day": day + keep_s / 86_400}

    return county_life(random.Random(seed), PEOPLE, CUSTODY, moment)


def rivals() -> list[Event]:
    """In custody for good: of each feud of the probes a member of both sides in one unit."""
    return [
        said
        for feud in range(FEUDS)
        for side in ("east", "west")
        for person in [f"{side}-{feud}"]
        for said in (
            event("BookingReported", person, day=now_day()),
            event("HousingAssigned", person, day=now_day(), unit=UNITS[feud % len(UNITS)]),
            event("AffiliationValidated", person, day=now_day(), group=f"{side} {feud}"),
        )
    ]


def probe(number: int, keep_s: float) -> Event:
    """A report that changes the alert of its feud, and is purged after so many seconds."""
    sides = [f"{side} {number % FEUDS}" for side in ("east", "west")]
    day = now_day()
    return event("StreetViolenceReported", day=day, purge_day=day + keep_s / 86_400, groups=sides, name=f"probe {day}")
