"""Numbers that a fingerprint verifies: of which series somebody has one. Pure.

Of a series, a state's SID or the federal UCN, each person has one number. So where two are of one series and differ,
they are two people's; of numbers of two series, or such as nobody verified, that can't be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from schemas.events import Event, IdKind, Role, Verification

BY_FINGERPRINT: Final[Mapping[str, str]] = {str(kind): f"{kind} by fingerprint" for kind in (IdKind.UCN, IdKind.SID)}
"""The kinds that tell people apart once a fingerprint verifies them, the strongest first; and how it is said that
somebody was known by one."""
VERIFIED: Final = frozenset(BY_FINGERPRINT.values())
"""How whoever an event is about was known where it gives such a number."""


class NumberSeries(NamedTuple):
    """Numbers of which each person has one."""

    kind: str
    issuer: str


def series_in(event: Event) -> frozenset[NumberSeries]:
    """Of which series an event gives a number of its subject that is verified by fingerprint."""
    numbers = [number for ref in event.head.persons if ref.role is Role.SUBJECT for number in ref.ids]
    return frozenset(
        NumberSeries(str(number.kind), number.issuer)
        for number in numbers
        if str(number.kind) in BY_FINGERPRINT and number.verified is Verification.FINGERPRINT
    )
