"""Expiry: facts that count for nothing any more, and are to go from the log.

What is withdrawn or past its purge date counts for nothing at once, by what the fact itself says. That it goes from the
log as well is the garbage's collection: its owner writes a tombstone, once, and compaction does the rest. It is law all
the same: criminal intelligence is purged at its date (28 CFR 23.20(h)), what a court expunged may not stay.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from streams.facts import Fact

NEVER: Final = 1 << 63
"""A time after all others, microseconds."""
KEPT: Final = 1_000
"""Dates of facts that are gone which may stay in memory, beside as many as there are others."""


class Outlived:
    """Keys of records that say nothing any more, and are to go from the log: each is told once."""

    def __init__(self) -> None:
        self._keys: set[bytes] = set()

    def add(self, keys: Iterable[bytes]) -> None:
        """These say nothing any more."""
        self._keys.update(keys)

    def forget(self, key: bytes) -> None:
        """The record of this key has gone."""
        self._keys.discard(key)

    def take(self) -> list[bytes]:
        """The keys that were not told yet."""
        if not self._keys:
            return []
        keys, self._keys = sorted(self._keys), set()
        return keys


class Expiry:
    """The facts on one partition of a log that have a purge date, and those that are to go from it."""

    def __init__(self) -> None:
        self._dates: list[tuple[int, bytes]] = []
        self._dated: set[bytes] = set()
        self._spent = Outlived()

    def watch(self, fact: Fact) -> None:
        """Let it go when its purge date comes, if it has one."""
        if fact.purge_by is not None:
            key = fact.record_key
            if key not in self._dated:
                self._dated.add(key)
                heapq.heappush(self._dates, (fact.purge_by, key))

    def withdraw(self, facts: Iterable[Fact]) -> None:
        """Let these go now."""
        self._spent.add(fact.record_key for fact in facts)

    def forget(self, key: bytes) -> None:
        """The record of this key has gone."""
        self._dated.discard(key)
        self._spent.forget(key)
        if len(self._dates) > 2 * len(self._dated) + KEPT:
            # Who stands by never takes: what its owner has seen to must not pile up.
            self._dates = list({dated for dated in self._dates if dated[1] in self._dated})
            heapq.heapify(self._dates)

    def take(self, now: int) -> list[bytes]:
        """Keys of the records that are to go by `now` (microseconds), each told once."""
        while self._dates and self._dates[0][0] <= now:
            _, key = heapq.heappop(self._dates)
            if key in self._dated:
                self._dated.discard(key)
                self._spent.add((key,))
        return self._spent.take()
