"""A rebalance waits for nobody: whoever is slow to let go of a partition does so after it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from schemas.registry_client import SchemaCache
from schemas.settings import Settings
from streams import agents
from streams.agents import Partitions
from streams.fold import Fold, Progress, Recovered
from streams.records import Out
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


class OpenWriter(SlowWriter):
    """Is ready at once, and writes nothing."""

    async def open(self) -> None:
        pass

    async def write(self, records: Sequence[Out]) -> None:
        assert not records

    async def close(self) -> None:
        pass


async def test_partitions_are_recovered_one_after_the_other_and_each_is_live_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(agents, "PartitionWriter", lambda *_: OpenWriter())
    monkeypatch.setattr(Partitions, "_with_consumer", lambda _, read: read(None, None))
    monkeypatch.setattr(Partitions, "_recall_the_last_tick", lambda _: asyncio.sleep(0))
    monkeypatch.setattr(Partitions, "_tick", lambda *_: asyncio.sleep(0))
    go_on = {number: threading.Event() for number in range(3)}
    begun: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def recovers(fold: Fold, *_: Progress) -> Recovered:
        number = fold.partition.number
        loop.call_soon_threadsafe(begun.put_nowait, number)
        assert go_on[number].wait(10)
        return Recovered({"person": 0, "facility": 0}, [])

    monkeypatch.setattr(agents, "recover", recovers)
    broken: list[Any] = []
    partitions = Partitions(Settings(home=tmp_path), demo_site(partitions=3), cast(SchemaCache, {}), {}, broken.append)
    await partitions.own(frozenset({0, 1, 2}), 1)
    async with asyncio.timeout(10):
        for left in (2, 1, 0):
            number = await begun.get()
            # A lock tells nobody that somebody waits for it.
            while sum(one.waits for one in partitions.running.values()) < left:  # noqa: ASYNC110
                await asyncio.sleep(0)
            assert begun.empty()
            assert not partitions.running[number].live.is_set()
            go_on[number].set()
            await partitions.running[number].live.wait()
        await partitions.close()
    assert broken == []
