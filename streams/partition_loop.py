"""The loop of one partition number: batches of all its stages in, one transaction out, then the acknowledgements.

Everything that waits while a transaction is under way goes into the next one: at a low rate a record does not wait, at
a high rate the commit's price is shared by all that came, whatever stage it is for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from schemas.codec import encode
from schemas.registry_client import RegistryAway, SchemaCache
from streams.batching import Batch
from streams.fencing import PartitionWriter
from streams.records import Out, Record

log = logging.getLogger(__name__)

WAITING_BATCHES: Final = 16
"""Batches that may wait for one stage; beyond, reading waits too (backpressure)."""
MOST_RECORDS: Final = 5_000
"""Records of one stage in one transaction, about: a transaction must end well within its timeout."""
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


Decide = Callable[[str, Batch, Record], Sequence[Out]]
"""What one record leads to in a stage. Pure, and raising only for a record that nothing can be made of."""
Poison = Callable[[str, Batch, Record, Exception], Out]
"""The dead letter of a record that made `Decide` raise."""


class PartitionLoop:
    """The stages of one partition number. `stages` is the order in which what waits for them is taken.

    `schema_ids`: (topic, record) to the schema id that we frame with.
    """

    def __init__(
        self,
        number: int,
        stages: Sequence[str],
        writer: PartitionWriter,
        schemas: SchemaCache,
        schema_ids: Mapping[tuple[str, str], int],
        decide: Decide,
        poison: Poison,
    ) -> None:
        self.number = number
        self.writer = writer
        self._schemas = schemas
        self._schema_ids = schema_ids
        self._decide = decide
        self._poison = poison
        self._queues: dict[str, asyncio.Queue[Delivery]] = {stage: asyncio.Queue(WAITING_BATCHES) for stage in stages}
        self._more = asyncio.Event()
        self.waiting = dict.fromkeys(stages, 0)
        """By stage: records handed over and not yet processed."""

    async def hand_over(self, stage: str, delivery: Delivery) -> None:
        """Give the loop a batch for a stage; waits while too many wait."""
        self.waiting[stage] += len(delivery.batch.records)
        await self._queues[stage].put(delivery)
        self._more.set()

    async def run(self) -> None:
        """Process for ever. Ends by cancellation, or by an error after which the worker must exit."""
        while True:
            await self._more.wait()
            self._more.clear()
            while deliveries := list(self._taken()):
                await self._process(deliveries)

    def abandon(self) -> None:
        """Let go of what waits, and of whoever waits to hand more over: the partition's next owner reads it again."""
        for queue in self._queues.values():
            while not queue.empty():
                queue.get_nowait()

    def _taken(self) -> Iterator[tuple[str, Delivery]]:
        """What waits, and goes into one transaction. Each stage has its share: none waits for another's backlog."""
        for stage, queue in self._queues.items():
            size = 0
            while size < MOST_RECORDS and not queue.empty():
                delivery = queue.get_nowait()
                size += len(delivery.batch.records)
                yield stage, delivery

    async def _process(self, deliveries: Sequence[tuple[str, Delivery]]) -> None:
        await self._learn_schemas([r.value for _, d in deliveries for r in d.batch.records if r.value is not None])
        outs: list[Out] = []
        for stage, delivery in deliveries:
            for record in delivery.batch.records:
                outs += self._decided(stage, delivery.batch, record)
            # Other partitions have their turn: a batch may take a while.
            await asyncio.sleep(0)
        await self.write(outs)
        for stage, delivery in deliveries:
            self.waiting[stage] -= len(delivery.batch.records)
            await delivery.acknowledge()

    async def _learn_schemas(self, values: Sequence[bytes]) -> None:
        """Wait for the registry rather than set good records aside while it is away."""
        while not self._schemas.knows(values):
            try:
                await asyncio.to_thread(self._schemas.ensure, values)
            except RegistryAway:
                log.warning("partition %s waits for the schema registry", self.number)
                await asyncio.sleep(REGISTRY_RETRY_S)
            else:
                return

    def _decided(self, stage: str, batch: Batch, record: Record) -> Sequence[Out]:
        try:
            return self._decide(stage, batch, record)
        except Exception as error:
            # Whatever it is: a record that nothing can be made of costs only itself. The error's text may quote the
            # record: only its kind is logged.
            log.error(
                "%s-%s: the record at offset %s is set aside: %s",
                stage,
                self.number,
                record.offset,
                type(error).__name__,
            )
            return [self._poison(stage, batch, record, error)]

    def _encoded(self, out: Out) -> Out:
        """The same record as bytes."""
        if out.name is None or out.value is None or isinstance(out.value, bytes):
            return out
        return out._replace(value=encode(out.name, out.value, self._schema_ids[out.topic, out.name]))

    async def write(self, outs: Sequence[Out]) -> None:
        """Write records, all or none of them; returns when they are on the log."""
        if outs:
            await self.writer.write([self._encoded(out) for out in outs])


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
