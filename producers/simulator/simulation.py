"""Simulation: a county's life as the events that its agencies publish, in the order in which they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from producers.simulator.jail import INTAKE, is_jail, own_number, untellable
from producers.simulator.leftovers import Open, open_until
from producers.simulator.life import Life
from producers.simulator.lockup import CELLS, Lockup, is_lockup
from producers.simulator.noise import Noise
from producers.simulator.police import is_police
from producers.simulator.scenes import put_on
from producers.simulator.truth import Truth
from producers.simulator.world import Told, World
from schemas.agreements import SiteError
from schemas.site import Site

START: Final = 1_767_571_200_000_000
"""Midnight before Monday, 2026-01-05, UTC, microseconds: when a simulation begins that is not told otherwise."""


class Simulation:
    """A county from `start` (microseconds) on: see `World` for what its arguments mean. Raises SiteError."""

    def __init__(self, site: Site, seed: int, noise: Noise, start: int = START, speed: float = 1.0) -> None:
        lockups = [facility for facility in site.facilities if is_lockup(facility, site)]
        jails = sum(is_jail(facility, site) for facility in site.facilities)
        if jails < max(2, len(site.facilities) - len(lockups)):
            jail = f"units and an {INTAKE}"
            lacking = sorted({f"{one.agency} {kind}" for one in site.facilities for kind in untellable(one, site)})
            publish = f"; to publishes of these add {', '.join(lacking)}" if lacking else ""
            needed = f"a simulated county has two jails or more, with {jail}; others have {CELLS}{publish}"
            raise SiteError(f"{site.name}: {needed}")
        if not any(map(is_police, site.agencies)):
            raise SiteError(f"{site.name}: a simulated county has an agency that may tell all that police tell")
        self._world = World(site, seed, start, noise, speed)
        life = Life(self._world)
        life.begin()
        put_on(life)
        self._lockups = [Lockup(self._world, facility) for facility in lockups]
        for lockup in self._lockups:
            lockup.begin()

    @property
    def truth(self) -> Truth:
        """What is so in it, as far as it has come."""
        return self._world.truth

    @property
    def now(self) -> int:
        """How far it has come, microseconds."""
        return self._world.now

    @property
    def start(self) -> int:
        """When it began, microseconds."""
        return self._world.start

    def left_open(self) -> list[Open]:
        """What an agency would have to end if nobody simulated any more."""
        county = self._world.county
        stays = [stay for of in county.stays.values() for stay in of.values()]
        stays += [stay for lockup in self._lockups for stay in lockup.stays.values()]
        ending = (open_until(told.agency, told.event) for told in self._world.underway)
        return [
            *filter(None, ending),
            *(
                Open(
                    stay.facility.agency,
                    stay.facility.id,
                    stay.number,
                    own_number(stay.person, stay.facility, self._world.run),
                )
                for stay in stays
            ),
            *(Open(tip.agency, None, tip.event_id, None) for tip in county.tips.values()),
            *(Open(one.agency, None, one.event_id, None) for one in county.violence if self.now < one.until),
        ]

    def told(self, until: int) -> Iterator[Told]:
        """What arrives up to a time (microseconds), in order; the county lives on to there."""
        world = self._world
        while world.clock.peek() < until:
            # What arrives before anything more happens can be told: nothing overtakes it.
            yield from world.arrived(int(world.clock.peek()) - 1)
            world.clock.step()
        if until > world.now:
            world.clock.run(until=until)
        yield from world.arrived(until)
