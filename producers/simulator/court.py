"""The county's court: sets hearings, of people in custody and of others, sets some of them anew and cancels some.

It knows everybody by the state's number. A jail schedules the way there and back itself.
"""

from __future__ import annotations

import random
from typing import Any, Final

from producers.simulator.people import People, Person
from producers.simulator.rhythm import hours_until
from producers.simulator.world import Process, World, state_number
from schemas.events import HearingPurpose
from schemas.site import Agency

COURT_EVENTS: Final = frozenset({"HearingScheduled", "HearingCancelled"})
SETS_A_DAY: Final = 30.0
"""Hearings of people at large, in the mean."""
AHEAD_D: Final = (2, 30)
"""Days from then to the hearing, from and to."""
BEGINS, ENDS = 9, 16
"""Hours of the day between which hearings begin."""
CANCELLED, MOVED = 0.15, 0.1
"""Of the hearings of people at large: cancelled, or set anew, some days later."""
PURPOSES: Final = tuple(one.value for one in HearingPurpose if one is not HearingPurpose.UNKNOWN)


def is_court(agency: Agency) -> bool:
    """Whether an agency may tell all that a court tells."""
    return set(agency.event_types) >= COURT_EVENTS


class Court:
    """One agency. It has chances of its own: what goes on in it changes nothing elsewhere."""

    def __init__(self, world: World, agency: str) -> None:
        self.world = world
        self.agency = agency
        self._state = world.site.agency_by_id[agency].ori[:2]
        self._chance = random.Random(f"{world.run}/{agency}")
        self._people = People(self._chance, f"{world.run}{agency}")
        self._numbers = 0

    def begin(self) -> None:
        """Let it go on."""
        self.world.begin(self._calendar())

    def hears(self, person: Person, at: int) -> None:
        """Set a hearing of somebody, at a time, microseconds."""
        self._sets(person, self._number("C"), self._number("H"), self._chance.choice(PURPOSES), at)

    def _calendar(self) -> Process:
        world, chance = self.world, self._chance
        while True:
            yield world.wait(hours_until("office", SETS_A_DAY, world.hour, chance))
            world.begin(self._case(self._people.somebody()))

    def _case(self, person: Person) -> Process:
        """A hearing of somebody at large, from when it is set."""
        world, chance = self.world, self._chance
        case, hearing, purpose, starts = self._number("C"), self._number("H"), chance.choice(PURPOSES), self._some_day()
        self._sets(person, case, hearing, purpose, starts)
        fate = chance.random()
        if fate > CANCELLED + MOVED:
            return
        yield world.wait(hours_until("office", 2.0, world.hour, chance))
        if world.now >= starts:
            return
        if fate < CANCELLED:
            self._tell("HearingCancelled", person, hearing_number=hearing)
        else:
            self._sets(person, case, hearing, purpose, self._some_day())

    def _some_day(self) -> int:
        """A time in so many days at which the court sits, microseconds."""
        days, hour = self._chance.randint(*AHEAD_D), self._chance.randint(BEGINS, ENDS)
        return self.world.now + self.world.hours(24 * days - self.world.hour % 24 + hour)

    def _sets(self, person: Person, case: str, hearing: str, purpose: str, starts: int) -> None:
        part = None if self._chance.random() < self.world.noise.missing else f"Part {self._chance.randint(1, 9)}"
        said = {"case_number": case, "hearing_number": hearing, "purpose": purpose, "starts": starts, "part": part}
        self._tell("HearingScheduled", person, **said)

    def _tell(self, kind: str, person: Person, **fields: Any) -> None:
        self.world.tell(self.agency, kind, [state_number(person, self._state)], chance=self._chance, **fields)

    def _number(self, of: str) -> str:
        self._numbers += 1
        return f"{self.world.run}-{of}{self._numbers:05}"
