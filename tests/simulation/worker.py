"""A simulated worker: the shipped `Partitions`, fed as Faust 0.15 and our `BatchConsumer` feed them.

What is ours runs as it is: `Partitions` and all below it, and the reckoning of what may be committed
(`BatchConsumer._new_offset`). Faust, aiokafka and the process around them are played. Assumed of them, and read in
their source (tests/unit/test_faust_is_as_we_rely_on_it.py holds the versions; tests/e2e/ shows it with the real ones):

- A rebalance begins when a heartbeat tells so, or the member is refused. What is acknowledged is committed first, then
  the flow stops and the buffers of all streams are emptied; nobody waits for what agents have in hand.
- After the join, `own` is called and awaited before the first heartbeat of the generation. While it runs, Faust seeks
  to the committed offsets, empties the buffers again, and lets batches flow: `own` is begun before the first of them
  comes, and may end long after. A call for an older generation than the present one resumes nothing.
- A fetch brings records of any partitions, cut anywhere. What it brought is dropped where the flow stopped or another
  generation came meanwhile; everything since the committed offset comes again after each rebalance.
- What the partitions hold is left out of a fetch; the next one is made after a moment.
- A member that asks for another round rejoins, at its next heartbeat at the latest.
- Each stage's stream holds two batches. The one that waits for room is dropped when the flow stops, except where its
  waiting has not begun yet: then it is put when the flow goes on, before what is new.
- An acknowledgement counts if the partition's committed offset is not beyond it. Offsets are committed a tenth of a
  second after an acknowledgement, one commit at a time, with the generation of that moment; a refusal loses them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from faust.types import TP

from schemas.registry_client import SchemaCache
from schemas.settings import Settings
from schemas.site import Site
from streams.agents import STAGES, Partitions, input_topics
from streams.assignor import Claim, Share
from streams.batching import HELD_S, Batch, BatchConsumer
from streams.fencing import Fenced
from tests.simulation.broker import COMMIT_S, HEARTBEAT_S, Part, Refused, SimulatedBroker
from tests.simulation.kafka_clients import SimulatedOutside
from tests.simulation.seeded_loop import Process

BUFFERED: Final = 2
"""Batches in a stream's buffer (`stream_buffer_maxsize`)."""
BACKOFF_S: Final = 0.1


@dataclass(eq=False)
class Message:
    """What Faust makes of a batch."""

    value: Batch
    tp: TP
    offset: int
    acked: bool = False


class Flow:
    """Whether batches flow."""

    def __init__(self) -> None:
        self.active = False
        self.resumed = asyncio.Event()
        self.suspended = asyncio.Event()
        self.suspended.set()

    def suspend(self) -> None:
        self.active = False
        self.resumed.clear()
        self.suspended.set()

    def resume(self) -> None:
        self.active = True
        self.suspended.clear()
        self.resumed.set()


class Buffer(asyncio.Queue[Message]):
    """A stream's buffer."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(BUFFERED)
        self._flow = flow

    async def put(self, message: Message) -> None:
        if not self._flow.active:
            await self._flow.resumed.wait()
        await super().put(message)

    def clear(self) -> None:
        self._queue.clear()  # type: ignore[attr-defined]
        for putter in self._putters:  # type: ignore[attr-defined]
            putter.cancel()
        self._putters.clear()  # type: ignore[attr-defined]


class Stream:
    """A stage's stream, as an agent sees it."""

    def __init__(self, buffer: Buffer, acknowledge: Callable[[Message], None]) -> None:
        self._buffer = buffer
        self._acknowledge = acknowledge

    def noack(self) -> Stream:
        """The same stream: acknowledgements are the agent's."""
        return self

    async def events(self) -> AsyncIterator[Message]:
        """The batches."""
        while True:
            yield await self._buffer.get()

    async def ack(self, message: Message) -> bool:
        """Acknowledge a batch."""
        self._acknowledge(message)
        return True


class SimulatedWorker:
    """A worker process of a site."""

    def __init__(
        self,
        name: str,
        broker: SimulatedBroker,
        settings: Settings,
        registry: Callable[[Process], Any],
        schema_ids: Mapping[tuple[str, str], int],
        wall_clock: Callable[[], int],
        on_exit: Callable[[SimulatedWorker], None],
    ) -> None:
        self.name = name
        self.broker = broker
        self.process = Process(broker.loop, name)
        self.site: Site = broker.site
        self.exit: str | None = None
        self._on_exit = on_exit
        outside = SimulatedOutside(broker, self.process, wall_clock)
        self.partitions: Partitions = self.process.context.run(
            Partitions,
            settings,
            self.site,
            SchemaCache(registry(self.process)),
            schema_ids,
            self._broken,
            outside,
            self._rejoin,
        )
        self._member = name
        self._joined = 0
        self._share = Share()
        self._round = 0
        self._wants_to_rejoin = False
        self.generation = -1
        self.numbers: frozenset[int] = frozenset()
        self._topics = {topic: stage for stage in STAGES for topic in input_topics(stage, self.site)}
        self._reading: list[TP] = []
        self._positions: dict[TP, int] = {}
        self._read: dict[TP, int | None] = {}
        self._committed: defaultdict[TP, int | None] = defaultdict(lambda: None)
        # By these names `BatchConsumer._new_offset` knows them.
        self._acked: defaultdict[TP, list[int]] = defaultdict(list)
        self._acked_index: defaultdict[TP, set[int]] = defaultdict(set)
        self._handed_out: defaultdict[TP, deque[Batch]] = defaultdict(deque)
        self._committing: asyncio.Future[None] | None = None
        self._leaving = False

    def start(self) -> None:
        """Run."""
        self.broker.note(self.name, "starts")
        self.process.context.run(self._prepare)
        self._spawn(self._stand_by(), "stand by")
        self.broker.readers.append(self._more.set)
        self._spawn(self._coordinate(), "coordinate")
        self._spawn(self._drain(), "drain")
        self._spawn(self._commit_now_and_then(), "commit")
        for stage in STAGES:
            stream = Stream(self._buffers[stage], self._ack)
            self._spawn(self.partitions.agent(stage, stream), f"agent {stage}")

    def _prepare(self) -> None:
        self._flow = Flow()
        self._buffers = {stage: Buffer(self._flow) for stage in STAGES}
        self._more = asyncio.Event()
        self._dirty = asyncio.Event()

    def _spawn(self, coro: Any, name: str) -> None:
        def look(task: asyncio.Task[Any]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is not None and self.process.alive:
                error = task.exception()
                self.broker.loop.unexpected.append(f"{self.name} {name}: {type(error).__name__}: {error}")

        self.process.spawn(coro, name).add_done_callback(look)

    def kill(self, how: str) -> None:
        """End the process, here and now."""
        if not self.process.alive:
            return
        self.broker.note(self.name, how)
        self.exit = how
        self.process.kill()
        self.broker.readers.remove(self._more.set)
        self._on_exit(self)

    def _broken(self, error: BaseException) -> None:
        if not self.process.alive:
            return
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if not isinstance(error, Fenced) and type(error).__name__ != "BrokenWriterError":
            self.broker.loop.unexpected.append(f"{self.name}: {type(error).__name__}: {error}")
        self.kill(f"exits: {type(error).__name__}: {error}")

    def terminate(self) -> None:
        """SIGTERM: what `_Worker._stop_on_signal` and Faust's own stop do."""

        async def end() -> None:
            self._leaving = True
            self.broker.note(self.name, "is asked to end")
            await self.partitions.close()
            await self._commit()
            await self.broker.reached()
            self.broker.group.leave(self._member)
            self.kill("has ended")

        self._spawn(end(), "terminate")

    # -- the group -----------------------------------------------------------------------------------------------

    async def _stand_by(self) -> None:
        self.partitions.stand_by()

    def _rejoin(self) -> None:
        self._wants_to_rejoin = True

    async def _coordinate(self) -> None:
        group = self.broker.group
        while not self._leaving:
            await self.broker.reached()
            standbys = self.partitions.standbys
            ready, gave_up = standbys.ready(), standbys.gave_up()
            claim = Claim(self._round, self._share.numbers, self._share.standbys, ready, gave_up, self._share.awaited)
            self._wants_to_rejoin = False
            generation, share = await group.join(self._member, claim)
            self._round, self._share = generation, share
            self.generation, self.numbers = generation, share.numbers
            numbers = share.numbers
            self._reading = [TP(topic, number) for number in sorted(numbers) for topic in self._topics]
            self.broker.note(self.name, "is given {} in generation {}", sorted(numbers), generation)
            own = self.partitions.own(numbers, generation, share)
            resume = asyncio.create_task(self._resume(generation))
            await own
            await self._until_a_rebalance(generation)
            if not resume.done():
                resume.cancel()
            await self._revoked()

    async def _until_a_rebalance(self, generation: int) -> None:
        silence = 0.0
        while not self._leaving:
            await asyncio.sleep(silence)
            await self.broker.reached()
            try:
                if not self.broker.group.heartbeat(self._member, generation):
                    return
                if self._wants_to_rejoin:
                    self.broker.note(self.name, "asks for another round")
                    return
            except Refused:
                self._joined += 1
                self._member = f"{self.name}/{self._joined}"
                self.broker.note(self.name, "learns that the group went on without it")
                return
            silence = HEARTBEAT_S * self.broker.pace

    async def _revoked(self) -> None:
        await self._commit()
        self._take_back()
        self._committed.clear()
        self._read.clear()
        self._flow.suspend()
        for buffer in self._buffers.values():
            buffer.clear()
        await self._commit()

    async def _resume(self, generation: int) -> None:
        await asyncio.sleep(0)
        if self.generation != generation:
            return
        await self._seek()
        if self.generation != generation:
            return
        self._flow.resume()
        for buffer in self._buffers.values():
            buffer.clear()

    async def _seek(self) -> None:
        self._take_back()
        await self.broker.reached()
        for topic in self._topics:
            for number in self.numbers:
                offset = self.broker.group.offsets.get((topic, number))
                tp = TP(topic, number)
                self._positions[tp] = offset or 0
                self._read[tp] = offset
                if offset is not None:
                    self._committed[tp] = offset or None
        self._more.set()

    def _take_back(self) -> None:
        for tp in [*self._handed_out]:
            BatchConsumer._take_back(cast(BatchConsumer, self), tp)
        self._acked.clear()
        self._acked_index.clear()

    # -- reading -------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        choose = self.broker.choose
        while True:
            if not self._flow.active:
                await self._flow.resumed.wait()
            generation = self.generation
            fetched = self._fetch()
            if not fetched and self.partitions.held:
                await asyncio.sleep(HELD_S)
                continue
            if not fetched:
                self._more.clear()
                await self._more.wait()
                await asyncio.sleep(0.002 + 0.02 * choose.random())
                continue
            await self.broker.reached()
            if not self._flow.active:
                await self._seek()
                continue
            for tp, batch in fetched:
                if not self._flow.active or self.generation != generation:
                    break
                self._handed_out[tp].append(batch)
                read = self._read.get(tp)
                if read is None or batch.last_offset >= read:
                    await self._deliver(Message(batch, tp, batch.last_offset))
                    self._read[tp] = batch.last_offset

    def _fetch(self) -> list[tuple[TP, Batch]]:
        choose, logs = self.broker.choose, self.broker.logs
        found: list[tuple[TP, Batch]] = []
        held = self.partitions.held
        behind = [tp for tp in self._reading if logs[tp].stable > self._positions.get(tp, 0) and tp not in held]
        while behind and not found:
            for tp in behind:
                if choose.random() < 0.2:
                    continue
                log = logs[tp]
                end = log.stable
                cut = choose.randint(1, 2) if self.broker.few else choose.choice([1, 2, 3, 4, 1_000, 1_000, 1_000])
                records, self._positions[tp] = log.read_on(self._positions.get(tp, 0), cut, end)
                if records:
                    found.append((tp, Batch(tp.topic, tp.partition, cast(Any, records))))
            behind = [tp for tp in behind if logs[tp].stable > self._positions.get(tp, 0)]
        choose.shuffle(found)
        return found

    async def _deliver(self, message: Message) -> None:
        buffer = self._buffers[self._topics[message.tp.topic]]
        if not self._flow.active:
            return
        if not buffer.full():
            buffer.put_nowait(message)
            return
        putting = asyncio.create_task(buffer.put(message))
        stopping = asyncio.create_task(self._flow.suspended.wait())
        await asyncio.wait([putting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    # -- acknowledging, committing -------------------------------------------------------------------------------

    def _ack(self, message: Message) -> None:
        if message.acked:
            return
        message.acked = True
        committed = self._committed[message.tp]
        if (committed is None or message.offset >= committed) and message.offset not in self._acked_index[message.tp]:
            self._acked_index[message.tp].add(message.offset)
            self._acked[message.tp].append(message.offset)
        self._dirty.set()

    async def _commit_now_and_then(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await asyncio.sleep(COMMIT_S)
            await self._commit()

    async def _commit(self) -> None:
        if self._committing is not None:
            # As Faust has it: whoever finds a commit under way waits for that one and makes none.
            await asyncio.wait([self._committing])
            return
        self._committing = asyncio.get_running_loop().create_future()
        try:
            await self._commit_what_is_done()
        finally:
            self._committing.set_result(None)
            self._committing = None

    async def _commit_what_is_done(self) -> None:
        offsets: dict[Part, int] = {}
        for tp in list(self._acked):
            offset = BatchConsumer._new_offset(cast(BatchConsumer, self), tp)
            committed = self._committed[tp]
            if offset is not None and (committed is None or offset > committed) and tp.partition in self.numbers:
                offsets[tp] = offset
        if not offsets:
            return
        member, generation = self._member, self.generation
        await self.broker.reached()
        try:
            self.broker.group.commit(member, generation, offsets)
        except Refused:
            self.broker.note(self.name, "may not commit in generation {}", generation)
        self._committed.update({TP(*part): offset for part, offset in offsets.items()})
