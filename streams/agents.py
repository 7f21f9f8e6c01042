"""The agents: thin shells, topic -> pure function -> topic. One a stage; a loop for each partition they own.

An agent only hands each batch to its partition's loop; the loop acknowledges when the batch's transaction has
committed. A partition's loops of all stages live and die together, with the number that `assignor.py` gives out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaException

from schemas import topics
from schemas.registry_client import RegistryAway, SchemaCache
from schemas.settings import Settings
from schemas.site import Site
from streams.batching import Batch
from streams.clock import CLOCK, TICK_EVERY_S, Clock, wall_clock
from streams.disclose import DISCLOSE, DiscloseStage
from streams.fencing import PartitionWriter
from streams.fold import BrokerQuietError, Progress, Recovered, last_tick, plain_consumer, recover
from streams.identify import DeadLetter, Source, identify
from streams.partition_loop import Delivery, PartitionLoop, set_aside
from streams.records import Out, Record
from streams.stage import FACILITY, PERSON, FacilityStage, PersonStage, Stage

log = logging.getLogger(__name__)

IDENTIFY: Final = "identify"
FOLDING: Final = (PERSON, FACILITY, DISCLOSE)
"""The stages that fold what they read."""
STAGES: Final = (IDENTIFY, CLOCK, *FOLDING)
T = TypeVar("T")
RETRY_S: Final = 2.0
"""Seconds before a recovery that the broker or the registry broke off begins again."""


def sources(site: Site) -> dict[str, Source]:
    """The inbound topics of a site, by name."""
    return {
        name: Source(name, agency, event_type)
        for agency in site.agencies
        for event_type in agency.event_types
        for name in [topics.inbound(site.name, agency.id, event_type)]
    }


def input_topics(stage: str, site: Site) -> list[str]:
    """The topics that a stage reads."""
    return {
        IDENTIFY: sorted(sources(site)),
        CLOCK: [topics.clock(site.name)],
        PERSON: [topics.person_facts(site.name)],
        FACILITY: [topics.facility_facts(site.name)],
        DISCLOSE: [topics.alerts_raised(site.name)],
    }[stage]


@dataclass(slots=True)
class Running:
    """A loop, what it folds into, and the task that drives both."""

    loop: PartitionLoop
    stage: Stage | None
    progress: Progress = field(default_factory=Progress)
    live: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Partitions:
    """The loops of the partitions that this worker owns.

    `on_broken` is called with the error after which the worker must exit: a stage was fenced, or is broken.
    """

    def __init__(
        self,
        settings: Settings,
        site: Site,
        schemas: SchemaCache,
        schema_ids: Mapping[tuple[str, str], int],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self.site = site
        self._schemas = schemas
        self._schema_ids = schema_ids
        self._on_broken = on_broken
        self._sources = sources(site)
        self._clock = Clock(site)
        self._generation = -1
        self.running: dict[tuple[str, int], Running] = {}

    # -- owning --------------------------------------------------------------------------------------------------

    async def own(self, numbers: frozenset[int], generation: int) -> None:
        """Run the loops of these partition numbers and no others; what is kept goes on as it is.

        `generation` is the consumer group's. Where one was missed (this worker was stopped, or cut off), somebody else
        may have owned the partitions meanwhile: what was folded then is missing here, so nothing is kept.
        """
        keeps = numbers if generation == self._generation + 1 else frozenset()
        self._generation = generation
        gone = [where for where in self.running if where[1] not in keeps]
        await asyncio.gather(*(self._stop(where) for where in gone))
        for number in sorted(numbers):
            for stage in STAGES:
                # Only partition 0 of the clock is ever written.
                if (stage, number) not in self.running and (stage != CLOCK or number == 0):
                    self._start(stage, number)

    async def close(self) -> None:
        """Stop every loop; nothing more is written."""
        await self.own(frozenset(), self._generation)

    def _start(self, stage: str, number: int) -> None:
        writer = PartitionWriter(self._settings, self.site, stage, number)
        folded = self._folding(stage, number)
        running = Running(self._loop(stage, number, writer, folded), folded)
        self.running[stage, number] = running
        running.task = asyncio.create_task(self._drive(stage, number, running), name=f"{stage}-{number}")

    async def _stop(self, where: tuple[str, int]) -> None:
        running = self.running.pop(where)
        if running.task is not None:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        await running.loop.writer.close()

    def _folding(self, stage: str, number: int) -> Stage | None:
        if stage == PERSON:
            return PersonStage(self.site, number, self._schemas)
        if stage == FACILITY:
            return FacilityStage(self.site, number, self._schemas)
        if stage == DISCLOSE:
            return DiscloseStage(self.site, number, self._schemas)
        return None

    def _loop(self, stage: str, number: int, writer: PartitionWriter, folding: Stage | None) -> PartitionLoop:
        decide: Callable[[Batch, Record], Sequence[Out]]
        if folding is not None:
            decide = _Fold(folding)
        elif stage == CLOCK:
            decide = lambda _, record: self._clock.copy(record, self._schemas)  # noqa: E731
        else:
            decide = self._identify
        poison = partial(self._poison, stage)
        return PartitionLoop(stage, number, writer, self._schemas, self._schema_ids, decide, poison)

    # -- driving -------------------------------------------------------------------------------------------------

    async def _drive(self, stage: str, number: int, running: Running) -> None:
        try:
            await running.loop.writer.open()
            if running.stage is not None:
                await self._recover(stage, number, running)
            elif stage == CLOCK:
                await self._recall_the_last_tick()
            running.live.set()
            if stage == CLOCK and number == 0 and self.site.clock == "live":
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._tick(running.loop))
                    tasks.create_task(running.loop.run())
            else:
                await running.loop.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # whatever it is, a loop that ended must end the worker
            self._on_broken(error)

    async def _recall_the_last_tick(self) -> None:
        while True:
            try:
                self._clock.last = await asyncio.to_thread(self._with_consumer, last_tick)
            except (BrokerQuietError, KafkaException, RegistryAway) as error:
                log.warning("the clock looks for the last tick again: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _with_consumer(self, read: Callable[[Site, Consumer, SchemaCache], T]) -> T:
        """What a plain consumer reads; it is closed after."""
        consumer = plain_consumer(self._settings, self.site.user("bus"), topics.consumer_group(self.site.name))
        try:
            return read(self.site, consumer, self._schemas)
        finally:
            consumer.close()

    async def _recover(self, stage: str, number: int, running: Running) -> None:
        """Recall, refold, reconcile; again from the beginning where broker or registry went away meanwhile."""
        while True:
            try:
                recovered = await asyncio.to_thread(self._read_back, stage, number, running)
            except (BrokerQuietError, KafkaException, RegistryAway) as error:
                log.warning("%s-%s begins its recovery again: %s", stage, number, type(error).__name__)
                await asyncio.sleep(RETRY_S)
                fresh = self._folding(stage, number)
                running.stage = fresh
                assert fresh is not None  # noqa: S101  # only folding stages recover
                running.loop.decide = _Fold(fresh)
                running.progress = Progress()
            else:
                break
        await running.loop.write(recovered.outs)
        running.loop.position = recovered.position
        assert isinstance(running.loop.decide, _Fold)  # noqa: S101
        running.loop.decide.position = recovered.position

    def _read_back(self, stage: str, number: int, running: Running) -> Recovered:
        assert running.stage is not None  # noqa: S101
        return self._with_consumer(partial(recover, running.stage, stage, number, running.progress))

    async def _tick(self, loop: PartitionLoop) -> None:
        while True:
            await loop.write(self._clock.advance(wall_clock()))
            await asyncio.sleep(TICK_EVERY_S)

    # -- deciding ------------------------------------------------------------------------------------------------

    def _identify(self, batch: Batch, record: Record) -> Sequence[Out]:
        source = self._sources[batch.topic]
        found = identify(record, source, self.site, self._schemas, wall_clock())
        if isinstance(found, DeadLetter):
            topic = topics.dead_letters(self.site.name, source.agency.id)
            return [set_aside(topic, batch, record, found.reason, found.detail)]
        return found.records

    def _poison(self, stage: str, batch: Batch, record: Record, error: Exception) -> Out:
        source = self._sources.get(batch.topic)
        topic = topics.dead_letters(self.site.name, source.agency.id if source else topics.BUS)
        detail = f"the stage {stage} could make nothing of it ({type(error).__name__})"
        return set_aside(topic, batch, record, "POISON", detail)

    # -- agents --------------------------------------------------------------------------------------------------

    async def agent(self, stage: str, stream: Any) -> None:
        """The body of a stage's Faust agent: hand each batch to its partition's loop."""
        async for event in stream.noack().events():
            batch: Batch = event.value
            running = self.running.get((stage, batch.partition))
            if running is None:
                # The partition was just taken away: its new owner gets the batch.
                continue
            await running.loop.hand_over(Delivery(batch, partial(stream.ack, event)))

    @property
    def ready(self) -> bool:
        """Whether every loop is live."""
        return bool(self.running) and all(running.live.is_set() for running in self.running.values())


class _Fold:
    """A folding stage as a loop's `decide`: what was folded already, on recovery or before a rebalance, is passed
    over."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.position = 0

    def __call__(self, batch: Batch, record: Record) -> Sequence[Out]:
        del batch
        if record.offset < self.position:
            return ()
        self.position = record.offset + 1
        return self._stage.process(record)
