"""A simulated county put through the bus's own code, without a bus, and its alerts held against the truth."""

from __future__ import annotations

from collections.abc import Iterable

from producers.simulator.county import DAY
from producers.simulator.noise import Noise
from producers.simulator.score import Score, raised, score
from producers.simulator.simulation import START, Simulation
from producers.simulator.world import Told
from schemas.site import Site
from streams.backtest import Alert, AsItWent, facts_of, on_one_partition, published
from streams.identify import DeadLetter


class UnfitError(Exception):
    """The simulator told something that the bus would set aside: the simulator is wrong, or the site is."""


def judged(site: Site, seed: int, days: float, noise: Noise) -> dict[str, Score]:
    """How good the alerts are on a county of that seed, in so many days, by correlation. Raises UnfitError."""
    simulation = Simulation(site, seed, noise)
    end = START + int(days * DAY)
    alerts = [*alerts_of(simulation.told(end), site, end)]
    return score(simulation.truth.situations, simulation.truth.decoys, raised(alerts), end)


def alerts_of(told: Iterable[Told], site: Site, end: int) -> Iterable[Alert]:
    """The records of `alerts.raised` that it leads to, as it arrives and time goes on."""
    # Its clock is live, for what comes late comes late.
    site = on_one_partition(site, "live")
    test, now = AsItWent(site), 0
    for one in told:
        if one.arrives > now:
            now = one.arrives
            yield from test.advance(now)
        facts = facts_of(published(one.event, site.agency_by_id[one.agency]), site, one.arrives)
        if isinstance(facts, DeadLetter):
            raise UnfitError(f"{one.agency}: {type(one.event).__name__}: {facts.reason}: {facts.detail}")
        yield from test.tell(facts)
    yield from test.advance(end)
