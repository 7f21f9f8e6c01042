"""A simulated county on a bus that runs: its agencies publish what they have to tell, each by its own user."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import Final

from filelock import FileLock, Timeout

from deploy.private_files import private_directory
from producers.publisher import Publisher, PublishError
from producers.simulator.county import DAY
from producers.simulator.leftovers import Leftovers
from producers.simulator.live import live
from producers.simulator.noise import Noise
from producers.simulator.simulation import Simulation
from schemas.events import Event
from schemas.settings import Settings
from schemas.site import Site

COUNTY: Final = "county"
"""The site that is made for it."""
SPEED: Final = 120.0
"""How many times as fast as ours a county lives that people watch: one of its days is twelve minutes."""
PRELUDE_DAYS: Final = 1.0
"""Days of the county that have passed when it is first seen: its jails are full, and something has happened."""
FLUSH_S: Final = 10.0
"""Seconds for which the bus is waited for in the end; what then waits stays in the spools."""


def named_as_simulated(site: Site, speed: float) -> Site:
    """The site, if it is the county's, as a screen names it on which its time goes so many times as fast as ours."""
    if site.name != COUNTY or speed == 1:
        return site
    return site.model_copy(update={"title": f"{site.title}, {speed:,g} times as fast as ours"})


def live_county(
    settings: Settings,
    site: Site,
    seed: int,
    noise: Noise,
    speed: float,
    stop: threading.Event,
    days: float | None = None,
) -> tuple[Simulation, int, int]:
    """Publish a county's life until `stop` is set or so many of its days have passed: what it was, how many events were
    accepted, and how many wait in the spools. Raises PublishError, SpoolFullError, ValueError, OSError."""
    start = time.time_ns() // 1000 - int(PRELUDE_DAYS * DAY / speed)
    simulation = Simulation(site, seed, noise, start, speed)
    with ExitStack() as stack:
        publishers = dict[str, Publisher]()
        for agency in site.agencies:
            publishers[agency.id] = publisher = Publisher(settings, site, agency.id)
            stack.callback(publisher.close, 0)
        # After the publishers: who has no password, or no bus yet, leaves nothing behind in the home.
        kept = private_directory(settings.home.expanduser() / "simulator") / f"{site.name}.json"
        try:
            stack.enter_context(FileLock(kept.with_suffix(".lock"), timeout=0))
        except Timeout as error:
            raise PublishError(f"another simulated county lives on {site.name}: end that one first") from error

        def publish(agency: str, events: list[Event]) -> None:
            publishers[agency].publish_many(events)

        until = None if days is None else start + int(days * DAY / speed)
        count = live(simulation, site, Leftovers(kept), publish, lambda: time.time_ns() // 1000, stop.wait, until)
        deadline = time.monotonic() + FLUSH_S
        left = [one.flush(max(0.0, deadline - time.monotonic())) for one in publishers.values()]
        return simulation, count, sum(left)
