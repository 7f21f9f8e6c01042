"""Life in the county when nothing in particular happens: people come and go, are visited, move, fall out.

The jails' officers see to what is dangerous in their own time: rivals are moved apart, who needs a review is
classified.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import simpy

from producers.simulator.county import Delivery, Stay
from producers.simulator.court import Court, is_court
from producers.simulator.jail import INTAKE, Jail, is_jail
from producers.simulator.people import Person
from producers.simulator.police import Police, is_police
from producers.simulator.rhythm import VISITING, hours_until
from producers.simulator.telephones import Telephones
from producers.simulator.truth import REVIEW, RIVALS
from producers.simulator.world import Process, World

GROUPS: Final = (
    "Larkspur Row",
    "Canal Street",
    "Quarry Boys",
    "Northgate",
    "Ferry Lane",
    "Mill End",
    "Tannery Hill",
    "Dockside",
    "Orchard Park",
    "Ropewalk",
    "Brickfield",
    "Saltmarsh",
)
AFFILIATED: Final = 0.1
"""Of those who come in: with a group."""
FULL: Final = 0.7
"""Of the beds: taken."""
DAYS: Final = 9.0
"""How long a stay is, in the mean."""
SOONEST_H, LATEST_H = 6.0, 30.0
"""How long officers take to see to something, hours."""
AT_ONCE_H: Final = 0.05
"""How long one thing takes where many are done one after the other, hours."""
LEVELS: Final = ("MINIMUM", "MINIMUM", "MEDIUM", "MEDIUM", "MEDIUM", "MAXIMUM")
ENDS: Final = ("BAIL", "OWN_RECOGNIZANCE", "TIME_SERVED", "COURT_ORDER")


class Life:
    """All that goes on by itself."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.choose = world.choose
        self.court = next((Court(world, agency.id) for agency in world.site.agencies if is_court(agency)), None)
        jails = (facility for facility in world.site.facilities if is_jail(facility, world.site))
        self.jails = [Jail(world, facility, self.court) for facility in jails]
        self.police = [Police(world, agency.id) for agency in world.site.agencies if is_police(agency)]
        self._outside: list[Person] = []
        """Who has been in custody before."""
        self._kin: dict[Person, Person] = {}

    def begin(self) -> None:
        """Fill the jails, and let it go on."""
        for jail in self.jails:
            taken = int(sum(unit.capacity or 0 for unit in jail.facility.units) * FULL)
            for _ in range(taken):
                self.world.begin(self._stay(jail, self.world.people.somebody(), self.choose.expovariate(1 / DAYS)))
            some = taken / DAYS
            for kind, a_day, do in (
                ("booking", some, self._comes_in),
                ("office", taken / 12, self._moves),
                ("office", taken / 12, self._goes_out),
                ("office", taken / 8, self._is_written_to),
                ("any", taken / 10, self._is_paid_for),
                ("office", taken / 8, self._is_to_be_visited),
                ("any", taken / 150, self._falls_out),
            ):
                self.world.begin(self._now_and_then(jail, kind, a_day, do))
            self.world.begin(self._officers(jail))
            Telephones(self.world, jail).begin()
        if self.court is not None:
            self.court.begin()

    # -- time ------------------------------------------------------------------------------------------------------

    def next(self, kind: str, a_day: float) -> simpy.Timeout:
        """The next time something happens that happens so often a day."""
        return self.world.wait(hours_until(kind, a_day, self.world.hour, self.choose))

    def _now_and_then(self, jail: Jail, kind: str, a_day: float, do: Callable[[Jail], None]) -> Process:
        while True:
            yield self.next(kind, a_day)
            do(jail)

    # -- stays -----------------------------------------------------------------------------------------------------

    def _comes_in(self, jail: Jail) -> None:
        back = self._outside and self.choose.random() < 0.5
        person = self._outside.pop(self.choose.randrange(len(self._outside))) if back else self.world.people.somebody()
        self.world.begin(self._stay(jail, person, self.choose.expovariate(1 / DAYS)))

    def _stay(self, jail: Jail, person: Person, days: float) -> Process:
        world, choose = self.world, self.choose
        stay = jail.book(person)
        group = choose.choice(GROUPS) if choose.random() < AFFILIATED else None
        yield world.wait(choose.uniform(0.2, 2))
        if group is not None:
            known = choose.random()
            if known < 0.6:
                jail.validate(stay, group, choose.choice(("MEMBER", "MEMBER", "SUSPECT", "ASSOCIATE")))
            elif known < 0.9:
                choose.choice(self.police).report(person, group, "MEMBER")
        yield world.wait(choose.uniform(0.5, 4))
        jail.classify(stay, choose.choice(LEVELS))
        yield world.wait(0.2)
        jail.house(stay, jail.room_for(stay))
        yield world.wait(24 * (0.5 + days))
        while stay.cast:
            yield world.wait(4)
        jail.release(stay, choose.choice(ENDS))
        self._outside.append(person)

    def _anybody(self, jail: Jail) -> Stay | None:
        """Somebody who is in a scene neither, nor at intake."""
        stays = [stay for stay in jail.stays.values() if not stay.cast and stay.unit != INTAKE]
        return self.choose.choice(stays) if stays else None

    def cast(self, jail: Jail, count: int = 1, *, known: bool = False) -> list[Stay]:
        """People who play in a scene: of no group so far; `known`: their fingerprints are. Empty where there are too
        few."""
        county = self.world.county
        free = [
            stay
            for stay in jail.stays.values()
            if not stay.cast
            and stay.unit != INTAKE
            and stay.level in {"MINIMUM", "MEDIUM"}
            and not county.standings[stay.person]
            and (not known or (stay.person, jail.facility.agency) in county.printed)
        ]
        if len(free) < count:
            return []
        chosen = self.choose.sample(free, count)
        for stay in chosen:
            stay.cast = True
        return chosen

    # -- days ------------------------------------------------------------------------------------------------------

    def _moves(self, jail: Jail) -> None:
        if (stay := self._anybody(jail)) is not None:
            unit = jail.room_for(stay)
            if unit != stay.unit:
                jail.house(stay, unit)

    def _goes_out(self, jail: Jail) -> None:
        if (stay := self._anybody(jail)) is not None:
            purpose = self.choose.choice(("COURT", "WORK_CREW"))
            jail.goes_out(stay, purpose, self.world.now + self.world.hours(self.choose.uniform(4, 30)))

    def _is_written_to(self, jail: Jail) -> None:
        if (stay := self._anybody(jail)) is not None:
            jail.mail(stay, self.kin(stay), self.choose.choice(("ORDINARY", "ORDINARY", "ORDINARY", "COURT")))

    def _is_paid_for(self, jail: Jail) -> None:
        if (stay := self._anybody(jail)) is not None:
            jail.deposit(stay, self.kin(stay))

    def _is_to_be_visited(self, jail: Jail) -> None:
        if (stay := self._anybody(jail)) is not None:
            contact = self.choose.choice(("ORDINARY", "ORDINARY", "ORDINARY", "ATTORNEY", "CLERGY"))
            setting = self.choose.choice(("CONTACT", "BARRIER", "VIDEO"))
            self.visited(jail, jail.visit(stay, self.kin(stay), self.visiting_hour(), contact=contact, setting=setting))

    def _falls_out(self, jail: Jail) -> None:
        if (stay := self._anybody(jail)) is not None:
            violent = self.choose.random() < 0.3
            jail.infraction(stay, "MAJOR" if violent else "MINOR", violent=violent)

    def kin(self, stay: Stay) -> Person:
        """Who looks after somebody."""
        return self._kin.setdefault(stay.person, self.world.people.somebody())

    def visiting_hour(self, days: int | None = None) -> int:
        """A time for a visit in so many days, by day; in microseconds."""
        into = self.world.hour % 24
        ahead = 24 * (days or self.choose.randint(1, 3)) - into + self.choose.uniform(min(VISITING), max(VISITING))
        return self.world.now + self.world.hours(ahead)

    def visited(self, jail: Jail, visit: Delivery) -> None:
        """Let a visit take its course."""
        self.world.begin(self._visit(jail, visit))

    def _visit(self, jail: Jail, visit: Delivery) -> Process:
        world, choose = self.world, self.choose
        if choose.random() < 0.1:
            yield world.wait(choose.uniform(1, 8))
            if not visit.ended and not visit.stay.ended:
                jail.cancel(visit)
        while not visit.ended and not visit.stay.ended and world.now < visit.at + world.hours(1):
            yield world.clock.timeout(visit.at + world.hours(1.1) - world.now)
        if not visit.ended and not visit.stay.ended:
            jail.complete(visit)

    # -- officers --------------------------------------------------------------------------------------------------

    def _officers(self, jail: Jail) -> Process:
        """See to what has been so for a while."""
        world, facility = self.world, jail.facility.id
        while True:
            yield world.wait(2)
            for situation in world.truth.standing(facility):
                if world.now - situation.since < world.hours(self.choose.uniform(SOONEST_H, LATEST_H)):
                    continue
                correlation, _, place, *rest = situation.key
                if correlation == RIVALS:
                    yield from self._move_apart(jail, place, rest[0])
                elif correlation == REVIEW and place in jail.stays:
                    yield world.wait(AT_ONCE_H)
                    if place in jail.stays:
                        jail.classify(jail.stays[place], self.choose.choice(LEVELS))

    def _move_apart(self, jail: Jail, unit: str, group: str) -> Process:
        county = self.world.county
        for stay in county.in_unit(jail.facility.id, unit):
            if group in county.sides(stay) and not stay.ended and not stay.cast:
                room = jail.room_for(stay)
                if room != unit:
                    jail.house(stay, room)
                    yield self.world.wait(AT_ONCE_H)
