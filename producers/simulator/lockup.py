"""A town's lockup: people are held for a day or so, and its system can only give a list, four times a day.

Sometimes it stands still: the list says what the last one said. Sometimes its line is down: nothing of it comes, and
what should have come comes in the end. Those whom it holds are of no group and nobody writes to them: so nothing else
that is true in the county hangs on what is not told.
"""

from __future__ import annotations

import random
from hashlib import sha256
from typing import Any, Final

from producers.simulator.county import DAY, Stay
from producers.simulator.jail import own_number
from producers.simulator.noise import HOUR
from producers.simulator.people import People, Person
from producers.simulator.truth import FROZEN, SILENT
from producers.simulator.world import Process, World
from schemas.site import Facility, Site

LOCKUP_EVENTS: Final = frozenset({"BookingReported", "CustodyEnded", "ListTaken"})
CELLS: Final = "CELLS"
COME_A_DAY: Final = 30.0
"""How many are brought in, in the mean, at all hours."""
HELD_H: Final = 18.0
"""Hours for which they are held, in the mean."""
LISTED_H: Final = 6.0
"""Hours from one list to the next."""
AT_LEAST_BETWEEN: Final = HOUR // 3
"""Microseconds between two lists, however fast the county lives: the bus tells lists apart by ten minutes."""
AT_FIRST_D: Final = 3.0
"""Days in which nothing goes wrong: without knowing what usually changes nobody can say that a list stands still."""
WELL_D, BETWEEN_D = 2.0, 3.0
"""Days from one trouble to the next: at least, and in the mean beyond that."""
KNOWN: Final = 15 * DAY
"""How long it has to be known before its silence means something, microseconds; a day more than docs/feeds.md says,
since it is not heard at once."""
DOWN: Final = (20 * HOUR, 48 * HOUR)
"""How long its line is down, from and to."""
REPEATS: Final = (1, 4)
"""How many lists say what the last one said, from and to."""


def is_lockup(facility: Facility, site: Site) -> bool:
    """Whether those who run a facility may tell what a lockup tells, and there are cells."""
    return CELLS in facility.unit_ids and set(site.agency_by_id[facility.agency].event_types) >= LOCKUP_EVENTS


class Lockup:
    """One of them. It has chances of its own: what goes on in it changes nothing elsewhere."""

    def __init__(self, world: World, facility: Facility) -> None:
        self.world = world
        self.facility = facility
        self.stays: dict[str, Stay] = {}
        """Who is held, by booking number."""
        self._chance = random.Random(f"{world.run}/{facility.id}")
        self._people = People(self._chance, f"{world.run}{facility.id}")
        self._booked = 0
        self._listed: frozenset[str] = frozenset()
        self._repeats = 0
        """Lists that are still to say the same."""
        self._back = world.now
        """When the line is up again, or was."""

    def begin(self) -> None:
        """Let it go on."""
        for process in (self._comes_in(), self._gives_lists(), self._has_troubles()):
            self.world.begin(process)

    # -- who is held -----------------------------------------------------------------------------------------------

    def _comes_in(self) -> Process:
        while True:
            yield self.world.wait(self._chance.expovariate(COME_A_DAY / 24))
            self.world.begin(self._stay(self._people.somebody()))

    def _stay(self, person: Person) -> Process:
        world = self.world
        self._booked += 1
        stay = Stay(person, self.facility, f"{world.run}-{self.facility.id}-{self._booked:05}", CELLS)
        self.stays[stay.number] = stay
        booked = {"admitted": world.now, "legal_status": "pretrial", "charges": ["240.20"], "name": person.name}
        self._tell("BookingReported", stay, **booked)
        yield world.wait(self._chance.expovariate(1 / HELD_H))
        del self.stays[stay.number]
        self._tell("CustodyEnded", stay, reason="COURT_ORDER")

    def _tell(self, kind: str, stay: Stay | None, **fields: Any) -> None:
        if stay is not None:
            fields["booking_number"] = stay.number
            fields["ids"] = [own_number(stay.person, self.facility, self.world.run)]
        fields["facility"] = self.facility.id
        self.world.tell(self.facility.agency, kind, chance=self._chance, not_before=self._back, **fields)

    # -- lists -----------------------------------------------------------------------------------------------------

    def _gives_lists(self) -> Process:
        world = self.world
        while True:
            yield world.clock.timeout(max(world.hours(LISTED_H), AT_LEAST_BETWEEN))
            changed = 0
            if self._repeats:
                self._repeats -= 1
                self._stands_still(is_so=True)
            else:
                held = frozenset(self.stays)
                changed = len(held ^ self._listed)
                self._listed = held
                if changed:
                    self._stands_still(is_so=False)
            content = sha256(" ".join(sorted(self._listed)).encode()).hexdigest()
            self._tell("ListTaken", None, entries=len(self._listed), changed=changed, content=content)

    def _stands_still(self, *, is_so: bool) -> None:
        key = (FROZEN, self.facility.agency, self.facility.id)
        self.world.truth.look_at_feed(key, self.world.now, is_so=is_so)

    # -- troubles --------------------------------------------------------------------------------------------------

    def _has_troubles(self) -> Process:
        world, chance = self.world, self._chance
        yield world.wait(24 * AT_FIRST_D)
        while True:
            yield world.wait(24 * (WELL_D + chance.expovariate(1 / BETWEEN_D)))
            if world.now - world.start > KNOWN and chance.random() < 0.5:
                yield from self._falls_silent()
            else:
                self._repeats = chance.randint(*REPEATS)
                while self._repeats:
                    yield world.wait(LISTED_H)

    def _falls_silent(self) -> Process:
        world, key = self.world, (SILENT, self.facility.agency)
        length = self._chance.randint(*DOWN)
        self._back = world.now + length
        world.truth.look_at_feed(key, world.now, is_so=True)
        yield world.clock.timeout(length)
        world.truth.look_at_feed(key, world.now, is_so=False)
