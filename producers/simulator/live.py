"""A simulated county on a bus: its agencies publish what they have to tell when it arrives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from producers.simulator.leftovers import Leftovers, endings
from producers.simulator.simulation import Simulation
from schemas.events import Event
from schemas.site import Site

LOOK_EVERY_S = 0.25
"""Seconds between looks at what has arrived."""
MOST_AT_ONCE = 500
"""Events that are given to a publisher in one go."""
Publish = Callable[[str, list[Event]], None]


def live(
    simulation: Simulation,
    site: Site,
    leftovers: Leftovers,
    publish: Publish,
    clock: Callable[[], int],
    wait: Callable[[float], bool],
    until: int | None = None,
) -> int:
    """Tell `publish(agency, events)` what arrives, until it is so late (microseconds): how many events were told.

    `clock` gives microseconds; `wait(seconds)` returns true when it is to stop. What an earlier simulation left open on
    this bus is ended first.
    """
    _publish(endings(leftovers.read(), site, clock()), publish)
    count = 0
    while True:
        now = clock() if until is None else min(clock(), until)
        told = [(one.agency, one.event) for one in simulation.told(now)]
        # Kept first: what ends in vain does no harm, what nobody ends does.
        leftovers.keep(simulation.left_open())
        _publish(told, publish)
        count += len(told)
        if (until is not None and now >= until) or wait(LOOK_EVERY_S):
            return count


def _publish(told: Iterable[tuple[str, Event]], publish: Publish) -> None:
    by_agency: defaultdict[str, list[Event]] = defaultdict(list)
    for agency, event in told:
        by_agency[agency].append(event)
    for agency, events in by_agency.items():
        for start in range(0, len(events), MOST_AT_ONCE):
            publish(agency, events[start : start + MOST_AT_ONCE])
