"""Feuds: what is known of violence between groups in the community. A fold over street-violence facts.

It is part of both the person's and the facility's picture: such events go to every partition.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from schemas.codec import WriterSchema
from schemas.events import StreetViolence
from streams.facts import Conflict, EventKey, Fact
from streams.identify import group_key
from streams.pictures.decoding import decoder
from streams.pictures.everyones import Everyones
from streams.pictures.expiry import NEVER
from streams.pictures.variants import Variants

DAY: Final = 86_400_000_000
"""A day in microseconds."""
FEUD_WINDOW: Final = 14 * DAY
"""How long after violence a feud counts as live."""
RETALIATION_WINDOW: Final = 30 * DAY
"""How long where the police expect retaliation."""


@dataclass(frozen=True, slots=True)
class Violence:
    """One street-violence event and the window it opens."""

    fact: Fact
    body: StreetViolence
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What a rule made of it: it need not be made for each unit and each person again. It goes with the event."""

    @property
    def until(self) -> int:
        """When its window passes, microseconds; sooner where its purge date comes first."""
        window = self.fact.time + (RETALIATION_WINDOW if self.body.retaliation_expected else FEUD_WINDOW)
        return window if self.fact.purge_by is None else min(window, self.fact.purge_by)


@dataclass(frozen=True, slots=True)
class Feud:
    """Two groups and the violence between them whose window has not passed; ordered by event time."""

    groups: tuple[str, str]
    """Group keys, in order."""
    names: tuple[str, str]
    """The groups as the latest event writes them."""
    violence: tuple[Violence, ...]
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What rules made of all of it, as of each event; it goes when anything of the feud changes."""

    @property
    def changes_at(self) -> int:
        """When the first of its windows passes, microseconds: from then on the feud is a lesser one, or none."""
        return min(v.until for v in self.violence)

    @property
    def retaliation_expected(self) -> bool:
        """Whether any of the live violence made the police expect retaliation."""
        return any(v.body.retaliation_expected for v in self.violence)


class Street:
    """All street-violence facts of a site."""

    def __init__(self, schemas: Mapping[int, WriterSchema]) -> None:
        self._events = Everyones(schemas, StreetViolence, decoder(schemas))
        self._violence: dict[EventKey, Violence] = {}
        self._by_group: defaultdict[str, set[EventKey]] = defaultdict(set)
        self._feuds: dict[str, tuple[int, int, list[Feud]]] = {}
        """By group that was asked about: its feuds, from which time on they are these, and until when."""

    def add(self, fact: Fact) -> tuple[frozenset[str] | None, Conflict | None]:
        """Fold a fact: (the groups of which something changed, None where nothing did; the conflict where one key came
        with two contents)."""
        before = self.groups_of(fact.event_key)
        changed, conflict = self._events.add(fact)
        if not changed:
            return None, conflict
        self._index(fact.event_key)
        return before | self.groups_of(fact.event_key), conflict

    def remove(self, key: EventKey) -> frozenset[str]:
        """Forget an event: the groups it spoke of."""
        groups = self.groups_of(key)
        if self._events.remove(key):
            self._index(key)
        return groups

    def forget(self, key: EventKey, variant: str) -> frozenset[str]:
        """Forget one content of an event: the groups of which something changed."""
        before = self.groups_of(key)
        if not self._events.forget(key, variant):
            return frozenset()
        self._index(key)
        return before | self.groups_of(key)

    def _index(self, key: EventKey) -> None:
        for group in self.groups_of(key):
            self._by_group[group].discard(key)
            self._feuds.pop(group, None)
        self._violence.pop(key, None)
        told = self._events.told(key)
        if told is None:
            return
        self._violence[key] = Violence(told.fact, told.body)
        for group in self.groups_of(key):
            self._by_group[group].add(key)
            # Of other groups nothing has changed: feuds are between two.
            self._feuds.pop(group, None)

    def facts_of(self, key: EventKey) -> Variants:
        """What came under one event; the first stands."""
        return self._events.facts_of(key)

    def groups_of(self, key: EventKey) -> frozenset[str]:
        """The groups that an event speaks of; empty where it is not known."""
        known = self._violence.get(key)
        return frozenset(map(group_key, known.body.groups)) if known else frozenset()

    def feuds_of(self, group: str, now: int) -> list[Feud]:
        """The live feuds of one group (by its key), in order of the pairs.

        One event asks for them for each of the group's members: they are found once.
        """
        since, until, feuds = self._feuds.get(group, (0, 0, []))
        if not since <= now < until:
            feuds = self._live_feuds(group, now)
            until = min((feud.changes_at for feud in feuds), default=NEVER)
            self._feuds[group] = now, until, feuds
        return feuds

    def _live_feuds(self, group: str, now: int) -> list[Feud]:
        pairs: defaultdict[tuple[str, str], list[Violence]] = defaultdict(list)
        for key in self._by_group.get(group, ()):
            violence = self._violence[key]
            if violence.until <= now:
                continue
            names = {group_key(name) for name in violence.body.groups}
            for pair in combinations(sorted(names), 2):
                if group in pair:
                    pairs[pair].append(violence)
        return [_feud(pair, pairs[pair]) for pair in sorted(pairs)]


def _feud(pair: tuple[str, str], violence: list[Violence]) -> Feud:
    ordered = tuple(sorted(violence, key=lambda v: v.fact.order))
    written = {group_key(name): name for v in ordered for name in v.body.groups}
    return Feud(pair, (written[pair[0]], written[pair[1]]), ordered)
