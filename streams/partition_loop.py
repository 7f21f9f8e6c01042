"""The loop of one stage of one partition: batches in, one transaction out, then the acknowledgement.

Everything that waits while a transaction is under way goes into the next one: at a low rate a record does not wait, at
a high rate the commit's price is shared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from schemas.codec import encode
from schemas.registry_client import RegistryAway, SchemaCache
from streams.batching import Batch
from streams.fencing import PartitionWriter
from streams.records import Out, Record

log = logging.getLogger(__name__)

WAITING_BATCHES: Final = 16
"""Batches that may wait for one loop; beyond, reading waits too (backpressure)."""
MOST_RECORDS: Final = 5_000
"""Records in one transaction, about: a transaction must end well within its timeout."""
REGISTRY_RETRY_S: Final = 1.0


class Acknowledge(Protocol):
    """Marks a batch as done."""

    def __call__(self) -> Awaitable[object]:
        """Mark it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A batch and the way to acknowledge it."""

    batch: Batch
    acknowledge: Acknowledge


Decide = Callable[[Batch, Record], Sequence[Out]]
"""What one record leads to. Pure, and raising only for a record that nothing can be made of."""
Poison = Callable[[Batch, Record, Exception], Out]
"""The dead letter of a record that made `Decide` raise."""


@dataclass(slots=True)
class PartitionLoop:
    """One stage of one partition."""

    stage: str
    partition: int
    writer: PartitionWriter
    schemas: SchemaCache
    schema_ids: Mapping[tuple[str, str], int]
    """(topic, record) to the schema id that we frame with."""
    decide: Decide
    poison: Poison
    position: int = 0
    """First offset not processed; only of stages that read one topic."""
    queue: asyncio.Queue[Delivery] = field(default_factory=lambda: asyncio.Queue(WAITING_BATCHES))
    waiting: int = 0
    """Records handed over and not yet processed."""
    processed: int = 0
    poisoned: int = 0

    async def hand_over(self, delivery: Delivery) -> None:
        """Give the loop a batch; waits while too many wait."""
        self.waiting += len(delivery.batch.records)
        await self.queue.put(delivery)

    async def run(self) -> None:
        """Process for ever. Ends by cancellation, or by an error after which the worker must exit."""
        while True:
            deliveries = [await self.queue.get()]
            size = len(deliveries[0].batch.records)
            while size < MOST_RECORDS and not self.queue.empty():
                deliveries.append(self.queue.get_nowait())
                size += len(deliveries[-1].batch.records)
            await self._process(deliveries)

    async def _process(self, deliveries: Sequence[Delivery]) -> None:
        await self._learn_schemas([r.value for d in deliveries for r in d.batch.records if r.value is not None])
        outs: list[Out] = []
        for delivery in deliveries:
            for record in delivery.batch.records:
                outs += self._decide(delivery.batch, record)
        if outs:
            await self.writer.write([self.encoded(out) for out in outs])
        for delivery in deliveries:
            self.position = max(self.position, delivery.batch.last_offset + 1)
            self.processed += len(delivery.batch.records)
            self.waiting -= len(delivery.batch.records)
            await delivery.acknowledge()

    async def _learn_schemas(self, values: Sequence[bytes]) -> None:
        """Wait for the registry rather than set good records aside while it is away."""
        while not self.schemas.knows(values):
            try:
                await asyncio.to_thread(self.schemas.ensure, values)
            except RegistryAway:
                log.warning("%s-%s waits for the schema registry", self.stage, self.partition)
                await asyncio.sleep(REGISTRY_RETRY_S)
            else:
                return

    def _decide(self, batch: Batch, record: Record) -> Sequence[Out]:
        try:
            return self.decide(batch, record)
        except Exception as error:
            # Whatever it is: a record that nothing can be made of costs only itself. The error's text may quote the
            # record: only its kind is logged.
            self.poisoned += 1
            log.error(
                "%s-%s: the record at offset %s is set aside: %s",
                self.stage,
                self.partition,
                record.offset,
                type(error).__name__,
            )
            return [self.poison(batch, record, error)]

    def encoded(self, out: Out) -> Out:
        """The same record as bytes."""
        if out.name is None or out.value is None or isinstance(out.value, bytes):
            return out
        return replace(out, value=encode(out.name, out.value, self.schema_ids[out.topic, out.name]))

    async def write(self, outs: Sequence[Out]) -> None:
        """Write records that no input record led to: what reconciling found, or a tick."""
        if outs:
            await self.writer.write([self.encoded(out) for out in outs])


def set_aside(topic: str, batch: Batch, record: Record, reason: str, detail: str) -> Out:
    """The dead letter of a record: its bytes as they came, and in headers where it was and why it is here."""
    where: dict[str, Any] = {
        "reason": reason,
        "detail": detail,
        "topic": batch.topic,
        "partition": batch.partition,
        "offset": record.offset,
    }
    key = f"{batch.topic}/{batch.partition}/{record.offset}".encode()
    return Out(topic, 0, key, None, record.value or b"", tuple((k, str(v).encode()) for k, v in where.items()))
