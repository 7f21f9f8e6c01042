"""Stays in custody: which of a person's stays is open, told fact by fact in order of event time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from streams.facts import Fact, StayKey

BOOKING: Final = "BookingReported"
END_TYPES: Final = frozenset({"CustodyEnded", "NoLongerListed"})
STAY_TYPES: Final = frozenset({BOOKING, "HousingAssigned", "CustodyClassified", *END_TYPES})
"""What tells that somebody is in custody, or is no more."""


class Stay(NamedTuple):
    """One stay in custody, as the facts have it."""

    key: StayKey
    """What tells it from other stays."""
    booked: Fact | None
    began: int
    """Microseconds: event time of the booking, or of the first fact of the stay where the booking is not known."""

    @property
    def facility(self) -> str:
        """Where it is."""
        return self.key[0]

    @property
    def booking_number(self) -> str:
        """The facility's number of it."""
        return self.key[1]


class Stays:
    """The stays of one person."""

    __slots__ = ("_ended", "_open")

    def __init__(self, standing: Iterable[Fact]) -> None:
        self._open: dict[StayKey, Stay] = {}
        self._ended: set[StayKey] = set()
        for fact in standing:
            self.tell(fact)

    def tell(self, fact: Fact) -> None:
        """Take in the next fact. An end is undone only by a later booking."""
        event_type, key = fact.sort.event_type, fact.stay
        if key is None or event_type not in STAY_TYPES:
            return
        if event_type == BOOKING:
            self._ended.discard(key)
            self._open[key] = Stay(key, fact, fact.time)
        elif event_type in END_TYPES:
            self._ended.add(key)
            self._open.pop(key, None)
        elif key not in self._open and key not in self._ended:
            self._open[key] = Stay(key, None, fact.time)

    @property
    def open(self) -> Stay | None:
        """The latest stay that has begun and not ended."""
        if len(self._open) < 2:  # noqa: PLR2004  # as nearly always
            return next(iter(self._open.values()), None)
        return max(self._open.values(), key=lambda stay: (stay.began, stay.key))
