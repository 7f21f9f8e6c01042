"""A batch from before a rebalance is left alone: what it brings is read again, and it would overtake that."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP
from mode.utils.queues import FlowControlEvent, ThrowableQueue

from streams.agents import Partitions
from streams.batching import Batch, BatchConsumer
from streams.partition_loop import Delivery
from streams.records import LoggedRecord

PART = TP("facts", 0)


def batch(offset: int) -> Batch:
    return Batch(PART.topic, PART.partition, [LoggedRecord(offset, b"k", None)])


async def test_faust_puts_a_batch_that_was_about_to_wait_for_room_after_it_emptied_the_buffers() -> None:
    flow = FlowControlEvent()
    flow.resume()
    buffer: ThrowableQueue[Batch] = ThrowableQueue(maxsize=1, flow_control=flow, clear_on_resume=True)
    await buffer.put(batch(1))
    stale = batch(2)
    waiting = asyncio.create_task(buffer.put(stale))
    # The rebalance begins before that task has run: as Faust does it, in one step.
    flow.suspend()
    buffer.clear()
    await asyncio.sleep(0)
    flow.resume()
    await asyncio.wait_for(waiting, 5)
    assert buffer.get_nowait() is stale


def test_what_was_handed_out_before_going_back_says_that_it_comes_again() -> None:
    consumer = BatchConsumer.__new__(BatchConsumer)
    before, other, after = batch(1), batch(2), batch(1)
    consumer._handed_out = defaultdict(deque, {PART: deque([before]), TP("facts", 1): deque([other])})
    consumer._take_back(PART)
    consumer._handed_out[PART].append(after)
    assert [one.comes_again for one in (before, other, after)] == [True, False, False]


async def test_an_agent_leaves_what_comes_again() -> None:
    taken: list[Batch] = []

    class Loop:
        def hand_over(self, stage: str, delivery: Delivery) -> None:
            assert stage == "person"
            taken.append(delivery.batch)

    class Stream:
        def noack(self) -> Stream:
            return self

        async def events(self) -> AsyncIterator[Any]:
            for value in (stale, again):
                yield SimpleNamespace(value=value)

        async def ack(self, event: Any) -> None:
            raise AssertionError(event)

    stale, again = batch(2), batch(1)
    stale.comes_again = True
    partitions = Partitions.__new__(Partitions)
    partitions.running = {0: cast(Any, SimpleNamespace(loop=Loop()))}
    await partitions.agent("person", Stream())
    assert taken == [again]
