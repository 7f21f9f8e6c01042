"""A jail's telephones: who is in custody calls the same few people by day, and now and then an attorney."""

from __future__ import annotations

import random
from typing import Final

from producers.simulator.jail import INTAKE, Jail
from producers.simulator.rhythm import hours_until
from producers.simulator.world import Process, World

CALLS_A_DAY: Final = 1.0
"""Of somebody in custody, in the mean."""
CALLED: Final = 3
"""How many numbers somebody calls, an attorney's aside."""
ATTORNEY: Final = 0.1
"""Of the calls: to an attorney."""
UNANSWERED: Final = 0.2
"""Of the calls."""
LONGEST_S: Final = 15 * 60
"""Seconds after which a call is ended."""


class Telephones:
    """Those of one jail. They have chances of their own: what is said on them changes nothing elsewhere."""

    def __init__(self, world: World, jail: Jail) -> None:
        self.world = world
        self.jail = jail
        self._chance = random.Random(f"{world.run}/{jail.facility.id}/telephones")

    def begin(self) -> None:
        """Let people call."""
        self.world.begin(self._calls())

    def _calls(self) -> Process:
        world, chance = self.world, self._chance
        while True:
            callers = [stay for stay in self.jail.stays.values() if stay.unit != INTAKE]
            yield world.wait(hours_until("calling", CALLS_A_DAY * max(1, len(callers)), world.hour, chance))
            callers = [stay for stay in callers if not stay.ended]
            if not callers:
                continue
            stay = chance.choice(callers)
            contact = "ATTORNEY" if chance.random() < ATTORNEY else "ORDINARY"
            line = 0 if contact == "ATTORNEY" else chance.randint(1, CALLED)
            seconds = 0 if chance.random() < UNANSWERED else chance.randint(20, LONGEST_S)
            self.jail.called(stay, _number(stay.person.number * 10 + line), contact, seconds, chance)


def _number(of: int) -> str:
    """A telephone number that nobody has: 555-0100 to 555-0199 are kept for what is invented."""
    return f"+1-{200 + of // 100 % 800}-555-01{of % 100:02}"
