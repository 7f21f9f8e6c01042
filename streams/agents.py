"""The agents: thin shells, topic -> pure function -> topic. One a stage; a loop for each partition number they own.

An agent only hands each batch to its partition's loop; the loop acknowledges when the batch's transaction has
committed. What a number's stages know lives and dies together, with the number that `assignor.py` gives out.
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
from streams.assignor import Share
from streams.batching import Batch
from streams.clock import CLOCK, TICK_EVERY_S, Clock
from streams.disclose import DISCLOSE
from streams.fencing import Fenced, PartitionWriter
from streams.fold import BrokerQuietError, Fold, OutdatedError, Progress, Recovered, last_tick, plain_consumer, recover
from streams.heard import Noted
from streams.identify import IDENTIFY, DeadLetter, Source, identify
from streams.outside import REAL, Outside
from streams.partition import FOLDING, Partition
from streams.partition_loop import Delivery, PartitionLoop, set_aside
from streams.records import Out, Record
from streams.stage import FACILITY, PERSON
from streams.standby import Following, Standbys

log = logging.getLogger(__name__)

STAGES: Final = (FACILITY, PERSON, CLOCK, IDENTIFY)
"""The stages that read topics, the nearest to an alert first. Only those that fold have anything to recover."""
REPORTED: Final = (*STAGES, DISCLOSE)
"""The stages that a worker reports of."""
CLOCK_NUMBER: Final = 0
"""The partition of the clock topic that ticks are on: its owner runs a live site's clock."""
CLOSE_S: Final = 2.0
"""Seconds for which a rebalance waits for what is being written; half a session is left."""
T = TypeVar("T")
TOLD_S: Final = 5.0
"""Seconds in which the group tells by itself that a number is somebody else's now; then it is asked."""
OVERTAKEN_S: Final = 30.0
"""Seconds in which the group must say, when asked, whose a number is: as long as a rebalance may take."""
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
    }[stage]


@dataclass(slots=True)
class Running:
    """The loop of a partition number, what its stages fold into, and the task that drives both."""

    partition: Partition
    loop: PartitionLoop = field(init=False)
    positions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FOLDING, 0))
    """By folding stage: the first offset that it has not folded."""
    progress: Progress = field(default_factory=Progress)
    live: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    followed: Following | None = None
    """What this worker knew of the number when it was given it, as it stood by."""
    waits: bool = False
    """For its turn to be recovered."""
    noted: Noted = field(default_factory=Noted)
    """Which agencies were heard of."""
    overtaken: bool = False
    """Somebody else writes for it by now."""

    @property
    def known(self) -> int:
        """Records of it that were read back before it was owned."""
        return self.followed.progress.read if self.followed is not None else 0

    def is_live(self, stage: str) -> bool:
        """Whether a stage takes what comes."""
        return self.live.is_set() or stage not in (*FOLDING, DISCLOSE)

    def fold(self, stage: str, record: Record) -> Sequence[Out]:
        """What a record leads to in a folding stage; nothing where it was folded on recovery."""
        if record.offset < self.positions[stage]:
            return ()
        self.positions[stage] = record.offset + 1
        return self.partition.process(stage, record)

    def left(self) -> Fold | None:
        """What its stages know, for who stands by for it from now on; None where that is more, or less, than is on the
        logs: what was decided on and is not written may never be."""
        if not self.live.is_set() or not self.loop.all_written:
            return None
        # What others write on its outputs from now on is not known by where it begins: it is recalled all again.
        return Fold(self.partition, {}, dict(self.positions))

    def tick(self, stage: str) -> int:
        """The last tick that a stage has seen, microseconds; 0 for stages in which time does not pass."""
        if stage in FOLDING:
            return self.partition.stage(stage).tick
        return self.partition.disclose.tick if stage == DISCLOSE else 0


class Partitions:
    """The loops of the partition numbers that this worker owns.

    `on_broken` is called with the error after which the worker must exit: a partition is broken, or has another writer
    and the group does not say whose it is.
    `rejoin` asks the group to share out anew: this worker is ready for what it is to own, or has another writer beside
    it.
    """

    def __init__(
        self,
        settings: Settings,
        site: Site,
        schemas: SchemaCache,
        schema_ids: Mapping[tuple[str, str], int],
        on_broken: Callable[[BaseException], None],
        outside: Outside = REAL,
        rejoin: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self.site = site
        self._schemas = schemas
        self._schema_ids = schema_ids
        self._on_broken = on_broken
        self._outside = outside
        self._sources = sources(site)
        self._clock = Clock(site)
        self._generation = -1
        self._owned = 0
        """How often it was told what to own."""
        self._closing: set[asyncio.Task[None]] = set()
        # What folding takes is processor time of one core, whoever takes it: one after the other, the first is live
        # long before all would be.
        self._recovery = asyncio.Lock()
        self.running: dict[int, Running] = {}
        self.held: set[tuple[str, int]] = set()
        """Topics and partitions of which enough waits here: whoever fetches leaves them out for now."""
        most_bytes = settings.standby_bytes
        self._rejoin = rejoin
        self.standbys = Standbys(site, schemas, self._consumer, self._is_busy, rejoin, most_bytes, outside)

    # -- owning --------------------------------------------------------------------------------------------------

    def stand_by(self) -> None:
        """Follow every number, until the group says which this worker is to own and to stand by for."""
        if self._settings.standbys:
            self.standbys.stand_by_for(frozenset(range(self.site.partitions)), frozenset(), {})

    async def own(self, numbers: frozenset[int], generation: int, share: Share | None = None) -> None:
        """Run the loops of these partition numbers and no others; what is kept goes on as it is. `share` says what this
        worker stands by for besides.

        `generation` is the consumer group's. Where one was missed (this worker was stopped, or cut off), somebody else
        may have owned the partitions meanwhile: what was folded then is missing here, so nothing is kept.
        """
        keeps = numbers if generation == self._generation + 1 else frozenset()
        self._generation = generation
        self._owned += 1
        this_time = self._owned
        ending = {n: self.running.pop(n) for n, at in [*self.running.items()] if n not in keeps or at.overtaken}
        # Faust lets batches flow while we wait here, and does not bring again what nobody took: whoever is to process
        # them must be there already.
        beginning = {number: self._prepare(number) for number in sorted(numbers - self.running.keys())}
        await asyncio.gather(*(self._end(running) for running in ending.values()))
        if self._owned == this_time:
            share = share or Share()
            kept = {number: fold for number, running in ending.items() if (fold := running.left()) is not None}
            self.standbys.stand_by_for(share.standbys - self.running.keys(), share.awaited, kept)
        log.info("owns %s, stands by for %s", sorted(self.running), sorted(self.standbys.following))
        # Of which most is known already goes first: it is live the soonest.
        for number, running in sorted(beginning.items(), key=lambda item: -item[1].known):
            if self.running.get(number) is running:
                running.task = asyncio.create_task(self._drive(number, running), name=f"partition-{number}")

    async def close(self) -> None:
        """Stop every loop; nothing more is written."""
        await self.own(frozenset(), self._generation)
        await self.standbys.close()

    def _prepare(self, number: int) -> Running:
        """A loop that takes batches, and processes them once it is driven; those for what folds once it is live."""
        running = Running(Partition.of(self.site, number, self._schemas))
        decide = partial(self._decide, running)
        writer = PartitionWriter(self._settings, self.site, number, self._outside)
        running.loop = PartitionLoop(
            number,
            STAGES,
            writer,
            self._schemas,
            self._schema_ids,
            decide,
            self._poison,
            self.held,
            wall_clock=self._outside.wall_clock,
        )
        running.loop.hold_back(FOLDING)
        running.followed = self.standbys.release(number)
        self.running[number] = running
        return running

    async def _end(self, running: Running) -> None:
        if running.task is not None:
            running.task.cancel()
            await asyncio.gather(running.task, return_exceptions=True)
        # A thread can't be cancelled: what it reads back is of no use to anybody.
        running.progress.abandoned = True
        running.loop.abandon()
        # Before the rebalance has ended nobody tells the group that this worker lives; a writer that waits for a slow
        # broker ends its call later. Who opens the partition next fences it in any case.
        closing = asyncio.create_task(running.loop.writer.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.wait([closing], timeout=CLOSE_S)

    # -- driving -------------------------------------------------------------------------------------------------

    async def _drive(self, number: int, running: Running) -> None:
        try:
            await running.loop.writer.open()
            async with asyncio.TaskGroup() as tasks:
                if number == CLOCK_NUMBER:
                    await self._recall_the_last_tick()
                    if self.site.clock == "live":
                        # While it recovers, too: other partitions' time goes on.
                        tasks.create_task(self._tick(running.loop))
                # It identifies from now on: an event may be of a person whose partition is live.
                tasks.create_task(running.loop.run())
                tasks.create_task(self._recover(number, running))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # whatever else it is, a loop that ended must end the worker
            if _is_overtaken(error):
                # Whoever is given a number opens its writer at once; that it is not ours any more may reach us later.
                # All else that this worker owns goes on meanwhile.
                log.warning("partition %s has another writer: nothing more is done for it", number)
                running.overtaken = running.progress.abandoned = True
                running.live.clear()
                await asyncio.sleep(TOLD_S)
                # Nobody else has been given it: a former owner's opening came late. Whoever is given it next, perhaps
                # this worker again, opens it anew.
                self._rejoin()
                await asyncio.sleep(OVERTAKEN_S)
            self._on_broken(error)

    async def _recall_the_last_tick(self) -> None:
        while True:
            try:
                self._clock.last = await asyncio.to_thread(self._with_consumer, partial(last_tick, self.site))
            except (BrokerQuietError, KafkaException, RegistryAway) as error:
                log.warning("the clock looks for the last tick again: %s", type(error).__name__)
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _consumer(self) -> Consumer:
        """A consumer that reads what is committed, and joins no group."""
        user, group = self.site.user("bus"), topics.consumer_group(self.site.name)
        return plain_consumer(self._settings, user, group, self._outside)

    def _with_consumer(self, read: Callable[[Consumer, SchemaCache], T]) -> T:
        """What a plain consumer reads; it is closed after."""
        consumer = self._consumer()
        try:
            return read(consumer, self._schemas)
        finally:
            consumer.close()

    async def _recover(self, number: int, running: Running) -> None:
        """Recall, refold, reconcile, from where this worker has come that stood by; again from the beginning where the
        broker went away meanwhile. Then what folds is live."""
        followed = running.followed
        fold = (followed and await self.standbys.taken_over(followed)) or Fold(running.partition)
        if followed is not None and followed.is_ready and fold is followed.fold:
            await self._bring_up(number, running, fold)
        else:
            running.waits = True
            async with self._recovery:
                running.waits = False
                await self._bring_up(number, running, fold)
        log.info("partition %s is live", number)
        running.live.set()
        running.loop.hold_back(())

    async def _bring_up(self, number: int, running: Running, fold: Fold) -> None:
        recovered = await self._recovered(number, running, fold)
        running.followed = None
        written = await running.loop.write_in_parts(recovered.outs, running.progress)
        log.info("partition %s is reconciled: %s records are written", number, written)
        running.positions = recovered.positions

    async def _recovered(self, number: int, running: Running, fold: Fold) -> Recovered:
        while True:
            running.partition = fold.partition
            try:
                read_back = partial(recover, fold, running.progress)
                return await running.loop.in_thread(partial(self._with_consumer, read_back))
            except RegistryAway:
                # Nothing is folded without its schema: it goes on from where it is.
                log.warning("the recovery of partition %s waits for the schema registry", number)
                running.progress.waits = True
                await asyncio.sleep(RETRY_S)
            except (BrokerQuietError, KafkaException, OutdatedError) as error:
                log.warning("partition %s begins its recovery again: %s", number, type(error).__name__)
                await asyncio.sleep(RETRY_S)
                fold, running.progress = Fold(Partition.of(self.site, number, self._schemas)), Progress()

    def _is_busy(self) -> bool:
        """Whether anything that this worker owns has work; asked by another thread."""
        return any(
            not running.live.is_set() or any(running.loop.waiting.values()) for running in list(self.running.values())
        )

    async def _tick(self, loop: PartitionLoop) -> None:
        while True:
            await loop.write(self._clock.advance(self._outside.wall_clock()))
            await asyncio.sleep(TICK_EVERY_S)

    # -- deciding ------------------------------------------------------------------------------------------------

    def _decide(self, running: Running, stage: str, batch: Batch, record: Record) -> Sequence[Out]:
        if stage == IDENTIFY:
            return [out for out in self._identify(batch, record) if running.noted.is_news(out)]
        if stage == CLOCK:
            return self._clock.copy(record, self._schemas)
        return running.fold(stage, record)

    def _identify(self, batch: Batch, record: Record) -> Sequence[Out]:
        source = self._sources[batch.topic]
        found = identify(record, source, self.site, self._schemas, self._outside.wall_clock())
        if isinstance(found, DeadLetter):
            topic = topics.set_aside_on(self.site.name, source.agency.id, source.event_type)
            return [set_aside(topic, batch, record, found.reason, found.detail), *found.records]
        return found.records

    def _poison(self, stage: str, batch: Batch, record: Record, error: Exception) -> Out:
        source = self._sources.get(batch.topic)
        topic = (
            topics.set_aside_on(self.site.name, source.agency.id, source.event_type)
            if source
            else topics.dead_letters(self.site.name, topics.BUS)
        )
        detail = f"the stage {stage} could make nothing of it ({type(error).__name__})"
        return set_aside(topic, batch, record, "POISON", detail)

    # -- agents --------------------------------------------------------------------------------------------------

    async def agent(self, stage: str, stream: Any) -> None:
        """The body of a stage's Faust agent: hand each batch to its partition's loop."""
        async for event in stream.noack().events():
            batch: Batch = event.value
            running = self.running.get(batch.partition)
            if running is None or batch.comes_again:
                # The partition was just taken away: its new owner gets the batch. Or it is from before a rebalance.
                continue
            running.loop.hand_over(stage, Delivery(batch, partial(stream.ack, event)))

    @property
    def ready(self) -> bool:
        """Whether every partition is live."""
        return bool(self.running) and all(running.live.is_set() for running in self.running.values())


def _is_overtaken(error: BaseException) -> bool:
    """Whether a loop ended for no other reason than that somebody else writes for its number."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_overtaken, error.exceptions))
    return isinstance(error, Fenced)
