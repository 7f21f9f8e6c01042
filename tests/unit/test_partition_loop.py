"""The loop of a partition number: each stage has its share of a transaction; nobody waits for a partition that went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from schemas.registry_client import SchemaCache
from streams.batching import Batch
from streams.fencing import PartitionWriter
from streams.partition_loop import MOST_RECORDS, WAITING_BATCHES, Delivery, PartitionLoop
from streams.records import LoggedRecord, Out, Record


class Kept:
    """Keeps what would be written, transaction by transaction."""

    def __init__(self) -> None:
        self.transactions: list[Sequence[Out]] = []

    async def write(self, records: Sequence[Out]) -> None:
        self.transactions.append(records)


class NoSchemas:
    """Knows all there is to know about records without a schema."""

    def knows(self, values: Sequence[bytes]) -> bool:
        return not any(values)


def a_loop(*stages: str) -> tuple[PartitionLoop, Kept]:
    kept = Kept()

    def decide(stage: str, batch: Batch, record: Record) -> list[Out]:
        return [Out(batch.topic, 0, f"{stage} {record.offset}".encode(), None, None)]

    def poison(stage: str, batch: Batch, record: Record, error: Exception) -> Out:
        raise AssertionError((stage, batch, record)) from error

    writer, schemas = cast(PartitionWriter, kept), cast(SchemaCache, NoSchemas())
    return PartitionLoop(0, stages, writer, schemas, {}, decide, poison), kept


def delivery(begin: int, records: int, done: asyncio.Event | None = None) -> Delivery:
    async def acknowledge() -> None:
        if done is not None:
            done.set()

    batch = Batch("topic", 0, [LoggedRecord(begin + number, b"k", None) for number in range(records)])
    return Delivery(batch, acknowledge)


async def test_a_stage_does_not_wait_for_the_backlog_of_another() -> None:
    loop, kept = a_loop("person", "identify")
    told, all_done = asyncio.Event(), asyncio.Event()
    half = MOST_RECORDS // 2
    for number in range(4):
        await loop.hand_over("identify", delivery(number * half, half, all_done if number == 3 else None))
    await loop.hand_over("person", delivery(7, 1, told))
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


async def test_who_waits_for_room_is_let_go_when_the_partition_goes() -> None:
    loop, kept = a_loop("identify")
    for number in range(WAITING_BATCHES):
        await loop.hand_over("identify", delivery(number, 1))
    waiting = asyncio.create_task(loop.hand_over("identify", delivery(WAITING_BATCHES, 1)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    loop.abandon()
    await asyncio.wait_for(waiting, 5)
    assert kept.transactions == []
