"""The stages over logs in memory: the engine without Kafka, at any order, batch split, crash or number of partitions.

It writes with the same pure stages and the same wire format as the workers; what differs is only who carries the
records. The integration tests then show that Kafka and Faust carry them as this does.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from schemas import topics
from schemas.codec import WriterSchema, decode, encode, encode_event
from schemas.events import Event, type_name
from schemas.site import Site
from streams.backtest import SCHEMA_IDS, SCHEMAS
from streams.clock import Clock
from streams.facts import TICK_KEY, partition_of
from streams.failures import REASON as RULE_FAILED
from streams.heard import Noted
from streams.identify import DeadLetter, Source, identify
from streams.partition import FOLDING, Partition
from streams.records import Headers, LoggedRecord, Out, header
from streams.stage import input_of
from tests.county import agency_of, demo_site


@dataclass
class Running:
    """The stages of one partition number, and by stage how far they have come and how far that is committed."""

    partition: Partition
    position: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDING, 0))
    committed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDING, 0))


@dataclass
class StandingBy:
    """The stages of a partition number as somebody follows them who stands by for it."""

    partition: Partition
    recalled: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    folded: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDING, 0))


@dataclass
class InMemoryBus:
    """A site's logs and stages. `step` moves one stage of one partition by some records."""

    site: Site
    logs: dict[tuple[str, int], list[LoggedRecord]] = field(default_factory=lambda: defaultdict(list))
    dead_letters: list[DeadLetter] = field(default_factory=list)
    running: dict[int, Running] = field(default_factory=dict)
    standing_by: dict[int, StandingBy] = field(default_factory=dict)
    clock: Clock = field(init=False)
    _noted: Noted = field(default_factory=Noted)
    stages: Callable[[Site, int, Mapping[int, WriterSchema]], Partition] = Partition.of
    """Makes the stages of a partition number: other ones after a restart, where the rules changed."""

    def __post_init__(self) -> None:
        self.clock = Clock(self.site)
        for number in range(self.site.partitions):
            self.running[number] = Running(self.stages(self.site, number, SCHEMAS))

    def input_of(self, stage: str, number: int) -> list[LoggedRecord]:
        """The log that a folding stage of a partition reads."""
        return self.logs[input_of(stage, self.site), number]

    # -- the way in ----------------------------------------------------------------------------------------------

    def publish(self, event: Event, agency: str, raw: bytes | None = None, wall_now: int | None = None) -> None:
        """Identify one event and put its facts on the logs. Unless told when, it arrives the moment it happened:
        nothing is from the future, or expired already."""
        event_type = type_name(event)
        source = Source(topics.inbound(self.site.name, agency, event_type), self.site.agency_by_id[agency], event_type)
        value = raw if raw is not None else encode_event(event, SCHEMA_IDS[event_type])
        arrived = event.head.time if wall_now is None else wall_now
        found = identify(LoggedRecord(0, None, value), source, self.site, SCHEMAS, arrived)
        if isinstance(found, DeadLetter):
            self.dead_letters.append(found)
        self.write(out for out in found.records if self._noted.is_news(out))

    def tick(self, time: int) -> None:
        """Let it be so late on every partition, by the site's clock."""
        self.write(self.clock.advance(time))

    def write(self, outs: Iterable[Out]) -> None:
        """Append what a stage wants written."""
        for out in outs:
            value = out.value
            assert header(out.headers, "reason") != RULE_FAILED, header(out.headers, "detail")
            if value is not None and not isinstance(value, bytes):
                assert out.name is not None
                value = encode(out.name, value, SCHEMA_IDS[out.name])
            self._append(out.topic, out.partition, out.key, value, out.headers)

    def _append(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        log = self.logs[topic, partition]
        offset = log[-1].offset + 1 if log else 0
        log.append(LoggedRecord(offset, key, value, headers))

    # -- the stages ----------------------------------------------------------------------------------------------

    def pending(self) -> list[tuple[str, int]]:
        """The stages that have something to read, as stage and partition number."""
        return [
            (stage, number)
            for stage in FOLDING
            for number, running in self.running.items()
            if (log := self.input_of(stage, number)) and log[-1].offset >= running.position[stage]
        ]

    def step(self, where: tuple[str, int], records: int, commit: bool = True) -> None:
        """Let one stage process up to so many records; what it writes is on the logs before it commits."""
        stage, number = where
        running = self.running[number]
        for record in [r for r in self.input_of(stage, number) if r.offset >= running.position[stage]][:records]:
            self.write(running.partition.process(stage, record))
            running.position[stage] = record.offset + 1
        if commit:
            running.committed[stage] = running.position[stage]

    def run(self, choose: random.Random | None = None, crash: float = 0.0, follow: float = 0.0) -> None:
        """Run until nothing is left to read; with `choose`, in a random order with random batches and crashes, and now
        and then followed by one who stands by."""
        while pending := self.pending():
            where = choose.choice(pending) if choose else pending[0]
            batch = choose.randint(1, 7) if choose else 1_000_000
            self.step(where, batch, commit=not choose or choose.random() < 0.7)
            if choose and choose.random() < follow:
                self.follow(choose.choice(list(self.running)), choose.randint(1, 20), choose.randint(0, 3))
            if choose and choose.random() < crash:
                self.restart(choose.choice(list(self.running)))

    def follow(self, number: int, most: int | None, derive: int) -> StandingBy:
        """Let one who stands by for a partition number read on, up to so many records of each log, and derive a part;
        as `streams/fold.py` does."""
        if number not in self.standing_by:
            self.standing_by[number] = StandingBy(self.stages(self.site, number, SCHEMAS))
        standing_by = self.standing_by[number]
        partition = standing_by.partition
        for where in partition.outputs():
            for record in [r for r in self.logs[where] if r.offset >= standing_by.recalled[where]][:most]:
                partition.recall(where[0], record)
                standing_by.recalled[where] = record.offset + 1
        committed = self.running[number].committed
        for stage in FOLDING:
            until = max(committed[stage], partition.last_cause(stage) + 1, standing_by.folded[stage])
            ticks = [r.offset for r in self.input_of(stage, number) if r.key == TICK_KEY]
            if ticks and 0 < until <= ticks[0]:
                until = ticks[0] + 1
            log = [r for r in self.input_of(stage, number) if standing_by.folded[stage] <= r.offset < until]
            for record in log[:most]:
                partition.refold(stage, record)
                standing_by.folded[stage] = record.offset + 1
        if derive:
            partition.derive_ahead(derive)
        return standing_by

    def restart(self, number: int) -> None:
        """Kill the stages of a partition number and recover them from the logs alone, or from where one has come who
        stands by, as `streams/fold.py` does."""
        standing_by = self.follow(number, None, 0)
        del self.standing_by[number]
        partition, positions = standing_by.partition, dict.fromkeys(FOLDING, 0)
        for stage in FOLDING:
            committed = self.running[number].committed[stage]
            positions[stage] = max(committed, partition.last_cause(stage) + 1, standing_by.folded[stage])
        self.write(partition.reconcile(positions))
        self.running[number] = Running(partition, dict(positions), dict(positions))

    def restart_all(self) -> None:
        """Restart every partition."""
        for number in list(self.running):
            self.restart(number)

    def compact(self, topic: str, *, tombstones: bool = False) -> None:
        """What Kafka's cleaner does in the end: of each key only the last record, and no tombstones; before the end
        these stay."""
        # A tombstone stays for longer than one who stands by may be behind.
        for number in self.standing_by:
            self.follow(number, None, 0)
        for partition in range(self.site.partitions):
            log = self.logs[topic, partition]
            last = {record.key: record.offset for record in log}
            kept = [r for r in log if last[r.key] == r.offset and (tombstones or r.value is not None or r is log[-1])]
            self.logs[topic, partition] = kept

    # -- what came of it -----------------------------------------------------------------------------------------

    def history(self, topic: str) -> list[dict[str, Any]]:
        """All records of a topic, decoded; ticks, and notes of what came, left out."""
        return [
            decode(record.value, SCHEMAS)[1]
            for partition in range(self.site.partitions)
            for record in self.logs[topic, partition]
            if record.value and record.key != TICK_KEY
        ]

    def open_alerts(self) -> dict[str, dict[str, Any]]:
        """The alerts open in the end, by id."""
        last = {alert["alert_id"]: alert for alert in self.history(topics.alerts_raised(self.site.name))}
        return {known_as: alert for known_as, alert in last.items() if alert["state"] == "OPEN"}

    def shown_to(self, recipient: str) -> dict[str, dict[str, Any]]:
        """What a recipient has open in the end, by alert id."""
        last = {
            alert["alert_id"]: alert
            for kind in self.site.recipient_by_id[recipient].kinds
            for alert in self.history(topics.alerts_for(self.site.name, recipient, kind))
        }
        return {known_as: alert for known_as, alert in last.items() if alert["state"] == "OPEN"}


class HasAlerts(Protocol):
    """A bus, in memory or real, that tells which alerts are open."""

    def open_alerts(self) -> dict[str, dict[str, Any]]: ...


def digests(bus: HasAlerts) -> dict[str, str]:
    """Open alerts by id, as digests of what they say."""
    return {known_as: alert["digest"] for known_as, alert in bus.open_alerts().items()}


def processed(site: Site, events: Iterable[Event], tick: int | None = None) -> InMemoryBus:
    """A bus that has processed all of it in one go; the tick, where there is one, comes last."""
    bus = InMemoryBus(site)
    for what in events:
        bus.publish(what, agency_of(what))
    if tick is not None:
        bus.tick(tick)
    bus.run()
    return bus


def from_scratch(site_name: str, events: Iterable[Event], tick: int | None = None) -> dict[str, str]:
    """The digests by the pure stages alone, on one partition."""
    return digests(processed(demo_site(partitions=1, name=site_name, clock="history"), events, tick))


def facility_partition(site: Site, facility: str) -> int:
    """Partition of a facility."""
    return partition_of(facility, site.partitions)
