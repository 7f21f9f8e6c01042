"""The person's picture: what is known of each person of one partition, folded from facts.

Facts are kept by key, undecoded, and ordered by event time; the order of arrival leaves no trace. What is withdrawn,
purged, or forwarded to another person counts for nothing, whichever came first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Generic, TypeVar

from schemas.codec import WriterSchema, decode
from schemas.events import (
    AffiliationReported,
    AffiliationStatus,
    AffiliationValidated,
    BookingReported,
    CustodyClassified,
    CustodyEnded,
    CustodyEvent,
    Event,
    HousingAssigned,
    NoLongerListed,
)
from streams.facts import SUBJECT, Conflict, EventKey, Fact, FactKey, Joining, KeyKind, parse_key, read_fact
from streams.identify import group_key
from streams.pictures.decoding import decoder
from streams.pictures.street import Street
from streams.pictures.variants import Variants, with_variant, without_variant
from streams.records import Record, header

FactId = tuple[str, str, str]
"""Agency, event id, role: a fact among those of its person."""
AFFILIATION_TYPES: Final = frozenset({"AffiliationValidated", "AffiliationReported"})
END_TYPES: Final = frozenset({"CustodyEnded", "NoLongerListed"})
JOINED: Final = "Joined"
REPLACED: Final = "Replaced"
"""Changes that are no event's: identities were joined; a fact was replaced by another one of its key."""
E_ = TypeVar("E_", bound=Event)


@dataclass(frozen=True, slots=True)
class Change:
    """What folding one record did."""

    persons: frozenset[str] = frozenset()
    """Persons of whom something may follow anew."""
    groups: frozenset[str] = frozenset()
    """Groups (by key) whose feuds changed."""
    event_type: str = ""
    """Type of the event that changed something; empty for none."""
    event_id: str | None = None
    ticked: bool = False
    conflict: Conflict | None = None
    """One key came with two contents."""


@dataclass(frozen=True)
class Told(Generic[E_]):
    """A fact with its event."""

    fact: Fact
    event: E_


@dataclass(frozen=True, slots=True)
class Stay:
    """One stay in custody, as the facts have it."""

    facility: str
    booking_number: str
    booked: Told[BookingReported] | None
    began: int
    """Microseconds: event time of the booking, or of the first fact of the stay where the booking is not known."""


@dataclass(frozen=True, slots=True)
class Affiliation:
    """Standing of a person with one group, as the latest event of one agency has it."""

    group: str
    """The group's name as written."""
    status: AffiliationStatus
    source: Fact


NOTHING: Final = Change()


class PersonPicture:
    """What is known of the persons of one partition. `schemas` are the writers' schemas by id."""

    def __init__(self, schemas: Mapping[int, WriterSchema]) -> None:
        self._schemas = schemas
        self.now = 0
        """Microseconds: the last tick."""
        self._decode = decoder(schemas)
        self.street = Street(self._decode)
        self._facts: defaultdict[str, dict[FactId, Variants]] = defaultdict(dict)
        self._joins: defaultdict[str, dict[FactId, Variants]] = defaultdict(dict)
        self._persons_of: defaultdict[EventKey, set[str]] = defaultdict(set)
        self._withdrawn: set[EventKey] = set()
        self._by_group: defaultdict[str, set[str]] = defaultdict(set)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        """By person joined to another: those who have, or had, facts that came through that one."""
        self.announced: dict[str, str] = {}
        """By person that was joined anew: to whom it is joined now, by its owner's word."""

    # -- folding ---------------------------------------------------------------------------------------------------

    def fold(self, record: Record) -> Change:
        """Fold one record of the person facts. A duplicate, or what is already withdrawn, changes nothing.

        Raises ValueError or DecodeError for what no stage writes.
        """
        key = parse_key(record.key or b"")
        if key.kind is KeyKind.TICK:
            return self._tick(record)
        if key.kind is KeyKind.WITHDRAWN:
            return self._withdraw(key)
        if key.kind is KeyKind.JOINED:
            return self._join_anew(key, record)
        if record.value is None:
            return self._forget(key)
        fact = read_fact(key, record)
        if key.kind is KeyKind.EVERYONE:
            return self._tell_everyone(fact)
        return self._tell(fact)

    def _tick(self, record: Record) -> Change:
        _, tick = decode(record.value or b"", self._schemas, "Tick")
        if tick["time"] <= self.now:
            return NOTHING
        self.now = int(tick["time"])
        return Change(ticked=True)

    def _withdraw(self, key: FactKey) -> Change:
        event_key = (key.agency, key.event_id)
        if event_key in self._withdrawn:
            return NOTHING
        self._withdrawn.add(event_key)
        groups = self.street.remove(event_key)
        persons = frozenset(self._persons_of.get(event_key, ()))
        if not persons and not groups:
            return NOTHING
        return Change(persons, groups, "EventWithdrawn", key.event_id)

    def _join_anew(self, key: FactKey, record: Record) -> Change:
        """Its owner says whom a person is joined to now: facts that came by the way to another go back."""
        self.announced[key.person] = header(record.headers, "to") or ""
        return Change(frozenset(self._holders.get(key.person, ())), event_type=JOINED)

    def _forget(self, key: FactKey) -> Change:
        """A tombstone: the fact was purged, or forwarded."""
        event_key = (key.agency, key.event_id)
        if key.kind is KeyKind.EVERYONE:
            groups = self.street.remove(event_key)
            return Change(groups=groups, event_type="Purged", event_id=key.event_id) if groups else NOTHING
        kept = self._joins if key.kind is KeyKind.SAME_AS else self._facts
        facts, fact_id = kept.get(key.person, {}), (key.agency, key.event_id, key.role)
        known = facts.get(fact_id, ())
        left = without_variant(known, key.variant)
        if len(left) == len(known):
            return NOTHING
        if left:
            facts[fact_id] = left
        else:
            del facts[fact_id]
        if not facts:
            del kept[key.person]
        return Change(frozenset({key.person}), event_type="Purged", event_id=key.event_id)

    def _tell_everyone(self, fact: Fact) -> Change:
        if fact.event_key in self._withdrawn:
            return NOTHING
        before = self.street.groups_of(fact.event_key)
        changed, conflict = self.street.add(fact)
        if not changed:
            return Change(conflict=conflict)
        groups = before | self.street.groups_of(fact.event_key)
        return Change(frozenset(), groups, fact.event_type, fact.key.event_id, conflict=conflict)

    def _tell(self, fact: Fact) -> Change:
        facts = (self._facts if fact.same_as is None else self._joins)[fact.key.person]
        fact_id = (fact.key.agency, fact.key.event_id, fact.key.role)
        known = facts.get(fact_id, ())
        if any(one.key.variant == fact.key.variant and one.joined_by == fact.joined_by for one in known):
            return NOTHING
        facts[fact_id], conflict = with_variant(known, fact, self._decode)
        # Not taken back when the fact goes: whom it names is asked again when it matters.
        self._persons_of[fact.event_key].add(fact.key.person)
        for joining in fact.joined_by:
            self._persons_of[joining.event_key].add(fact.key.person)
            self._holders[joining.of].add(fact.key.person)
        if fact.event_type in AFFILIATION_TYPES and _is_about_the_person(fact):
            group = getattr(self._decode(fact), "group", None)
            if group is not None:
                self._by_group[group_key(group)].add(fact.key.person)
        if fact.event_key in self._withdrawn:
            return NOTHING
        person = frozenset({fact.key.person})
        # What stands in another's place concerns whatever that one concerned.
        what = REPLACED if known else JOINED if fact.same_as is not None else fact.event_type
        return Change(person, frozenset(), what, fact.key.event_id, conflict=conflict)

    # -- identity --------------------------------------------------------------------------------------------------

    def joined_to(self, person: str) -> tuple[str, Joining] | None:
        """The person to whom this one's facts are forwarded, and what joined them; None for nobody."""
        links = [variants[0] for variants in self._joins.get(person, {}).values() if self._stands(variants[0])]
        if not links:
            return None
        link = min(links, key=lambda fact: (fact.same_as or "", fact.event_key))
        return (link.same_as or "").partition("/")[2], Joining(person, *link.event_key, link.purge_by)

    def misplaced(self, person: str) -> Iterator[tuple[Fact, Fact]]:
        """Facts that belong to another person: (the fact as it is here, the fact as it is to be there).

        Those of a person joined to another go to that one; those that came by a join which was withdrawn, or which
        leads to another by now, go back to the person they were first addressed to.
        """
        joined = self.joined_to(person)
        for fact in list(chain.from_iterable(self._facts.get(person, {}).values())):
            if not self._joinings_stand(fact):
                key = replace(fact.key, person=fact.origin)
                yield fact, replace(fact, key=key, joined_by=())
            elif joined is not None:
                key = replace(fact.key, person=joined[0])
                yield fact, replace(fact, key=key, joined_by=(*fact.joined_by, joined[1]))

    # -- asking ----------------------------------------------------------------------------------------------------

    def persons(self) -> Iterable[str]:
        """Everyone of whom there is a fact."""
        return self._facts.keys() | self._joins.keys()

    def persons_affiliated(self, group: str) -> Iterable[str]:
        """Everyone whom an event ever affiliated with a group (by key); the caller asks whether it still holds."""
        return self._by_group.get(group, ())

    def _stands(self, fact: Fact) -> bool:
        return (
            fact.event_key not in self._withdrawn
            and self._joinings_stand(fact)
            and (fact.purge_by is None or self.now < fact.purge_by)
        )

    def _joinings_stand(self, fact: Fact) -> bool:
        return not fact.joined_by or all(
            hop.event_key not in self._withdrawn
            and (hop.purge_by is None or self.now < hop.purge_by)
            and self.announced.get(hop.of, to) == to
            for hop, to in fact.hops
        )

    def purge_times(self, person: str) -> Iterable[int]:
        """When facts of a person, or what joined them, cease to count, microseconds."""
        facts = chain.from_iterable((*self._facts.get(person, {}).values(), *self._joins.get(person, {}).values()))
        times = (t for fact in facts for t in (fact.purge_by, *(j.purge_by for j in fact.joined_by)))
        return (time for time in times if time is not None)

    def told(self, person: str, *types: type[E_]) -> list[Told[E_]]:
        """The standing facts of a person that are of these types and about this person, in order of event time.

        Who is a victim, an associate or another party in an event is neither booked, nor housed, nor a member by it.
        Nothing for a person who is joined to another: the other has the facts.
        """
        facts = self._facts.get(person)
        if not facts or self.joined_to(person) is not None:
            return []
        names = {t.__name__ for t in types}
        wanted = sorted(
            (f for f, *_ in facts.values() if f.event_type in names and _is_about_the_person(f) and self._stands(f)),
            key=lambda fact: fact.order,
        )
        return [Told(fact, event) for fact in wanted if isinstance(event := self._decode(fact), types)]

    def stay(self, person: str) -> Stay | None:
        """The stay that the person is in now: the latest that has begun and not ended."""
        events = self.told(person, BookingReported, HousingAssigned, CustodyClassified, CustodyEnded, NoLongerListed)
        stays: defaultdict[tuple[str, str], list[Told[CustodyEvent]]] = defaultdict(list)
        for told in events:
            stays[told.event.facility, told.event.booking_number].append(Told(told.fact, told.event))
        open_stays = [
            stay
            for (facility, number), told_of_it in stays.items()
            if (stay := _open_stay(facility, number, told_of_it)) is not None
        ]
        return max(open_stays, key=lambda stay: (stay.began, stay.facility, stay.booking_number), default=None)

    def affiliations(self, person: str) -> list[Affiliation]:
        """Standing with each named group, by each agency's latest event; in order of group and agency."""
        latest: dict[tuple[str, str], Affiliation] = {}
        for told in self.told(person, AffiliationValidated, AffiliationReported):
            if isinstance(told.event, (AffiliationValidated, AffiliationReported)) and told.event.group is not None:
                key = group_key(told.event.group), told.fact.key.agency
                latest[key] = Affiliation(told.event.group, told.event.status, told.fact)
        return [latest[key] for key in sorted(latest)]


def _is_about_the_person(fact: Fact) -> bool:
    return fact.key.role == SUBJECT


def _open_stay(facility: str, number: str, told: list[Told[CustodyEvent]]) -> Stay | None:
    """A stay from its facts, in order; None where it has ended. An end is undone only by a later booking."""
    booked: Told[BookingReported] | None = None
    ended = False
    for item in told:
        if isinstance(item.event, BookingReported):
            booked, ended = Told(item.fact, item.event), False
        elif item.fact.event_type in END_TYPES:
            ended = True
    if ended:
        return None
    return Stay(facility, number, booked, booked.fact.time if booked else told[0].fact.time)
