"""Rhythm: at which hours of the day things happen in the county."""

from __future__ import annotations

import random
from typing import Final

VISITING: Final = range(9, 20)
"""Hours in which there are visits."""
_NIGHT, _OFFICE, _CALLING = [*range(22, 24), *range(6)], range(8, 17), range(8, 22)
RHYTHM: Final = {
    "booking": [3 if hour in _NIGHT else 1 for hour in range(24)],
    "office": [6 if hour in _OFFICE else 1 for hour in range(24)],
    "visiting": [5 if hour in VISITING else 0 for hour in range(24)],
    "calling": [1 if hour in _CALLING else 0 for hour in range(24)],
    "any": [1] * 24,
}
"""How likely something is in each hour of the day."""


def hours_until(kind: str, a_day: float, hour: float, chance: random.Random) -> float:
    """How many hours it is until something happens that happens so often a day. `hour`: now, since some midnight."""
    weights = RHYTHM[kind]
    most, hours = max(weights), 0.0
    while True:
        hours += chance.expovariate(a_day * most / sum(weights))
        if chance.random() * most < weights[int(hour + hours) % 24]:
            return hours
