"""The loop of a partition number: each stage has its share of a transaction, and no topic waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import pytest

from schemas.registry_client import RegistryAway, SchemaCache
from streams import partition_loop
from streams.batching import Batch
from streams.clock import wall_clock
from streams.fencing import PartitionWriter
from streams.fold import Progress
from streams.partition_loop import MOST_OF_A_TOPIC, MOST_OF_ALL, MOST_RECORDS, Delivery, PartitionLoop, parted
from streams.records import TAKEN, LoggedRecord, Out, Record
from tests.unit.test_ways import HOUSED, MOVED, SHOTS, happened

MEGABYTE = 1024 * 1024


class Kept:
    """Keeps what would be written, transaction by transaction; while it is shut, who writes waits."""

    def __init__(self) -> None:
        self.transactions: list[Sequence[Out]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, records: Sequence[Out]) -> None:
        await self.open.wait()
        self.transactions.append(records)

    @property
    def keys(self) -> list[bytes]:
        return [out.key for transaction in self.transactions for out in transaction]


class Registry:
    """Knows what it was told; asked for more, it is away until it is back."""

    def __init__(self) -> None:
        self.known = {b"\0" * MEGABYTE}
        self.asked = 0
        self.away = True

    def knows(self, values: Sequence[bytes]) -> bool:
        return self.known.issuperset(values)

    def ensure(self, values: Sequence[bytes]) -> None:
        self.asked += 1
        if self.away:
            raise RegistryAway
        self.known.update(values)


def a_loop(
    *stages: str,
    held: set[tuple[str, int]] | None = None,
    registry: Registry | None = None,
    outs: Callable[[int], int] = lambda _: 1,
    kind: type[PartitionLoop] = PartitionLoop,
) -> tuple[PartitionLoop, Kept]:
    kept = Kept()

    def decide(stage: str, batch: Batch, record: Record) -> list[Out]:
        return [Out(batch.topic, 0, f"{stage} {record.offset}".encode(), None, None)] * outs(record.offset)

    def poison(stage: str, batch: Batch, record: Record, error: Exception) -> Out:
        raise AssertionError((stage, batch, record)) from error

    writer, schemas = cast(PartitionWriter, kept), cast(SchemaCache, registry or Registry())
    schema_ids: dict[tuple[str, str], int] = {}
    held = set() if held is None else held
    loop = kind(0, stages, writer, schemas, schema_ids, decide, poison, held, wall_clock=wall_clock)
    return loop, kept


def delivery(
    begin: int, records: int, done: asyncio.Event | None = None, topic: str = "topic", value: bytes | None = None
) -> Delivery:
    async def acknowledge() -> None:
        if done is not None:
            done.set()

    batch = Batch(topic, 0, [LoggedRecord(begin + number, b"k", value) for number in range(records)])
    return Delivery(batch, acknowledge)


def a_megabyte(offset: int, topic: str, done: asyncio.Event | None = None) -> Delivery:
    return delivery(offset, 1, done, topic, b"\0" * MEGABYTE)


async def soon(holds: Callable[[], object]) -> None:
    for _ in range(10_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("waited in vain")


async def test_a_stage_does_not_wait_for_the_backlog_of_another() -> None:
    loop, kept = a_loop("person", "identify")
    told, all_done = asyncio.Event(), asyncio.Event()
    half = MOST_RECORDS // 2
    for number in range(4):
        loop.hand_over("identify", delivery(number * half, half, all_done if number == 3 else None))
    loop.hand_over("person", delivery(7, 1, told))
    assert loop.waiting == {"person": 1, "identify": 4 * half}
    running = asyncio.create_task(loop.run())
    await asyncio.wait_for(told.wait(), 10)
    first = [out.key for out in kept.transactions[0]]
    assert first[0] == b"person 7", "what is nearest to an alert goes first"
    assert len(first) == 1 + MOST_RECORDS
    await asyncio.wait_for(all_done.wait(), 10)
    assert loop.waiting == {"person": 0, "identify": 0}
    running.cancel()
    assert [len(transaction) for transaction in kept.transactions] == [1 + MOST_RECORDS, MOST_RECORDS]


async def test_an_alert_says_when_that_was_taken_up_which_led_to_it_and_nothing_else_does() -> None:
    kept, (_, read) = Kept(), happened(*HOUSED, SHOTS, MOVED)
    alert = Out("alerts", 0, b"an alert", "AlertRaised", read.alert, (("before", b"it"),))
    tick = Out("facts", 0, b"a tick", "Tick", {"time": 5})

    def decide(stage: str, batch: Batch, record: Record) -> list[Out]:
        del stage, batch, record
        return [alert, tick, Out("facts", 0, b"a fact", None, b"as it came")]

    def poison(stage: str, batch: Batch, record: Record, error: Exception) -> Out:
        raise AssertionError((stage, batch, record)) from error

    ids = {("alerts", "AlertRaised"): 1, ("facts", "Tick"): 2}
    writer, schemas = cast(PartitionWriter, kept), cast(SchemaCache, Registry())
    loop = PartitionLoop(0, ["person"], writer, schemas, ids, decide, poison, set(), wall_clock=lambda: 1_234_567)
    loop.hand_over("person", delivery(0, 1))
    running = asyncio.create_task(loop.run())
    await soon(lambda: kept.transactions)
    running.cancel()
    await loop.write_in_parts([alert], Progress())
    of_what_came, of_a_recovery = kept.transactions
    assert [out.headers for out in of_what_came] == [(("before", b"it"), (TAKEN, b"1234567")), (), ()]
    assert [out.headers for out in of_a_recovery] == [(("before", b"it"),)], "nothing that came led to it"


async def test_a_topic_of_which_enough_waits_is_held_alone_until_half_of_it_is_done() -> None:
    held: set[tuple[str, int]] = set()
    loop, kept = a_loop("identify", held=held)
    kept.open.clear()
    enough = MOST_OF_A_TOPIC // MEGABYTE
    for number in range(enough):
        assert held == set()
        loop.hand_over("identify", a_megabyte(number, "many"))
    loop.hand_over("identify", a_megabyte(0, "few"))
    assert held == {("many", 0)}
    running = asyncio.create_task(loop.run())
    kept.open.set()
    await soon(lambda: not held)
    running.cancel()
    assert kept.keys == [b"identify %d" % number for number in range(enough)] + [b"identify 0"]


async def test_however_many_topics_there_are_what_waits_of_all_is_bounded() -> None:
    held: set[tuple[str, int]] = set()
    loop, kept = a_loop("identify", held=held)
    topics = [f"topic {number}" for number in range(MOST_OF_ALL // MEGABYTE + 5)]
    for topic in topics:
        if (topic, 0) not in held:
            loop.hand_over("identify", a_megabyte(0, topic))
    assert held == {(topic, 0) for topic in topics[MOST_OF_ALL // MEGABYTE - 1 :]}
    done = asyncio.Event()
    running = asyncio.create_task(loop.run())
    await soon(lambda: len(kept.keys) == len(topics))
    await soon(lambda: not held)
    loop.hand_over("identify", a_megabyte(1, topics[-1], done))
    await asyncio.wait_for(done.wait(), 10)
    running.cancel()


async def test_a_topic_whose_schemas_the_registry_does_not_tell_waits_alone_and_keeps_its_order() -> None:
    registry = Registry()
    loop, kept = a_loop("person", "identify", registry=registry)
    running = asyncio.create_task(loop.run())
    last = asyncio.Event()
    loop.hand_over("identify", delivery(0, 1, topic="new", value=b"a new schema"))
    loop.hand_over("identify", delivery(1, 1, topic="new", value=None))
    loop.hand_over("identify", delivery(5, 1, topic="old"))
    loop.hand_over("person", delivery(9, 1, topic="facts"))
    await soon(lambda: registry.asked)
    await soon(lambda: {b"identify 5", b"person 9"} <= set(kept.keys))
    assert loop.asks_the_registry("identify", "new")
    assert loop.waiting == {"person": 0, "identify": 2}
    loop.hand_over("identify", delivery(2, 1, last, topic="new"))
    registry.away = False
    await asyncio.wait_for(last.wait(), 10)
    running.cancel()
    assert [key for key in kept.keys if key in (b"identify 0", b"identify 1", b"identify 2")] == [
        b"identify 0",
        b"identify 1",
        b"identify 2",
    ]
    assert not loop.asks_the_registry("identify", "new")


async def test_what_the_registry_does_not_know_either_goes_on_and_is_asked_for_once() -> None:
    registry = Registry()
    registry.away = False
    # Of thousands of ids that nobody registered, the first are forgotten before the last is answered.
    registry.knows = lambda values: not values  # type: ignore[method-assign]
    loop, kept = a_loop("identify", registry=registry)
    running = asyncio.create_task(loop.run())
    for number in range(2):
        done = asyncio.Event()
        loop.hand_over("identify", delivery(number, 1, done, value=b"nobody's schema"))
        await asyncio.wait_for(done.wait(), 10)
    running.cancel()
    assert (kept.keys, registry.asked) == ([b"identify 0", b"identify 1"], 2)


async def test_what_goes_wrong_when_the_registry_is_asked_ends_the_loop() -> None:
    registry = Registry()

    def damaged(values: Sequence[bytes]) -> None:
        raise LookupError(len(values))

    registry.ensure = damaged  # type: ignore[method-assign]
    loop, _ = a_loop("identify", registry=registry)
    loop.hand_over("identify", delivery(0, 1, value=b"a new schema"))
    with pytest.raises(LookupError):
        await asyncio.wait_for(loop.run(), 10)


async def test_a_transaction_ends_where_it_is_long_enough_and_never_within_what_one_record_leads_to() -> None:
    many = partition_loop.MOST_OUTS + 1
    loop, kept = a_loop("person", outs=lambda offset: many if offset == 1 else 1)
    done = asyncio.Event()
    loop.hand_over("person", delivery(0, 4, done))
    kept.open.clear()
    running = asyncio.create_task(loop.run())
    await asyncio.sleep(0.01)
    assert not done.is_set(), "nothing is acknowledged before all of it is written"
    kept.open.set()
    await asyncio.wait_for(done.wait(), 10)
    running.cancel()
    assert [len(transaction) for transaction in kept.transactions] == [1 + many, 2]


async def test_what_a_recovery_wants_written_is_derived_no_further_than_it_is_written_and_each_part_gets_on() -> None:
    loop, kept = a_loop("person")
    progress, most = Progress(), partition_loop.MOST_OUTS
    derived, deriving = list[int](), set[bool]()
    at_each_part: list[tuple[int, int, bool]] = []

    def outs() -> Iterator[Out]:
        for number in range(2 * most + 1):
            derived.append(number)
            deriving.add(progress.deriving)
            yield Out("topic", 0, str(number).encode(), None, None)

    async def write(records: Sequence[Out]) -> None:
        at_each_part.append((len(derived), progress.read, progress.deriving))
        kept.transactions.append(records)

    kept.write = write  # type: ignore[method-assign]
    assert await loop.write_in_parts(outs(), progress) == 2 * most + 1
    assert [len(transaction) for transaction in kept.transactions] == [most, most, 1]
    # One that is not of the part says that it ends.
    assert at_each_part == [(most + 1, 0, False), (2 * most + 1, most, False), (2 * most + 1, 2 * most, False)]
    assert (progress.read, deriving) == (2 * most + 1, {True})


def test_many_records_are_parted_where_another_key_begins() -> None:
    outs = [Out("topic", 0, key, None, None) for key in (b"a", b"a", b"a", b"b", b"c", b"c", b"d")]
    assert [[out.key for out in part] for part in parted(outs, 2)] == [[b"a"] * 3, [b"b", b"c", b"c"], [b"d"]]
    assert list(parted(outs, 100)) == [outs]
    assert list(parted([], 2)) == []


ASKING = [f"new {number}" for number in range(MOST_OF_ALL // MOST_OF_A_TOPIC)]


def hand_over_what_nobody_knows(loop: PartitionLoop) -> None:
    """As much as may wait, of topics whose schemas the registry has not told."""
    for topic in ASKING:
        for number in range(MOST_OF_A_TOPIC // MEGABYTE):
            loop.hand_over("identify", delivery(number, 1, None, topic, b"\1" * MEGABYTE))


@pytest.mark.parametrize("before", [0, MOST_RECORDS], ids=["alone", "after what fills a transaction"])
async def test_topics_that_wait_for_the_registry_hold_up_no_other_however_much_they_are(before: int) -> None:
    held: set[tuple[str, int]] = set()
    loop, kept = a_loop("identify", held=held)
    running = asyncio.create_task(loop.run())
    if before:
        loop.hand_over("identify", delivery(100, before, None, "known"))
    hand_over_what_nobody_knows(loop)
    for number in range(3):
        loop.hand_over("identify", a_megabyte(number, "known"))
        await soon(lambda: not loop.unprocessed("identify", "known") and ("known", 0) not in held)
    assert held == {(topic, 0) for topic in ASKING}
    assert kept.keys[before:] == [b"identify 0", b"identify 1", b"identify 2"]
    running.cancel()
    loop.abandon()


async def test_what_waits_for_the_registry_is_bounded_however_many_topics_there_are() -> None:
    held: set[tuple[str, int]] = set()
    loop, _ = a_loop("identify", held=held)
    running = asyncio.create_task(loop.run())
    hand_over_what_nobody_knows(loop)
    loop.hand_over("identify", delivery(0, 1, None, "one more", b"\1" * MEGABYTE))
    await soon(lambda: loop.asks_the_registry("identify", "one more"))
    loop.hand_over("identify", delivery(1, 1, None, "one more", b"\1" * MEGABYTE))
    assert ("one more", 0) in held
    running.cancel()
    loop.abandon()


async def test_what_waits_when_the_partition_goes_is_let_go_and_holds_nothing() -> None:
    held = {("of another partition", 1)}
    loop, kept = a_loop("identify", held=held)
    for number in range(MOST_OF_A_TOPIC // MEGABYTE):
        loop.hand_over("identify", a_megabyte(number, "many"))
    assert ("many", 0) in held
    loop.abandon()
    assert held == {("of another partition", 1)}
    assert kept.transactions == []
