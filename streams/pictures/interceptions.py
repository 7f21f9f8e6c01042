"""Interceptions: which tips mean which deliveries, at the facilities of one partition. A fold over both.

Tips are few and go to every partition; deliveries come and go with the custody records of the persons they are for.
Each is compared with the other once, when it comes: what is asked later is looked up.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.codec import WriterSchema, decode_event
from schemas.events import Tip, TipEnd
from streams.facts import Conflict, EventKey, Fact, event_id_of, event_key, owner_of
from streams.numbers import NumberSeries, series_in
from streams.pictures.decoding import decoder
from streams.pictures.deliveries import Delivery
from streams.pictures.everyones import Everyones
from streams.pictures.tip_match import Awaited, Match, match, speaks_until

MOST_RECIPIENTS: Final = 5
"""Persons at one facility whom a tip may mean; beyond, it alerts on nobody there (28 CFR 23.20(a): intelligence is of
identifiable persons on reasonable suspicion, not of whoever has a visitor on Sunday)."""


class DeliveryKey(NamedTuple):
    """A delivery to a person in custody."""

    facility: str
    person: str
    method: str
    number: str


class TipAt(NamedTuple):
    """A tip, at one facility."""

    facility: str
    agency: str
    event_id: str

    @property
    def event_key(self) -> EventKey:
        """The tip's."""
        return event_key(self.agency, self.event_id)


@dataclass(frozen=True, slots=True)
class Addressee:
    """A person in custody to whom something is to come."""

    person: str
    facility: str
    booking_number: str | None
    name: str | None
    unit: str | None
    tips: frozenset[EventKey]
    """The tips that name this person by a number."""
    deliveries: tuple[Delivery, ...]
    verified: frozenset[NumberSeries] = frozenset()
    """Of which series a number of the person is verified by fingerprint."""

    def keys(self) -> dict[DeliveryKey, Delivery]:
        """The deliveries by key."""
        return {DeliveryKey(self.facility, self.person, one.method.value, one.number): one for one in self.deliveries}


@dataclass(frozen=True, slots=True)
class LiveTip:
    """A tip that was not withdrawn and is not closed."""

    fact: Fact
    body: Tip
    verified: frozenset[NumberSeries]
    """Of which series it names the recipient by a number that is verified by fingerprint."""

    def is_live(self, now: int) -> bool:
        """Whether anything may be derived from it at `now`, microseconds."""
        return self.fact.purge_by is None or now < self.fact.purge_by


class Touched(NamedTuple):
    """Of what something may follow anew."""

    deliveries: frozenset[DeliveryKey] = frozenset()
    tips: frozenset[TipAt] = frozenset()

    def __or__(self, other: Touched) -> Touched:
        return Touched(self.deliveries | other.deliveries, self.tips | other.tips)


NOTHING: Final = Touched()


class Interceptions:
    """Tips, deliveries, and which mean which. `schemas` are the writers' schemas by id."""

    def __init__(self, schemas: Mapping[int, WriterSchema]) -> None:
        self._schemas = schemas
        body = decoder(schemas)
        self._tips = Everyones(schemas, Tip, body)
        self._ends = Everyones(schemas, TipEnd, body)
        self._ended_by: defaultdict[EventKey, set[EventKey]] = defaultdict(set)
        """By tip: the outcomes that close it."""
        self._live: dict[EventKey, LiveTip] = {}
        self._until: list[tuple[int, EventKey]] = []
        """The last time of which each live tip speaks, in order: what comes later is not compared with it."""
        self._addressees: dict[tuple[str, str], Addressee] = {}
        """By facility and person."""
        self._by_tip: defaultdict[EventKey, set[DeliveryKey]] = defaultdict(set)
        self._by_delivery: defaultdict[DeliveryKey, dict[EventKey, Match]] = defaultdict(dict)
        self._recipients: defaultdict[TipAt, Counter[str]] = defaultdict(Counter)
        """By tip and facility: whom it may mean there, each by how many deliveries."""
        self._named: defaultdict[TipAt, set[str]] = defaultdict(set)
        """By tip and facility: who is known there by the number that it gives, and expects anything."""

    # -- folding ---------------------------------------------------------------------------------------------------

    def add(self, fact: Fact) -> tuple[Touched | None, Conflict | None]:
        """Fold a tip or its outcome: (what it touched, None where it changed nothing; the conflict where one key came
        with two contents)."""
        before = self._closed_by(fact.event_key)
        changed, conflict = self._tips.add(fact)
        if not changed and conflict is None:
            changed, conflict = self._ends.add(fact)
        return (self._look_again(fact.event_key, before) if changed else None), conflict

    def remove(self, key: EventKey) -> Touched:
        """Forget an event."""
        before = self._closed_by(key)
        self._tips.remove(key)
        self._ends.remove(key)
        return self._look_again(key, before)

    def forget(self, key: EventKey, variant: str) -> Touched:
        """Forget one content of an event."""
        before = self._closed_by(key)
        known = self._tips.forget(key, variant), self._ends.forget(key, variant)
        return self._look_again(key, before) if any(known) else NOTHING

    def facts_of(self, key: EventKey) -> tuple[Fact, ...]:
        """What came under one event; the first stands."""
        return self._tips.facts_of(key) or self._ends.facts_of(key)

    def _closed_by(self, key: EventKey) -> EventKey | None:
        """The tip that an outcome closes."""
        told = self._ends.told(key)
        return None if told is None else event_key(told.fact.agency, told.body.target_event_id)

    def _look_again(self, key: EventKey, closed_before: EventKey | None) -> Touched:
        closes = self._closed_by(key)
        if closed_before is not None:
            self._ended_by[closed_before].discard(key)
        if closes is not None:
            self._ended_by[closes].add(key)
        touched = NOTHING
        for tip in {key, closed_before, closes} - {None}:
            touched |= self._match_tip(tip)  # type: ignore[arg-type]
        return touched

    def _match_tip(self, key: EventKey) -> Touched:
        """Compare a tip with every delivery."""
        before = frozenset(self._by_tip.get(key, ()))
        for delivery in before:
            self._unlink(key, delivery)
        gone = self._live.pop(key, None)
        if gone is not None:
            self._until.remove((speaks_until(gone.body, gone.fact.time), key))
        told = self._tips.told(key)
        if told is not None and not self._ended_by.get(key):
            event = decode_event(told.fact.raw, self._schemas)
            self._live[key] = LiveTip(told.fact, told.body, series_in(event))
            insort(self._until, (speaks_until(told.body, told.fact.time), key))
            for addressee in self._addressees.values():
                for expected_at, expected in addressee.keys().items():
                    self._match(key, addressee, expected_at, expected)
        deliveries = before.union(self._by_tip.get(key, ()))
        return Touched(deliveries, frozenset(_tip_at(one.facility, key) for one in deliveries))

    def _match(self, key: EventKey, addressee: Addressee, where: DeliveryKey, delivery: Delivery) -> None:
        tip = self._live[key]
        is_named = key in addressee.tips
        # Of a series of which the jail has a number it would be this one.
        is_another = not is_named and not tip.verified.isdisjoint(addressee.verified)
        awaited = Awaited(addressee.facility, addressee.name, is_named, delivery, is_another)
        found = match(tip.body, tip.fact.time, awaited)
        if found is not None:
            self._by_tip[key].add(where)
            self._by_delivery[where][key] = found
            self._recipients[_tip_at(where.facility, key)][where.person] += 1

    def _unlink(self, tip: EventKey, where: DeliveryKey) -> None:
        """A tip means a delivery no more."""
        tip_at = _tip_at(where.facility, tip)
        self._by_tip[tip].remove(where)
        del self._by_delivery[where][tip]
        if not self._by_tip[tip]:
            del self._by_tip[tip]
        if not self._by_delivery[where]:
            del self._by_delivery[where]
        recipients = self._recipients[tip_at]
        recipients[where.person] -= 1
        if not recipients[where.person]:
            del recipients[where.person]
        if not recipients:
            del self._recipients[tip_at]

    def place(self, facility: str, person: str, addressee: Addressee | None) -> Touched:
        """What is to come to a person at a facility by now; None for nothing, or the person has left."""
        before = self._addressees.pop((facility, person), None)
        if before is None and addressee is None:
            return NOTHING
        keys = {**(before.keys() if before else {}), **(addressee.keys() if addressee else {})}
        named_by = {_tip_at(facility, tip) for one in (before, addressee) if one is not None for tip in one.tips}
        broad = {tip for tip in self._recipients if tip.facility == facility and self.is_broad(tip)}
        found = {tip for tip in named_by if tip in self._named}
        tips = self._tips_of(keys) | named_by
        for where in keys:
            for tip in [*self._by_delivery.get(where, ())]:
                self._unlink(tip, where)
        for tip_at in named_by:
            self._name(tip_at, person, is_named=addressee is not None and tip_at.event_key in addressee.tips)
        if addressee is not None:
            self._addressees[facility, person] = addressee
            for where, delivery in addressee.keys().items():
                for _, tip in self._until[bisect_left(self._until, (delivery.at,)) :]:
                    self._match(tip, addressee, where, delivery)
        touched = Touched(frozenset(keys))
        for tip_at in tips | self._tips_of(keys):
            if (tip_at in broad) != self.is_broad(tip_at) or (tip_at in found) != (tip_at in self._named):
                touched |= Touched(self._meant(tip_at), frozenset((tip_at,)))
        return touched

    def _name(self, tip: TipAt, person: str, *, is_named: bool) -> None:
        """Somebody is known by a tip's number, or is not."""
        if is_named:
            self._named[tip].add(person)
        elif tip in self._named:
            self._named[tip].discard(person)
            if not self._named[tip]:
                del self._named[tip]

    def _tips_of(self, deliveries: Iterable[DeliveryKey]) -> set[TipAt]:
        return {_tip_at(where.facility, tip) for where in deliveries for tip in self._by_delivery.get(where, ())}

    def _meant(self, tip: TipAt) -> frozenset[DeliveryKey]:
        return frozenset(where for where in self._by_tip.get(tip.event_key, ()) if where.facility == tip.facility)

    # -- asking ----------------------------------------------------------------------------------------------------

    def focuses(self) -> Iterable[DeliveryKey | TipAt]:
        """Everything that something may follow of."""
        yield from self._by_delivery
        yield from self._recipients

    def delivery(self, where: DeliveryKey) -> tuple[Addressee, Delivery] | None:
        """A delivery and whom it is for; None where it is over."""
        addressee = self._addressees.get((where.facility, where.person))
        delivery = addressee.keys().get(where) if addressee else None
        return (addressee, delivery) if addressee is not None and delivery is not None else None

    def meaning(self, where: DeliveryKey) -> list[tuple[LiveTip, Match]]:
        """The tips that mean a delivery, and may mean only few others there, in order of event time. Where somebody is
        known by a tip's number, it means nobody else there."""
        found = [
            (self._live[tip], matched)
            for tip, matched in self._by_delivery.get(where, {}).items()
            if matched.is_meant and self._may_mean(_tip_at(where.facility, tip), where.person)
        ]
        return sorted(found, key=lambda one: one[0].fact.order)

    def tip(self, tip: TipAt) -> LiveTip | None:
        """A tip; None where it is closed or withdrawn."""
        return self._live.get(tip.event_key)

    def is_broad(self, tip: TipAt) -> bool:
        """Whether a tip may mean so many at a facility that it means nobody."""
        return tip not in self._named and len(self._recipients.get(tip, ())) > MOST_RECIPIENTS

    def _may_mean(self, tip: TipAt, person: str) -> bool:
        named = self._named.get(tip)
        return not self.is_broad(tip) if named is None else person in named


def _tip_at(facility: str, tip: EventKey) -> TipAt:
    return TipAt(facility, owner_of(tip), event_id_of(tip))
