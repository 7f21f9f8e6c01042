"""Failures: where something could not be derived, since a rule or what it asks raised what nobody foresaw.

A defect of a rule, or a fact whose schema the registry has forgotten, costs only what it is about: nothing is raised
and nothing withdrawn there, everything else goes on, and it is tried again. Pure: what is new is told by a dead letter
of the bus.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Hashable, Iterable
from pathlib import Path
from typing import Final

RETRY: Final = 600_000_000
"""Microseconds after which it is tried again, if nothing that happens leads to it before."""
REASON: Final = "RULE_FAILED"
"""Of the dead letter that tells of it."""


class Failures:
    """What failed when it was last derived, and where. In a condition it is true where anything did."""

    def __init__(self) -> None:
        self._where: dict[tuple[str, Hashable], str] = {}
        """By what failed and at which focus: the kind of error, and the line of code. Its words may hold a name."""
        self._told: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._where)

    def note(self, what: str, focus: Hashable, error: Exception) -> None:
        """It failed."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        self._where[what, focus] = "".join(
            [type(error).__name__, *(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in last)]
        )

    def mended(self, what: str, focus: Hashable) -> bool:
        """It did not fail: whether it had before."""
        return self._where.pop((what, focus), None) is not None

    def at(self, focus: Hashable) -> bool:
        """Whether anything failed there."""
        return any(failed == focus for _, failed in self._where)

    def concern(self, what: str, key: Collection[str]) -> bool:
        """Whether it fails at a focus that a situation's key names."""
        return any(failed == what and names(key, focus) for failed, focus in self._where)

    def untold(self) -> list[tuple[str, str]]:
        """What fails, and how, that was not told yet: each is told once."""
        new = sorted({(what, kind) for (what, _), kind in self._where.items()} - self._told)
        self._told.update(new)
        return new


def names(key: Iterable[str], focus: Hashable) -> bool:
    """Whether the key of a situation names a focus: it always names that of which it was derived."""
    return set(key).issuperset(focus if isinstance(focus, tuple) else (focus,))
