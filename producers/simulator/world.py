"""World: the county, the time in it, and how what happens is told. What the agencies' acts have in common."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple, TypeVar

import simpy

from producers.simulator.county import County
from producers.simulator.noise import HOUR, Noise, delays
from producers.simulator.people import People, Person, misspelt, written
from producers.simulator.truth import Truth
from schemas.events import EVENT_TYPES, Event
from schemas.site import Site

SOURCE: Final = "simulator"
"""The source system of all events."""
Process = Generator[simpy.Event, Any, None]
"""Something that takes its time."""
T_ = TypeVar("T_")


class Told(NamedTuple):
    """An event as it reaches the bus."""

    arrives: int
    """Microseconds."""
    agency: str
    event: Event


class World:
    """`speed`: how many times as fast as ours the county lives: a day of it takes 24 hours divided by that.

    The same site, seed, start, speed and noise give the same events. Of noise, what is misspelt, late or told twice
    changes nothing of what is so; what is missing or unsure does.
    """

    def __init__(self, site: Site, seed: int, start: int, noise: Noise, speed: float = 1.0) -> None:
        self.site = site
        self.noise = noise
        self.start = start
        self.speed = speed
        self.clock = simpy.Environment(initial_time=start)
        self.choose = random.Random(f"{seed}/life")
        self.errors = random.Random(f"{seed}/errors")
        self.county = County(frozenset(facility.agency for facility in site.facilities))
        self.truth = Truth(self.county)
        self.run = f"{seed:x}{start // 1_000_000 % 16**6:06x}"
        """What numbers of this run begin with: another run on the same site has others."""
        self.people = People(self.choose, self.run)
        self._ids = random.Random(f"{seed}/{start}/ids")
        self._numbers = count(1)
        self._order = count()
        self._underway: list[tuple[int, int, Told]] = []
        self.reaches = start
        """When what was told last reaches the bus, for the first time, microseconds."""

    # -- time ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Microseconds."""
        return int(self.clock.now)

    @property
    def hour(self) -> float:
        """Hours of the county's own time since the start, which is a midnight before a Monday."""
        return (self.now - self.start) * self.speed / HOUR

    def hours(self, hours: float) -> int:
        """So many of the county's hours, in microseconds."""
        return int(hours * HOUR / self.speed)

    def wait(self, hours: float) -> simpy.Timeout:
        """For a process: go on after so many of the county's hours."""
        return self.clock.timeout(self.hours(hours))

    def begin(self, process: Process) -> simpy.Process:
        """Let it go on by itself."""
        return self.clock.process(process)

    def later(self, time: int, do: Callable[[], None]) -> None:
        """Do something at a time, microseconds."""

        def process() -> Process:
            yield self.clock.timeout(max(0, time - self.now))
            do()

        self.begin(process())

    # -- telling ---------------------------------------------------------------------------------------------------

    def number(self) -> str:
        """A new number of a booking, a visit, an item."""
        return f"{self.run}-{next(self._numbers):05}"

    def spelled(self, person: Person) -> str:
        """Somebody's name as somebody writes it down."""
        name = written(person, self.errors)
        return misspelt(name, self.errors) if self.errors.random() < self.noise.misspelt else name

    def if_known(self, value: T_) -> T_ | None:
        """What may be left out."""
        return None if self.errors.random() < self.noise.missing else value

    def tell(
        self,
        agency: str,
        kind: str,
        ids: Sequence[dict[str, str]] = (),
        time: int | None = None,
        chance: random.Random | None = None,
        not_before: int = 0,
        **fields: Any,
    ) -> str:
        """Publish an event of now, or of an earlier time: its id.

        `chance`: of who has chances of its own; `not_before`: when it arrives at the earliest, microseconds.
        """
        event_id = str(uuid.UUID(int=(chance or self._ids).getrandbits(128), version=4))
        head = {
            "event_id": event_id,
            "time": self.now if time is None else time,
            "ori": self.site.agency_by_id[agency].ori,
            "source_system": SOURCE,
            "persons": [{"role": "SUBJECT", "ids": list(ids)}] if ids else [],
            "handling": {},
        }
        event = EVENT_TYPES[kind].model_validate({**fields, "head": head})
        each = [max(self.now + delay, not_before) for delay in delays(self.noise, chance or self.errors, self.speed)]
        self.reaches = min(each)
        for arrives in each:
            heappush(self._underway, (arrives, next(self._order), Told(arrives, agency, event)))
        return event_id

    @property
    def underway(self) -> list[Told]:
        """What was told and has not arrived."""
        return [told for _, _, told in self._underway]

    def arrived(self, until: int) -> list[Told]:
        """What has arrived by a time, in order. The clock must have come there."""
        told = []
        while self._underway and self._underway[0][0] <= until:
            told.append(heappop(self._underway)[2])
        return told


def state_number(person: Person, state: str, verified: str = "FINGERPRINT") -> dict[str, str]:
    """The state's number of a person, as an event has it."""
    return {"kind": "SID", "value": person.sid, "issuer": state, "verified": verified}
