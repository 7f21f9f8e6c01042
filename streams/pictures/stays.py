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
    """The stays of one person. Small, since there is one for each person that was asked about."""

    __slots__ = ("_begun", "_ended")

    def __init__(self, standing: Iterable[Fact]) -> None:
        self._begun: tuple[Stay, ...] = ()
        """Those that have not ended: mostly one."""
        self._ended: tuple[StayKey, ...] = ()
        for fact in standing:
            self.tell(fact)

    def tell(self, fact: Fact) -> bool:
        """Take in the next fact: whether the stays are others by it. An end is undone only by a later booking."""
        event_type, key = fact.sort.event_type, fact.stay
        if key is None or event_type not in STAY_TYPES:
            return False
        if event_type == BOOKING:
            self._ended = tuple([ended for ended in self._ended if ended != key])
            self._begun = (*self._others(key), Stay(key, fact, fact.time))
        elif event_type in END_TYPES:
            if key in self._ended:
                return False
            self._ended = (*self._ended, key)
            self._begun = self._others(key)
        elif key in self._ended or any(stay.key == key for stay in self._begun):
            return False
        else:
            self._begun = (*self._begun, Stay(key, None, fact.time))
        return True

    def _others(self, key: StayKey) -> tuple[Stay, ...]:
        return tuple([stay for stay in self._begun if stay.key != key])

    @property
    def open(self) -> Stay | None:
        """The latest stay that has begun and not ended."""
        if len(self._begun) < 2:  # noqa: PLR2004  # as nearly always
            return self._begun[0] if self._begun else None
        return max(self._begun, key=lambda stay: (stay.began, stay.key))
