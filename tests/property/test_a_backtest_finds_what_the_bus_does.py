"""A backtest ends with the alerts that the bus ends with, as it went and in the end alone."""

from __future__ import annotations

import random

from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import Event
from streams.backtest import Alert, AsItWent, Backtest, InTheEnd, facts_of, on_one_partition
from streams.identify import DeadLetter
from tests.county import DAY, START, agency_of, demo_site
from tests.property.test_the_engine_keeps_its_promise import LAST_TICK, from_scratch, histories

SITE = on_one_partition(demo_site())


def told(test: Backtest, history: list[Event], seed: int) -> dict[str, str]:
    """The digests of what is open in the end."""
    choose = random.Random(seed)
    said: list[Alert] = []
    for what in history:
        facts = facts_of(what, SITE.agency_by_id[agency_of(what)], SITE)
        if not isinstance(facts, DeadLetter):
            said += test.tell(facts)
        if choose.random() < 0.2:
            said += test.advance(START + choose.randint(0, 45) * DAY)
    said += [*test.advance(LAST_TICK), *test.end()]
    last = {alert["alert_id"]: alert for alert in said}
    return {known_as: alert["digest"] for known_as, alert in last.items() if alert["state"] == "OPEN"}


@settings(max_examples=100)
@given(histories, st.integers(0, 2**32))
def test_both_ways_end_as_the_engine_does(history: list[Event], seed: int) -> None:
    shuffled = random.Random(seed).sample(history, len(history))
    expected = from_scratch(history)
    hypothesis_event(f"something is open: {bool(expected)}")
    assert told(AsItWent(SITE), shuffled, seed) == expected
    assert told(InTheEnd(SITE), shuffled, seed) == expected
