"""The simulated broker refuses what Kafka refuses, the simulated processes die and wake as real ones do.

What is said here of the broker, tests/integration/test_fencing.py says of the real one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from schemas import topics
from streams.assignor import Claim, Share
from streams.fencing import BrokenWriterError, Fenced, PartitionWriter
from streams.fold import plain_consumer, read_back
from streams.records import Out
from tests.simulation.broker import Refused, SimulatedBroker
from tests.simulation.county_history import county_site
from tests.simulation.kafka_clients import SimulatedOutside
from tests.simulation.seeded_loop import Process, SeededLoop
from tests.simulation.simulation import SETTINGS

SITE = county_site(2, "history", "shipped")
RAISED = topics.alerts_raised(SITE.name)


class Bench:
    """A loop, a broker, and processes on it."""

    def __init__(self, seed: int = 1) -> None:
        self.loop = SeededLoop(random.Random(seed))
        self.broker = SimulatedBroker(SITE, self.loop, random.Random(seed), lambda *_: None, 1.0)

    def process(self, name: str = "worker") -> tuple[Process, SimulatedOutside]:
        process = Process(self.loop, name)
        return process, SimulatedOutside(self.broker, process, lambda: 0)

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:
        async def in_time() -> Any:
            return await asyncio.wait_for(what, 1_000)

        return self.loop.run_until_complete(self.loop.world.spawn(in_time(), "test"))

    def visible(self) -> list[bytes | None]:
        log = self.broker.logs[RAISED, 0]
        return [entry.value for entry in log.read(0, 1_000, log.stable)]


def out(value: str, partition: int = 0) -> Out:
    return Out(RAISED, partition, value.encode(), None, value.encode())


@pytest.mark.parametrize("seed", range(10))
def test_a_writer_that_was_overtaken_is_refused_and_none_of_its_records_is_seen(seed: int) -> None:
    bench = Bench(seed)
    (one, outside), (two, other) = bench.process("one"), bench.process("two")

    async def overtaken() -> None:
        first = PartitionWriter(SETTINGS, SITE, 0, outside)
        await first.open()
        await first.write([out("by the first")])
        await two.spawn(overtakes(), "two")
        with pytest.raises(Fenced):
            await first.write([out("too late"), out("this, too")])

    async def overtakes() -> None:
        second = PartitionWriter(SETTINGS, SITE, 0, other)
        await second.open()
        await second.write([out("by the second")])

    async def both() -> None:
        await one.spawn(overtaken(), "one")
        await asyncio.sleep(5)

    bench.run(both())
    assert bench.visible() == [b"by the first", b"by the second"]


@pytest.mark.parametrize("seed", range(20))
def test_of_a_writer_that_dies_in_the_middle_all_or_nothing_is_seen(seed: int) -> None:
    bench = Bench(seed)
    (one, outside), (two, other) = bench.process("one"), bench.process("two")

    async def dies() -> None:
        first = PartitionWriter(SETTINGS, SITE, 0, outside)
        await first.open()
        one.fuse, one.on_fuse = 1 + seed, one.kill
        await first.write([out(str(number)) for number in range(20)])

    async def succeeds() -> None:
        second = PartitionWriter(SETTINGS, SITE, 0, other)
        await second.open()
        await second.write([out("the successor")])

    async def both() -> None:
        one.spawn(dies(), "one")
        await asyncio.sleep(40)
        await two.spawn(succeeds(), "two")
        await asyncio.sleep(5)

    bench.run(both())
    assert bench.visible()[-1] == b"the successor"
    assert len(bench.visible()) in (1, 21)


def test_readers_stop_before_an_open_transaction_and_it_is_aborted_in_the_end() -> None:
    bench = Bench()
    process, outside = bench.process()
    log = bench.broker.logs[RAISED, 0]

    def read() -> list[bytes | None]:
        consumer = plain_consumer(SETTINGS, "demo.bus", "demo.bus", outside)
        return [record.value for _, record in read_back(consumer, [(RAISED, 0)])]

    async def scene() -> None:
        producer = outside.producer({"transactional.id": "x", "transaction.timeout.ms": 30_000})
        await asyncio.to_thread(producer.init_transactions, 30.0)
        transaction = bench.broker.begin("x", 1, "x", 0)
        assert transaction is not None
        bench.broker.append((RAISED, 0), b"before", b"before")
        bench.broker.write(transaction, [((RAISED, 0), b"open", b"open", ())])
        bench.broker.append((RAISED, 0), b"behind", b"behind")
        assert (log.stable, log.end) == (1, 3)
        assert await asyncio.to_thread(read) == [b"before"]
        bench.broker.time_out(transaction)
        await asyncio.sleep(1)
        assert await asyncio.to_thread(read) == [b"before", b"behind"]
        assert not bench.broker.commit(transaction)

    async def run() -> None:
        await process.spawn(scene(), "scene")

    bench.run(run())


def test_what_the_broker_can_never_take_breaks_the_writer() -> None:
    bench = Bench()
    process, outside = bench.process()

    async def scene() -> None:
        writer = PartitionWriter(SETTINGS, SITE, 0, outside)
        await writer.open()
        with pytest.raises(BrokenWriterError, match="sallyport provision"):
            await writer.write([Out("no.such.topic", 0, b"k", None, b"v")])

    async def run() -> None:
        await process.spawn(scene(), "scene")

    bench.run(run())


def test_compaction_keeps_the_last_of_each_key_and_touches_nothing_that_is_open() -> None:
    bench = Bench()
    part = RAISED, 0
    for number in range(20):
        bench.broker.append(part, f"key {number % 3}".encode(), str(number).encode())
    log = bench.broker.logs[part]
    for _ in range(20):
        bench.broker.compact(part)
    assert [(entry.key, entry.value) for entry in log.entries] == [
        (b"key 2", b"17"),
        (b"key 0", b"18"),
        (b"key 1", b"19"),
    ]
    assert log.end == 20


async def joined(bench: Bench, *members: str) -> list[tuple[int, Share]]:
    return await asyncio.gather(*(bench.broker.group.join(member, Claim()) for member in members))


def test_a_member_of_the_past_may_not_commit() -> None:
    bench = Bench()
    group = bench.broker.group

    async def scene() -> None:
        ((generation, share),) = await joined(bench, "one")
        assert share.numbers == {0, 1}
        group.commit("one", generation, {("t", 0): 1})
        await asyncio.sleep(60)
        with pytest.raises(Refused):
            group.commit("one", generation, {("t", 0): 2})
        with pytest.raises(Refused):
            group.heartbeat("one", generation)
        ((later, _),) = await joined(bench, "two")
        assert later > generation + 1, "whoever was out sees that it missed a generation"

    bench.run(scene())
    assert group.offsets == {("t", 0): 1}


def scenes(steps: list[str], process: Process) -> Callable[[], Coroutine[Any, Any, None]]:
    def ask() -> None:
        process.loop.block(1.0)
        steps.append("answered")

    async def scene() -> None:
        while True:
            steps.append("asked")
            await asyncio.to_thread(ask)

    return scene


def test_a_process_that_is_stopped_does_nothing_until_it_is_woken_and_a_killed_one_nothing_any_more() -> None:
    bench = Bench()
    process, _ = bench.process()
    steps: list[str] = []

    async def run() -> list[int]:
        process.spawn(scenes(steps, process)(), "scene")
        counts = []
        for change in (process.stop, process.wake, process.kill, lambda: None):
            await asyncio.sleep(5.5)
            counts.append(len(steps))
            change()
        return counts

    first, stopped, woken, killed = bench.run(run())
    assert first >= 10
    assert stopped == first
    assert woken > stopped
    assert killed == woken
    assert len(steps) == killed


def test_threads_that_block_take_turns_and_calls_of_one_executor_wait_for_each_other() -> None:
    bench = Bench()
    process, _ = bench.process()
    order: list[str] = []

    def job(name: str) -> str:
        for _ in range(3):
            order.append(name)
            process.loop.block(1.0)
        return name

    async def scene() -> None:
        one = ThreadPoolExecutor(1)
        loop = asyncio.get_running_loop()
        both = [loop.run_in_executor(one, job, name) for name in ("first", "second")]
        assert await asyncio.gather(*both, asyncio.to_thread(job, "beside")) == ["first", "second", "beside"]

    async def run() -> None:
        await process.spawn(scene(), "scene")

    bench.run(run())
    assert [name for name in order if name != "beside"] == ["first"] * 3 + ["second"] * 3
    assert set(order[:4]) == {"first", "beside"}


def test_different_seeds_choose_different_orders() -> None:
    def order(seed: int) -> str:
        bench, said = Bench(seed), []

        async def say(name: str) -> None:
            for _ in range(5):
                said.append(name)
                await asyncio.sleep(0)

        async def run() -> None:
            await asyncio.gather(*(bench.process(name)[0].spawn(say(name), name) for name in "abc"))

        bench.run(run())
        return "".join(said)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(20)}) > 15
