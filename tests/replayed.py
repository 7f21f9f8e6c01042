"""Replays on the in-memory bus: an alert's record against the logs, as `sallyport replay` reads them."""

from __future__ import annotations

from typing import Any

from schemas import topics
from streams.backtest import SCHEMAS
from streams.fold import input_of
from streams.replay import Elsewhere, Names, Place, Replay, Verdict, replay
from tests.in_memory_bus import InMemoryBus


def replayed(bus: InMemoryBus, alert: dict[str, Any]) -> Replay:
    """What the replay of one record of `alerts.raised` finds on a bus's logs."""
    cause = alert["cause"]
    facts = bus.input_of(cause["stage"], cause["partition"])
    found = replay(alert, facts, (), bus.site, SCHEMAS)
    if found.verdict is not Verdict.CANNOT:
        return found
    names = Names.of(alert)
    topic, read = topics.person_facts(bus.site.name), (input_of(cause["stage"], bus.site), cause["partition"])
    elsewhere = [
        Elsewhere(Place(topic, number, record.offset), record)
        for number in range(bus.site.partitions)
        if (topic, number) != read
        for record in bus.logs[topic, number]
        if names.borne_on_by(record)
    ]
    return replay(alert, facts, elsewhere, bus.site, SCHEMAS)
