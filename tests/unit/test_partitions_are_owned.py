"""Owning partitions: a rebalance waits for nobody, and of what is recovered nobody waits for more than he must."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas import topics
from schemas.registry_client import RegistryAway, SchemaCache
from schemas.settings import Settings
from schemas.site import Site
from streams import agents, fencing
from streams.agents import Partitions
from streams.batching import Batch
from streams.fencing import PartitionWriter
from streams.fold import BrokerQuietError, Fold, OutdatedError, Progress, Recovered
from streams.partition import Partition
from streams.partition_loop import Delivery
from streams.records import LoggedRecord, Out
from streams.standby import Following, Standbys
from tests.bench.first_alert_after_a_kill import PHASES
from tests.county import demo_site


class SlowWriter:
    """Waits for a broker that does not answer."""

    async def open(self) -> None:
        await asyncio.Event().wait()

    async def write(self, records: Sequence[Out]) -> None:
        raise AssertionError(records)

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_partition_is_let_go_of_while_its_writer_still_waits_for_the_broker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(agents, "PartitionWriter", lambda *_: SlowWriter())
    monkeypatch.setattr(agents, "CLOSE_S", 0.05)
    broken: list[Any] = []
    schemas = cast(SchemaCache, {})
    partitions = Partitions(Settings(home=tmp_path), demo_site(partitions=3), schemas, {}, broken.append)
    await partitions.own(frozenset({0, 1, 2}), 1)
    held_back = partitions.running[1].progress
    partitions.held |= {("facts", 1), ("facts", 2)}
    async with asyncio.timeout(2):
        await partitions.own(frozenset({0, 2}), 2)
    assert partitions.running.keys() == {0, 2}
    assert held_back.abandoned, "a thread that reads it back ends by itself"
    assert partitions.held == {("facts", 2)}
    assert broken == []
    async with asyncio.timeout(2):
        await partitions.close()


class Unanswered:
    """A producer whose broker does not answer until it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.opened = False
        self.broker_is_back = threading.Event()

    def init_transactions(self, timeout: float) -> None:
        assert timeout <= fencing.OPEN_TIMEOUT_S
        self.asked += 1
        if not self.broker_is_back.wait(0.01):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "timed out", False, True))
        self.opened = True


@dataclass
class Unanswering:
    """The outside, where no broker answers."""

    producing: Unanswered = field(default_factory=Unanswered)

    def producer(self, _: object) -> Unanswered:
        return self.producing

    def sleep(self, _: float) -> None:
        pass


async def test_who_lost_a_partition_before_its_writer_was_open_does_not_fence_the_next_owner_when_the_broker_is_back(
    tmp_path: Path,
) -> None:
    outside = Unanswering()
    writer = PartitionWriter(Settings(home=tmp_path, security_protocol="PLAINTEXT"), demo_site(), 0, cast(Any, outside))
    opening = asyncio.create_task(writer.open())
    async with asyncio.timeout(10):
        while outside.producing.asked < 3:  # noqa: ASYNC110  # a thread tells nobody
            await asyncio.sleep(0)
        opening.cancel()
        await writer.close()
    outside.producing.broker_is_back.set()
    asked = outside.producing.asked
    with pytest.raises(RuntimeError, match="shutdown"):
        await writer.open()
    assert (outside.producing.asked, outside.producing.opened) == (asked, False)


async def test_a_writer_that_waits_for_the_broker_is_open_when_it_is_back(tmp_path: Path) -> None:
    outside = Unanswering()
    writer = PartitionWriter(Settings(home=tmp_path, security_protocol="PLAINTEXT"), demo_site(), 0, cast(Any, outside))
    opening = asyncio.create_task(writer.open())
    async with asyncio.timeout(10):
        while outside.producing.asked < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        outside.producing.broker_is_back.set()
        await opening
        await writer.close()
    assert outside.producing.opened


class OpenWriter(SlowWriter):
    """Is ready at once, and writes nothing."""

    async def open(self) -> None:
        pass

    async def write(self, records: Sequence[Out]) -> None:
        assert not records

    async def close(self) -> None:
        pass


def without_a_broker(monkeypatch: pytest.MonkeyPatch, writer: Callable[..., object]) -> None:
    """Partitions write with this, read nothing, and no time passes."""
    monkeypatch.setattr(agents, "PartitionWriter", writer)
    monkeypatch.setattr(Partitions, "_with_consumer", lambda _, read: read(None, None))
    monkeypatch.setattr(Partitions, "_recall_the_last_tick", lambda _: asyncio.sleep(0))
    monkeypatch.setattr(Partitions, "_tick", lambda *_: asyncio.sleep(0))


def nonsense(topic: str) -> Delivery:
    """A batch of which nothing can be made, but a dead letter."""

    async def acknowledge() -> None:
        pass

    return Delivery(Batch(topic, 0, [LoggedRecord(0, b"key", b"no Avro")]), acknowledge)


class Keeping(OpenWriter):
    """Keeps the topics of what is written."""

    def __init__(self, topics_written: list[str]) -> None:
        self._topics = topics_written

    async def write(self, records: Sequence[Out]) -> None:
        self._topics += [record.topic for record in records]


async def test_what_comes_in_is_identified_while_what_folds_is_still_recovered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[str] = []
    without_a_broker(monkeypatch, lambda *_: Keeping(written))
    go_on = threading.Event()

    def recovers(*_: object) -> Recovered:
        assert go_on.wait(10)
        return Recovered({"person": 0, "facility": 0}, iter(()))

    monkeypatch.setattr(agents, "recover", recovers)
    broken: list[Any] = []
    nobody_asks = SchemaCache(cast(Any, None))
    partitions = Partitions(Settings(home=tmp_path), demo_site(partitions=1), nobody_asks, {}, broken.append)
    await partitions.own(frozenset({0}), 1)
    running = partitions.running[0]
    running.loop.hand_over("identify", nonsense(topics.inbound("demo", "county-jail", "BookingReported")))
    running.loop.hand_over("person", nonsense(topics.person_facts("demo")))
    async with asyncio.timeout(10):
        while running.loop.waiting["identify"]:  # noqa: ASYNC110  # a loop tells nobody
            await asyncio.sleep(0)
        assert written == [topics.dead_letters("demo", "county-jail")]
        assert not running.live.is_set()
        assert running.loop.waiting["person"] == 1
        go_on.set()
        await running.live.wait()
        while running.loop.waiting["person"]:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await partitions.close()
    assert written == [topics.dead_letters("demo", "county-jail"), topics.dead_letters("demo", topics.BUS)]
    assert broken == []


@pytest.mark.parametrize("breaks", [False, True], ids=["is refused", "breaks the stage"])
@pytest.mark.parametrize(
    ("event_type", "box"),
    [
        ("BookingReported", topics.dead_letters("demo", "county-jail")),
        ("CareObserved", topics.care_dead_letters("demo", "county-jail")),
    ],
)
async def test_what_came_on_a_care_topic_is_set_aside_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, event_type: str, box: str, breaks: bool
) -> None:
    written: list[str] = []
    broken: list[Any] = []
    without_a_broker(monkeypatch, lambda *_: Keeping(written))
    monkeypatch.setattr(agents, "recover", lambda *_: Recovered({"person": 0, "facility": 0}, iter(())))
    if breaks:
        monkeypatch.setattr(agents, "identify", lambda *_: 1 / 0)
    nobody_asks = SchemaCache(cast(Any, None))
    partitions = Partitions(Settings(home=tmp_path), demo_site(partitions=1), nobody_asks, {}, broken.append)
    await partitions.own(frozenset({0}), 1)
    running = partitions.running[0]
    running.loop.hand_over("identify", nonsense(topics.inbound("demo", "county-jail", event_type)))
    async with asyncio.timeout(10):
        while running.loop.waiting["identify"]:  # noqa: ASYNC110  # a loop tells nobody
            await asyncio.sleep(0)
        await partitions.close()
    assert (written, broken) == ([box], [])


def half_followed(site: Site, number: int) -> Following:
    """What is known of a number by who stood by for too short a time: of the higher ones more."""
    fold = Fold(Partition.of(site, number, {}))
    return Following(number, fold, time.monotonic(), Progress(read=10 * number))


@pytest.mark.parametrize(
    ("away", "goes_on"),
    [(RegistryAway(), True), (BrokerQuietError(), False), (OutdatedError(), False)],
    ids=["the registry is away", "the broker is quiet", "the log is another"],
)
async def test_a_recovery_goes_on_from_where_it_is_where_only_the_registry_was_away(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    away: Exception,
    goes_on: bool,
) -> None:
    caplog.set_level("INFO")
    without_a_broker(monkeypatch, lambda *_: OpenWriter())
    monkeypatch.setattr(agents, "RETRY_S", 0)
    found: list[tuple[Fold, Progress]] = []

    def recovers(fold: Fold, progress: Progress, *_: object) -> Recovered:
        found.append((fold, progress))
        if len(found) == 1:
            raise away
        return Recovered({"person": 0, "facility": 0}, iter(()))

    monkeypatch.setattr(agents, "recover", recovers)
    broken: list[Any] = []
    partitions = Partitions(Settings(home=tmp_path), demo_site(partitions=1), cast(SchemaCache, {}), {}, broken.append)
    await partitions.own(frozenset({0}), 1)
    async with asyncio.timeout(10):
        await partitions.running[0].live.wait()
    (first, at_first), (second, then) = found
    assert (second is first, then is at_first) == (goes_on, goes_on)
    assert at_first.waits is goes_on, "who watches the worker excuses it meanwhile"
    at_first.count(1)
    assert not at_first.waits, "what is read back says that the registry is there"
    assert partitions.running[0].partition is second.partition
    for phase in ("noticed", "reconciled", "live"):
        assert re.search(PHASES[phase], caplog.text), "the bench of takeovers reads it in the worker's log"
    await partitions.close()
    assert broken == []


@pytest.mark.parametrize(
    ("half_known", "order"), [(False, [1, 2, 0]), (True, [2, 1, 0])], ids=["the clock recalled first", "half known"]
)
async def test_partitions_are_recovered_one_after_the_other_and_each_is_live_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, half_known: bool, order: list[int]
) -> None:
    without_a_broker(monkeypatch, lambda *_: OpenWriter())
    site = demo_site(partitions=3)
    if half_known:
        monkeypatch.setattr(Standbys, "release", lambda _, number: half_followed(site, number))
    go_on = {number: threading.Event() for number in range(3)}
    begun: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def recovers(fold: Fold, *_: Progress) -> Recovered:
        number = fold.partition.number
        loop.call_soon_threadsafe(begun.put_nowait, number)
        assert go_on[number].wait(10)
        return Recovered({"person": 0, "facility": 0}, iter(()))

    monkeypatch.setattr(agents, "recover", recovers)
    broken: list[Any] = []
    partitions = Partitions(Settings(home=tmp_path), site, cast(SchemaCache, {}), {}, broken.append)
    await partitions.own(frozenset({0, 1, 2}), 1)
    async with asyncio.timeout(10):
        for left, wanted in zip((2, 1, 0), order, strict=True):
            number = await begun.get()
            assert number == wanted, "that of which most is known first"
            # A lock tells nobody that somebody waits for it.
            while sum(one.waits for one in partitions.running.values()) < left:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert begun.empty()
            assert not partitions.running[number].live.is_set()
            go_on[number].set()
            await partitions.running[number].live.wait()
        await partitions.close()
    assert broken == []
