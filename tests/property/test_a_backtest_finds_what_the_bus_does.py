"""A backtest ends with the alerts that the bus ends with, as it went and in the end alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from streams.alerts import alerts_in
from streams.backtest import (
    MOST_PARTS,
    Alert,
    AsItWent,
    Backtest,
    InTheEnd,
    facts_of,
    in_parts,
    on_one_partition,
    open_in_the_end,
    published,
)
from streams.identify import DeadLetter
from streams.records import Out
from tests.county import DAY, START, agency_of, demo_site
from tests.in_memory_bus import digests
from tests.told_histories import DAYS, LAST_TICK, from_scratch, histories

pytestmark = pytest.mark.usefixtures("little_suffices")
SITE = on_one_partition(demo_site())


def told(test: Backtest, history: list[Event], ticks: Mapping[int, int]) -> dict[str, str]:
    """The digests of what is open in the end; `ticks`: after which event it is which day."""
    said: list[Alert] = []
    for number, what in enumerate(history):
        facts = facts_of(published(what, SITE.agency_by_id[agency_of(what)]), SITE)
        if not isinstance(facts, DeadLetter):
            said += test.tell(facts)
        if number in ticks:
            said += test.advance(START + ticks[number] * DAY)
    said += [*test.advance(LAST_TICK), *test.end()]
    last = {alert["alert_id"]: alert for alert in said}
    return {known_as: alert["digest"] for known_as, alert in last.items() if alert["state"] == "OPEN"}


@settings(max_examples=100)
@given(histories.flatmap(st.permutations), st.dictionaries(st.integers(0, 30), st.sampled_from(DAYS), max_size=8))
def test_both_ways_end_as_the_engine_does(history: list[Event], ticks: dict[int, int]) -> None:
    expected = digests(from_scratch(history))
    hypothesis_event(f"something is open: {bool(expected)}")
    assert told(AsItWent(SITE), history, ticks) == expected
    assert told(InTheEnd(SITE), history, ticks) == expected


@settings(max_examples=100)
@given(histories.flatmap(st.permutations), st.integers(2, MOST_PARTS), st.randoms(use_true_random=False))
def test_several_who_share_the_partitions_end_as_one_does(history: list[Event], many: int, choose: Random) -> None:
    site = in_parts(demo_site(), many)
    sharing = [InTheEnd(site, numbers=(number,)) for number in range(many)]

    def tell(written: list[Out]) -> None:
        for test in sharing:
            # Each takes in what is for it when it comes to that.
            test.tell(choose.sample(written, len(written)))

    def rounds() -> Iterator[list[Alert]]:
        while written := [out for test in sharing for out in test.settle()]:
            yield alerts_in(written)
            tell(written)

    all_facts = (facts_of(published(what, site.agency_by_id[agency_of(what)]), site) for what in history)
    tell([out for facts in all_facts if not isinstance(facts, DeadLetter) for out in facts])
    for test in sharing:
        test.advance(LAST_TICK)
    found = open_in_the_end(rounds())
    assert {alert["alert_id"]: alert["digest"] for alert in found} == digests(from_scratch(history))
    alone = InTheEnd(SITE)
    for what in history:
        facts = facts_of(published(what, SITE.agency_by_id[agency_of(what)]), SITE)
        alone.tell(() if isinstance(facts, DeadLetter) else facts)
    alone.advance(LAST_TICK)
    assert found == alone.end(), "record by record, whoever found it"
