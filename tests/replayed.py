"""Replays on the in-memory bus: an alert's record against the logs, as `sallyport replay` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas import topics
from streams.backtest import SCHEMAS
from streams.outline import is_outline, outlines
from streams.replay import Elsewhere, Names, Place, Replay, Verdict, replay, with_those_whose_facts_they_are
from streams.stage import input_of
from tests.in_memory_bus import InMemoryBus


def outlined(bus: InMemoryBus, alert: dict[str, Any]) -> dict[str, Any] | None:
    """What the audit keeps of a record of `alerts.raised`; None where it keeps nothing."""
    decisions = bus.history(topics.disclosures(bus.site.name))
    of_it = [one for one in decisions if one["alert_id"] == alert["alert_id"]]
    return outlines(of_it, (), {"key": alert["key"]}, bus.site.name).get(alert["revision"])


def replayed(bus: InMemoryBus, alert: dict[str, Any]) -> Replay:
    """What the replay of one record of `alerts.raised`, or of its outline, finds on a bus's logs."""
    cause = alert["cause"]
    facts = bus.input_of(cause["stage"], cause["partition"])
    found = replay(alert, facts, (), bus.site, SCHEMAS)
    if found.verdict is not Verdict.CANNOT:
        return found
    if is_outline(alert):
        everywhere = range(bus.site.partitions)
        left = [one for number in everywhere for one in bus.logs[topics.person_facts(bus.site.name), number]]
        now, at_first = with_those_whose_facts_they_are(alert, left)
        found = _with_what_is_elsewhere(bus, at_first)
        return found if found.verdict is not Verdict.CANNOT else _with_what_is_elsewhere(bus, now)
    return _with_what_is_elsewhere(bus, alert)


def _with_what_is_elsewhere(bus: InMemoryBus, alert: Mapping[str, Any]) -> Replay:
    cause = alert["cause"]
    names = Names.of(alert)
    topic, read = topics.person_facts(bus.site.name), (input_of(cause["stage"], bus.site), cause["partition"])
    elsewhere = [
        Elsewhere(Place(topic, number, record.offset), record)
        for number in range(bus.site.partitions)
        if (topic, number) != read
        for record in bus.logs[topic, number]
        if names.borne_on_by(record)
    ]
    return replay(alert, bus.input_of(cause["stage"], cause["partition"]), elsewhere, bus.site, SCHEMAS)
