"""The county as it is: who is in custody where, who stands with whom, what is to come to whom. No noise is in it.

Each record says what those know who wrote it down; that two writings of a name are one person, the county knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple

from producers.simulator.noise import HOUR
from producers.simulator.people import Person
from schemas.site import Facility

DAY: Final = 24 * HOUR
FEUD_DAYS: Final = 14
"""Days that a feud lasts after violence."""
EXPECTED_DAYS: Final = 30
"""Days that it lasts where the police expect retaliation."""


@dataclass(slots=True, eq=False)
class Stay:
    """Somebody's time in a jail."""

    person: Person
    facility: Facility
    number: str
    """The booking's."""
    unit: str
    level: str = ""
    """Custody level; empty until it is classified."""
    classified: int = 0
    infractions: dict[str, int] = field(default_factory=dict)
    """When, by event id."""
    ended: bool = False
    cast: bool = False
    """Whether it plays in a scene: daily life leaves it alone."""


class Validation(NamedTuple):
    """How a facility's own staff have somebody stand with a group."""

    status: str
    time: int


class Violence(NamedTuple):
    """Something between groups on the street."""

    groups: frozenset[str]
    time: int
    until: int
    """How long a feud lasts by it, microseconds."""
    agency: str
    """Who reported it."""
    event_id: str
    """The report's."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Something that is to come to somebody in custody, or has come."""

    stay: Stay
    method: str
    number: str
    party: Person | None
    """Who brings it, if the facility wrote that down."""
    birth_known: bool
    """Whether the facility wrote down when that one was born."""
    at: int
    over: int
    """When it is over if nobody says so before, microseconds."""
    ends: int | None = None
    """When it ends as planned, microseconds; None: nobody has planned that."""
    ended: bool = False
    said: int = 0
    """When it was told of last, microseconds."""
    known: int = 0
    """When that has reached the bus, microseconds."""


@dataclass(slots=True, eq=False)
class Tip:
    """What somebody said about contraband. None: not said."""

    agency: str
    event_id: str
    time: int
    recipient: Person | None
    by_number: bool
    """Whether the recipient is named by a number, not by name."""
    courier: Person | None
    birth_known: bool
    facility: str | None
    method: str | None
    window: tuple[int, int] | None
    touches_staff: bool
    known: int
    """When it has reached the bus, microseconds."""
    ended: bool = False


class County:
    """All of it, and what one may ask."""

    def __init__(self, jails: frozenset[str]) -> None:
        self._jails = jails
        """The agencies that hold people."""
        self.stays: dict[str, dict[str, Stay]] = defaultdict(dict)
        """Open ones, by facility and booking number."""
        self.standings: dict[Person, dict[tuple[str, str], str]] = defaultdict(dict)
        """Of a person, by group and by the agency that says so."""
        self.validations: dict[tuple[Person, str], dict[str, Validation]] = defaultdict(dict)
        """Of a person at a facility, by group."""
        self.printed: set[tuple[Person, str]] = set()
        """Persons whose fingerprints an agency has compared: it and all others mean the same one."""
        self.violence: list[Violence] = []
        self.deliveries: dict[str, dict[tuple[str, str], Delivery]] = defaultdict(dict)
        """By facility, method and number."""
        self.tips: dict[str, Tip] = {}
        """By event id."""

    def stays_of(self, person: Person) -> list[Stay]:
        """Where somebody is in custody."""
        return [one for of in self.stays.values() for one in of.values() if one.person is person]

    def in_unit(self, facility: str, unit: str) -> list[Stay]:
        """Who is housed there."""
        return [stay for stay in self.stays[facility].values() if stay.unit == unit]

    def sides(self, stay: Stay) -> set[str]:
        """The groups of which somebody in custody is a member or suspected to be, as far as that can be known there."""
        here = stay.facility.agency
        printed = (stay.person, here) in self.printed
        return {
            group
            for (group, agency), status in self.standings[stay.person].items()
            if status in {"MEMBER", "SUSPECT"} and (agency == here or (printed and self._knows(stay.person, agency)))
        }

    def _knows(self, person: Person, agency: str) -> bool:
        """Whether an agency knows who somebody is: the police by the state's number, a jail once it has prints."""
        return agency not in self._jails or (person, agency) in self.printed

    def violence_of(self, group: str, now: int) -> list[Violence]:
        """What keeps a group's feuds alive."""
        return [one for one in self.violence if group in one.groups and len(one.groups) > 1 and now < one.until]

    def feuds(self, now: int) -> set[tuple[str, str]]:
        """The pairs of groups at feud."""
        return {pair for one in self.violence if now < one.until for pair in combinations(sorted(one.groups), 2)}

    def rivals_of(self, stay: Stay, now: int) -> set[str]:
        """The groups that are at feud with those of somebody in custody."""
        own = self.sides(stay)
        return {group for pair in self.feuds(now) if own & set(pair) for group in pair} - own if own else set()

    def expected_by(self, person: Person, facility: str) -> Iterator[Delivery]:
        """What is to come to somebody at a facility."""
        return (one for one in self.deliveries[facility].values() if one.stay.person is person)
