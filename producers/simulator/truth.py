"""Truth: which situations there are in the county, from when to when. What the bus has to find, and nothing else.

Said in the county's own terms, of true persons and true standings, from the definitions in docs/correlations.md and
docs/contraband.md; the bus has to find the same from what it was told, late, twice, misspelt and by other numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, Final

from producers.simulator.county import DAY, County, Delivery, Stay, Tip
from producers.simulator.noise import HOUR, LATEST
from producers.simulator.people import Person

Key = tuple[str, ...]
"""What tells a situation from others: the correlation, then what the alert's key has beside the bus's own ids of
persons."""
RIVALS: Final = "rivals_housed_together"
REVIEW: Final = "classification_review"
DELIVERY: Final = "contraband_delivery_expected"
BROAD: Final = "tip_too_broad"
SILENT: Final = "feed_silent"
FROZEN: Final = "feed_frozen"
MOST_MEANT: Final = 5
"""Persons at one facility whom a tip may mean."""
ROUGHLY: Final = HOUR
"""How far outside a tip's time something may come of which nobody has planned the end, microseconds."""
TIP_DAYS: Final = 30
"""Days of which a tip speaks that does not say when."""


@dataclass(slots=True)
class Situation:
    """Something that is so for a while."""

    key: Key
    since: int
    """Microseconds."""
    until: int | None = None
    """None: it is so in the end."""
    bookings: set[str] = field(default_factory=set)
    """Whoever was of it at any time, or can have been thought to be."""
    scene: str = ""
    """The scene that brought it about; empty where it came about by itself."""
    due: int | None = None
    """Of a delivery: when it comes, microseconds; None where neither its record nor a tip brought it about."""
    known: int = field(default=0, compare=False)
    """Of such a one: when both have reached the bus, microseconds. Nothing of what is so follows from it."""
    throughout: set[str] = field(default_factory=set)
    """Whoever was of it from its beginning to its end: an alert on it has to name them."""

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **asdict(self),
            "key": list(self.key),
            "bookings": sorted(self.bookings),
            "throughout": sorted(self.throughout),
        }


@dataclass(frozen=True, slots=True)
class Decoy:
    """Something that looks like a situation, and is none."""

    scene: str
    why: str
    time: int
    bookings: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


NONE: Final[Mapping[Key, tuple[int, int]]] = {}
Scope = tuple[str, ...]
"""What is looked at in one go: a unit, a stay, the gate of a facility."""


class Truth:
    """Keeps account of what is so. To be asked to look wherever something changed."""

    def __init__(self, county: County) -> None:
        self._county = county
        self.situations: list[Situation] = []
        """In the order in which they began."""
        self.decoys: list[Decoy] = []
        self.scene = ""
        """The scene that acts just now."""
        self._left: defaultdict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        """By facility and unit: when somebody left it, by booking number."""
        self._open: defaultdict[Scope, dict[Key, Situation]] = defaultdict(dict)
        # Dicts where sets would do: the order in which things are looked at must not depend on hashes.
        self._meant: defaultdict[Tip, dict[Delivery, None]] = defaultdict(dict)

    def standing(self, facility: str) -> list[Situation]:
        """What is so at a facility just now."""
        return [one for scope in [*self._open.values()] for one in scope.values() if one.key[1] == facility]

    # -- looking ---------------------------------------------------------------------------------------------------

    def look_at_unit(self, facility: str, unit: str, now: int) -> None:
        """Somebody came or went, or is seen otherwise."""
        lately = {booking for booking, time in self._left[facility, unit].items() if now - time <= LATEST}
        found = _rivals(self._county, facility, unit, now)
        self._account((RIVALS, facility, unit), found, now, lately=lately)

    def look_at_units_of(self, person: Person, now: int) -> None:
        """Somebody is seen otherwise."""
        for stay in self._county.stays_of(person):
            self.look_at_unit(stay.facility.id, stay.unit, now)

    def leaves(self, stay: Stay, now: int) -> None:
        """Somebody leaves a unit: where that is told late, they are thought to be there for a while yet."""
        left = self._left[stay.facility.id, stay.unit]
        left[stay.number] = now
        for booking in [booking for booking, time in left.items() if now - time > LATEST]:
            del left[booking]

    def look_at_stay(self, stay: Stay, now: int) -> None:
        """Something became known of somebody in custody."""
        self._account((REVIEW, stay.facility.id, stay.number), _reviews(self._county, stay, now), now)

    def look_everywhere(self, now: int) -> None:
        """A feud began, grew or ended."""
        for facility, stays in self._county.stays.items():
            for unit in dict.fromkeys(stay.unit for stay in stays.values()):
                self.look_at_unit(facility, unit, now)
            for stay in stays.values():
                self.look_at_stay(stay, now)

    def look_at_deliveries(self, facility: str, deliveries: Iterable[Delivery], now: int) -> None:
        """Something is to come, or is to come no more."""
        for delivery in deliveries:
            for tip in [*self._county.tips.values()]:
                self._meant[tip].pop(delivery, None)
                if _means(self._county, tip, delivery, now):
                    self._meant[tip][delivery] = None
        self._settle(facility, now)

    def look_at_tip(self, tip: Tip, now: int) -> None:
        """A tip came, or is over."""
        known = self._county.deliveries
        every = (one for of in known.values() for one in of.values())
        self._meant[tip] = {one: None for one in every if _means(self._county, tip, one, now)}
        for facility in known:
            self._settle(facility, now)
        if tip.ended:
            del self._meant[tip]

    def look_at_feed(self, key: Key, now: int, *, is_so: bool) -> None:
        """An agency fell silent or its list stands still, or that is over."""
        self._account(key, {key: set()} if is_so else {}, now)

    def _settle(self, facility: str, now: int) -> None:
        found: dict[Key, set[str]] = {}
        to_come: dict[Key, tuple[int, int]] = {}
        for tip, meant in self._meant.items():
            here = [one for one in meant if one.stay.facility.id == facility]
            if _is_known_by_number(self._county, tip, facility, now):
                here = [one for one in here if one.stay.person is tip.recipient]
            if len({one.stay.person for one in here}) > MOST_MEANT:
                found[BROAD, facility, tip.agency, tip.event_id] = set()
                continue
            for one in here:
                staff = ("staff",) if tip.touches_staff else ()
                key = (DELIVERY, facility, one.method, one.number, *staff)
                found[key] = {one.stay.number}
                if now in {tip.time, one.said}:
                    to_come[key] = one.at, max(tip.known, one.known)
        self._account((DELIVERY, facility), found, now, to_come)

    def _account(
        self,
        scope: Scope,
        found: Mapping[Key, set[str]],
        now: int,
        to_come: Mapping[Key, tuple[int, int]] = NONE,
        lately: Collection[str] = (),
    ) -> None:
        """`to_come`: of some, when it comes and when that is known. `lately`: who may be thought to be of each."""
        known = self._open[scope]
        for key in [*known]:
            if key not in found:
                known.pop(key).until = now
        for key, bookings in found.items():
            if key not in known:
                known[key] = Situation(key, now, scene=self.scene, throughout={*bookings})
                self.situations.append(known[key])
                if key in to_come:
                    known[key].due, known[key].known = to_come[key]
            known[key].bookings |= bookings.union(lately)
            known[key].throughout &= bookings
        if not known:
            del self._open[scope]


# -- what is so ------------------------------------------------------------------------------------------------------


def _rivals(county: County, facility: str, unit: str, now: int) -> dict[Key, set[str]]:
    """The pairs of feuding groups of which members are housed in one unit: two persons at least."""
    members: defaultdict[str, set[Stay]] = defaultdict(set)
    for stay in county.in_unit(facility, unit):
        for group in county.sides(stay):
            members[group].add(stay)
    feuds = county.feuds(now)
    return {
        (RIVALS, facility, unit, *pair): {stay.number for group in pair for stay in members[group]}
        for pair in combinations(sorted(members), 2)
        if pair in feuds and len(members[pair[0]] | members[pair[1]]) > 1
    }


def _reviews(county: County, stay: Stay, now: int) -> dict[Key, set[str]]:
    """What became known of somebody at minimum or medium since the classification."""
    if stay.ended or stay.level not in {"MINIMUM", "MEDIUM"}:
        return {}
    validations = county.validations[stay.person, stay.facility.id]
    since = stay.classified
    recorded = [*stay.infractions.values()]
    recorded += [one.time for one in validations.values() if one.status in {"MEMBER", "SUSPECT"}]
    feud = [
        violence.time
        for group, one in validations.items()
        if one.status == "MEMBER"
        for violence in county.violence_of(group, now)
    ]
    why = {"recorded": recorded, "feud": feud}
    return {
        (REVIEW, stay.facility.id, stay.number, name): {stay.number}
        for name, times in why.items()
        if any(time > since for time in times)
    }


def _means(county: County, tip: Tip, delivery: Delivery, now: int) -> bool:
    """Whether a tip means a delivery: nothing that it says is otherwise, and who sends or gets it is the same."""
    stay = delivery.stay
    if tip.ended or _is_over(delivery, now):
        return False
    if tip.facility not in {None, stay.facility.id} or tip.method not in {None, delivery.method}:
        return False
    recipient = _is_recipient(county, tip, stay)
    if recipient is False:
        return False
    if tip.courier is not None and delivery.party is not None and not _is_courier(tip, delivery):
        return False
    if not recipient and (tip.courier is None or delivery.party is None):
        return False
    if tip.window is not None:
        return _comes_between(delivery, *tip.window)
    return tip.time < delivery.over and delivery.at <= tip.time + TIP_DAYS * DAY


def _is_known_by_number(county: County, tip: Tip, facility: str, now: int) -> bool:
    """Whether somebody who expects anything at a facility is known there by the number that a tip gives: then it means
    nobody else there."""
    return (
        tip.recipient is not None
        and tip.by_number
        and any(
            (tip.recipient, one.stay.facility.agency) in county.printed and not _is_over(one, now)
            for one in county.expected_by(tip.recipient, facility)
        )
    )


def _is_over(delivery: Delivery, now: int) -> bool:
    return bool(delivery.ended or delivery.stay.ended or now >= delivery.over)


def _comes_between(delivery: Delivery, begins: int, ends: int) -> bool:
    """Whether some of a visit is between two times; of all else, whether it comes then, an hour more or less."""
    if delivery.ends is None:
        return begins - ROUGHLY <= delivery.at <= ends + ROUGHLY
    return delivery.at <= ends and (begins <= delivery.at or begins < delivery.ends)


def _is_recipient(county: County, tip: Tip, stay: Stay) -> bool | None:
    """None: it is not said, or by a number of which nobody can say whether it is this one's, before prints are back."""
    if tip.recipient is None:
        return None
    if not tip.by_number:
        return tip.recipient.has_name_of(stay.person)
    return tip.recipient is stay.person if (stay.person, stay.facility.agency) in county.printed else None


def _is_courier(tip: Tip, delivery: Delivery) -> bool:
    if tip.courier is None or delivery.party is None or not tip.courier.has_name_of(delivery.party):
        return False
    return not (tip.birth_known and delivery.birth_known) or tip.courier.born == delivery.party.born
