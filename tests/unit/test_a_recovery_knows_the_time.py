"""A recovery knows how late it is, also where compaction took every tick that was folded before."""

from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import Consumer

from schemas import topics
from schemas.registry_client import SchemaCache
from streams.backtest import SCHEMAS
from streams.fold import Fold, Progress, recover
from streams.partition import FOLDING, Partition
from streams.records import Out
from streams.stage import FACILITY, PERSON, input_of
from tests.county import DAY, START, agency_of, demo_site, event
from tests.county_events import SITUATIONS
from tests.in_memory_bus import InMemoryBus
from tests.unit.test_standing_by import KnownSchemas, LogReader

SITE = demo_site(partitions=1)
RIVALS = next(iter(SITUATIONS.values()))
"""From day 30 until day 60, when their feud is over."""


def killed_before_it_processed_a_tick(*worked: int, unread: int) -> InMemoryBus:
    """A bus that worked up to some days' ticks, had another, and was compacted."""
    bus = InMemoryBus(SITE)
    for what in RIVALS:
        bus.publish(what, agency_of(what))
    for day in worked:
        bus.tick(START + day * DAY)
        bus.run()
    bus.tick(START + unread * DAY)
    for topic in (topics.person_facts(SITE.name), topics.facility_facts(SITE.name)):
        bus.compact(topic)
    return bus


def recovered(bus: InMemoryBus) -> tuple[Fold, list[Out]]:
    committed = {input_of(stage, SITE): bus.running[0].committed[stage] for stage in FOLDING}
    reader, fold = LogReader(lambda: bus.logs, committed), Fold(Partition.of(SITE, 0, SCHEMAS))
    found = recover(fold, Progress(), cast(Consumer, reader), cast(SchemaCache, KnownSchemas(SCHEMAS)))
    return fold, list(found.outs)


@pytest.mark.parametrize(
    ("worked", "unread"),
    [((41,), 42), ((41, 61), 62)],
    ids=["what is told under an agreement stays told", "what is long over is not raised again"],
)
def test_where_only_a_tick_after_what_was_processed_is_left_nothing_is_found_as_of_1970(
    worked: tuple[int, ...], unread: int
) -> None:
    bus = killed_before_it_processed_a_tick(*worked, unread=unread)
    before = bus.open_alerts(), bus.shown_to("county-jail-watch")
    assert ("rivals_housed_together" in {alert["rule"] for alert in before[0].values()}) == (unread < 60)
    fold, outs = recovered(bus)
    assert outs == []
    assert fold.partition.tick == START + unread * DAY
    # So does the bus in memory, on which all properties are tested.
    bus.restart(0)
    bus.run()
    assert (bus.open_alerts(), bus.shown_to("county-jail-watch")) == before
    assert {alert["at"] > 0 for alert in bus.history(topics.alerts_raised(SITE.name))} == {True}


def test_what_comes_behind_that_tick_is_left_to_be_processed() -> None:
    bus = killed_before_it_processed_a_tick(41, unread=42)
    bus.publish(event("HousingAssigned", "bo", day=41.5, unit="4-B"), "county-jail")
    fold, outs = recovered(bus)
    assert outs == []
    assert fold.folded[PERSON] < bus.input_of(PERSON, 0)[-1].offset + 1


def test_where_no_tick_ever_came_what_was_not_processed_is_not_folded_silently() -> None:
    bus = InMemoryBus(SITE)
    bus.publish(RIVALS[0], agency_of(RIVALS[0]))
    bus.run()
    bus.publish(RIVALS[1], agency_of(RIVALS[1]))
    fold, _ = recovered(bus)
    assert fold.folded == {stage: bus.running[0].committed[stage] for stage in (PERSON, FACILITY)}
    assert fold.folded[PERSON] <= bus.input_of(PERSON, 0)[-1].offset


def test_where_nothing_was_processed_yet_all_is_left_to_be_processed_however_late_it_is() -> None:
    bus = InMemoryBus(SITE)
    bus.publish(RIVALS[0], agency_of(RIVALS[0]))
    bus.tick(START + DAY)
    fold, outs = recovered(bus)
    assert (fold.folded, outs) == (dict.fromkeys(FOLDING, 0), [])
