"""The person's picture: what is known of each person of one partition, folded from facts.

Facts are kept undecoded and ordered by event time; the order of arrival leaves no trace. What is withdrawn, purged, or
forwarded to another person counts for nothing, whichever came first.

There are millions of facts and few that anybody asks about. So what a fact costs is kept small (see
docs/performance.md), and what is derived of a person (`View`) is made when it is asked for, from that person's facts
alone, and kept for the persons asked about last.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Final, NamedTuple, TypeAlias, TypeVar

from schemas.codec import WriterSchema, decode, decode_event
from schemas.events import (
    TYPE_OF_BODY,
    AffiliationReport,
    AffiliationStatus,
    Body,
    Event,
    Validation,
)
from streams.facts import (
    COMMON,
    SAME_AS,
    SUBJECT,
    TICK_KEY,
    Conflict,
    EventKey,
    Fact,
    FactKey,
    Joining,
    KeyKind,
    event_id_of,
    parse_key,
    read_fact,
    variant_of,
)
from streams.identify import group_key
from streams.numbers import VERIFIED, NumberSeries
from streams.pictures.decoding import Told, decoder, series_decoder
from streams.pictures.deliveries import DELIVERY_BODIES, DELIVERY_TYPES, Delivery, expected
from streams.pictures.expiry import NEVER, Expiry
from streams.pictures.stays import Stay, Stays
from streams.pictures.street import Street
from streams.pictures.variants import Variants, with_variant
from streams.records import Record, header

AFFILIATION_TYPES: Final = frozenset({"AffiliationValidated", "AffiliationReported"})
PURGED: Final = "Purged"
JOINED: Final = "Joined"
REPLACED: Final = "Replaced"
STAY: Final = "Stay"
"""Changes that are no event's: a fact has gone from the log; identities were joined; a fact was replaced by another one
of its key; a person's stays in custody, or what is known of when they began, are others."""
VIEWS: Final = 262_144
"""Persons of whom what is derived is kept, some 400 bytes each."""
B_ = TypeVar("B_", bound=Body)


class Change(NamedTuple):
    """What folding one record did."""

    persons: frozenset[str] = frozenset()
    """Persons of whom something may follow anew."""
    groups: frozenset[str] = frozenset()
    """Groups (by key) whose feuds changed."""
    event_type: str = ""
    """Type of the event that changed something; empty for none."""
    event: EventKey | None = None
    ticked: bool = False
    conflict: Conflict | None = None
    """One key came with two contents."""
    stay: bool = True
    """Whether the persons' stays in custody may be others by it."""

    @property
    def event_id(self) -> str | None:
        """The event's id. Written out only where it is asked for: a recovery never does."""
        return None if self.event is None else event_id_of(self.event)

    @property
    def happened(self) -> tuple[str, ...]:
        """What may trigger something."""
        return (self.event_type, STAY) if self.stay else (self.event_type,)


@dataclass(frozen=True, slots=True)
class Affiliation:
    """Standing of a person with one group, as the latest event of one agency has it."""

    group: str
    """The group's name as written."""
    status: AffiliationStatus
    source: Fact


Kept: TypeAlias = list[Fact] | tuple[()]
"""Facts of one person. Of most persons one of two sorts is empty, and takes no memory then."""


@dataclass(slots=True)
class Person:
    """The facts of one person."""

    id: str
    facts: Kept = ()
    """In order; of each event and role the one that stands where there are several contents."""
    links: Kept = ()
    """That this person is the same as another."""
    fallen: Variants = ()
    """Other contents of the same events, and the same content where it came by another number of the person, too."""
    is_forwarded_to: bool = False
    """Whether facts were ever forwarded to this person."""
    expires: bool = False
    """Whether a fact, or what joined it, ever had a purge date."""

    def all(self) -> Iterator[Fact]:
        """Every fact, whether it stands or not."""
        return chain(self.facts, self.links, self.fallen)

    def ways(self) -> Iterator[Joining]:
        """Every step by which any fact came here."""
        return (joining for fact in self.all() for joining in fact.rarity.joined_by)


@dataclass(slots=True)
class View:
    """What a person's facts come to. It grows with facts in order of time; whatever else changes, it is made anew."""

    until: int
    """Microseconds: when the first of them ceases to count."""
    joined: tuple[str, Joining] | None
    """The person to whom this one's facts are forwarded, and what joined them."""
    is_contested: bool
    """Whether what is known ever joined this person to another than now, or to nobody."""
    standing: list[Fact]
    """In order: what counts, and is about this person; nothing where another person has the facts. The very list of the
    person's facts where all of them count."""
    types: frozenset[str]
    """The event types of these: most questions are about what nobody said of this person."""
    stays: Stays

    def grow(self, fact: Fact, facts: list[Fact]) -> bool:
        """Take in a fact that is now the last of the person's, and that nothing withdraws or ends: whether the stays
        are others by it."""
        if self.joined is not None:
            return False
        if fact.role == SUBJECT:
            if self.standing is not facts:
                self.standing.append(fact)
            if fact.sort.event_type not in self.types:
                self.types = _one(self.types | {fact.sort.event_type})
            return self.stays.tell(fact)
        if self.standing is facts:
            self.standing = facts[:-1]
        return False


K = TypeVar("K")


def _discard(index: dict[K, set[str]], key: K, person: str) -> None:
    """Take a person out of an index, and the key where it was the last."""
    index[key].discard(person)
    if not index[key]:
        del index[key]


NOTHING: Final = Change()
NOBODY: Final = View(NEVER, None, False, [], frozenset(), Stays(()))


@lru_cache(1_024)
def _one(types: frozenset[str]) -> frozenset[str]:
    """One object for equal ones."""
    return types


class PersonPicture:
    """What is known of the persons of one partition. `schemas` are the writers' schemas by id."""

    def __init__(self, schemas: Mapping[int, WriterSchema]) -> None:
        self._schemas = schemas
        self.now = 0
        """Microseconds: the last tick."""
        self._body = decoder(schemas)
        self._series = series_decoder(schemas)
        self.street = Street(schemas)
        self._people: dict[str, Person] = {}
        self.facts = 0
        """How many facts about persons are held."""
        self.fact_bytes = 0
        """Bytes of their events, about: those of an event that is two facts are counted twice."""
        self._of_event: dict[EventKey, Fact | Variants] = {}
        """By event: its facts, of whatever person; mostly one."""
        self._joined_by: defaultdict[EventKey, set[str]] = defaultdict(set)
        """By event that joined persons: those who have facts that came by it."""
        self._withdrawn: set[EventKey] = set()
        self._by_group: defaultdict[str, set[str]] = defaultdict(set)
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        """By person joined to another: those who have facts that came through that one."""
        self.announced: dict[str, str] = {}
        """By person that was joined anew: to whom it is joined now, by its owner's word."""
        self._views: OrderedDict[str, View] = OrderedDict()
        self._expiry = Expiry()

    # -- folding ---------------------------------------------------------------------------------------------------

    def fold(self, record: Record) -> Change:
        """Fold one record of the person facts. A duplicate, or what is already withdrawn, changes nothing.

        Raises ValueError or DecodeError for what no stage writes.
        """
        raw_key = record.key or b""
        if record.value is not None and not raw_key.startswith(b"~"):
            return self._tell(read_fact(record))
        if raw_key == TICK_KEY:
            return self._tick(record)
        key = parse_key(raw_key)
        if key.kind is KeyKind.WITHDRAWN:
            return self._withdraw(key)
        if key.kind is KeyKind.JOINED:
            return self._join_anew(key, record)
        if record.value is None:
            return self._forget(key, raw_key)
        return self._tell_everyone(read_fact(record))

    def _tick(self, record: Record) -> Change:
        _, tick = decode(record.value or b"", self._schemas, "Tick")
        if tick["time"] <= self.now:
            return NOTHING
        self.now = int(tick["time"])
        return Change(ticked=True)

    def _withdraw(self, key: FactKey) -> Change:
        event_key = key.event_key
        if event_key in self._withdrawn:
            return NOTHING
        self._withdrawn.add(event_key)
        self._expiry.withdraw((*self._facts_of(event_key), *self.street.facts_of(event_key)))
        groups = self.street.remove(event_key)
        persons = frozenset((*(fact.person for fact in self._facts_of(event_key)), *self._joined_by.get(event_key, ())))
        self._look_again(persons)
        if not persons and not groups:
            return NOTHING
        return Change(persons, groups, "EventWithdrawn", event_key)

    def _join_anew(self, key: FactKey, record: Record) -> Change:
        """Its owner says whom a person is joined to now: facts that came by the way to another go back."""
        self.announced[key.person] = header(record.headers, "to") or ""
        holders = frozenset(self._holders.get(key.person, ()))
        self._look_again(holders)
        return Change(holders, event_type=JOINED)

    def _forget(self, key: FactKey, raw_key: bytes) -> Change:
        """A tombstone: the fact was purged, or forwarded."""
        event_key = key.event_key
        self._expiry.forget(raw_key)
        if key.kind is KeyKind.EVERYONE:
            groups = self.street.forget(event_key, key.variant)
            return Change(groups=groups, event_type=PURGED, event=event_key) if groups else NOTHING
        known = self._variants(event_key, key.person, key.role)
        left = tuple(fact for fact in known if variant_of(fact.raw) != key.variant or fact.forwarded_from != key.origin)
        if len(left) == len(known):
            return NOTHING
        self._keep(known, left)
        for gone in known:
            if gone not in left:
                self._take_back(gone)
        if next(self._people[key.person].all(), None) is None:
            del self._people[key.person]
        return Change(frozenset({key.person}), event_type=PURGED, event=event_key)

    def _take_back(self, gone: Fact) -> None:
        """Let the person not be found any more by what a fact said that has gone, unless another fact says it too: who
        was purged must neither be remembered nor be asked about for ever."""
        person, left = gone.person, self._people[gone.person]
        for joining in gone.rarity.joined_by:
            # Mostly the first that is left came the same way.
            if all(other.event_key != joining.event_key for other in left.ways()):
                _discard(self._joined_by, joining.event_key, person)
            if all(other.of != joining.of for other in left.ways()):
                _discard(self._holders, joining.of, person)
        group = self._group_of(gone)
        if group is not None and all(self._group_of(other) != group for other in left.all()):
            _discard(self._by_group, group, person)

    def _group_of(self, fact: Fact) -> str | None:
        """The group with which a fact says that its person is affiliated."""
        if fact.sort.event_type not in AFFILIATION_TYPES or fact.role != SUBJECT:
            return None
        group = getattr(self._body(fact), "group", None)
        return None if group is None else group_key(group)

    def _tell_everyone(self, fact: Fact) -> Change:
        if fact.event_key in self._withdrawn:
            self._expiry.withdraw((fact,))
            return NOTHING
        self._expiry.watch(fact)
        groups, conflict = self.street.add(fact)
        if groups is None:
            return Change(conflict=conflict)
        return Change(frozenset(), groups, fact.event_type, fact.event_key, conflict=conflict, stay=False)

    def _tell(self, fact: Fact) -> Change:
        known = self._variants(fact.event_key, fact.person, fact.role)
        conflict = None
        stay = True
        is_said_already = False
        if known:
            if any(one.raw == fact.raw and one.rarity.joined_by == fact.rarity.joined_by for one in known):
                return NOTHING
            variants, conflict = with_variant(known, fact, self._event)
            self._keep(known, variants)
        else:
            is_said_already = fact.role == SAME_AS and self._is_said(fact)
            stay = self._add(fact)
        if fact.rarity.joined_by:
            self._people[fact.person].is_forwarded_to = True
            for joining in fact.rarity.joined_by:
                self._joined_by[joining.event_key].add(fact.person)
                self._holders[joining.of].add(fact.person)
        group = self._group_of(fact)
        if group is not None:
            self._by_group[group].add(fact.person)
        if fact.event_key in self._withdrawn:
            self._expiry.withdraw((fact,))
            # A link that was withdrawn before it came joins nobody, but may make it contested to whom.
            if fact.role != SAME_AS:
                return NOTHING
        if fact.rarity is not COMMON:
            self._expiry.watch(fact)
        if is_said_already:
            return NOTHING
        # What stands in another's place concerns whatever that one concerned.
        what = REPLACED if known else JOINED if fact.role == SAME_AS else fact.sort.event_type
        return Change(frozenset((fact.person,)), frozenset(), what, fact.event_key, conflict=conflict, stay=stay)

    def _is_said(self, link: Fact) -> bool:
        """Whether another event joins the same two, for ever: nearly every event of a person with two numbers does."""
        known = self._people.get(link.person)
        first = known.links[0] if known is not None and known.links else None
        rare = link.rarity
        return (
            first is not None
            and not rare.expires
            and not rare.joined_by
            and first.rarity == rare
            and self._stands(first)
        )

    # -- keeping ---------------------------------------------------------------------------------------------------

    def _facts_of(self, event_key: EventKey) -> Variants:
        found = self._of_event.get(event_key, ())
        return (found,) if isinstance(found, Fact) else found

    def _variants(self, event_key: EventKey, person: str, role: str) -> Variants:
        """What came under one event for one person and role, by whatever number of the person; the first stands."""
        found = self._of_event.get(event_key)
        if found is None:
            return ()
        facts = (found,) if isinstance(found, Fact) else found
        return tuple(fact for fact in facts if fact.role == role and fact.person == person)

    def _add(self, fact: Fact) -> bool:
        """Keep a fact of which there was no other content: whether the person's stays may be others by it."""
        self.facts += 1
        self.fact_bytes += len(fact.raw)
        person = self._people.get(fact.person)
        if person is None:
            person = self._people[fact.person] = Person(fact.person)
        # One object for all facts of a person, and for most of a stay or of those that came the same way.
        fact.person = person.id
        if person.facts and person.facts[-1].stay == fact.stay:
            fact.stay = person.facts[-1].stay
        if fact.rarity is not COMMON:
            alike = person.links if fact.role == SAME_AS else person.facts
            if alike and alike[-1].rarity == fact.rarity:
                fact.rarity = alike[-1].rarity
            person.expires = person.expires or fact.rarity.expires
        found = self._of_event.get(fact.event_key)
        if found is None:
            self._of_event[fact.event_key] = fact
        else:
            others = (found,) if isinstance(found, Fact) else found
            self._of_event[fact.event_key] = (*others, fact)
            # An event of two numbers is two facts: its bytes are there once.
            fact.event_key = others[0].event_key
            if others[0].raw == fact.raw:
                fact.raw, fact.time = others[0].raw, others[0].time
        if fact.role == SAME_AS:
            person.links = _with(person.links, fact)
        elif not person.facts or person.facts[-1].time < fact.time:
            person.facts = _with(person.facts, fact)
            view = self._views.get(person.id)
            if view is not None and fact.rarity is COMMON and fact.event_key not in self._withdrawn:
                return view.grow(fact, person.facts)
        else:
            insort(person.facts, fact)
        self._views.pop(person.id, None)
        return True

    def _keep(self, known: Variants, variants: Variants) -> None:
        """Keep these variants of one event, person and role instead of those known."""
        one = known[0]
        person = self._people[one.person]
        # It may hold the person's very list.
        self._views.pop(one.person, None)
        others = tuple(fact for fact in self._facts_of(one.event_key) if fact not in known)
        if others:
            self._of_event[one.event_key] = others
        else:
            del self._of_event[one.event_key]
        for fact in known:
            for kept in (person.facts, person.links):
                if isinstance(kept, list) and fact in kept:
                    kept.remove(fact)
        person.fallen = tuple(fact for fact in person.fallen if fact not in known)
        self.facts += len(variants[1:]) - len(known)
        self.fact_bytes += sum(len(fact.raw) for fact in variants[1:]) - sum(len(fact.raw) for fact in known)
        for fact in variants[:1]:
            self._add(fact)
        if len(variants) > 1:
            event = self._facts_of(one.event_key)
            self._of_event[one.event_key] = (*event, *variants[1:])
            person.fallen = (*person.fallen, *variants[1:])
            person.expires = person.expires or any(fact.rarity.expires for fact in variants)

    def _look_again(self, persons: Iterable[str]) -> None:
        for person in persons:
            self._views.pop(person, None)

    def _event(self, fact: Fact) -> Event:
        return decode_event(fact.raw, self._schemas)

    def spent(self) -> list[bytes]:
        """Keys of records that are to go from the log: what is withdrawn, or past its purge date. Each is told once."""
        return self._expiry.take(self.now)

    # -- identity --------------------------------------------------------------------------------------------------

    def joined_to(self, person: str) -> tuple[str, Joining] | None:
        """The person to whom this one's facts are forwarded, and what joined them; None for nobody."""
        return self._view(person).joined

    def may_have_moved(self, person: str) -> bool:
        """Whether the person was ever joined to another, or got another's facts: most never were."""
        known = self._people.get(person)
        return (known is not None and bool(known.links or known.is_forwarded_to)) or person in self.announced

    def is_contested(self, person: str) -> bool:
        """Whether facts may have been forwarded by what does not stand: to another, or by another content of the event
        that joined them. Whoever got them can't know, and must be told."""
        return self._view(person).is_contested

    def misplaced(self, person: str) -> Iterator[tuple[Fact, Fact]]:
        """Facts that belong to another person: (the fact as it is here, the fact as it is to be there).

        Those of a person joined to another go to that one; those that came by a join which was withdrawn, or which
        leads to another by now, go back to the person they were first addressed to.
        """
        known = self._people.get(person)
        if known is None:
            return
        joined = self.joined_to(person)
        for fact in (*known.facts, *(other for other in known.fallen if other.role != SAME_AS)):
            if self._is_spent(fact):
                continue
            if not self._joinings_stand(fact):
                yield fact, fact.moved_to(fact.origin, ())
            elif joined is not None:
                yield fact, _forwarded(fact, joined)

    def goes_to(self, person: str) -> tuple[str, Joining] | None:
        """Whose the facts of a person are, and by what, where that need not be found out by keeping them here first: by
        all that is folded, to whom the person is joined is not contested. None: they are to be folded here."""
        known = self._people.get(person)
        if known is None or not known.links:
            return None
        view = self._view(person)
        return None if view.is_contested else view.joined

    def would_stand(self, record: Record) -> bool:
        """Whether a person's fact would count once it is folded."""
        return self._stands(read_fact(record))

    # -- asking ----------------------------------------------------------------------------------------------------

    def persons(self) -> Iterable[str]:
        """Everyone of whom there is a fact."""
        return self._people.keys()

    def persons_affiliated(self, group: str) -> Iterable[str]:
        """Everyone whom an event ever affiliated with a group (by key); the caller asks whether it still holds."""
        return self._by_group.get(group, ())

    def until(self, person: str) -> int | None:
        """When the next fact of a person, or what joined them, ceases to count, or what is to come to them is over,
        microseconds; None for never."""
        stay = self.stay(person)
        over = [delivery.over for delivery in self.deliveries(person, stay)] if stay is not None else []
        until = min((self._view(person).until, *over))
        return None if until == NEVER else until

    def told(self, person: str, *bodies: type[B_], stay: Stay | None = None) -> list[Told[B_]]:
        """The standing facts that say such, in order of event time; with `stay` only those of that stay.

        Only what is about this person: who is a victim, an associate or another party in an event is neither booked,
        nor housed, nor a member by it. Nothing for a person who is joined to another: the other has the facts.
        """
        view = self._view(person)
        types = [event_type for body in bodies if (event_type := TYPE_OF_BODY[body]) in view.types]
        if not types:
            return []
        return [
            Told(fact, body)
            for fact in view.standing
            if fact.sort.event_type in types
            and (stay is None or fact.stay == stay.key)
            and isinstance(body := self._body(fact), bodies)
        ]

    def latest(self, person: str, of: type[B_], stay: Stay) -> Told[B_] | None:
        """The last fact of a stay that says such."""
        fact = self.latest_fact(person, of, stay)
        body = None if fact is None else self._body(fact)
        return Told(fact, body) if fact is not None and isinstance(body, of) else None

    def latest_fact(self, person: str, of: type[Body], stay: Stay) -> Fact | None:
        """The last fact of a stay of which such is said, undecoded."""
        event_type, key = TYPE_OF_BODY[of], stay.key
        view = self._view(person)
        if event_type in view.types:
            for fact in reversed(view.standing):
                if fact.sort.event_type == event_type and fact.stay == key:
                    return fact
        return None

    def say(self, fact: Fact, of: type[B_]) -> B_ | None:
        """What a fact says, if it says such."""
        body = self._body(fact)
        return body if isinstance(body, of) else None

    def stay(self, person: str) -> Stay | None:
        """The stay that the person is in now: the latest that has begun and not ended."""
        return self._view(person).stays.open

    def deliveries(self, person: str, stay: Stay) -> list[Delivery]:
        """What is to come to the person in a stay, or has come and is not handed over yet, in order of time."""
        if self._view(person).types.isdisjoint(DELIVERY_TYPES):
            return []
        return expected(self.told(person, *DELIVERY_BODIES, stay=stay), self.now)

    def verified(self, person: str, types: Container[str]) -> list[NumberSeries]:
        """Of which series of numbers the person has one that is verified by fingerprint, as far as the standing facts
        of these event types tell; in order."""
        found: set[NumberSeries] = set()
        for fact in self._view(person).standing:
            # In others there is none.
            if fact.sort.via in VERIFIED and fact.sort.event_type in types:
                found |= self._series(fact)
        return sorted(found)

    def affiliations(self, person: str) -> list[Affiliation]:
        """Standing with each named group, by each agency's latest event; in order of group and agency."""
        latest: dict[tuple[str, str], Affiliation] = {}
        for told in self.told(person, Validation, AffiliationReport):
            if isinstance(told.body, (Validation, AffiliationReport)) and told.body.group is not None:
                key = group_key(told.body.group), told.fact.agency
                latest[key] = Affiliation(told.body.group, told.body.status, told.fact)
        return [latest[key] for key in sorted(latest)]

    # -- deriving --------------------------------------------------------------------------------------------------

    def _view(self, person: str) -> View:
        view = self._views.get(person)
        if view is None or view.until <= self.now:
            known = self._people.get(person)
            if known is None:
                return NOBODY
            if len(self._views) >= VIEWS:
                self._views.popitem(last=False)
            view = self._views[person] = self._derived(known)
        return view

    def _derived(self, known: Person) -> View:
        joined = self._joined(known.links) if known.links else None
        withdrawn = self._withdrawn
        standing: list[Fact] = []
        if joined is None:
            standing = [fact for fact in known.facts if fact.role == SUBJECT and fact.event_key not in withdrawn]
            if known.expires or known.is_forwarded_to:
                by_now = (self._that_stands(fact, known.fallen) for fact in standing)
                standing = [fact for fact in by_now if fact is not None]
            if known.facts and standing == known.facts:
                standing = known.facts
        until = NEVER
        if known.expires:
            until = min((time for fact in known.all() for time in _purges(fact) if time > self.now), default=NEVER)
        types = _one(frozenset([fact.sort.event_type for fact in standing]))
        return View(until, joined, _contested(known), standing, types, Stays(standing))

    def _joined(self, links: Iterable[Fact]) -> tuple[str, Joining] | None:
        standing = [fact for fact in links if self._stands(fact)]
        if not standing:
            return None
        link = min(standing, key=lambda fact: (fact.rarity.same_as or "", fact.event_key))
        joining = Joining(link.person, link.agency, link.event_id, link.purge_by)
        return (link.rarity.same_as or "").partition("/")[2], joining

    def _that_stands(self, fact: Fact, fallen: Variants) -> Fact | None:
        """A fact, or the same that came by another number, if either counts: not only once the one has gone."""
        if self._stands(fact):
            return fact
        same = (one for one in fallen if one.raw == fact.raw and one.event_key == fact.event_key)
        return next((one for one in same if one.role == fact.role and self._stands(one)), None)

    def _stands(self, fact: Fact) -> bool:
        return not self._is_spent(fact) and self._joinings_stand(fact)

    def _is_spent(self, fact: Fact) -> bool:
        purge_by = fact.rarity.purge_by
        return fact.event_key in self._withdrawn or (purge_by is not None and purge_by <= self.now)

    def _joinings_stand(self, fact: Fact) -> bool:
        return not fact.rarity.joined_by or all(
            hop.event_key not in self._withdrawn
            and (hop.purge_by is None or self.now < hop.purge_by)
            and self.announced.get(hop.of, to) == to
            for hop, to in fact.hops
        )


def _with(kept: Kept, fact: Fact) -> list[Fact]:
    """The facts and another, which is the last of them: in the very list, where there are any."""
    found = kept or []
    found.append(fact)
    return found


def _forwarded(fact: Fact, joined: tuple[str, Joining]) -> Fact:
    """A fact of a person who is joined to another, as that one's."""
    person, by = joined
    return fact.moved_to(person, (*fact.rarity.joined_by, by))


def _contested(known: Person) -> bool:
    return len({link.rarity.same_as for link in known.links}) > 1 or any(fact.role == SAME_AS for fact in known.fallen)


def _purges(fact: Fact) -> Iterator[int]:
    """When a fact, or what joined it to this person, ceases to count."""
    for time in (fact.purge_by, *(joining.purge_by for joining in fact.rarity.joined_by)):
        if time is not None:
            yield time
