"""Noise: what goes wrong between what happens and what is told. Each is a share, 0 to 1, and can be set by itself."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from typing import Final

HOUR: Final = 3_600_000_000
"""Microseconds."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How much goes wrong. No noise is noise too: `Noise().times(0)`."""

    misspelt: float = 0.05
    """Of the names that somebody writes down: with an error in them."""
    late: float = 0.03
    """Of the events: told up to `LATEST` after they happened, and after others that happened later."""
    twice: float = 0.03
    """Of the events: told again, then or later."""
    missing: float = 0.1
    """Of what may be left out: left out."""
    unsure: float = 0.05
    """Of the bookings: without a fingerprint yet, and with a state number that is somebody else's; of the infractions:
    entered for the wrong person, and withdrawn."""

    def times(self, factor: float) -> Noise:
        """So many times as much, of each."""
        return replace(self, **{each.name: min(1.0, getattr(self, each.name) * factor) for each in fields(self)})


LATEST: Final = 2 * HOUR
"""How late an event may be, microseconds."""
USUAL: Final = 20_000_000
"""How long an event takes to be told at most where it is not late, microseconds."""


def delays(noise: Noise, choose: random.Random, speed: float) -> tuple[int, ...]:
    """How long after it happened an event is told, microseconds: once, or twice. `speed`: how many times as fast as
    ours the county lives."""
    is_late, is_twice = choose.random() < noise.late, choose.random() < noise.twice
    first = choose.randint(0, LATEST if is_late else USUAL)
    again = (first + choose.randint(0, LATEST),) if is_twice else ()
    return tuple(int(delay / speed) for delay in (first, *again))
