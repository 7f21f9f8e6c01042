"""Ahead: what of a recovery is derived before anybody asks for it, by who stands by. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

F = TypeVar("F")


@dataclass(slots=True)
class Ahead(Generic[F]):
    """What of a recovery is done before anybody asks for it."""

    begun: bool = False
    """Whether anything was derived: before, everything is still to be."""
    stale: set[F] = field(default_factory=set)
    """Focuses of which something may follow anew, since they were derived last."""
    unsettled: set[F] = field(default_factory=set)
    """Focuses of which something was still to be written when they were looked at."""

    def some(self, most: int) -> list[F]:
        """Up to so many of the stale ones, which are no longer."""
        taken = list(islice(self.stale, most))
        self.stale.difference_update(taken)
        return taken

    def note(self, focus: F, *, lacks: bool) -> None:
        """A focus was looked at."""
        if lacks:
            self.unsettled.add(focus)
        else:
            self.unsettled.discard(focus)

    def settled(self) -> None:
        """Everything is derived and written."""
        self.stale.clear()
        self.unsettled.clear()
