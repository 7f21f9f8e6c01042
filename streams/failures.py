"""Failures: where something could not be derived, since a rule or what it asks raised what nobody foresaw.

A defect of a rule, or a fact whose schema the registry has forgotten, costs only what it is about: nothing is raised
and nothing withdrawn there, everything else goes on, and it is tried again. Pure: what is new is told by a dead letter
of the bus.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from schemas.codec import DecodeError, Undecodable

RETRY: Final = 600_000_000
"""Microseconds after which it is tried again, if nothing that happens leads to it before."""
REASON: Final = "RULE_FAILED"
"""Of the dead letter that tells of it."""
Focus: TypeAlias = str | Iterable[str]
"""Of what something is derived: a person, or what names a unit, a delivery, a tip, a feed."""


class Failures:
    """What failed when it was last derived, and where. In a condition it is true where anything did."""

    def __init__(self) -> None:
        self._where: dict[str, set[tuple[str, ...]]] = {}
        """By what failed: at which focuses."""
        self._told: set[tuple[str, str]] = set()
        self._new: set[tuple[str, str]] = set()
        self.is_blind = False
        """A fact could not be folded that could be when it came: anything may rest on it."""

    def __bool__(self) -> bool:
        return bool(self._where)

    def note(self, what: str, focus: Focus, error: Exception) -> None:
        """It failed."""
        self._where.setdefault(what, set()).add(parts(focus))
        self.say(what, error)

    def note_unread(self, error: DecodeError) -> None:
        """A fact could not be folded silently: whether it could be when it came, since only its schema is gone."""
        if error.reason is Undecodable.UNKNOWN_SCHEMA:
            self.is_blind = True
            self.say("reading a fact", error)

    def say(self, what: str, error: Exception) -> None:
        """That it failed is to be told, once for each line of code: its words may hold a name."""
        how = _how(error)
        if (what, how) not in self._told:
            self._told.add((what, how))
            self._new.add((what, how))

    def mended(self, what: str, focus: Focus) -> bool:
        """It did not fail: whether it had before."""
        failing, at = self._where.get(what, set()), parts(focus)
        if at not in failing:
            return False
        failing.remove(at)
        if not failing:
            del self._where[what]
        return True

    def concern(self, what: str, key: tuple[str, ...]) -> bool:
        """Whether it fails at a focus that a situation's key names, or whether that can't be said."""
        failing = self._where.get(what, set())
        return self.is_blind or any(key[:end] in failing for end in range(1, len(key) + 1))

    def untold(self) -> list[tuple[str, str]]:
        """What fails, and how, that was not told yet: each is told once."""
        if not self._new:
            return []
        new, self._new = sorted(self._new), set()
        return new


def _how(error: Exception) -> str:
    """Kind of error and line of code."""
    places = list(traceback.walk_tb(error.__traceback__))[-1:]
    return "".join(
        [type(error).__name__, *(f" at {Path(frame.f_code.co_filename).name}:{line}" for frame, line in places)]
    )


def parts(focus: Focus) -> tuple[str, ...]:
    """A focus, as the key of what is derived there begins."""
    return (focus,) if isinstance(focus, str) else tuple(focus)


def names(key: Sequence[str], focus: Focus) -> bool:
    """Whether the key of a situation names a focus: it begins with that of which it was derived."""
    begins = parts(focus)
    return tuple(key[: len(begins)]) == begins
