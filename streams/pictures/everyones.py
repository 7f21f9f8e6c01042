"""Everyone's facts: events about no one person, such as street violence and tips, that several partitions have.

Of each event one content stands. What it means for a picture is the picture's to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from schemas.codec import WriterSchema, decode_event
from schemas.events import Body, Event
from streams.facts import Conflict, EventKey, Fact, variant_of
from streams.pictures.decoding import Told
from streams.pictures.variants import Variants, with_variant

B = TypeVar("B", bound=Body)


class Everyones(Generic[B]):
    """The facts of one type of body that were not withdrawn. `schemas` are the writers' schemas by id."""

    def __init__(self, schemas: Mapping[int, WriterSchema], of: type[B], body: Callable[[Fact], Body]) -> None:
        self._schemas = schemas
        self._of = of
        self._body = body
        self._facts: dict[EventKey, Variants] = {}
        self._told: dict[EventKey, Told[B]] = {}

    def _event(self, fact: Fact) -> Event:
        return decode_event(fact.raw, self._schemas)

    def add(self, fact: Fact) -> tuple[bool, Conflict | None]:
        """Fold a fact: (whether another content stands now, the conflict where one key came with two)."""
        known = self._facts.get(fact.event_key, ())
        if any(one.raw == fact.raw for one in known) or not isinstance(self._body(fact), self._of):
            return False, None
        variants, conflict = with_variant(known, fact, self._event)
        self._keep(fact.event_key, variants)
        return variants[0] is fact, conflict

    def remove(self, key: EventKey) -> bool:
        """Forget an event: whether it was known."""
        known = key in self._facts
        self._keep(key, ())
        return known

    def forget(self, key: EventKey, variant: str) -> bool:
        """Forget one content of an event: whether it was known."""
        known = self._facts.get(key, ())
        left = tuple(fact for fact in known if variant_of(fact.raw) != variant)
        if len(left) == len(known):
            return False
        self._keep(key, left)
        return True

    def _keep(self, key: EventKey, variants: Variants) -> None:
        self._facts.pop(key, None)
        self._told.pop(key, None)
        if variants:
            self._facts[key] = variants
            body = self._body(variants[0])
            if isinstance(body, self._of):
                self._told[key] = Told(variants[0], body)

    def facts_of(self, key: EventKey) -> Variants:
        """What came under one event; the first stands."""
        return self._facts.get(key, ())

    def told(self, key: EventKey) -> Told[B] | None:
        """What stands of an event; None where it is not known."""
        return self._told.get(key)
