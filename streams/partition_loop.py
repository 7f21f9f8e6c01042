"""The loop of one partition number: batches of all its stages in, one transaction out, then the acknowledgements.

Everything that waits while a transaction is under way goes into the next one: at a low rate a record does not wait, at
a high rate the commit's price is shared by all that came, whatever stage it is for.

A loop runs from the moment its writer is open. Stages that are not yet recovered are *held back*: what comes for them
waits, while the others go on.

Who hands over never waits. Of a topic of which enough waits here, nothing more is fetched (it is *held*) until half of
that is done, and every other topic, and every other partition, goes on. A topic whose schemas the registry has not told
yet waits alone, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from schemas.codec import encode
from schemas.registry_client import RegistryAway, SchemaCache
from streams.batching import Batch
from streams.clock import wall_clock
from streams.fencing import PartitionWriter
from streams.fold import Progress
from streams.records import TAKEN, Headers, Out, Record

log = logging.getLogger(__name__)

MOST_OF_A_TOPIC: Final = 4 * 1024 * 1024
"""Bytes of one topic that may wait before it is held: two fetches and more, so that one is ready when one is done."""
MOST_OF_ALL: Final = 16 * 1024 * 1024
"""Bytes of all topics that may wait before each that brings more is held; as many more of those that wait for the
registry."""
RECORD_BYTES: Final = 200
"""What a record counts beside its value: its key, its headers, what the network added."""
MOST_RECORDS: Final = 5_000
"""Records of one stage in one transaction, about: a transaction must end well within its timeout."""
MOST_OUTS: Final = 20_000
"""Records written in one transaction, about: what one record leads to is never parted."""
REGISTRY_RETRY_S: Final = 1.0
TURN_S: Final = 0.02
"""Seconds after which a loop that decides lets others go on."""
T = TypeVar("T")


class Acknowledge(Protocol):
    """Marks a batch as done."""

    def __call__(self) -> Awaitable[object]:
        """Mark it."""


@dataclass(slots=True, eq=False)
class Delivery:
    """A batch and the way to acknowledge it."""

    batch: Batch
    acknowledge: Acknowledge
    bytes: int = field(init=False)
    """What it counts as."""

    def __post_init__(self) -> None:
        self.bytes = sum(RECORD_BYTES + len(record.value or b"") for record in self.batch.records)


@dataclass(slots=True)
class _Topic:
    """What waits of one topic."""

    queue: deque[tuple[int, Delivery]] = field(default_factory=deque)
    """With the place of each among all that came: the order in which they are taken."""
    bytes: int = 0
    """Handed over and not yet processed."""
    learner: asyncio.Task[None] | None = None
    """Asks the registry for the schemas of what waits first."""
    asked: int = -1
    """The place of what the registry was last asked for and answered: of what it did not know, decoding will say so."""

    def is_ready(self) -> bool:
        """Whether nothing is asked of the registry any more. Raises what asking raised."""
        if self.learner is not None and self.learner.done():
            self.learner.result()
            self.learner = None
        return self.learner is None


Decide = Callable[[str, Batch, Record], Sequence[Out]]
"""What one record leads to in a stage. Pure, and raising only for a record that nothing can be made of."""
Poison = Callable[[str, Batch, Record, Exception], Out]
"""The dead letter of a record that made `Decide` raise."""


class PartitionLoop:
    """The stages of one partition number. `stages` is the order in which what waits for them is taken.

    `schema_ids`: (topic, record) to the schema id that we frame with. `held`: topics and partitions of which nothing is
    to be fetched; the loop puts its own there, and takes them out. `wall_clock`: now, microseconds.
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
        held: set[tuple[str, int]],
        *,
        wall_clock: Callable[[], int] = wall_clock,
    ) -> None:
        self.number = number
        self.writer = writer
        self._schemas = schemas
        self._schema_ids = schema_ids
        self._decide = decide
        self._poison = poison
        self._held = held
        self._wall_clock = wall_clock
        self._waiting: dict[str, defaultdict[str, _Topic]] = {stage: defaultdict(_Topic) for stage in stages}
        self._came = count()
        self._bytes = 0
        self._more = asyncio.Event()
        # Of its own: on threads that partitions share, one that waits for the registry would be waited for by all. Two:
        # what goes on while the partition is recovered may have to ask the registry.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"partition-{number}")
        self._held_back: frozenset[str] = frozenset()
        self.waiting = dict.fromkeys(stages, 0)
        """By stage: records handed over and not yet processed."""
        self.decided = 0
        """Records decided on so far: it grows as long as the loop gets on."""
        self.all_written = True
        """Whether all that was decided on is on the log: then the stages know nothing that is not."""

    def unprocessed(self, stage: str, topic: str) -> int:
        """Bytes, about, that were handed over of a topic and are not processed."""
        return self._waiting[stage][topic].bytes

    def asks_the_registry(self, stage: str, topic: str) -> bool:
        """Whether a topic waits until the registry tells its schemas."""
        return self._waiting[stage][topic].learner is not None

    # -- handing over --------------------------------------------------------------------------------------------

    def hand_over(self, stage: str, delivery: Delivery) -> None:
        """Give the loop a batch for a stage. Never waits; the batch's topic is held where enough of it waits."""
        topic = self._waiting[stage][delivery.batch.topic]
        topic.queue.append((next(self._came), delivery))
        topic.bytes += delivery.bytes
        self._bytes += delivery.bytes
        self.waiting[stage] += len(delivery.batch.records)
        if topic.bytes >= MOST_OF_A_TOPIC or self._is_full(topic.learner is not None):
            self._held.add((delivery.batch.topic, self.number))
        self._more.set()

    def hold_back(self, stages: Iterable[str]) -> None:
        """Let what comes for these stages, and no others, wait."""
        self._held_back = frozenset(stages)
        self._more.set()

    def _done(self, stage: str, delivery: Delivery) -> None:
        batch = delivery.batch
        self._waiting[stage][batch.topic].bytes -= delivery.bytes
        self._bytes -= delivery.bytes
        self.waiting[stage] -= len(batch.records)

    def _is_full(self, asking: bool) -> bool:
        """Whether enough waits of all topics that wait for the registry, or of all others, for no more to be fetched.

        To wait for the registry may take hours, and must not hold up those whose schemas are known.
        """
        if self._bytes < MOST_OF_ALL:
            return False
        topics = (topic for by_topic in self._waiting.values() for topic in by_topic.values())
        return sum(topic.bytes for topic in topics if (topic.learner is not None) is asking) >= MOST_OF_ALL

    def _let_go(self) -> None:
        """Hold no longer what is half done."""
        if not self._held:
            return
        is_full = {asking: self._is_full(asking) for asking in (False, True)}
        for by_topic in self._waiting.values():
            for name, topic in by_topic.items():
                if topic.bytes <= MOST_OF_A_TOPIC // 2 and not is_full[topic.learner is not None]:
                    self._held.discard((name, self.number))

    def abandon(self) -> None:
        """Let go of what waits: the partition's next owner reads it again. Nothing can be handed over after."""
        for by_topic in self._waiting.values():
            for topic in by_topic.values():
                if topic.learner is not None:
                    topic.learner.cancel()
            by_topic.clear()
        self._held.difference_update([part for part in self._held if part[1] == self.number])
        self._threads.shutdown(wait=False)

    # -- processing ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Process for ever. Ends by cancellation, or by an error after which the worker must exit."""
        while True:
            await self._more.wait()
            self._more.clear()
            while deliveries := list(self._taken()):
                await self._process(deliveries)
            # Those that wait for the registry from now on take no room of the others.
            self._let_go()

    def _taken(self) -> Iterator[tuple[str, Delivery]]:
        """What waits, and goes into one transaction. Each stage has its share: none waits for another's backlog."""
        for stage, by_topic in self._waiting.items():
            if stage in self._held_back:
                continue
            size = 0
            while size < MOST_RECORDS and (topic := self._next(by_topic)):
                _, delivery = topic.queue.popleft()
                size += len(delivery.batch.records)
                yield stage, delivery

    def _next(self, by_topic: Mapping[str, _Topic]) -> _Topic | None:
        """The topic whose batch came first, of those that can be decoded."""
        while ready := [topic for topic in by_topic.values() if topic.queue and topic.is_ready()]:
            first = min(ready, key=lambda topic: topic.queue[0][0])
            place, delivery = first.queue[0]
            values = [record.value for record in delivery.batch.records if record.value is not None]
            if first.asked == place or self._schemas.knows(values):
                return first
            first.learner = asyncio.create_task(self._learn_schemas(first, place, values))
            first.learner.add_done_callback(lambda _: self._more.set())
        return None

    async def _process(self, deliveries: Sequence[tuple[str, Delivery]]) -> None:
        self.all_written = False
        outs: list[Out] = []
        time = asyncio.get_running_loop().time
        began = time()
        taken = ((TAKEN, str(self._wall_clock()).encode()),)
        for stage, delivery in deliveries:
            for record in delivery.batch.records:
                outs += self._decided(stage, delivery.batch, record)
                self.decided += 1
                if len(outs) >= MOST_OUTS:
                    # A batch may be parted: what was folded and is not acknowledged is folded again, and says the same.
                    await self.write(outs, taken)
                    outs = []
                if time() - began > TURN_S:
                    # Other partitions have their turn: a batch may take a while.
                    await asyncio.sleep(0)
                    began = time()
        await self.write(outs, taken)
        self.all_written = True
        for stage, delivery in deliveries:
            self._done(stage, delivery)
            await delivery.acknowledge()
        self._let_go()

    async def _learn_schemas(self, topic: _Topic, place: int, values: Sequence[bytes]) -> None:
        """Wait for the registry rather than set good records aside while it is away. It is asked once: of a batch with
        thousands of ids that nobody registered the first would be asked for again before the last was answered."""
        while topic.asked != place:
            try:
                await self.in_thread(lambda: self._schemas.ensure(values))
                topic.asked = place
            except RegistryAway:
                log.warning("partition %s waits for the schema registry", self.number)
                await asyncio.sleep(REGISTRY_RETRY_S)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """What a call that blocks returns, from one of the loop's own threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

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

    def _encoded(self, out: Out, taken: Headers) -> Out:
        """The same record as bytes; an alert with when that was taken up which led to it."""
        if out.name is None or out.value is None or isinstance(out.value, bytes):
            return out
        headers = (*out.headers, *taken) if out.name == "AlertRaised" else out.headers
        value = encode(out.name, out.value, self._schema_ids[out.topic, out.name])
        return out._replace(value=value, headers=headers)

    async def write_in_parts(self, outs: Iterable[Out], progress: Progress) -> int:
        """Write records of which some may be on the log without the others, what reconciling wants written: how many
        they were.

        However many they are, no transaction is longer than its timeout, and no more than one of them is in memory;
        who recovers after a part finds the rest.
        """
        parts, written = parted(outs, MOST_OUTS), 0

        def derived() -> Sequence[Out]:
            with progress.derives():
                return [self._encoded(out, ()) for out in next(parts, ())]

        while part := await self.in_thread(derived):
            await self.writer.write(part)
            progress.count(len(part))
            written += len(part)
        return written

    async def write(self, outs: Sequence[Out], taken: Headers = ()) -> None:
        """Write records, all or none of them; returns when they are on the log. `taken`: the header of alerts that says
        when what led to them was taken up; none where nothing that came did."""
        if outs:
            await self.writer.write([self._encoded(out, taken) for out in outs])


def parted(outs: Iterable[Out], most: int) -> Iterator[Sequence[Out]]:
    """The same records in parts of about so many: what follows each other under one key, as an alert and who is told of
    it, stays together."""
    part: list[Out] = []
    for out in outs:
        if len(part) >= most and out.key != part[-1].key:
            yield part
            part = []
        part.append(out)
    if part:
        yield part


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
