"""A site's one clock: it ticks on every partition that a stage folds, and never goes back."""

from __future__ import annotations

import time

import pytest

from schemas.codec import DecodeError, encode, encode_event
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.clock import Clock, tick, wall_clock
from streams.facts import TICK_KEY
from streams.records import LoggedRecord, Out
from tests.county import START, demo_site, event

LIVE = demo_site(partitions=2)
HISTORY = demo_site(partitions=2, clock="history")
EVERYWHERE = [
    ("demo.bus.person.facts.v1", 0),
    ("demo.bus.person.facts.v1", 1),
    ("demo.bus.facility.facts.v1", 0),
    ("demo.bus.facility.facts.v1", 1),
    ("demo.bus.region.facts.v1", 0),
]


def ticked(at: int) -> LoggedRecord:
    """A tick as the importer writes it."""
    return LoggedRecord(0, TICK_KEY, encode("Tick", {"time": at}, SCHEMA_IDS["Tick"]))


def test_a_tick_is_one_record_on_every_partition_that_is_folded() -> None:
    assert tick(LIVE, START) == [
        Out(topic, partition, TICK_KEY, "Tick", {"time": START}) for topic, partition in EVERYWHERE
    ]


@pytest.mark.parametrize(("later", "goes_on"), [(-1, False), (0, False), (1, True)])
def test_the_clock_ticks_only_when_it_is_later_than_it_was(later: int, goes_on: bool) -> None:
    clock = Clock(LIVE)
    assert clock.advance(START) == tick(LIVE, START)
    assert clock.advance(START + later) == (tick(LIVE, START + later) if goes_on else [])
    assert clock.last == START + max(later, 0)


def test_before_the_first_tick_it_is_as_early_as_can_be() -> None:
    assert Clock(LIVE).last == 0
    assert Clock(LIVE).advance(0) == []
    assert Clock(LIVE).advance(1) == tick(LIVE, 1)


def test_a_history_sites_time_is_what_its_importer_says() -> None:
    clock = Clock(HISTORY)
    assert clock.copy(ticked(START), SCHEMAS) == tick(HISTORY, START)
    assert clock.copy(ticked(START - 1), SCHEMAS) == []


def test_nobody_tells_a_live_site_the_time() -> None:
    assert Clock(LIVE).copy(ticked(START), SCHEMAS) == []


@pytest.mark.parametrize("raw", [None, b"", b"soon"])
def test_what_is_no_tick_is_no_time(raw: bytes | None) -> None:
    with pytest.raises(DecodeError):
        Clock(HISTORY).copy(LoggedRecord(0, TICK_KEY, raw), SCHEMAS)


def test_another_record_on_the_clocks_topic_is_no_time() -> None:
    raw = encode_event(event("BookingReported", "ada"), SCHEMA_IDS["BookingReported"])
    with pytest.raises(DecodeError):
        Clock(HISTORY).copy(LoggedRecord(0, TICK_KEY, raw), SCHEMAS)


def test_the_wall_clock_is_in_microseconds() -> None:
    before = time.time()
    now = wall_clock()
    assert before * 1e6 - 1 <= now <= time.time() * 1e6 + 1
    assert isinstance(now, int)
