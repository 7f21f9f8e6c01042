"""A shadow says what switching a rule on would do: no more, no less, and nothing of the rule that is on already."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event as hypothesis_event
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.codec import WriterSchema
from schemas.events import Event
from schemas.site import Site
from streams.backtest import SCHEMAS
from streams.correlations import FACILITY_CORRELATIONS, PERSON_CORRELATIONS
from streams.correlations.situation import Situation
from streams.disclose import DiscloseStage
from streams.partition import Partition
from streams.shadow import Candidate, Difference, Notice, Shadow, Verdict, notices
from streams.stage import FACILITY, PERSON, FacilityStage, PersonStage
from tests.county import DAY, START, agency_of, demo_site
from tests.in_memory_bus import InMemoryBus
from tests.told_histories import DAYS, LAST_TICK, histories

pytestmark = pytest.mark.usefixtures("little_suffices")

INSTALLED = [
    *(Candidate(rule, PERSON, rule.version) for rule in PERSON_CORRELATIONS),
    *(Candidate(rule, FACILITY, rule.version) for rule in FACILITY_CORRELATIONS),
]
of_each_rule = pytest.mark.parametrize("installed", INSTALLED, ids=[one.correlation.name for one in INSTALLED])
seeds = st.integers(0, 2**32)
partition_counts = st.sampled_from([1, 2, 3])


class Shadows:
    """The shadows of every partition of a bus in memory: they begin where the workers are, and follow at their pace."""

    def __init__(self, bus: InMemoryBus, candidate: Candidate) -> None:
        self.bus = bus
        self.stage = candidate.stage
        self.of = {number: Shadow(bus.site, number, SCHEMAS, candidate) for number in bus.running}
        self._recalled = dict.fromkeys(bus.running, 0)
        for number, shadow in self.of.items():
            committed = bus.running[number].committed[self.stage]
            self._recall(number)
            position = max(committed, shadow.done)
            for record in bus.input_of(self.stage, number):
                if record.offset < position:
                    shadow.refold(record)
            shadow.evaluate(position)

    def _recall(self, number: int) -> None:
        log = self.bus.logs[topics.alerts_raised(self.bus.site.name), number]
        for record in log[self._recalled[number] :]:
            self.of[number].recall(record)
        self._recalled[number] = len(log)

    def follow(self, number: int, records: int) -> None:
        """Fold up to so many facts of a partition, then learn how far the workers have come, and what they wrote."""
        shadow = self.of[number]
        for record in [r for r in self.bus.input_of(self.stage, number) if r.offset >= shadow.position][:records]:
            shadow.process(record)
        committed = self.bus.running[number].committed[self.stage]
        self._recall(number)
        shadow.done_up_to(committed)

    def catch_up(self) -> None:
        """Fold all there is; the workers have come as far."""
        for number, shadow in self.of.items():
            self.follow(number, 1_000_000)
            shadow.done_up_to(shadow.position)

    def differences(self) -> dict[str, Difference]:
        """What differs now, by alert id."""
        found = {}
        for shadow in self.of.values():
            shadow.look()
            found.update({one.alert["alert_id"]: one for one in shadow.differences})
        return found


def changed(installed: Candidate, seed: int, ways: Iterable[str]) -> Candidate:
    """A new version of a rule, which treats each situation in one of these ways, always the same."""
    rule, listed = installed.correlation, list(ways)

    def situations(picture: Any, focus: Any, now: int) -> set[Situation]:
        return {
            other
            for one in rule.situations(picture, focus, now)
            for other in _otherwise(one, listed[zlib.crc32(f"{seed}{one.key}".encode()) % len(listed)])
        }

    return replace(installed, correlation=replace(rule, version=rule.version + 1, situations=situations))


def _otherwise(situation: Situation, way: str) -> list[Situation]:
    said_otherwise = replace(situation, headline="Something else", evidence=situation.evidence[:-1])
    one_more = replace(situation, key=(*situation.key, "more"))
    return {
        "leave it": [situation],
        "drop it": [],
        "say it otherwise": [said_otherwise],
        "find one more": [situation, one_more],
    }[way]


def a_bus(history: list[Event], partitions: int) -> InMemoryBus:
    bus = InMemoryBus(demo_site(partitions=partitions))
    for what in history:
        bus.publish(what, agency_of(what))
    bus.tick(LAST_TICK)
    bus.run()
    return bus


def switched_on(candidate: Candidate) -> Callable[[Site, int, Mapping[int, WriterSchema]], Partition]:
    """Makes stages that have the candidate in its installed version's place."""

    def instead(rules: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(candidate.correlation if r.name == candidate.correlation.name else r for r in rules)

    def stages(site: Site, number: int, schemas: Mapping[int, WriterSchema]) -> Partition:
        return Partition(
            site,
            number,
            PersonStage(site, number, schemas, instead(PERSON_CORRELATIONS)),
            FacilityStage(site, number, schemas, instead(FACILITY_CORRELATIONS)),
            DiscloseStage(site, number, schemas),
        )

    return stages


@of_each_rule
@settings(max_examples=15)
@given(history=histories, choose=st.randoms(use_true_random=False), partitions=partition_counts)
def test_the_rule_that_is_on_never_differs_from_itself_however_far_the_two_are_apart(
    installed: Candidate, history: list[Event], choose: random.Random, partitions: int
) -> None:
    bus = InMemoryBus(demo_site(partitions=partitions))
    events = choose.sample(history, len(history))
    started_at = choose.randint(0, len(events))
    shadows: Shadows | None = None
    for number, what in enumerate(events):
        bus.publish(what, agency_of(what))
        if choose.random() < 0.3:
            bus.tick(START + choose.choice(DAYS) * DAY)
        for _ in range(choose.randint(0, 6)):
            if pending := bus.pending():
                bus.step(choose.choice(pending), choose.randint(1, 7), commit=choose.random() < 0.7)
        if choose.random() < 0.1:
            bus.restart(choose.choice(list(bus.running)))
        if number == started_at:
            shadows = Shadows(bus, installed)
        elif shadows is not None:
            shadows.follow(choose.choice(list(bus.running)), choose.randint(0, 7))
            assert shadows.differences() == {}
    bus.tick(LAST_TICK)
    bus.run()
    shadows = shadows or Shadows(bus, installed)
    shadows.catch_up()
    assert shadows.differences() == {}
    of_the_rule = {k for k, alert in bus.open_alerts().items() if alert["rule"] == installed.correlation.name}
    assert {alert["alert_id"] for shadow in shadows.of.values() for alert in shadow.derived} == of_the_rule
    hypothesis_event(f"open in the end: {bool(of_the_rule)}")


@of_each_rule
@settings(max_examples=15)
@given(history=histories, seed=seeds, partitions=partition_counts)
def test_a_rule_that_finds_less_only_withdraws_and_just_what_it_does_not_find(
    installed: Candidate, history: list[Event], seed: int, partitions: int
) -> None:
    bus = a_bus(history, partitions)
    shadows = Shadows(bus, changed(installed, seed, ["leave it", "drop it"]))
    found = shadows.differences()
    assert {one.verdict for one in found.values()} <= {Verdict.WITHDRAW}
    kept = {alert["alert_id"] for shadow in shadows.of.values() for alert in shadow.derived}
    recorded = {alert["alert_id"] for shadow in shadows.of.values() for alert in shadow.recorded}
    assert recorded == kept | found.keys()
    assert not kept & found.keys()


@of_each_rule
@settings(max_examples=25)
@given(history=histories, seed=seeds, partitions=partition_counts)
def test_switching_the_rule_on_does_exactly_what_its_shadow_said(
    installed: Candidate, history: list[Event], seed: int, partitions: int
) -> None:
    candidate = changed(installed, seed, ["leave it", "drop it", "say it otherwise", "find one more"])
    bus = a_bus(history, partitions)
    said = Shadows(bus, candidate).differences()
    for one in said.values():
        hypothesis_event(one.verdict)
        assert bool(one.fields) == (one.verdict is Verdict.CHANGE)
    told = {known_as: notices(one, bus.site, LAST_TICK) for known_as, one in said.items()}

    before = bus.open_alerts()
    lengths = {where: len(log) for where, log in bus.logs.items()}
    bus.stages = switched_on(candidate)
    bus.restart_all()

    written = _written(bus, lengths, topics.alerts_raised(bus.site.name))
    did = {}
    for record in written:
        was, known_as = record["alert_id"] in before, record["alert_id"]
        raised = Verdict.CHANGE if was else Verdict.RAISE
        did[known_as] = Verdict.WITHDRAW if record["state"] == "WITHDRAWN" else raised
        assert record["rule_version"] == installed.correlation.version + (record["state"] == "OPEN")
    assert len(did) == len(written)
    assert did == {known_as: one.verdict for known_as, one in said.items()}
    assert _notices_written(bus, lengths) == Counter(
        (recipient, known_as, notice is Notice.WITHDRAWN)
        for known_as, by_recipient in told.items()
        for recipient, notice in by_recipient.items()
    )


def _written(bus: InMemoryBus, lengths: Mapping[tuple[str, int], int], topic: str) -> list[dict[str, Any]]:
    """What came onto a topic since its logs were so long."""
    since = InMemoryBus(bus.site)
    for (name, number), log in list(bus.logs.items()):
        since.logs[name, number] = log[lengths.get((name, number), 0) :]
    return since.history(topic)


def _notices_written(bus: InMemoryBus, lengths: Mapping[tuple[str, int], int]) -> Counter[tuple[str, str, bool]]:
    return Counter(
        (recipient.id, record["alert_id"], record["state"] == "WITHDRAWN")
        for recipient in bus.site.recipients
        for kind in recipient.kinds
        for record in _written(bus, lengths, topics.alerts_for(bus.site.name, recipient.id, kind))
    )


@of_each_rule
@settings(max_examples=15)
@given(history=histories, seed=seeds, partitions=partition_counts, data=st.data())
def test_to_follow_the_log_ends_in_what_one_sees_who_begins_at_its_end(
    installed: Candidate, history: list[Event], seed: int, partitions: int, data: st.DataObject
) -> None:
    candidate = changed(installed, seed, ["leave it", "drop it", "say it otherwise", "find one more"])
    cut = data.draw(st.integers(0, len(history)))
    bus = a_bus(history[:cut], partitions)
    shadows = Shadows(bus, candidate)
    shown = {news.difference.says: news for shadow in shadows.of.values() for news in shadow.look()}
    assert all(news.appeared for news in shown.values())
    for what in history[cut:]:
        bus.publish(what, agency_of(what))
        bus.run()
        shadows.follow(data.draw(st.sampled_from(sorted(bus.running))), 5)
        shadows.differences()
    bus.tick(LAST_TICK + DAY)
    bus.run()
    shadows.catch_up()
    at_the_end = Shadows(bus, candidate).differences()
    assert {k: one.says for k, one in shadows.differences().items()} == {k: one.says for k, one in at_the_end.items()}
