"""The theorem: order, duplication, batches, crashes, restarts and partitions leave no trace in the open alerts."""

from __future__ import annotations

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.events import EVENT_TYPES, Event, type_name
from tests.county import agency_of, demo_site
from tests.county_events import RULES
from tests.in_memory_bus import InMemoryBus, digests
from tests.told_histories import LAST_TICK, Telling, from_scratch, histories, of_every_kind, tellings

pytestmark = pytest.mark.usefixtures("little_suffices")


def test_any_order_batches_crashes_and_partitions_end_in_the_same_open_alerts() -> None:
    came: set[str] = set()
    raised: set[str] = set()

    @settings(max_examples=150)
    @given(tellings(compacted=True))
    @example(of_every_kind())
    def it_ends_in_the_same(telling: Telling) -> None:
        bus = telling.unfold()
        came.update(type_name(what) for what in telling.history)
        for refused in {letter.reason for letter in bus.dead_letters}:
            hypothesis_event(f"refused: {refused}")
        for alert in bus.history(topics.alerts_raised(bus.site.name)):
            hypothesis_event(f"{alert['rule']}, {alert['state']}")
            raised.add(alert["rule"])
        assert digests(bus) == digests(from_scratch(telling.history, telling.last_tick))
        assert not said_otherwise(bus)
        assert not shown_otherwise(bus)

    it_ends_in_the_same()
    # Of what never came, and never fired, nothing would be proved.
    assert came == EVENT_TYPES.keys()
    assert raised == set(RULES)


def said_otherwise(bus: InMemoryBus) -> list[tuple[str, int]]:
    """Alerts and revisions of which two records say different things."""
    said: dict[tuple[str, int], str] = {}
    records = bus.history(topics.alerts_raised(bus.site.name))
    return [
        of
        for one in records
        if said.setdefault(of := (one["alert_id"], one["revision"]), one["digest"]) != one["digest"]
    ]


def shown_otherwise(bus: InMemoryBus) -> dict[str, set[str]]:
    """By recipient: the open alerts that it should see and does not, or sees and should not."""
    # The demo's jail desk may see all: it is the jail's own information or granted to it. But for what touches staff,
    # and what is for a tip's author alone. Who gives tips, here always the same, learns what they mean, and besides
    # that what they are compared with is silent.
    open_alerts = bus.open_alerts()
    of_staff = {known_as for known_as, alert in open_alerts.items() if any(item["staff"] for item in alert["evidence"])}
    of_authors = {known_as for known_as, alert in open_alerts.items() if alert["rule"] == "tip_too_broad"}
    of_tips = {known_as for known_as, alert in open_alerts.items() if alert["rule"] == "contraband_delivery_expected"}
    agreements = [one for one in bus.site.agreements if one.recipient == "city-pd" and "coordination" in one.kinds]
    granted = {of for one in agreements for of in one.grants}
    of_silence = {
        known_as
        for known_as, alert in open_alerts.items()
        if alert["rule"] == "feed_silent"
        and (alert["key"] == ["city-pd"] or granted & {item["event_type"] for item in alert["evidence"]})
    }
    shown = {who: bus.shown_to(who).keys() for who in ("county-jail-watch", "county-jail-affairs", "city-pd-intel")}
    wrong = {
        "county-jail-watch": shown["county-jail-watch"] ^ (open_alerts.keys() - of_staff - of_authors),
        "county-jail-affairs": of_staff - of_authors - shown["county-jail-affairs"],
        "city-pd-intel": shown["city-pd-intel"] ^ (of_authors | of_tips | of_silence),
    }
    return {who: alerts for who, alerts in wrong.items() if alerts}


@settings(max_examples=40)
@given(histories)
def test_restarting_everything_writes_nothing_new(history: list[Event]) -> None:
    bus = InMemoryBus(demo_site(partitions=2))
    for what in history:
        bus.publish(what, agency_of(what))
    bus.tick(LAST_TICK)
    bus.run()
    before = {where: len(log) for where, log in bus.logs.items() if log}
    bus.restart_all()
    assert {where: len(log) for where, log in bus.logs.items() if log} == before


@settings(max_examples=100)
@given(tellings(st.sampled_from([1, 3])), st.sampled_from([0, 1, 1_000]))
def test_who_stood_by_finds_on_taking_over_what_one_who_reads_all_the_log_finds(telling: Telling, ahead: int) -> None:
    bus = telling.unfold(to_the_end=False)
    for number in bus.running:
        bus.follow(number, None, ahead)
        warm = bus.follow(number, None, 0)
        del bus.standing_by[number]
        cold = bus.follow(number, None, 0)
        assert warm.folded == cold.folded
        found = list(cold.partition.reconcile(cold.folded))
        hypothesis_event(f"something is found: {bool(found)}")
        assert list(warm.partition.reconcile(warm.folded)) == found
