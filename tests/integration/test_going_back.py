"""On the real broker: who goes back to what was committed reads again all that was not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiokafka
import pytest
from aiokafka.structs import TopicPartition
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from schemas import topics
from schemas.settings import Settings
from streams.app import _credentials
from streams.batching import BatchConsumerThread
from tests.working_site import WAIT_S, WorkingSite

pytestmark = pytest.mark.bus


@pytest.fixture(scope="module")
def made(bus: Settings, tmp_path_factory: pytest.TempPathFactory) -> WorkingSite:
    return WorkingSite.make(bus, tmp_path_factory.mktemp("site"), "goes-back", partitions=1)


class Directly(BatchConsumerThread):
    """Faust's thread around a consumer, without the thread."""

    def __init__(self, consumer: aiokafka.AIOKafkaConsumer) -> None:
        self._consumer = consumer

    def _ensure_consumer(self) -> aiokafka.AIOKafkaConsumer:
        return self._consumer

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        return await fun(*args, **kwargs)


@asynccontextmanager
async def reading(site: WorkingSite, part: TopicPartition) -> AsyncIterator[aiokafka.AIOKafkaConsumer]:
    """A worker's consumer, given one partition."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=site.settings.bootstrap_servers,
        group_id=topics.consumer_group(site.site.name),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        **credentials_to_aiokafka_auth(_credentials(site.settings, site.site), None),
    )
    consumer.assign([part])
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(consumer: aiokafka.AIOKafkaConsumer, records: int) -> list[bytes]:
    """The values of the next so many records."""
    values: list[bytes] = []
    while len(values) < records:
        found = await consumer.getmany(timeout_ms=int(WAIT_S * 1000), max_records=records - len(values))
        assert found, values
        values += [record.value for of_it in found.values() for record in of_it]
    return values


async def test_what_was_not_committed_comes_again_from_the_beginning_where_nothing_ever_was(site: WorkingSite) -> None:
    topic = topics.inbound(site.site.name, "county-jail", "BookingReported")
    part = TopicPartition(topic, 0)
    for value in (b"one", b"two", b"three"):
        site.write("county-jail", topic, value)
    async with reading(site, part) as consumer:
        thread = Directly(consumer)
        assert await read(consumer, 2) == [b"one", b"two"]
        await thread.seek_to_committed()
        assert await read(consumer, 3) == [b"one", b"two", b"three"]
        await consumer.commit({part: 2})
        await thread.seek_to_committed()
        assert await read(consumer, 1) == [b"three"]
