"""On the real broker, all at once: workers killed, stopped and added, broker and registry killed, while events flow.

The short form of `make chaos`, and what holds it to its word: the plan, the flow, and the judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise, product
from pathlib import Path

import pytest

from schemas.events import EVENT_TYPES, EventWithdrawn, type_name
from schemas.settings import Settings
from streams.backtest import AsItWent, facts_of, on_one_partition, published
from streams.identify import DeadLetter
from tests.chaos.county_flow import LAST_TICK, Bad, Tick, county_flow, flows_through
from tests.chaos.plan import EVERY, NEEDED, SESSION_S, Kind, plan
from tests.chaos.run import run, unexplained
from tests.county import agency_of, demo_site
from tests.county_events import RULES

SEED, EVENTS = 8, 1_500


@pytest.mark.bus
@pytest.mark.timeout(600)
def test_whatever_dies_while_events_flow_the_promise_is_kept(
    settings_of_a_bus_in: Callable[[Path], Settings], tmp_path: Path
) -> None:
    told: list[str] = []
    found = run(settings_of_a_bus_in(tmp_path / "home"), tmp_path, SEED, EVENTS, told.append)
    assert not found.broken, "\n".join([*found.broken, *told])
    assert found.figures["faults"].keys() == {fault.kind.value for fault in plan(SEED, EVENTS)}
    assert found.figures["open alerts"] > 3
    assert found.figures["decisions"].keys() == {"DISCLOSED", "WITHHELD", "WITHDRAWN"}


def test_a_worker_may_stand_still_as_often_as_something_stopped_and_give_up_for_known_reasons_only() -> None:
    stopped = {Kind.BROKER_KILLED.value: 1, Kind.WORKER_PAUSED.value: 1, Kind.WORKER_KILLED.value: 9}
    assert not [*unexplained({"Fenced": 5, "StalledError": 2}, stopped)]
    assert len([*unexplained({"StalledError": 3}, stopped)]) == 1
    assert len([*unexplained({"StalledError": 1}, {Kind.WORKER_KILLED.value: 9, Kind.WORKER_ADDED.value: 1})]) == 1
    assert [*unexplained({"KeyError": 1, "Fenced": 1}, stopped)] == ["a worker gave up by KeyError"]


@pytest.mark.parametrize("events", [2_000, 100_000])
def test_a_plan_is_its_seeds_bounded_and_has_everything_that_is_to_go_wrong(events: int) -> None:
    for seed in range(100):
        faults = plan(seed, events)
        assert faults == plan(seed, events)
        kinds = {fault.kind for fault in faults}
        assert kinds >= set(NEEDED) - {Kind.REGISTRY_KILLED}
        assert (Kind.REGISTRY_KILLED if events > 10_000 else Kind.REGISTRY_STOPPED) in kinds
        assert max(Counter(fault.after for fault in faults).values()) == 2, "two at once"
        assert [fault.after for fault in faults] == sorted(fault.after for fault in faults)
        assert all(0 < fault.after < events for fault in faults)
        assert all(fault.seconds > SESSION_S for fault in faults if fault.kind is Kind.WORKER_PAUSED)
        assert len(faults) <= 2 * max(len(NEEDED), events // EVERY)
    assert len({plan(seed, events) for seed in range(100)}) == 100


def test_of_a_flow_alerts_of_every_correlation_are_raised_and_withdrawn() -> None:
    # Of the flow that is run above: what never fires, nothing is proved of.
    site = on_one_partition(demo_site(clock="history"))
    to_fire = set(product(RULES, ["OPEN", "WITHDRAWN"]))
    engine, recorded = AsItWent(site), set[tuple[str, str]]()
    for item in [*county_flow(SEED, EVENTS), Tick(LAST_TICK)]:
        if isinstance(item, Bad):
            continue
        facts = None if isinstance(item, Tick) else facts_of(published(item, site.agency_by_id[agency_of(item)]), site)
        assert not isinstance(facts, DeadLetter)
        alerts = engine.advance(item.time) if isinstance(item, Tick) else engine.tell(facts or [])
        recorded |= {(alert["rule"], alert["state"]) for alert in alerts}
        if recorded == to_fire:
            break
    assert recorded == to_fire


def test_a_flow_is_its_seeds_and_has_everything_that_agencies_may_do() -> None:
    items = list(county_flow(3, 6_000))
    again = list(islice(county_flow(3, 6_000), 500))
    assert [item if not isinstance(item, Bad) else item.reason for item in again] == [
        item if not isinstance(item, Bad) else item.reason for item in items[:500]
    ]
    assert len([item for item in items if not isinstance(item, Tick)]) == 6_000
    events = [item for item in items if not isinstance(item, Bad | Tick)]
    assert {type_name(event) for event in events} == flows_through() == EVENT_TYPES.keys()

    first: dict[str, int] = {}
    for place, event in enumerate(events):
        first.setdefault(event.head.event_id, place)
    contents: dict[str, list[str]] = {}
    for event in events:
        contents.setdefault(event.head.event_id, []).append(event.model_dump_json())
    assert any(len(said) > len(set(said)) for said in contents.values()), "some twice"
    assert any(len(set(said)) > 1 for said in contents.values()), "some with two contents"
    assert any(e.head.handling.purge_by for e in events), "some with a purge date"
    withdrawn = [(place, e.target_event_id) for place, e in enumerate(events) if isinstance(e, EventWithdrawn)]
    assert any(place < first.get(target, -1) for place, target in withdrawn), "some withdrawn before they come"
    assert any(place > first.get(target, len(events)) for place, target in withdrawn)
    times = [event.head.time for event in events]
    assert any(a > b for a, b in pairwise(times)), "some late"
    assert len({item.reason for item in items if isinstance(item, Bad)}) == 9
