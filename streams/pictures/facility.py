"""The facility's picture: who with a standing is in which unit, what is to come to whom; feuds and tips; and which
agencies are heard of.

Folded from `bus.facility.facts`: the compact records that the person stage writes whenever what matters here changed,
the events that go to every partition, and the notes of what came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.codec import WriterSchema, decode
from schemas.events import TIP_EVENTS, AffiliationStatus
from streams.custody import CUSTODY, read_placed
from streams.facts import (
    TICK_KEY,
    Conflict,
    EventKey,
    Fact,
    KeyKind,
    Provenance,
    event_key,
    parse_key,
    read_fact,
)
from streams.heard import NOTES, Heard, read_note
from streams.identify import group_key
from streams.numbers import NumberSeries
from streams.pictures.deliveries import Delivery
from streams.pictures.expiry import Expiry, Outlived
from streams.pictures.feeds import FeedKey, Feeds
from streams.pictures.interceptions import NOTHING as UNTOUCHED
from streams.pictures.interceptions import Addressee, DeliveryKey, Interceptions, TipAt, Touched
from streams.pictures.lists import ListKey, Lists
from streams.pictures.street import Street
from streams.records import Record


class UnitKey(NamedTuple):
    """A housing unit."""

    facility: str
    unit: str


Focus: TypeAlias = UnitKey | DeliveryKey | TipAt | FeedKey | ListKey
"""What something may follow of."""
FEED_HEARD: Final = "FeedHeard"
"""What a note of what came is called as a trigger: it is no event."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A person's standing with one group, as one agency has it."""

    group: str
    status: AffiliationStatus
    source: Provenance


@dataclass(frozen=True, slots=True)
class InCustody:
    """A person in custody who has a standing with a group."""

    person: str
    booking_number: str | None
    name: str | None
    unit: str | None
    housed: Provenance | None
    """Where the unit is known from."""
    affiliations: tuple[Standing, ...]


Members = dict[str, dict[str, InCustody]]


class Known(NamedTuple):
    """The last record of a person."""

    revision: int
    offset: int
    """Of its cause, on the log of its person's partition."""
    there: tuple[UnitKey, InCustody] | None
    """Where the person is in custody and has a standing, and what is known of both; None for nowhere, or a unit that is
    not known."""
    expects: bool
    """Whether anything is to come to the person."""


class FacilityChange(NamedTuple):
    """What folding one record did."""

    units: frozenset[UnitKey] = frozenset()
    """Housing units of which something may follow anew."""
    event_type: str = ""
    event_id: str | None = None
    ticked: bool = False
    touched: Touched = UNTOUCHED
    """Deliveries and tips of which something may."""
    conflict: Conflict | None = None
    """One key came with two contents, where this picture alone has it."""
    heard_of: tuple[FeedKey | ListKey, ...] = ()
    """Of which agency's feeds, or which list, something was noted."""

    @property
    def focuses(self) -> list[Focus]:
        """Of what something may follow anew, in an order that does not depend on how it came about."""
        return [*sorted(self.units), *sorted(self.touched.deliveries), *sorted(self.touched.tips), *self.heard_of]


NOTHING: Final = FacilityChange()


UNKNOWN: Final = Known(0, 2**63, None, False)


class FacilityPicture:
    """What is known of the facilities of one partition. `schemas` are the writers' schemas by id; `expected` is what
    agencies are to send (`Feeds`)."""

    def __init__(self, schemas: Mapping[int, WriterSchema], expected: Container[tuple[str, str]] | None = None) -> None:
        self._schemas = schemas
        self.now = 0
        """Microseconds: the last tick."""
        self.street = Street(schemas)
        self.interceptions = Interceptions(schemas)
        self._outlived = Outlived()
        self.feeds = Feeds(self._outlived, expected)
        self.lists = Lists(self._outlived)
        self._withdrawn: set[EventKey] = set()
        self._expiry = Expiry()
        self._known: dict[bytes, Known] = {}
        """By key of the record."""
        self._units: set[UnitKey] = set()
        self._members: defaultdict[UnitKey, Members] = defaultdict(dict)
        self._units_of_group: defaultdict[str, set[UnitKey]] = defaultdict(set)

    def fold(self, record: Record) -> FacilityChange:
        """Fold one record of the facility facts. An older revision, or a duplicate, changes nothing."""
        raw_key = record.key or b""
        if raw_key == TICK_KEY:
            return self._tick(record)
        if raw_key.startswith(CUSTODY):
            return self._place(raw_key, record)
        if raw_key.startswith(NOTES):
            return self._hear(raw_key, record)
        key = parse_key(raw_key)
        named = key.event_key
        if key.kind is KeyKind.WITHDRAWN:
            self._withdrawn.add(named)
            self._expiry.withdraw((*self.street.facts_of(named), *self.interceptions.facts_of(named)))
            groups, touched = self.street.remove(named), self.interceptions.remove(named)
            return self._changed(groups, "EventWithdrawn", key.event_id, touched)
        if record.value is None:
            self._expiry.forget(raw_key)
            groups = self.street.forget(named, key.variant)
            return self._changed(groups, "Purged", key.event_id, self.interceptions.forget(named, key.variant))
        return self._tell(read_fact(record))

    def _tell(self, fact: Fact) -> FacilityChange:
        if fact.event_key in self._withdrawn:
            self._expiry.withdraw((fact,))
            return NOTHING
        self._expiry.watch(fact)
        if fact.event_type in TIP_EVENTS:
            touched, conflict = self.interceptions.add(fact)
            if touched is None:
                return FacilityChange(conflict=conflict)
            return self._changed(frozenset(), fact.event_type, fact.event_id, touched, conflict)
        groups, _ = self.street.add(fact)  # that of two contents one falls is said where persons' facts are folded
        return NOTHING if groups is None else self._changed(groups, fact.event_type, fact.event_id)

    def _hear(self, key: bytes, record: Record) -> FacilityChange:
        if record.value is None:
            self._outlived.forget(key)
            return NOTHING
        note = read_note(record)
        if isinstance(note, Heard):
            feed = self.feeds.fold(note)
            return NOTHING if feed is None else FacilityChange(event_type=FEED_HEARD, heard_of=(feed,))
        of = self.lists.fold(note)
        return NOTHING if of is None else FacilityChange(event_type=note.event_type, heard_of=(of,))

    def _tick(self, record: Record) -> FacilityChange:
        _, tick = decode(record.value or b"", self._schemas, "Tick")
        if tick["time"] <= self.now:
            return NOTHING
        self.now = int(tick["time"])
        return FacilityChange(ticked=True)

    def _changed(
        self,
        groups: frozenset[str],
        event_type: str,
        event_id: str,
        touched: Touched = UNTOUCHED,
        conflict: Conflict | None = None,
    ) -> FacilityChange:
        units = frozenset(unit for group in groups for unit in self._units_of_group.get(group, ()))
        return FacilityChange(units, event_type, event_id, touched=touched, conflict=conflict)

    def _place(self, key: bytes, record: Record) -> FacilityChange:
        if record.value is None:
            return NOTHING  # no stage tombstones them
        facility, person, placed = read_placed(record)
        before = self._known.get(key, UNKNOWN)
        # Whoever took the partition over may not have seen the last revision of who had it before, behind a transaction
        # of others that was open: then numbers come again, but what they rest on is later.
        if placed.revision <= before.revision and placed.offset <= before.offset:
            return NOTHING
        # Who has no standing is in nobody's way: where they are is nothing that is asked of a unit.
        unit = UnitKey(facility, placed.unit) if placed.here and placed.unit and placed.standings else None
        expects = placed.here and placed.deliveries > 0
        # Most say nothing here: only what does is decoded.
        told = decode(record.value, self._schemas, "PersonInCustody")[1] if unit is not None or expects else {}
        there = (unit, _in_custody(told)) if unit is not None else None
        self._known[key] = Known(placed.revision, placed.offset, there, expects)
        if before.there is not None:
            self._leaves(*before.there)
        if there is not None:
            self._enters(*there)
        touched = UNTOUCHED
        if expects or before.expects:
            touched = self.interceptions.place(facility, person, _addressee(told) if expects else None)
        units = frozenset(at for at, _ in filter(None, (before.there, there)))
        return FacilityChange(units, "PersonInCustody", placed.event_id or None, touched=touched)

    def _enters(self, unit: UnitKey, placed: InCustody) -> None:
        self._units.add(unit)
        for standing in placed.affiliations:
            group = group_key(standing.group)
            self._members[unit].setdefault(group, {})[placed.person] = placed
            self._units_of_group[group].add(unit)

    def _leaves(self, unit: UnitKey, known: InCustody) -> None:
        for group in {group_key(standing.group) for standing in known.affiliations}:
            members = self._members[unit][group]
            del members[known.person]
            if not members:
                del self._members[unit][group]
                self._units_of_group[group].discard(unit)

    def spent(self) -> list[bytes]:
        """Keys of records that are to go from the log: what is withdrawn, past its purge date, or heard too long ago to
        say anything. Each is told once."""
        return [*self._expiry.take(self.now), *self._outlived.take()]

    def focuses(self) -> Iterable[Focus]:
        """Everything that something may follow of: every housing unit that someone with a standing was ever known to be
        in, every delivery that a tip means, and these tips; every agency that was heard of, and every list."""
        yield from self._units
        yield from self.interceptions.focuses()
        yield from self.feeds.agencies()
        yield from self.lists.keys()

    def look_again(self, of: Focus) -> int | None:
        """When something else may hold of a feed or a list, though nothing comes that says so, microseconds; None for
        never, and for what else may be asked of."""
        if isinstance(of, FeedKey):
            return self.feeds.look_again(of, self.now)
        return self.lists.look_again(of, self.now) if isinstance(of, ListKey) else None

    def members(self, unit: UnitKey) -> Mapping[str, Mapping[str, InCustody]]:
        """Who in a housing unit has a standing with a group: by group (its key) and person. Few of those who are there,
        so that what is asked of groups costs nothing where there are none."""
        return self._members.get(unit, {})


def _in_custody(value: Mapping[str, Any]) -> InCustody:
    housing = value["housing"]
    return InCustody(
        value["person_id"],
        value["booking_number"],
        value["name"],
        value["unit"],
        Provenance.of(housing[0]) if housing else None,
        tuple(
            Standing(item["group"], AffiliationStatus(item["status"]), Provenance.of(item))
            for item in value["affiliations"]
        ),
    )


def _addressee(value: Mapping[str, Any]) -> Addressee:
    return Addressee(
        value["person_id"],
        value["facility"],
        value["booking_number"],
        value["name"],
        value["unit"],
        frozenset(event_key(item["agency"], item["event_id"]) for item in value["tips"]),
        tuple(Delivery.of(item) for item in value["deliveries"]),
        frozenset(NumberSeries(item["kind"], item["issuer"]) for item in value["verified"]),
    )
