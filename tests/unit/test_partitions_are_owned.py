"""A rebalance waits for nobody: whoever is slow to let go of a partition does so after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from schemas.registry_client import SchemaCache
from schemas.settings import Settings
from streams import agents
from streams.agents import Partitions
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
